"""The rounds of the benchmark: each runs one workload once, on a new queue, and returns nanoseconds per message."""

import asyncio
import importlib
import statistics
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from queue import Queue as StandardQueue
from queue import SimpleQueue
from time import perf_counter_ns as clock
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeVar

from mpmc_queue import Queue

ITEMS: Final = [f"s{number}" for number in range(1000)]
"""The payloads of a round."""
STREAM: Final = ITEMS * 10
"""The payloads of a longer round: about as many as fit into a queue with the default limit."""
EXCHANGES: Final = 100
"""How often a round wakes each of two threads."""

Round = Callable[[], float]
"""Runs one round and returns nanoseconds per message."""


class Ends(NamedTuple):
    """The `put` and `get` of any kind of queue, as bound methods."""

    put: Callable[[Any], object]
    get: Callable[[], Any]


_F = TypeVar("_F", bound=Callable[..., Any])


def own(function: _F) -> _F:
    """A copy of the function with its own code object: the interpreter specializes bytecode for what it calls, and
    the two sides of a comparison must not share that."""
    assert isinstance(function, FunctionType)
    copy: Any = FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__
    )
    return copy  # type: ignore[no-any-return]


# One thread.


def put_all(put: Callable[[Any], object], items: Sequence[str] = ITEMS) -> float:
    """Puts each item: nanoseconds per put."""
    started = clock()
    for item in items:
        put(item)
    return (clock() - started) / len(items)


def get_all(get: Callable[[], object], items: Sequence[str] = ITEMS) -> float:
    """Gets as many items: nanoseconds per get."""
    started = clock()
    for _ in items:
        get()
    return (clock() - started) / len(items)


def putting(make: Callable[[], Ends]) -> Round:
    """Single puts into a new queue."""
    loop = own(put_all)

    def round() -> float:
        ends = make()
        return loop(ends.put)

    return round


def getting(make: Callable[[], Ends]) -> Round:
    """Single gets from a queue that has been filled."""
    fill, loop = own(put_all), own(get_all)

    def round() -> float:
        ends = make()
        fill(ends.put)
        return loop(ends.get)

    return round


def enqueue_batch() -> float:
    """Enqueues all items as one batch."""
    queue: Queue[str] = Queue("bench")
    queue.add_consumer()
    started = clock()
    queue.enqueue_batch(ITEMS)
    return (clock() - started) / len(ITEMS)


def get_batch() -> float:
    """Gets all payloads as one batch."""
    queue: Queue[str] = Queue("bench")
    consumer = queue.add_consumer()
    queue.enqueue_batch(ITEMS)
    started = clock()
    batch = consumer.get_batch(1000)
    took = clock() - started
    return took / len(batch)


def read_batch() -> float:
    """Reads all messages as one batch."""
    queue: Queue[str] = Queue("bench")
    consumer = queue.add_consumer()
    queue.enqueue_batch(ITEMS)
    started = clock()
    batch = consumer.read_batch(1000)
    took = clock() - started
    return took / len(batch)


def fan_out(consumers: int) -> Round:
    """One enqueue, then a get by each consumer: nanoseconds per delivery."""
    put_loop, get_loop = own(put_all), own(get_all)

    def round() -> float:
        queue: Queue[str] = Queue("bench")
        gets = [queue.add_consumer().get_nowait for _ in range(consumers)]
        enqueue = queue.enqueue
        started = clock()
        put_loop(enqueue)
        for get in gets:
            get_loop(get)
        return (clock() - started) / (len(ITEMS) * consumers)

    return round


def simple_fan_out(consumers: int) -> Round:
    """Fan-out by hand: a SimpleQueue for each consumer, and a put into each of them."""
    get_loop = own(get_all)

    def round() -> float:
        queues: list[SimpleQueue[str]] = [SimpleQueue() for _ in range(consumers)]
        puts, gets = [each.put for each in queues], [each.get for each in queues]
        started = clock()
        for item in ITEMS:
            for put in puts:
                put(item)
        for get in gets:
            get_loop(get)
        return (clock() - started) / (len(ITEMS) * consumers)

    return round


# Threads.


def streaming(make: Callable[[], Ends], items: Sequence[str] = STREAM) -> Round:
    """This thread puts, another gets, and both may block: nanoseconds per message, from the first put to the last get."""
    put_loop, get_loop = own(put_all), own(get_all)

    def round() -> float:
        put, get = make()
        ended = 0

        def consume() -> None:
            nonlocal ended
            get_loop(get, items)
            ended = clock()

        consumer = threading.Thread(target=consume, daemon=True)
        consumer.start()
        started = clock()
        put_loop(put, items)
        consumer.join()
        return (ended - started) / len(items)

    return round


