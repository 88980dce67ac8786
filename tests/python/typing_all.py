"""Uses every public name as a program would. mypy --strict reads this file; nothing runs it."""

import pickle
import queue as stdlib_queue
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type
from uuid import UUID

import mpmc_queue
from mpmc_queue import (
    CHUNK_SIZE,
    DEFAULT_MAX_BYTES,
    DEFAULT_TTL,
    Consumer,
    ConsumerClosedError,
    ConsumerGroup,
    ConsumerStats,
    Event,
    GroupStats,
    ItemLimitError,
    MemoryLimitError,
    Message,
    MessagesMissedError,
    Queue,
    QueueClosedError,
    QueueError,
    QueueFullError,
    QueueStats,
    Start,
    __version__,
    await_any,
    estimate_size,
    register_sizer,
    wait_any,
)


def constants() -> None:
    chunk: int = CHUNK_SIZE
    ttl: float = DEFAULT_TTL
    limit: int = DEFAULT_MAX_BYTES
    version: str = __version__
    print(chunk, ttl, limit, version, mpmc_queue.__version__)


def making() -> None:
    plain: Queue[str] = Queue("plain")
    timed: Queue[bytes] = Queue("timed", ttl=timedelta(minutes=1), max_bytes=1 << 20, max_items=10, audit=False)
    endless: Queue[object] = Queue("endless", ttl=None, max_items=None)
    shared: Queue[int] = Queue("shared", retention="interest", overflow="drop_oldest")
    kept: Queue[int] = Queue("kept", retention="limits", overflow="reject")
    Queue("wrong", retention="read")  # type: ignore[arg-type]
    Queue("wrong", overflow="block")  # type: ignore[arg-type]
    sized = Queue("sized", sizer=size_of)
    assert_type(sized, Queue[str])
    assert_type(plain.name, str)
    print(timed, endless, shared, kept)


def size_of(text: str) -> int:
    return len(text)


def producing(queue: Queue[str]) -> None:
    assert_type(queue.enqueue("a"), int)
    assert_type(queue.enqueue("a", timeout=None), int)
    assert_type(queue.enqueue("a", ttl=2.5), int)
    assert_type(queue.enqueue("a", ttl=timedelta(days=1), timeout=1), int)
    assert_type(queue.enqueue("a", ttl=None), int)
    assert_type(queue.enqueue("a", topic="orders.new"), int)
    assert_type(queue.enqueue_batch("ab", topic=None), range)
    queue.enqueue("a", topic=1)  # type: ignore[arg-type]
    assert_type(queue.enqueue_batch(["a", "b"]), range)
    assert_type(queue.enqueue_batch((letter for letter in "ab"), timeout=1), range)
    assert_type(queue.enqueue_batch("ab", ttl=60), range)
    assert_type(queue.enqueue_batch("ab", ttl=None, timeout=None), range)
    queue.put("a")
    queue.put("a", False)
    queue.put("a", block=True, timeout=1.5)
    queue.put_nowait("a")
    queue.enqueue(1)  # type: ignore[arg-type]


async def producing_from_a_loop(queue: Queue[str]) -> None:
    assert_type(await queue.aenqueue("a"), int)
    assert_type(await queue.aenqueue("a", ttl=timedelta(seconds=1), timeout=0), int)
    assert_type(await queue.aenqueue("a", topic="orders.new"), int)
    assert_type(await queue.aenqueue_batch("ab", topic="orders.new"), range)
    assert_type(await queue.aenqueue_batch(["a", "b"]), range)
    assert_type(await queue.aenqueue_batch("ab", ttl=None, timeout=1.5), range)
    assert_type(await queue.ajoin(), bool)
    assert_type(await queue.ajoin(timeout=1.5), bool)
    await queue.aenqueue(1)  # type: ignore[arg-type]


