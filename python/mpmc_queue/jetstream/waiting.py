"""`await_any`: waits for several consumers at once."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

from mpmc_queue._errors import QueueError
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.member import Member
from mpmc_queue.jetstream.reading import deadline_in

_T = TypeVar("_T")


async def await_any(
    consumers: Iterable[Consumer[_T]], *, timeout: float | timedelta | None = None
) -> list[Consumer[_T]]:
    """Waits until at least one consumer (of any queues) is readable; returns the readable ones, in the order given.

    Readable means that `aread(timeout=0)` would return a message or raise. Nothing is read. Returns [] if the timeout is over
    first. A consumer given twice is returned twice. With timeout=0 the server is asked for consumers with nothing prefetched.

    ValueError if there are no consumers; QueueError for a member of a group, which knows only after a delivery whether there
    is a message.
    """
    given = list(consumers)
    wait = arguments.seconds(timeout, "timeout")
    for consumer in given:
        check(consumer)
    if not given:
        raise ValueError("consumers must not be empty: nothing would ever be readable")
    deadline = deadline_in(wait)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_readable(consumer, now=wait == 0)) for consumer in dict.fromkeys(given)]
    try:
        left = None if deadline is None or wait == 0 else max(0.0, deadline - loop.time())
        await asyncio.wait(
            tasks, timeout=left, return_when=asyncio.ALL_COMPLETED if wait == 0 else asyncio.FIRST_COMPLETED
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
    return [consumer for consumer in given if is_readable(consumer)]


def check(consumer: object) -> None:
    """Raises if this cannot be waited for."""
    if isinstance(consumer, Member):
        raise QueueError("a member of a group over JetStream cannot be waited for with others: read from it")
    if not isinstance(consumer, Consumer):
        raise TypeError(f"consumers must be those of jetstream queues, not {type(consumer).__name__}")


def is_readable(consumer: Consumer[Any]) -> bool:
    """Whether reading would return or raise at once. Raises nothing itself, and consumes no error."""
    queue, feed = consumer._queue, consumer._feed
    return (
        consumer._closed
        or consumer._over
        or consumer._drained
        or consumer._owed is not None
        or queue._discarded
        or queue._server.lost is not None
        or feed.error is not None
        or feed.denied is not None
        or feed.pop() is not None
    )


async def _readable(consumer: Consumer[Any], *, now: bool) -> None:
    """Waits until it is readable or, with `now`, until the server has said whether it is."""
    while not is_readable(consumer):
        if consumer._queue.closed:
            await consumer._drain()
        elif now:
            await consumer._feed.fetch()
            return
        else:
            await consumer._waiters.wait(None)
    consumer._waiters.wake_one()  # this wake-up was meant for a reading task
