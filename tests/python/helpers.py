"""Helpers of all tests: they empty a queue by TTL, fill it, wait for it, and time it. Nothing here has state."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from mpmc_queue import Consumer, Queue, QueueFullError

PATIENCE = 20.0  # longer than any successful wait, so that a hang fails instead of blocking
CLOCK_SLACK = 0.002  # two clocks may differ by this much in the length of one short wait
WALL_SLACK = timedelta(seconds=0.5)  # the wall clock may be adjusted while a test runs

# Every way to read one message, as (consumer, timeout) -> payload. `next` has no timeout and waits without limit.
READS: dict[str, Callable[[Consumer[Any], float | None], Any]] = {
    "read": lambda c, t: payload_of(c.read(timeout=t)),
    "read_batch": lambda c, t: payload_of(first_of(c.read_batch(1, timeout=t))),
    "read_where": lambda c, t: payload_of(c.read_where(lambda m: True, timeout=t)),
    "get": lambda c, t: c.get(timeout=t),
    "get_batch": lambda c, t: first_of(c.get_batch(1, timeout=t)),
    "next": lambda c, t: next(c).payload,
}

# Every way to add one payload, as (queue, payload, timeout) -> None.
WRITES: dict[str, Callable[[Queue[Any], Any, float | None], Any]] = {
    "enqueue": lambda q, p, t: q.enqueue(p, timeout=t),
    "enqueue_batch": lambda q, p, t: q.enqueue_batch([p], timeout=t),
    "put": lambda q, p, t: q.put(p, timeout=t),
}


def payload_of(message: Any) -> Any:
    return None if message is None else message.payload


def first_of(found: list[Any]) -> Any:
    return found[0] if found else None


def payloads(consumer: Consumer[Any]) -> list[Any]:
    """Reads everything that can be read now."""
    return [message.payload for message in consumer.read_batch(1_000_000)]


def expire_all(queue: Queue[Any]) -> None:
    """Makes all held messages expire now. Messages that are enqueued afterwards live as before."""
    ttl = queue.ttl
    queue.ttl = 1e-9
    queue.force_expiration()
    assert len(queue) == 0
    queue.ttl = ttl


def fill(queue: Queue[Any], payload: Any) -> int:
    """Enqueues the payload until it does not fit. Returns how often it fitted."""
    count = 0
    try:
        while True:
            queue.enqueue(payload)
            count += 1
    except QueueFullError:
        return count


def assert_books_balance(consumer: Consumer[Any], enqueued: int) -> None:
    """`enqueued` counts from the consumer's start, and the consumer must not have used seek."""
    stats = consumer.stats()
    assert stats.total_items_read + stats.missed_items + stats.unread_items == enqueued


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def stopwatch() -> Iterator[SimpleNamespace]:
    taken = SimpleNamespace(seconds=-1.0)
    start = time.perf_counter()
    try:
        yield taken
    finally:
        taken.seconds = time.perf_counter() - start
