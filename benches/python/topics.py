"""Topics, against a queue for each topic, and against predicates in Python.

    python benches/python/topics.py

Run by `make bench-python`, too.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns as clock
from typing import Any, Final

from mpmc_queue import Consumer, Message, Queue
from mpmc_queue.cli import bench
from mpmc_queue.cli.bench_results import Case
from mpmc_queue.cli.bench_rounds import ITEMS, Round, own

ROOM: Final = 1 << 40
"""A limit that is not reached."""
TOPICS: Final = [f"sensors.{number}" for number in range(100)]
"""Each of them has one consumer."""
EACH: Final = 100
"""Messages of a topic in a round."""
MESSAGES: Final = [(f"{topic} {number}", topic) for number in range(EACH) for topic in TOPICS]
"""The payloads of a round, the topics in turn. A payload begins with its topic, for who looks there."""
OFTEN, SELDOM = 4, 20
"""Runs in one round out of so many: these rounds take long, and those with predicates very long."""

Read = Callable[[], object]
"""Reads what is next of a topic."""


def cases() -> list[Case]:
    """What is measured, and against what."""
    enqueued, one_by_one = enqueuing(shared), reading(shared, one)
    return [
        Case("enqueue under one topic", plainly(put_under_one), "enqueue without", plainly(put_plainly)),
        Case("enqueue, 100 topics", enqueued, "a queue each", enqueuing(queue_each), every=OFTEN),
        Case("enqueue, 100 topics", enqueued, "read_where", enqueuing(without), every=OFTEN),
        Case("read, 100 topics", one_by_one, "a queue each", reading(queue_each, one), every=OFTEN),
        Case("read, 100 topics", one_by_one, "read_where", reading(without, where), every=SELDOM),
        Case("read_batch, 100 topics", reading(shared, batch), "a queue each", reading(queue_each, batch), every=OFTEN),
    ]


# One topic, or none.


def put_plainly(queue: Queue[Any]) -> float:
    """Without a topic: nanoseconds per message."""
    enqueue = queue.enqueue
    started = clock()
    for item in ITEMS:
        enqueue(item)
    return (clock() - started) / len(ITEMS)


def put_under_one(queue: Queue[Any]) -> float:
    """All under the same topic."""
    enqueue, topic = queue.enqueue, TOPICS[0]
    started = clock()
    for item in ITEMS:
        enqueue(item, topic=topic)
    return (clock() - started) / len(ITEMS)


def plainly(put: Callable[[Queue[Any]], float]) -> Round:
    """Into a new queue with a consumer of everything."""

    def round() -> float:
        queue: Queue[Any] = Queue("bench")
        queue.add_consumer()
        return put(queue)

    return round


# Many topics. Each of these makes what enqueues all messages (and tells nanoseconds per message), and a consumer for each topic.

Made = tuple[Callable[[], float], list[Consumer[Any]]]


def shared() -> Made:
    """One queue, whose consumers have a filter each."""
    queue: Queue[Any] = Queue("bench", max_bytes=ROOM)

    def put() -> float:
        enqueue = queue.enqueue
        started = clock()
        for item, topic in MESSAGES:
            enqueue(item, topic=topic)
        return (clock() - started) / len(MESSAGES)

    return put, [queue.add_consumer(topics=topic) for topic in TOPICS]


def queue_each() -> Made:
    """A queue for each topic, found in a dict."""
    queues: dict[str, Queue[Any]] = {topic: Queue(topic, max_bytes=ROOM) for topic in TOPICS}

    def put() -> float:
        enqueues = {topic: queue.enqueue for topic, queue in queues.items()}
        started = clock()
        for item, topic in MESSAGES:
            enqueues[topic](item)
        return (clock() - started) / len(MESSAGES)

    return put, [queue.add_consumer() for queue in queues.values()]


def without() -> Made:
    """One queue without topics, whose consumers have to look at each payload."""
    queue: Queue[Any] = Queue("bench", max_bytes=ROOM)

    def put() -> float:
        enqueue = queue.enqueue
        started = clock()
        for item, _ in MESSAGES:
            enqueue(item)
        return (clock() - started) / len(MESSAGES)

    return put, [queue.add_consumer() for _ in TOPICS]


def enqueuing(make: Callable[[], Made]) -> Round:
    """Everything enqueued, with the consumers there."""

    def round() -> float:
        put, _consumers = make()
        return put()

    return round


# How a consumer reads its topic: the call, and how many messages it is for.


def one(consumer: Consumer[Any], _: str) -> tuple[Read, int]:
    """One by one."""
    return consumer.read, 1


def batch(consumer: Consumer[Any], _: str) -> tuple[Read, int]:
    """All at once."""
    return partial(consumer.read_batch, EACH), EACH


def where(consumer: Consumer[Any], topic: str) -> tuple[Read, int]:
    """One by one, by a predicate."""
    prefix = f"{topic} "

    def is_wanted(message: Message[Any]) -> bool:
        return bool(message.payload.startswith(prefix))

    return partial(consumer.read_where, is_wanted), 1


def reading(make: Callable[[], Made], how: Callable[[Consumer[Any], str], tuple[Read, int]]) -> Round:
    """Everything read, each consumer in its turn."""
    loop = own(read_all)

    def round() -> float:
        put, consumers = make()
        put()
        return loop([how(consumer, topic) for consumer, topic in zip(consumers, TOPICS, strict=True)])

    return round


def read_all(reads: list[tuple[Read, int]]) -> float:
    """What is there: nanoseconds per message."""
    started = clock()
    for read, size in reads:
        for _ in range(EACH // size):
            read()
    return (clock() - started) / len(MESSAGES)


def main() -> int:
    """Measures it all, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python benches/python/topics.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="how many rounds (default: 400)")
    options = parser.parse_args()
    if problem := bench.obstacle():
        print(problem, file=sys.stderr)
        return 2
    print(bench.interpreter(), flush=True)
    bench.show(bench.measure(cases(), range(options.rounds)), sys.stdout, limits=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
