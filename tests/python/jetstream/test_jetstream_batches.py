"""Batches with linger, the latest message, payloads with a timeout, `await_any`: the same in this process and over a server."""

import asyncio
import time
from datetime import timedelta
from queue import Empty

import pytest

import mpmc_queue
from helpers import PATIENCE
from mpmc_queue import MessagesMissedError, QueueClosedError, QueueError, jetstream
from mpmc_queue.protocols import answer

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


def payloads(messages):
    return [message.payload for message in messages]


async def until_it_waits(task):
    """Gives the task time to start waiting. (A wait cannot be observed from outside; only a task that ends too early can.)"""
    await asyncio.sleep(0.2)
    assert not task.done()


def reader_of(kind, queue):
    """A consumer, or a member of a group with or without acknowledgements."""
    if kind == "consumer":
        return queue.add_consumer()
    return queue.add_group("workers", ack_wait=30 if kind == "acking member" else None).add_consumer()


def with_every_reader(test):
    """Runs `async def test(queue, reader)` with each kind of reader, in this process and over a server."""

    @pytest.mark.parametrize("kind", ["consumer", "member", "acking member"])
    def run_test(run, kind):
        async def main(place):
            queue = await place.queue()
            await test(queue, reader_of(kind, queue))

        run(main)

    return run_test


@with_every_reader
async def test_a_batch_waits_until_it_is_full(queue, reader):
    await queue.aenqueue("a")
    batch = asyncio.create_task(reader.aread_batch(3, linger=PATIENCE))
    await until_it_waits(batch)
    await queue.aenqueue("b")
    await until_it_waits(batch)
    await queue.aenqueue("c")
    assert payloads(await asyncio.wait_for(batch, PATIENCE / 2)) == ["a", "b", "c"]


@with_every_reader
async def test_a_batch_that_does_not_fill_ends_with_linger(queue, reader):
    await queue.aenqueue_batch(["a", "b"])
    before = time.monotonic()
    assert await reader.aget_batch(3, linger=0.3) == ["a", "b"]
    assert 0.3 <= time.monotonic() - before < PATIENCE / 2


@with_every_reader
async def test_linger_begins_with_the_first_message(queue, reader):
    assert await reader.aread_batch(3, timeout=0.1, linger=PATIENCE) == []


@with_every_reader
async def test_closing_ends_linger(queue, reader):
    await queue.aenqueue("a")
    batch = asyncio.create_task(reader.aread_batch(3, linger=PATIENCE))
    await until_it_waits(batch)
    queue.close()
    assert payloads(await asyncio.wait_for(batch, PATIENCE / 2)) == ["a"]