def consumers(queue: Queue[str], start: Start) -> None:
    consumer = queue.add_consumer()
    assert_type(consumer, Consumer[str])
    queue.add_consumer("named", start="latest", on_missed="raise")
    queue.add_consumer(start=17, on_missed=print)
    queue.add_consumer(start=datetime.now(UTC), on_missed="skip")
    queue.add_consumer(start=start)
    queue.add_consumer(start="middle")  # type: ignore[arg-type]
    assert_type(queue.add_consumer(topics="orders.>").topics, tuple[str, ...] | None)
    queue.add_consumer(topics=["orders.>", "news"])
    queue.add_consumer(topics=1)  # type: ignore[arg-type]
    queue.add_group("some", topics={"orders.*"})
    assert_type(queue.get_consumer(consumer.id), Consumer[str] | None)
    assert_type(queue.get_consumer(str(consumer.id)), Consumer[str] | None)
    assert_type(queue.consumers, tuple[Consumer[str], ...])
    assert_type(queue.remove_consumer(consumer), bool)
    assert_type(queue.remove_consumer(consumer.id), bool)
    assert_type(queue.remove_consumer(str(consumer.id)), bool)


def groups(queue: Queue[str], start: Start, dead: Queue[str], other: Queue[int]) -> None:
    group = queue.add_group("plain")
    assert_type(group, ConsumerGroup[str])
    queue.add_group("acking", start="latest", ack_wait=30, max_deliver=3, backoff=[0.1, 1, 10], max_ack_pending=100)
    queue.add_group("burying", start=start, ack_wait=timedelta(minutes=1), backoff=(1, 2), dead_letter=dead)
    queue.add_group("bare", ack_wait=None, max_deliver=None, backoff=None, max_ack_pending=None, dead_letter=None)
    queue.add_group("wrong", dead_letter=other)  # type: ignore[arg-type]
    assert_type(queue.get_group("plain"), ConsumerGroup[str] | None)


def about_a_group(group: ConsumerGroup[str]) -> None:
    assert_type(group.name, str)
    assert_type(group.queue, Queue[str])
    assert_type(group.members, tuple[Consumer[str], ...])
    assert_type(group.pending_count, int)
    assert_type(group.unread_count, int)
    assert_type(group.missed_count, int)
    assert_type(group.stats(), GroupStats)
    assert_type(group.add_consumer(), Consumer[str])
    member = group.add_consumer(name="one")
    assert_type(member.group, ConsumerGroup[str] | None)
    group.close()
    with group as same:
        assert_type(same, ConsumerGroup[str])


def expiration(queue: Queue[str]) -> None:
    assert_type(queue.ttl, float | None)
    queue.ttl = 10
    queue.ttl = timedelta(hours=1)
    queue.ttl = None
    assert_type(queue.expiration_enabled, bool)
    queue.enable_expiration()
    queue.disable_expiration()
    assert_type(queue.force_expiration(), int)


def limits(queue: Queue[str]) -> None:
    assert_type(queue.max_bytes, int)
    assert_type(queue.max_items, int | None)
    queue.max_bytes = 1000
    queue.max_items = 10
    queue.max_items = None
    queue.name = "other"  # type: ignore[misc]


def looking(queue: Queue[str]) -> None:
    assert_type(queue.stats(), QueueStats)
    assert_type(queue.consumer_stats(), list[ConsumerStats])
    assert_type(queue.group_stats(), list[GroupStats])
    assert_type(queue.is_empty(), bool)
    assert_type(queue.memory_usage, int)
    assert_type(queue.closed, bool)
    assert_type(queue.created_at, datetime)
    assert_type(len(queue), int)
    assert_type(bool(queue), bool)


def ending(queue: Queue[str]) -> None:
    assert_type(queue.join(), bool)
    assert_type(queue.join(1.5), bool)
    assert_type(queue.join(timeout=0), bool)
    queue.close()
    queue.close(immediate=True)
    queue.shutdown()
    queue.shutdown(True)
    queue.shutdown(immediate=False)
    with queue as same:
        assert_type(same, Queue[str])


def reading(consumer: Consumer[str]) -> None:
    assert_type(consumer.read(), Message[str] | None)
    assert_type(consumer.read(timeout=None), Message[str] | None)
    assert_type(consumer.read_batch(10), list[Message[str]])
    assert_type(consumer.read_batch(limit=10, timeout=1.0), list[Message[str]])
    assert_type(consumer.read_where(lambda message: message.payload.startswith("a")), Message[str] | None)
    assert_type(consumer.read_where(is_late, timeout=1.0), Message[str] | None)
    assert_type(consumer.peek(), Message[str] | None)
    assert_type(consumer.get(), str)
    assert_type(consumer.get(False), str)
    assert_type(consumer.get(block=True, timeout=1.0), str)
    assert_type(consumer.get_nowait(), str)
    assert_type(consumer.get_batch(10), list[str])
    assert_type(consumer.get_batch(10, timeout=None), list[str])
    assert_type(consumer.get_batch(10, linger=0.05, max_bytes=1000), list[str])
    assert_type(consumer.read_batch(10, linger=1, max_bytes=None), list[Message[str]])
    assert_type(consumer.read_latest(), Message[str] | None)
    assert_type(consumer.read_latest(timeout=None), Message[str] | None)
    assert_type(iter(consumer), Iterator[Message[str]])
    assert_type(next(consumer), Message[str])
    for message in consumer:
        assert_type(message, Message[str])


