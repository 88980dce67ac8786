"""Every operation of the package, a few hundred times: what `make valgrind` watches.

Small numbers, since everything takes fifty times as long there; threads, tasks and the garbage collector all come by.
"""

import asyncio
import contextlib
import gc
import sys
import threading
import weakref

import mpmc_queue
from mpmc_queue import Queue

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


class Payload:
    def __init__(self, value):
        self.value = value


class Slotted:
    __slots__ = ("__weakref__", "value")


def payloads(count):
    """One of each kind, in turn."""
    kinds = [
        lambda n: n,
        lambda n: "text" * n,
        lambda n: b"bytes" * n,
        lambda n: 1.5 * n,
        lambda n: [n, [n]],
        lambda n: {"key": n, n: (n,)},
        lambda n: {n, str(n)},
        lambda n: bytearray(n),
        lambda n: memoryview(bytes(n)),
        Payload,
        lambda n: Slotted(),
        lambda n: None,
    ]
    return [kinds[n % len(kinds)](n) for n in range(count)]


def messages():
    """Made and freed by hand: with a weak reference, in a cycle, in a chain, with a receipt; and looked at all over."""
    queue = Queue("messages", ttl=None)
    consumer = queue.add_consumer()
    for payload in payloads(300):
        queue.enqueue(payload)
        message = consumer.read()
        gone = weakref.ref(message, lambda _: None)
        assert (message.payload is payload, message.seq, message.missed, message.deliveries) == (True, gone().seq, 0, 1)
        for look in (repr, hash, lambda m: (m.id, m.created, m.size, m.created_ns, m.events)):
            assert look(message) == look(message)
        assert message == message
        if isinstance(payload, Payload):
            payload.message = message  # a cycle
        del message
    queue.enqueue(None)
    message = consumer.read()
    for _ in range(200):
        queue.enqueue(message)
        message = consumer.read()
    del message
    queue.enqueue([1])
    assert consumer.peek().payload == [1]
    gc.collect()


def single():
    for options in (
        {},
        {"audit": False, "ttl": None},
        {"overflow": "drop_oldest", "max_items": 1500},
        {"retention": "interest"},
        {"sizer": lambda payload: 7},
    ):
        queue = Queue("single", **options)
        early, late = queue.add_consumer("early"), queue.add_consumer(start="latest", on_missed="raise")
        for payload in payloads(120):
            queue.enqueue(payload)
            queue.put(payload)
            early.get(timeout=0)
        queue.enqueue_batch(payloads(1100))
        queue.enqueue_batch((payload for payload in payloads(30)), ttl=10)
        queue.enqueue("own", ttl=0.0001)
        with contextlib.suppress(mpmc_queue.MessagesMissedError):
            late.read()
        early.read_batch(500)
        early.get_batch(500)
        early.read_where(lambda message: message.seq % 100 == 99)
        early.seek("earliest")
        early.seek(queue.stats().next_seq)
        assert queue.force_expiration() >= 0
        queue.ttl, queue.max_bytes, queue.max_items = 0.0001, 10_000, 5
        queue.force_expiration()
        with contextlib.suppress(mpmc_queue.QueueFullError):
            queue.enqueue(bytes(20_000))
        with contextlib.suppress(mpmc_queue.QueueFullError):
            queue.enqueue_batch(range(10))
        assert early.missed_count == early.stats().missed_items
        assert late.take_missed() <= late.stats().missed_items
        assert len(early.history()) <= early.stats().total_items_read
        assert len(queue) == queue.stats().total_items
        assert repr(queue)
        early.close()
        queue.close(immediate=True)
        with contextlib.suppress(mpmc_queue.QueueClosedError):
            queue.enqueue(1)


def groups():
    dead = Queue("dead", max_items=3)
    queue = Queue("groups", retention="interest")
    group = queue.add_group("g", ack_wait=10, max_deliver=2, dead_letter=dead, max_ack_pending=20)
    members = [group.add_consumer() for _ in range(2)]
    for n in range(100):
        queue.enqueue(Payload(n))
        message = members[n % 2].read()
        if message is None:
            continue
        [message.ack, message.nack, message.term, message.in_progress][n % 4]()
        with contextlib.suppress(RuntimeError, ValueError, mpmc_queue.QueueError):
            message.ack()
            message.ack()
    members[0].close()
    assert members[1].read_batch(5) is not None
    group.close()


def threads():
    queue = Queue("threads", ttl=0.05, max_items=40)
    consumers = [queue.add_consumer() for _ in range(2)]

    def produce():
        for payload in payloads(100):
            with contextlib.suppress(mpmc_queue.QueueFullError):
                queue.enqueue(payload, timeout=0.02)

    def consume(consumer):
        with contextlib.suppress(mpmc_queue.QueueClosedError):
            while True:
                consumer.read(timeout=None)

    makers = [threading.Thread(target=produce) for _ in range(2)]
    takers = [threading.Thread(target=consume, args=(consumer,)) for consumer in consumers]
    for thread in makers + takers:
        thread.start()
    for thread in makers:
        thread.join()
    queue.join(timeout=10)
    queue.close()
    for thread in takers:
        thread.join()


async def tasks():
    queue = Queue("tasks", max_items=5, retention="interest")
    consumer = queue.add_consumer()

    async def produce():
        for payload in payloads(60):
            await queue.aenqueue(payload)

    async def consume():
        return [message.payload async for message in consumer]

    consuming = asyncio.create_task(consume())
    await asyncio.gather(produce(), produce())
    await queue.ajoin()
    waiting = asyncio.create_task(queue.add_consumer(start="latest").aread())
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    queue.close()
    assert len(await consuming) == 120


for _ in range(ROUNDS):
    messages()
    single()
    groups()
    threads()
    asyncio.run(tasks())
    gc.collect()
print("done")
