"""How throughput scales with threads: consumers of one queue alone, and together with producers."""

import gc
import math
import textwrap
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter_ns as clock
from typing import Any, Final, NamedTuple, TextIO

from mpmc_queue import Consumer, Queue
from mpmc_queue.cli.demo_samples import columns_of

COUNT: Final = 200_000
"""Messages per round."""
ROOM: Final = 1 << 40
"""A value for `max_bytes` that is never reached."""
BATCH: Final = 100
"""Messages per batch."""
NAMES: Final = 66
FIGURES: Final = 6
"""Width of the table, in columns."""

Work = Callable[[], None]
"""What one thread does."""


class Scale(NamedTuple):
    """One line of the table: a ratio and its limit."""

    name: str
    value: float
    limit: float
    at_least: bool
    """True: the limit is a minimum. False: a maximum."""


def seconds(works: Sequence[Work]) -> float:
    """Runs each work in its own thread: seconds from the first start to the last end."""
    starts, ends = [0] * len(works), [0] * len(works)
    line = threading.Barrier(len(works))

    def run(index: int) -> None:
        line.wait()
        starts[index] = clock()
        works[index]()
        ends[index] = clock()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(works))]
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        if was_enabled:
            gc.enable()
    return (max(ends) - min(starts)) / 1e9


def calling(call: Callable[[], object], times: int) -> Work:
    """Work that makes the call so many times."""

    def work() -> None:
        for _ in range(times):
            call()

    return work


READS: Final[dict[str, Callable[[Consumer[Any]], Work]]] = {
    "get_nowait": lambda consumer: calling(consumer.get_nowait, COUNT),
    "read": lambda consumer: calling(consumer.read, COUNT),
    f"get_batch({BATCH})": lambda consumer: calling(lambda: consumer.get_batch(BATCH), COUNT // BATCH),
}
"""The ways to read; each reads all messages."""


def filled(payloads: Sequence[Any], consumers: int) -> list[Consumer[Any]]:
    """Makes a queue with these payloads, and returns its consumers."""
    queue: Queue[Any] = Queue("scaling", max_bytes=ROOM)
    readers = [queue.add_consumer() for _ in range(consumers)]
    queue.enqueue_batch(payloads)
    return readers


def reading(rounds: int) -> list[Scale]:
    """Two consumers of one queue in two threads, compared with one consumer, and with two queues that have one each."""
    small = [number % 200 for number in range(COUNT)]
    strings = [f"item {number}" for number in range(COUNT)]
    result: list[Scale] = []
    for name, read in READS.items():
        one = two = apart = together = math.inf
        for _ in range(rounds):
            one = min(one, seconds([read(consumer) for consumer in filled(small, 1)]))
            two = min(two, seconds([read(consumer) for consumer in filled(small, 2)]))
            two_queues = [*filled(strings, 1), *filled(strings, 1)]
            apart = min(apart, seconds([read(consumer) for consumer in two_queues]))
            together = min(together, seconds([read(consumer) for consumer in filled(strings, 2)]))
        result.append(Scale(f"{name}, two consumers of a queue, as many times one", 2 * one / two, 1.7, True))
        result.append(Scale(f"{name}, the same strings: two queues / one", apart / together, 0.9, True))
    return result


def ours(consumers: int) -> tuple[Callable[[Any], object], list[Callable[[], Any]]]:
    """`put` of one queue, and `get` of each of its consumers."""
    queue: Queue[Any] = Queue("scaling", max_bytes=ROOM)
    return queue.put, [queue.add_consumer().get for _ in range(consumers)]


def simple(consumers: int) -> tuple[Callable[[Any], object], list[Callable[[], Any]]]:
    """A SimpleQueue for each consumer: a `put` into all of them, and the `get` of each."""
    queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(consumers)]
    puts = [queue.put for queue in queues]
    if len(puts) == 1:
        return puts[0], [queues[0].get]

    def put(item: Any) -> None:
        for each in puts:
            each(item)

    return put, [queue.get for queue in queues]


def streaming(producers: int, put: Callable[[Any], object], gets: Sequence[Callable[[], Any]]) -> float:
    """Runs producers and consumers at the same time, all of which may block: seconds."""
    share = COUNT // producers

    def produce() -> None:
        for number in range(share):
            put(number % 200)

    return seconds([*[produce] * producers, *[calling(get, share * producers) for get in gets]])


def streams(rounds: int) -> list[Scale]:
    """Several numbers of producers and consumers, compared with SimpleQueues."""
    result: list[Scale] = []
    for producers, consumers, limit in ((1, 1, 0.8), (2, 1, 0.75), (1, 2, 0.55), (2, 2, 0.6), (1, 4, 0.45)):
        mine = theirs = math.inf
        for _ in range(rounds):
            mine = min(mine, streaming(producers, *ours(consumers)))
            theirs = min(theirs, streaming(producers, *simple(consumers)))
        result.append(Scale(f"{producers} + {consumers}, blocking / SimpleQueue each", mine / theirs, limit, False))
    return result


def measure(rounds: int) -> list[Scale]:
    """All ratios, from the fastest of so many rounds."""
    return [*reading(rounds), *streams(rounds)]


def show(scales: Sequence[Scale], out: TextIO) -> None:
    """Prints the table for users, without our limits."""
    print("\nSeveral threads, on this machine:", file=out)
    width = columns_of(out)
    for scale in scales:
        if width > NAMES + FIGURES:
            print(f"{scale.name:{NAMES}}{scale.value:{FIGURES}.2f}", file=out, flush=True)
            continue
        *lines, last = textwrap.wrap(scale.name, width - FIGURES)
        print(*lines, f"{last:{width - FIGURES}}{scale.value:{FIGURES}.2f}", sep="\n", file=out, flush=True)


def document(scale: Scale, *, limits: bool) -> dict[str, Any]:
    """One line of the table as JSON."""
    return scale._asdict() if limits else {"name": scale.name, "value": scale.value}
