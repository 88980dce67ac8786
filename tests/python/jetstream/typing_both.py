"""An application with annotations from the protocols works with either queue. mypy --strict checks this file; it is not run."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from typing import Any, assert_type
from uuid import UUID

from mpmc_queue import Consumer, ConsumerGroup, Message, Queue, QueueStats, jetstream
from mpmc_queue.dashboard import app, serve
from mpmc_queue.metrics import QueueCollector, instrument
from mpmc_queue.protocols import (
    AsyncConsumer,
    AsyncGroup,
    AsyncMessage,
    AsyncQueue,
    AsyncQueueStats,
    SyncConsumer,
    SyncGroup,
    SyncQueue,
    answer,
)


class Order:
    """What the application's codec encodes and decodes."""


class OrderCodec:
    def encode(self, payload: Order) -> tuple[bytes, str | None]:
        return b"", None

    def decode(self, data: bytes, content_type: str | None) -> Order:
        return Order()


async def application(queue: AsyncQueue[Order], order: Order) -> None:
    consumer = queue.add_consumer("billing", start="earliest", on_missed="raise")
    assert_type(consumer, AsyncConsumer[Order])
    assert_type(await queue.aenqueue(order, ttl=timedelta(seconds=5), timeout=1), int)
    assert_type(await queue.aenqueue_batch([order]), Sequence[int])
    assert_type(await queue.aenqueue(order, topic="eu.new"), int)
    assert_type(await queue.aenqueue_batch([order], topic="eu.new"), Sequence[int])
    assert_type(queue.add_consumer(topics="eu.>").topics, Sequence[str] | None)
    queue.add_group("eu", topics=["eu.new", "eu.old"])
    assert_type(await consumer.aread(timeout=0), AsyncMessage[Order] | None)
    assert_type(await consumer.aread_batch(10), Sequence[AsyncMessage[Order]])
    assert_type(await consumer.aread_batch(10, linger=0.1, max_bytes=1000), Sequence[AsyncMessage[Order]])
    assert_type(await consumer.aread_latest(timeout=1), AsyncMessage[Order] | None)
    assert_type(await consumer.aget(), Order)
    assert_type(await consumer.aget(timeout=1), Order)
    assert_type(await consumer.aget_batch(10, linger=0.1), Sequence[Order])
    assert_type(await answer(consumer.unread_count), int)
    assert_type(await answer(queue.stats()), AsyncQueueStats)
    assert_type(await consumer.atake_missed(timeout=1), int)
    consumer.seek(3)
    consumer.unread_count + 1  # type: ignore[operator]  # a server has to be asked
    group = queue.add_group("workers", ack_wait=30, max_deliver=3, backoff=[1, 2], max_ack_pending=10)
    assert_type(group, AsyncGroup[Order])
    assert_type(await answer(group.pending_count), int)
    async for message in group.add_consumer():
        assert_type(message.payload, Order)
        assert_type(message.id, UUID)
        assert_type(message.topic, str | None)
        message.in_progress()
        message.nack(1.5)
        message.term()
        message.ack()
    consumer.close()
    group.close()
    assert_type(await answer(queue.close()), None)


async def here(order: Order) -> None:
    queue: Queue[Order] = Queue("orders")
    await application(queue, order)


async def over_jetstream(order: Order) -> None:
    queue = await jetstream.connect("nats://localhost:4222", "orders", codec=OrderCodec())
    assert_type(queue, jetstream.Queue[Order])
    await application(queue, order)
    await queue.aenqueue("text")  # type: ignore[arg-type]
    anything = await jetstream.connect(["nats://a:4222", "nats://b:4222"], "orders", codec="json", replicas=3)
    assert_type(anything, jetstream.Queue[Any])
    await jetstream.connect("nats://a:4222", "orders", codec="pickle")  # type: ignore[call-overload]
    await jetstream.connect("nats://a:4222", "orders", sizer=len)  # type: ignore[call-overload]


def parts_here(
    message: Message[Order], consumer: Consumer[Order], group: ConsumerGroup[Order], stats: QueueStats
) -> tuple[AsyncMessage[Order], AsyncConsumer[Order], AsyncGroup[Order], AsyncQueueStats]:
    return message, consumer, group, stats


def parts_over_jetstream(
    message: jetstream.Message[Order],
    consumer: jetstream.Consumer[Order],
    member: jetstream.Member[Order],
    group: jetstream.Group[Order],
    stats: jetstream.QueueStats,
) -> tuple[AsyncMessage[Order], AsyncConsumer[Order], AsyncConsumer[Order], AsyncGroup[Order], AsyncQueueStats]:
    return message, consumer, member, group, stats