async def reading_from_a_loop(consumer: Consumer[str]) -> None:
    assert_type(await consumer.aread(), Message[str] | None)
    assert_type(await consumer.aread(timeout=1.5), Message[str] | None)
    assert_type(await consumer.aread_batch(10), list[Message[str]])
    assert_type(await consumer.aread_batch(limit=10, timeout=0), list[Message[str]])
    assert_type(await consumer.aread_batch(10, linger=0.05, max_bytes=1000), list[Message[str]])
    assert_type(await consumer.aread_latest(), Message[str] | None)
    assert_type(await consumer.aread_latest(timeout=1), Message[str] | None)
    assert_type(await consumer.aget(), str)
    assert_type(await consumer.aget(timeout=1), str)
    assert_type(await consumer.aget_batch(10), list[str])
    assert_type(await consumer.aget_batch(10, timeout=1, linger=0.05, max_bytes=None), list[str])
    assert_type(await consumer.atake_missed(), int)
    assert_type(await consumer.atake_missed(timeout=None), int)
    assert_type(aiter(consumer), AsyncIterator[Message[str]])
    assert_type(await anext(consumer), Message[str])
    async for message in consumer:
        assert_type(message, Message[str])


def ephemeral(queue: Queue[str], group: ConsumerGroup[str]) -> None:
    assert_type(queue.add_consumer(ephemeral=True), Consumer[str])
    assert_type(group.add_consumer(ephemeral=True), Consumer[str])


def order(queue: Queue[str], consumer: Consumer[str], group: ConsumerGroup[str]) -> None:
    assert_type(queue.add_consumer(after=[consumer, group]), Consumer[str])
    assert_type(queue.add_group("after", after=(consumer,)), ConsumerGroup[str])
    assert_type(queue.add_group("all", dead_letter=queue, dead_letter_missed=True), ConsumerGroup[str])


async def several(one: Consumer[str], other: Consumer[int]) -> None:
    assert_type(wait_any([one, other]), list[Consumer[Any]])
    assert_type(wait_any((one, other), timeout=1), list[Consumer[Any]])
    assert_type(await await_any([one, other], timeout=None), list[Consumer[Any]])


async def in_blocks(queue: Queue[str], consumer: Consumer[str], group: ConsumerGroup[str]) -> None:
    async with queue as same_queue:
        assert_type(same_queue, Queue[str])
    async with consumer as same_consumer:
        assert_type(same_consumer, Consumer[str])
    async with group as same_group:
        assert_type(same_group, ConsumerGroup[str])


def is_late(message: Message[object]) -> bool:
    return message.missed > 0


def position(consumer: Consumer[str], start: Start) -> None:
    assert_type(consumer.position, int)
    assert_type(consumer.unread_count, int)
    assert_type(consumer.has_more_data(), bool)
    consumer.seek("earliest")
    consumer.seek(0)
    consumer.seek(to=datetime.now(UTC))
    consumer.seek(start)


def about_a_consumer(consumer: Consumer[str]) -> None:
    assert_type(consumer.id, UUID)
    assert_type(consumer.name, str | None)
    assert_type(consumer.queue, Queue[str])
    assert_type(consumer.group, ConsumerGroup[str] | None)
    assert_type(consumer.missed_count, int)
    assert_type(consumer.take_missed(), int)
    assert_type(consumer.take_missed(timeout=None), int)
    assert_type(consumer.history(), list[tuple[int, datetime]])
    assert_type(consumer.history(10), list[tuple[int, datetime]])
    assert_type(consumer.history(limit=None), list[tuple[int, datetime]])
    assert_type(consumer.stats(), ConsumerStats)
    consumer.close()
    with consumer as same:
        assert_type(same, Consumer[str])


