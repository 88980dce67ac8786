"""How much memory millions of held messages take, and how much their removal disturbs other threads."""

import sys
import threading
import time
import weakref
from collections.abc import Callable
from time import perf_counter_ns as clock
from typing import Any, Final

from figures import Figure, resident_bytes
from mpmc_queue import Queue

ROOM: Final = 1 << 40
"""A limit that is not reached."""
BATCH: Final = 10_000
"""Messages enqueued at once."""
ATTEMPTS: Final = 3
"""How often messages expire under the eyes of another thread: how the two share the interpreter is a matter of luck."""
PATIENCE: Final = 60.0
"""Seconds until something that should have happened counts as broken."""


class Last:
    """A payload that signals when it is freed."""


def fill(queue: Queue[Any], held: int, batch: Callable[[int], list[str]]) -> threading.Event:
    """Enqueues `held` messages, in batches that are made from the number of their first message.

    Returns an event that is set after all of them have left.
    """
    for first in range(0, held, BATCH):
        queue.enqueue_batch(batch(first))
    last, gone = Last(), threading.Event()
    weakref.finalize(last, gone.set)
    queue.enqueue(last)
    return gone


def resident(held: int) -> list[Figure]:
    """Resident bytes per message in addition to the payload, and the part that is returned.

    Run it early in a process: memory that was freed before would be reused unnoticed.
    """
    before = resident_bytes()
    if before is None:
        print("Left out, resident memory: this system has no /proc/self/statm.")
        return []
    queue: Queue[Any] = Queue("memory", ttl=None, max_bytes=ROOM)
    same = ["the same payload"] * BATCH
    gone = fill(queue, held, lambda first: same)
    full = resident_bytes() or 0
    queue.ttl = 0.001
    end = time.monotonic() + PATIENCE
    # Without the GIL, an object that another thread drops last is freed by the thread that created it, when that thread
    # runs.
    while not gone.wait(0.05):
        if time.monotonic() > end:
            raise TimeoutError(f"messages did not expire in {PATIENCE} seconds")
    after = settled(full)
    return [
        Figure(f"resident memory per held message, {held:,} held", (full - before) / held, "bytes", 48),
        Figure("given back to the system once they expired", 100 * (full - after) / (full - before), "%", 90, True),
    ]


def settled(full: int) -> int:
    """Resident bytes, after they stop falling. The system does not signal when it has taken memory back."""
    least, quiet_until = full, time.monotonic() + 0.5
    while time.monotonic() < quiet_until:
        time.sleep(0.01)
        now = resident_bytes() or 0
        if now < least:
            least, quiet_until = now, time.monotonic() + 0.5
    return least


def longest_gap(done: Callable[[], bool]) -> float:
    """Keeps this thread busy until `done`. Returns the longest time that it did not run, in milliseconds."""
    longest, before = 0, clock()
    end = before + int(PATIENCE * 1e9)
    is_done = False
    while not is_done:
        is_done = done()  # before the clock is read, so that the last gap counts
        now = clock()
        longest = max(longest, now - before)
        before = now
        if now > end:
            raise TimeoutError(f"messages did not expire in {PATIENCE:g} seconds")
    return longest / 1e6


def gap_while_expiring(held: int) -> float:
    """The longest gap while `held` messages expire, each with a payload of its own."""
    queue: Queue[Any] = Queue("pause", ttl=None, max_bytes=ROOM)
    gone = fill(queue, held, lambda first: [f"payload {number}" for number in range(first, first + BATCH)])
    go = threading.Event()

    def expire() -> None:
        go.wait()
        queue.ttl = 0.001

    expiring = threading.Thread(target=expire, daemon=True)
    expiring.start()
    go.set()
    longest = longest_gap(gone.is_set)
    expiring.join()
    return longest


def pause(held: int) -> list[Figure]:
    """What expiry costs other threads: at most 10 ms in addition to the turn that any thread may take."""
    end = time.monotonic() + 0.3
    alone = longest_gap(lambda: time.monotonic() >= end)
    limit = 10 + sys.getswitchinterval() * 1000
    expiring = max(gap_while_expiring(held) for _ in range(ATTEMPTS))
    return [
        Figure("longest pause of a busy thread, nothing else going on", alone, "ms"),
        Figure(f"longest pause of a busy thread while {held:,} expire", expiring, "ms", limit),
    ]
