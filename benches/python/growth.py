"""Which operations stay equally fast when a queue holds millions of messages, or has thousands of consumers."""

import random
import statistics
from collections.abc import Callable
from time import perf_counter_ns as clock
from typing import Any, Final

from figures import Figure
from mpmc_queue import Consumer, Queue
from mpmc_queue.cli.bench_results import Case
from mpmc_queue.cli.bench_rounds import ITEMS, Round, get_all, own, put_all

ROOM: Final = 1 << 40
"""A limit that is not reached."""
FEW: Final = 1000
"""Messages that count as few."""
CONSUMERS: Final = 10_000
"""Consumers that count as many."""
LOOKS: Final = 201
"""How often a position is looked for."""
GROWTH: Final = 1.3
"""What may become of a cost that should stay the same."""


def filled(held: int) -> Queue[Any]:
    """A queue that holds `held` messages."""
    queue: Queue[Any] = Queue("growth", max_bytes=ROOM)
    for _ in range(held // 1000):
        queue.enqueue_batch(ITEMS)
    return queue


class Growth:
    """The two queues that are compared: one that holds `held` messages and one that holds few."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.large, self.small = filled(held), filled(FEW)
        self.behind, self.near = self.large.add_consumer(), self.small.add_consumer()

    def cases(self) -> list[Case]:
        """The same operation on both queues."""
        many, few = f"{self.held:,} held", f"{FEW:,} held"
        return [
            Case(
                f"enqueue, {CONSUMERS:,} idle consumers", enqueuing(with_consumers(CONSUMERS)),
                "no consumer", enqueuing(with_consumers(0)), GROWTH,
            ),
            Case(f"enqueue, {many}", enqueuing(self.large), few, enqueuing_into_few, GROWTH),
            Case(f"unread_count, {many}", counting(self.behind), few, counting(self.near), GROWTH),
            Case(f"Queue.stats, {many}", calling(self.large.stats), few, calling(self.small.stats), GROWTH),
            Case(f"Consumer.stats, {many}", calling(self.behind.stats), few, calling(self.near.stats), GROWTH),
        ]  # fmt: skip

    def figures(self) -> list[Figure]:
        """The time to find a position among all held messages."""
        seqs = random.Random(0).choices(range(self.held), k=LOOKS)
        consumer = self.large.add_consumer()
        times = []
        for seq in seqs:
            consumer.seek(seq)
            message = consumer.peek()
            assert message is not None
            times.append(message.created)

        def add(start: Any) -> None:
            self.large.add_consumer(start=start)

        looks: list[tuple[str, Callable[[Any], None], list[Any]]] = [
            ("seek to a seq", consumer.seek, seqs),
            ("seek to a time", consumer.seek, times),
            ("add_consumer at a seq", add, seqs),
            ("add_consumer at a time", add, times),
        ]
        return [
            Figure(f"{name}, {self.held:,} held (median)", median_ns(look, wanted) / 1000, "µs", 200)
            for name, look, wanted in looks
        ]


def median_ns(look: Callable[[Any], None], wanted: list[Any]) -> float:
    """The median time of one call with each value."""
    took = []
    for each in wanted:
        started = clock()
        look(each)
        took.append(clock() - started)
    return statistics.median(took)


def with_consumers(count: int) -> Queue[Any]:
    """A queue with `count` consumers that do nothing."""
    queue: Queue[Any] = Queue("growth", max_bytes=ROOM)
    for _ in range(count):
        queue.add_consumer()
    return queue


def enqueuing(queue: Queue[Any]) -> Round:
    """Single enqueues into one queue that is kept."""
    loop = own(put_all)
    return lambda: loop(queue.enqueue)


def enqueuing_into_few() -> float:
    """Single enqueues into a queue that holds few messages."""
    return put_all(filled(FEW).enqueue)


def calling(function: Callable[[], object]) -> Round:
    """Repeated calls."""
    loop = own(get_all)
    return lambda: loop(function)


def counting(consumer: Consumer[Any]) -> Round:
    """Repeated reads of `unread_count`."""

    def round() -> float:
        started = clock()
        for _ in ITEMS:
            consumer.unread_count  # noqa: B018
        return (clock() - started) / len(ITEMS)

    return round
