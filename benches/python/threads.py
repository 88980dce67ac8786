"""How much several threads get done at the same time."""

import math
import threading
from collections.abc import Callable
from time import perf_counter_ns as clock
from typing import Any, Final

from figures import Figure
from mpmc_queue import Queue
from mpmc_queue.cli import bench_scaling
from mpmc_queue.cli.bench import has_gil
from mpmc_queue.cli.bench_results import Case
from mpmc_queue.cli.bench_rounds import ITEMS, Ends, get_all, put_all, simple, streaming

ROOM: Final = 1 << 40
"""A limit that is not reached."""
LONG_STREAM: Final = ITEMS * 200
"""Long enough for the interpreter to switch between threads in the middle of it."""
WORK: Final = 20
"""How many queues full a thread works off."""


def roomy() -> Ends:
    """Our queue, with room for a long stream."""
    queue: Queue[Any] = Queue("threads", max_bytes=ROOM)
    return Ends(queue.put, queue.add_consumer().get)


def cases() -> list[Case]:
    """One producer, one consumer, a long stream."""
    name = f"thread to thread, {len(LONG_STREAM):,}"
    return [Case(name, streaming(roomy, LONG_STREAM), "SimpleQueue", streaming(simple, LONG_STREAM), every=10)]


def figures(rounds: int) -> list[Figure]:
    """How threads scale: on queues of their own, compared with what this machine allows, and on one queue."""
    if has_gil():
        print("\nLeft out, two threads on two queues: this interpreter has the GIL, which lets one run at a time.")
        return []
    result = []
    for name, make, limit in (("queues", unshared, 1.8), ("SimpleQueues", simple, None), ("numbers", plain, None)):
        one, two = math.inf, math.inf
        for _ in range(rounds):
            one, two = min(one, seconds(1, make)), min(two, seconds(2, make))
        result.append(
            Figure(f"two threads on two {name}, as many times the work of one", 2 * one / two, "times", limit, True)
        )
    scales = bench_scaling.measure(rounds)
    return [*result, *(Figure(name, value, "times", limit, at_least) for name, value, limit, at_least in scales)]


def unshared() -> Ends:
    """Our queue, with its defaults."""
    queue: Queue[Any] = Queue("threads")
    return Ends(queue.enqueue, queue.add_consumer().get_nowait)


def plain() -> Ends:
    """No queue at all: what the interpreter and the processor allow two threads."""
    number = object()
    return Ends(number.__eq__, number.__hash__)


def seconds(count: int, make: Callable[[], Ends]) -> float:
    """How long `count` threads work, each on queues and with payloads of its own."""
    starts, ends = [0] * count, [0] * count
    line = threading.Barrier(count)

    def work(index: int) -> None:
        items = [f"thread {index}, item {number}" for number in range(5000)]
        line.wait()
        starts[index] = clock()
        for _ in range(WORK):
            put, get = make()
            put_all(put, items)
            get_all(get, items)
        ends[index] = clock()

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (max(ends) - min(starts)) / 1e9