async def only_over_jetstream(queue: jetstream.Queue[Order], order: Order, id: UUID) -> None:
    consumer = await queue.add_consumer("billing")
    assert_type(consumer, jetstream.Consumer[Order])
    assert_type(await queue.add_group("workers"), jetstream.Group[Order])
    assert_type(await queue.aenqueue(order, id=id), int)
    assert_type(await queue.aenqueue_batch([order], atomic=False), Sequence[int])
    unread: Awaitable[int] = consumer.unread_count
    assert_type(await unread, int)
    assert_type(await queue.stats(), jetstream.QueueStats)
    assert_type(await consumer.peek(), jetstream.Message[Order] | None)
    assert_type(await queue.aenqueue(order, headers={"tenant": "acme"}), int)
    theirs = await jetstream.connect("nats://a:4222", "orders", codec=OrderCodec(), create=False, subject="orders")
    assert_type(theirs, jetstream.Queue[Order])
    await jetstream.connect("nats://a:4222", "orders", max_bytes=None, compression="s2", placement={"tags": ["ssd"]})
    consumer = theirs.add_consumer("billing", create=False)
    assert_type(consumer.topics, tuple[str, ...] | None)
    theirs.add_group("workers", inactive_threshold=timedelta(days=1), replicas=3, storage="memory")
    async for message in theirs.add_group("them", create=False).add_consumer():
        assert_type(message.headers, Mapping[str, str])
        assert_type(await message.ack(confirm=True), None)
        message.ack()
    async with queue as same:
        assert_type(same, jetstream.Queue[Order])
    await queue.wait_closed()


def application_of_threads(queue: SyncQueue[Order], order: Order) -> None:
    consumer = queue.add_consumer("billing", start="earliest", on_missed=lambda count: print(count))
    assert_type(consumer, SyncConsumer[Order])
    assert_type(queue.enqueue(order, ttl=timedelta(seconds=5), timeout=1), int)
    assert_type(queue.enqueue_batch([order]), Sequence[int])
    queue.put(order, True, 1.0)
    queue.put_nowait(order)
    assert_type(consumer.read(), AsyncMessage[Order] | None)
    assert_type(consumer.read_batch(10, timeout=1, linger=0.1, max_bytes=1000), Sequence[AsyncMessage[Order]])
    assert_type(consumer.read_latest(timeout=1), AsyncMessage[Order] | None)
    assert_type(consumer.get(False), Order)
    assert_type(consumer.get_nowait(), Order)
    assert_type(consumer.get_batch(10), Sequence[Order])
    assert_type(consumer.peek(), AsyncMessage[Order] | None)
    assert_type(consumer.unread_count + consumer.position + consumer.missed_count + consumer.take_missed(), int)
    assert_type(queue.stats(), AsyncQueueStats)
    consumer.seek(3)
    group = queue.add_group("workers", ack_wait=30, max_deliver=3, backoff=[1, 2], max_ack_pending=10)
    assert_type(group, SyncGroup[Order])
    assert_type(group.pending_count + group.unread_count, int)
    with group, group.add_consumer() as member:
        for message in member:
            assert_type(message.payload, Order)
            message.ack()
    with queue as same:
        same.close(immediate=True)


def threads_here(order: Order) -> None:
    queue: Queue[Order] = Queue("orders")
    application_of_threads(queue, order)


def threads_over_jetstream(order: Order) -> None:
    queue = jetstream.connect_sync("nats://localhost:4222", "orders", codec=OrderCodec(), ttl=60, max_bytes=1000)
    assert_type(queue, jetstream.SyncQueue[Order])
    application_of_threads(queue, order)
    queue.enqueue("text")  # type: ignore[arg-type]
    assert_type(jetstream.connect_sync("nats://a:4222", "orders", codec="json"), jetstream.SyncQueue[Any])
    jetstream.connect_sync("nats://a:4222", "orders", codec="pickle")  # type: ignore[call-overload]
    jetstream.connect_sync("nats://a:4222", "orders", sizer=len)  # type: ignore[call-overload]
    consumer = queue.add_consumer()
    assert_type(jetstream.wait_any([consumer], timeout=timedelta(seconds=1)), list[jetstream.SyncConsumer[Order]])
    assert_type(consumer.stats(), jetstream.ConsumerStats)


def a_server_of_ones_own(directory: str) -> None:
    with jetstream.local(directory) as server:
        assert_type(server, jetstream.LocalServer)
        assert_type(server.url, str)


def parts_of_threads(
    consumer: jetstream.SyncConsumer[Order], member: jetstream.SyncMember[Order], group: jetstream.SyncGroup[Order]
) -> tuple[SyncConsumer[Order], SyncConsumer[Order], SyncGroup[Order]]:
    return consumer, member, group


def parts_of_threads_here(
    consumer: Consumer[Order], group: ConsumerGroup[Order]
) -> tuple[SyncConsumer[Order], SyncGroup[Order]]:
    return consumer, group


async def waiting_for_several(consumer: jetstream.Consumer[Order], group: jetstream.Group[Order]) -> None:
    assert_type(await jetstream.await_any([consumer], timeout=1), list[jetstream.Consumer[Order]])
    assert_type(await group.stats(), jetstream.GroupStats)


def watching(here: Queue[Order], loop: jetstream.Queue[Order], threads: jetstream.SyncQueue[Order]) -> None:
    collector = QueueCollector([here, loop, threads])
    collector.add(loop)
    collector.add(here.add_consumer())  # type: ignore[arg-type]
    instrument(threads).add(loop)
    with serve(loop) as server:
        server.discard(threads)
    app([here, loop]).add(threads)