@with_every_reader
async def test_a_batch_has_no_more_bytes_than_max_bytes(queue, reader):
    size = mpmc_queue.estimate_size(b"x" * 1000) if isinstance(queue, mpmc_queue.Queue) else 1000
    await queue.aenqueue_batch([bytes([number]) * 1000 for number in range(5)])
    sizes = []
    while sum(sizes) < 5:
        batch = await reader.aget_batch(10, timeout=PATIENCE, max_bytes=2 * size + size // 2)
        sizes.append(len(batch))
    assert max(sizes) == 2
    assert sum(sizes) == 5


@with_every_reader
async def test_a_batch_has_at_least_one_message(queue, reader):
    await queue.aenqueue_batch(["x" * 1000, "y"])
    assert await reader.aget_batch(10, timeout=PATIENCE, max_bytes=1) == ["x" * 1000]
    assert await reader.aget_batch(10, timeout=PATIENCE, max_bytes=1) == ["y"]


@with_every_reader
async def test_cancelling_a_batch_that_waits_to_fill_takes_nothing(queue, reader):
    await queue.aenqueue("a")
    batch = asyncio.create_task(reader.aread_batch(3, linger=PATIENCE))
    await until_it_waits(batch)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert await reader.aget(timeout=PATIENCE) == "a"


def test_a_batch_larger_than_prefetch_fills_too(run_remote):
    async def test(place):
        queue = await place.queue(prefetch=2)
        reader = queue.add_consumer()
        await queue.aenqueue_batch(list(range(9)))
        batch = asyncio.create_task(reader.aread_batch(10, linger=PATIENCE))
        await until_it_waits(batch)
        await queue.aenqueue(9)
        assert payloads(await asyncio.wait_for(batch, PATIENCE / 2)) == list(range(10))

    run_remote(test)


@pytest.mark.parametrize(
    ("options", "error"), [({"linger": None}, TypeError), ({"linger": -1}, ValueError), ({"max_bytes": 0}, ValueError)]
)
def test_a_bad_argument_is_named(run, options, error):
    async def test(place):
        reader = (await place.queue()).add_consumer()
        with pytest.raises(error, match=next(iter(options))):
            await reader.aread_batch(1, timeout=0, **options)

    run(test)


def test_aget_raises_empty_after_the_timeout(run):
    async def test(place):
        queue = await place.queue()
        reader = queue.add_consumer()
        member = queue.add_group("workers").add_consumer()
        for each in (reader, member):
            with pytest.raises(Empty):
                await each.aget(timeout=0.1)
            with pytest.raises(Empty):
                await each.aget(timeout=0)
        await queue.aenqueue("a")
        assert await reader.aget(timeout=PATIENCE) == "a"
        assert await member.aget(timeout=PATIENCE) == "a"

    run(test)


def test_a_timeout_may_be_a_timedelta(run_remote):
    async def test(place):
        queue = await place.queue()
        reader = queue.add_consumer()
        short = timedelta(milliseconds=50)
        assert await reader.aread(timeout=short) is None
        assert await reader.aread_batch(2, timeout=short, linger=short) == []
        with pytest.raises(Empty):
            await reader.aget(timeout=short)
        assert await jetstream.await_any([reader], timeout=short) == []

    run_remote(test)


@pytest.mark.parametrize("count", [1, 3, 900])
def test_reading_the_latest_skips_older_messages(run, count):
    async def test(place):
        queue = await place.queue(max_bytes=10_000_000)
        reader = queue.add_consumer()
        await queue.aenqueue_batch(list(range(count)))
        assert (await reader.aread_latest(timeout=PATIENCE)).payload == count - 1
        assert await reader.aread_latest(timeout=0) is None
        assert (await answer(reader.stats())).total_items_read == count
        await queue.aenqueue("next")
        assert await reader.aget(timeout=PATIENCE) == "next"

    run(test)


def test_reading_the_latest_waits_for_a_message(run):
    async def test(place):
        queue = await place.queue()
        reader = queue.add_consumer()
        assert await reader.aread_latest(timeout=0.1) is None
        newest = asyncio.create_task(reader.aread_latest())
        await until_it_waits(newest)
        await queue.aenqueue("a")
        assert (await asyncio.wait_for(newest, PATIENCE)).payload == "a"

    run(test)


def test_the_latest_message_reports_what_was_missed(run):
    async def test(place):
        queue = await place.queue(max_items=2, overflow="drop_oldest")
        reader = queue.add_consumer()
        for number in range(5):
            await queue.aenqueue(number)
        newest = await reader.aread_latest(timeout=PATIENCE)
        assert newest.payload == 4
        assert newest.missed == reader.missed_count

    run(test)


def test_a_member_cannot_read_the_latest(run):
    async def test(place):
        member = (await place.queue()).add_group("workers").add_consumer()
        with pytest.raises(QueueError):
            await member.aread_latest(timeout=0)

    run(test)


def any_of(place):
    return jetstream.await_any if place.remote else mpmc_queue.await_any


def test_await_any_returns_the_readable_consumers(run):
    async def test(place):
        orders, alarms = await place.queue(), await place.queue()
        first, second = orders.add_consumer(), alarms.add_consumer()
        assert await any_of(place)([first, second], timeout=0.1) == []
        assert await any_of(place)([first, second], timeout=0) == []
        waiting = asyncio.create_task(any_of(place)([first, second, second]))
        await until_it_waits(waiting)
        await alarms.aenqueue("fire")
        assert await asyncio.wait_for(waiting, PATIENCE) == [second, second]
        assert await any_of(place)([first, second], timeout=0) == [second]
        assert await second.aget(timeout=PATIENCE) == "fire"

    run(test)


def test_await_any_takes_no_wake_up_from_a_reader(run):
    async def test(place):
        queue = await place.queue()
        reader = queue.add_consumer()
        waiting = asyncio.create_task(any_of(place)([reader]))
        await until_it_waits(waiting)
        reading = asyncio.create_task(reader.aget())
        await until_it_waits(reading)
        await queue.aenqueue("a")
        assert await asyncio.wait_for(reading, PATIENCE) == "a"

    run(test)


def test_await_any_leaves_a_gap_to_be_reported_by_the_read(run):
    async def test(place):
        options = {"prefetch": 1} if place.remote else {}
        queue = await place.queue(max_items=2, overflow="drop_oldest", **options)
        reader = queue.add_consumer(on_missed="raise")
        for text in "abcdefg":
            await queue.aenqueue(text)
        assert await any_of(place)([reader], timeout=PATIENCE) == [reader]
        told = 0
        read = []
        while read[-1:] != ["g"]:
            assert await any_of(place)([reader], timeout=PATIENCE) == [reader]
            try:
                read.append(await reader.aget(timeout=PATIENCE))
            except MessagesMissedError as error:
                told += error.count
        assert told + len(read) == 7
        assert told > 0

    run(test)


def test_await_any_returns_the_consumer_of_a_closed_drained_queue(run):
    async def test(place):
        queue = await place.queue()
        reader = queue.add_consumer()
        await queue.aenqueue("a")
        queue.close()
        assert await any_of(place)([reader], timeout=PATIENCE) == [reader]
        assert await reader.aget(timeout=PATIENCE) == "a"
        assert await any_of(place)([reader], timeout=PATIENCE) == [reader]
        with pytest.raises(QueueClosedError):
            await reader.aread()

    run(test)


def test_await_any_returns_a_closed_consumer(run):
    async def test(place):
        queue = await place.queue()
        reader, other = queue.add_consumer(), queue.add_consumer()
        waiting = asyncio.create_task(any_of(place)([reader, other]))
        await until_it_waits(waiting)
        reader.close()
        assert await asyncio.wait_for(waiting, PATIENCE) == [reader]

    run(test)


def test_await_any_refuses_objects_it_cannot_wait_for(run):
    async def test(place):
        queue = await place.queue()
        with pytest.raises(ValueError, match="consumers"):
            await any_of(place)([])
        with pytest.raises(TypeError, match="consumers"):
            await any_of(place)([queue])
        member = queue.add_group("workers").add_consumer()
        if place.remote:
            with pytest.raises(QueueError, match="member"):
                await any_of(place)([member], timeout=0)

    run(test)


def test_a_group_has_figures(run):
    async def test(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        member = group.add_consumer()
        await queue.aenqueue_batch(["a", "b", "c"])
        await member.aread(timeout=PATIENCE)
        figures = await answer(group.stats())
        assert figures.name == "workers"
        assert (figures.member_count, figures.unread_items, figures.pending_items) == (1, 2, 1)
        assert figures.redelivered_items == 0

    run(test)