def messages(message: Message[str]) -> None:
    assert_type(message.id, UUID)
    assert_type(message.seq, int)
    assert_type(message.payload, str)
    assert_type(message.size, int)
    assert_type(message.topic, str | None)
    assert_type(message.created, datetime)
    assert_type(message.created_ns, int)
    assert_type(message.events, list[Event])
    assert_type(message.missed, int)
    assert_type(message.deliveries, int)
    wider: Message[object] = message  # immutable, so a message of str is one of object
    message.seq = 1  # type: ignore[misc]
    print(wider)


def settling(message: Message[str]) -> None:
    assert_type(message.in_progress(), bool)
    assert_type(message.nack(), bool)
    assert_type(message.nack(1.5), bool)
    assert_type(message.nack(delay=0), bool)
    assert_type(message.term(), bool)
    assert_type(message.ack(), bool)


def events(event: Event) -> None:
    assert_type(event.kind, Literal["enqueue", "dequeue"])
    assert_type(event.timestamp, datetime)
    assert_type(event.queue, str)
    assert_type(event.consumer_id, UUID | None)


def queue_stats(stats: QueueStats) -> None:
    assert_type(stats.name, str)
    assert_type(stats.total_items, int)
    assert_type(stats.memory_usage, int)
    assert_type(stats.memory_percent, float)
    assert_type(stats.max_bytes, int)
    assert_type(stats.max_items, int | None)
    assert_type(stats.audit_bytes, int)
    assert_type(stats.audit_complete, bool)
    assert_type(stats.consumer_count, int)
    assert_type(stats.created_at, datetime)
    assert_type(stats.ttl, float | None)
    assert_type(stats.enqueued, int)
    assert_type(stats.expired, int)
    assert_type(stats.dropped, int)
    assert_type(stats.rejected, int)
    assert_type(stats.first_seq, int)
    assert_type(stats.next_seq, int)


def consumer_stats(stats: ConsumerStats) -> None:
    assert_type(stats.id, UUID)
    assert_type(stats.name, str | None)
    assert_type(stats.group, str | None)
    assert_type(stats.total_items_read, int)
    assert_type(stats.passed_items, int)
    assert_type(stats.topics, tuple[str, ...] | None)
    assert_type(stats.filtered_items, int)
    assert_type(stats.unread_items, int)
    assert_type(stats.unread_bytes, int)
    assert_type(stats.lag, float)
    assert_type(stats.missed_items, int)
    assert_type(stats.dropped_items, int)
    assert_type(stats.last_read_time, datetime | None)


def group_stats(stats: GroupStats) -> None:
    assert_type(stats.name, str)
    assert_type(stats.member_count, int)
    assert_type(stats.total_items_read, int)
    assert_type(stats.unread_items, int)
    assert_type(stats.unread_bytes, int)
    assert_type(stats.lag, float)
    assert_type(stats.pending_items, int)
    assert_type(stats.missed_items, int)
    assert_type(stats.dropped_items, int)
    assert_type(stats.undeliverable_items, int)
    assert_type(stats.refused_dead_letters, int)
    assert_type(stats.topics, tuple[str, ...] | None)
    assert_type(stats.filtered_items, int)
    assert_type(stats.redelivered_items, int)
    assert_type(stats.dead_lettered_items, int)


def errors(call: Callable[[], None]) -> None:
    try:
        call()
    except MemoryLimitError as error:
        assert_type(error.needed, int)
        assert_type(error.ahead, int)
        assert_type(error.queue, str | None)
    except ItemLimitError as error:
        assert_type(error.current, int)
    except QueueFullError as error:
        assert_type(error.max, int)
        full: stdlib_queue.Full = error
        print(full)
    except MessagesMissedError as error:
        assert_type(error.count, int)
    except (QueueClosedError, ConsumerClosedError) as error:
        assert_type(error.message, str)
    except QueueError as error:
        assert_type(error.message, str)
    print(pickle.dumps(QueueError("words")))
    print(MemoryLimitError(1, 2, 3), ItemLimitError(current=1, max=2, needed=3), MessagesMissedError(count=1))
    print(QueueClosedError("words"), ConsumerClosedError("words"))

    assert_type(estimate_size("words"), int)
    register_sizer(bytearray, len)
    register_sizer(bytearray, None)
