"""Only the newest message is read: older ones are skipped, and counted separately."""

import asyncio

import pytest

from helpers import PATIENCE
from mpmc_queue import MessagesMissedError, QueueClosedError, QueueError


@pytest.fixture(params=["read_latest", "aread_latest"])
def latest(request):
    """Both ways to read the newest message."""

    def latest(consumer, timeout=0.0):
        method = getattr(consumer, request.param)
        if request.param == "read_latest":
            return method(timeout=timeout)

        async def awaiting():
            return await method(timeout=timeout)

        return asyncio.run(awaiting())

    return latest


def test_the_newest_message_is_read_and_older_ones_are_skipped(make_queue, latest):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert latest(consumer).payload == "c"
    stats = consumer.stats()
    assert (stats.total_items_read, stats.passed_items, stats.unread_items) == (3, 2, 0)
    assert latest(consumer) is None
    queue.enqueue("d")
    assert latest(consumer).payload == "d"
    assert consumer.stats().passed_items == 2


@pytest.mark.parametrize("count", [1, 999, 1000, 4_000, 4_001, 12_345])
def test_the_books_balance_however_many_are_skipped(make_queue, latest, count):
    queue = make_queue(max_bytes=1 << 30)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(count))
    assert latest(consumer).payload == count - 1
    stats = consumer.stats()
    assert (stats.total_items_read, stats.passed_items, stats.missed_items) == (count, count - 1, 0)


def test_it_waits_for_a_message(make_queue, latest, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    reading = run_thread(latest, consumer, PATIENCE)
    reading.assert_waiting()
    queue.enqueue("a")
    assert reading.result().payload == "a"


def test_skipped_messages_are_in_the_audit_trail(make_queue, latest):
    queue = make_queue()
    consumer, other = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch("abc")
    latest(consumer)
    assert [seq for seq, _ in consumer.history()] == [0, 1, 2]
    assert [event.consumer_id for event in other.peek().events] == [None, consumer.id]


def test_the_newest_message_reports_what_was_missed(make_queue, latest):
    queue = make_queue(max_items=3, overflow="drop_oldest")
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.enqueue_batch("de")
    message = latest(consumer)
    assert (message.payload, message.missed) == ("e", 2)
    queue.enqueue("f")
    assert latest(consumer).missed == 0
    stats = consumer.stats()
    assert (stats.total_items_read, stats.passed_items, stats.missed_items) == (4, 2, 2)


def test_a_gap_is_reported_before_anything_is_read(make_queue, latest):
    queue = make_queue(max_items=3, overflow="drop_oldest")
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("abc")
    queue.enqueue_batch("de")
    with pytest.raises(MessagesMissedError) as error:
        latest(consumer)
    assert error.value.count == 2
    assert consumer.stats().total_items_read == 0
    assert latest(consumer).payload == "e"


def test_with_interest_skipped_messages_are_freed(make_queue, latest):
    queue = make_queue(retention="interest")
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert latest(consumer).payload == "c"
    assert (len(queue), queue.memory_usage) == (0, 0)


def test_the_end_of_a_closed_queue_is_an_error(make_queue, latest):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("ab")
    queue.close()
    assert latest(consumer).payload == "b"
    with pytest.raises(QueueClosedError):
        latest(consumer)


def test_a_member_of_a_group_cannot_read_the_latest(make_queue, latest):
    queue = make_queue()
    queue.enqueue("a")
    for options in ({}, {"ack_wait": 60}):
        member = queue.add_group(f"group {options}", **options).add_consumer()
        with pytest.raises(QueueError, match="group"):
            latest(member)
        assert member.unread_count == 1


def test_read_where_and_seeking_forward_count_as_skipped_too(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert consumer.read_where(lambda message: message.payload == 3).payload == 3
    assert consumer.stats().passed_items == 3
    consumer.seek(8)
    stats = consumer.stats()
    assert (stats.total_items_read, stats.passed_items, stats.unread_items) == (8, 7, 2)
    consumer.seek(0)
    assert consumer.stats().passed_items == 7


def test_a_member_counts_skipped_messages(make_queue):
    queue = make_queue()
    group = queue.add_group("group", ack_wait=60)
    member = group.add_consumer()
    queue.enqueue_batch("abc")
    assert member.read_where(lambda message: message.payload == "c").payload == "c"
    stats = member.stats()
    assert (stats.total_items_read, stats.passed_items) == (3, 2)