def waking(make: Callable[[], Ends]) -> Round:
    """Two blocked threads wake each other in turn: median nanoseconds from a put until the other thread's get returns."""

    def round() -> float:
        there, back = make(), make()
        took: list[int] = []

        def answer() -> None:
            for _ in range(EXCHANGES):
                took.append(clock_since(there.get()))
                back.put(clock())

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        for _ in range(EXCHANGES):
            there.put(clock())
            took.append(clock_since(back.get()))
        answering.join()
        return statistics.median(took)

    return round


def clock_since(started: int) -> int:
    """Nanoseconds since `started`."""
    return clock() - started


# asyncio.


async def await_all(get: Callable[[], Awaitable[object]]) -> float:
    """Awaits a get for each item: nanoseconds per get."""
    started = clock()
    for _ in ITEMS:
        await get()
    return (clock() - started) / len(ITEMS)


def awaiting(make: Callable[[], Ends]) -> Round:
    """Awaits single messages from a queue that has been filled."""
    loop = own(await_all)

    async def main() -> float:
        put, get = make()
        put_all(put)
        return await loop(get)

    return lambda: asyncio.run(main())


async def from_thread(produce: Callable[[], None], consume: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """A thread produces, and this event loop consumes: nanoseconds per message, until the last one has arrived."""
    go = threading.Event()

    def wait_and_produce() -> None:
        go.wait()
        produce()

    producer = threading.Thread(target=wait_and_produce, daemon=True)
    producer.start()
    started = clock()
    go.set()
    await consume()
    took = clock() - started
    producer.join()
    return took / len(ITEMS)


def async_for() -> float:
    """Our queue: `async for` until it is closed."""
    queue: Queue[str] = Queue("bench")
    consumer = queue.add_consumer()
    enqueue = queue.enqueue

    def produce() -> None:
        for item in ITEMS:
            enqueue(item)
        queue.close()

    async def consume() -> None:
        async for _message in consumer:
            pass

    return asyncio.run(from_thread(produce, consume))


def to_loop(make: Callable[[], Ends]) -> Round:
    """A peer's queue: as many puts in the thread as gets in the event loop."""
    loop = own(await_all)

    async def main() -> float:
        put, get = make()

        def produce() -> None:
            for item in ITEMS:
                put(item)

        async def consume() -> None:
            await loop(get)

        return await from_thread(produce, consume)

    return lambda: asyncio.run(main())


# The queues, all with their defaults.


def ours() -> Ends:
    """Our queue, for single payloads without waiting."""
    queue: Queue[Any] = Queue("bench")
    return Ends(queue.enqueue, queue.add_consumer().get_nowait)


def ours_read() -> Ends:
    """Our queue, for single messages."""
    queue: Queue[Any] = Queue("bench")
    return Ends(queue.enqueue, queue.add_consumer().read)


def ours_blocking() -> Ends:
    """Our queue, for threads that may block."""
    queue: Queue[Any] = Queue("bench")
    return Ends(queue.put, queue.add_consumer().get)


def ours_async() -> Ends:
    """Our queue, for asyncio tasks."""
    queue: Queue[Any] = Queue("bench")
    return Ends(queue.enqueue, queue.add_consumer().aread)


def simple() -> Ends:
    """The standard library's fastest queue."""
    peer: SimpleQueue[Any] = SimpleQueue()
    return Ends(peer.put, peer.get)


def standard_queue() -> Ends:
    """The standard library's most common queue, written in Python."""
    peer: StandardQueue[Any] = StandardQueue()
    return Ends(peer.put, peer.get)


def asyncio_queue() -> Ends:
    """The standard library's queue for asyncio tasks."""
    peer: asyncio.Queue[Any] = asyncio.Queue()
    return Ends(peer.put_nowait, peer.get)


def janus() -> Ends:
    """For a thread that puts and a task that gets."""
    peer = importlib.import_module("janus").Queue()
    return Ends(peer.sync_q.put, peer.async_q.get)


def culsans() -> Ends:
    """For a thread that puts and a task that gets."""
    peer = importlib.import_module("culsans").Queue()
    return Ends(peer.sync_q.put, peer.async_q.get)
