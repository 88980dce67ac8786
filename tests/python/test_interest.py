"""retention="interest": a message leaves when every consumer that needs it has read it, and not before."""

import asyncio

import pytest

from harness import LONG, settled, together
from helpers import PATIENCE, READS, expire_all, payloads
from mpmc_queue import ItemLimitError


@pytest.fixture
def interest(make_queue):
    """interest(**arguments) -> Queue"""
    return lambda **arguments: make_queue(retention="interest", **arguments)


def held(queue):
    return len(queue), queue.memory_usage > 0


@pytest.mark.parametrize("how", READS)
def test_the_last_read_frees_the_message_before_it_returns(interest, how):
    queue = interest()
    one, other = queue.add_consumer(), queue.add_consumer()
    queue.enqueue("a")
    assert READS[how](one, 0.0) == "a"
    assert held(queue) == (1, True)
    assert READS[how](other, 0.0) == "a"
    assert held(queue) == (0, False)
    stats = queue.stats()
    assert (stats.expired, stats.dropped, stats.first_seq, stats.next_seq) == (0, 0, 1, 1)


def test_messages_that_all_have_read_are_not_missed_when_they_leave(interest):
    queue = interest()
    one, other = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert payloads(one) == payloads(other) == list(range(10))
    queue.enqueue(10)
    for consumer in (one, other):
        message = consumer.read()
        assert (message.payload, message.missed, consumer.missed_count) == (10, 0, 0)


def test_only_messages_that_all_have_read_leave(interest):
    queue = interest()
    consumers = [queue.add_consumer() for _ in range(3)]
    queue.enqueue_batch(range(6))
    for consumer, count in zip(consumers, (5, 2, 4), strict=True):
        consumer.read_batch(count)
    assert (len(queue), queue.stats().first_seq) == (4, 2)


def test_peek_does_not_count_as_reading(interest):
    queue = interest()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    consumer.peek()
    assert len(queue) == 1


def test_skipping_counts_as_reading(interest):
    queue = interest()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(4))
    assert consumer.read_where(lambda message: message.payload == 2).payload == 2
    assert (len(queue), queue.stats().first_seq) == (1, 3)


def test_seeking_forward_counts_as_reading(interest):
    queue = interest()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(4))
    consumer.seek(3)
    assert (len(queue), consumer.get()) == (1, 3)
    assert len(queue) == 0


def test_seek_cannot_reach_messages_that_have_left(interest):
    queue = interest()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(4))
    consumer.read_batch(2)
    consumer.seek(0)
    assert (consumer.position, consumer.missed_count) == (2, 0)
    assert payloads(consumer) == [2, 3]


def test_removing_the_slowest_consumer_frees_what_others_have_read(interest):
    queue = interest()
    fast, slow = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(5))
    fast.read_batch(3)
    assert len(queue) == 5
    slow.close()
    assert (len(queue), queue.stats().first_seq) == (2, 3)


def test_messages_are_kept_without_consumers(interest):
    queue = interest(max_items=3)
    queue.enqueue_batch(range(2))
    assert len(queue) == 2
    consumer = queue.add_consumer()
    assert payloads(consumer) == [0, 1]
    queue.enqueue_batch(range(2, 5))
    consumer.close()
    assert len(queue) == 3
    late = queue.add_consumer()
    assert payloads(late) == [2, 3, 4]
    assert len(queue) == 0


def test_a_consumer_added_later_starts_at_the_oldest_message_held(interest):
    queue = interest()
    early = queue.add_consumer()
    queue.enqueue_batch(range(4))
    early.read_batch(2)
    late = queue.add_consumer(start=0)
    assert (late.position, late.unread_count, late.missed_count) == (2, 2, 0)
    assert payloads(late) == [2, 3]


def test_a_consumer_that_starts_at_the_end_keeps_no_earlier_messages(interest):
    queue = interest()
    early = queue.add_consumer()
    queue.enqueue_batch(range(2))
    late = queue.add_consumer(start="latest")
    assert payloads(early) == [0, 1]
    assert len(queue) == 0
    queue.enqueue(2)
    assert payloads(early) == [2]
    assert len(queue) == 1
    assert payloads(late) == [2]
    assert len(queue) == 0


def test_ttl_and_limits_still_apply(interest):
    queue = interest(ttl=None, max_items=3)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(3))
    expire_all(queue)
    assert (consumer.missed_count, queue.stats().expired) == (3, 3)
    queue.enqueue(3)
    assert payloads(consumer) == [3]


def test_below_a_lowered_limit_nothing_fits_until_enough_has_been_read(interest):
    queue = interest()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(5))
    queue.max_items = 3
    for _ in range(2):
        consumer.read()
        with pytest.raises(ItemLimitError):
            queue.enqueue(5)
    consumer.read()
    assert queue.enqueue(5) == 5
    assert payloads(consumer) == [3, 4, 5]


# Groups count as consumers too.


def test_a_group_counts_as_one_reader(interest):
    queue = interest()
    consumer, group = queue.add_consumer(), queue.add_group("g")
    queue.enqueue_batch("ab")
    payloads(consumer)
    assert len(queue) == 2
    assert [group.add_consumer().get(), group.add_consumer().get()] == ["a", "b"]
    assert held(queue) == (0, False)


def test_a_group_without_members_still_keeps_messages(interest):
    queue = interest()
    consumer, group = queue.add_consumer(), queue.add_group("g")
    queue.enqueue("a")
    consumer.read()
    assert len(queue) == 1
    group.close()
    assert len(queue) == 0


def test_with_acks_a_settled_message_counts_as_read(interest):
    queue = interest()
    consumer = queue.add_consumer()
    member = queue.add_group("g", ack_wait=LONG).add_consumer()
    queue.enqueue_batch("abc")
    payloads(consumer)
    first, second, third = member.read_batch(3)
    assert held(queue) == (3, True)
    first.ack()
    assert (len(queue), queue.stats().first_seq) == (2, 1)
    second.nack(LONG)
    assert len(queue) == 2
    third.term()
    assert (len(queue), queue.stats().first_seq) == (1, 1)


def test_messages_settled_out_of_order_are_freed_at_once(interest):
    size = 10_000
    queue = interest(sizer=lambda payload: size)
    member = queue.add_group("g", ack_wait=LONG).add_consumer()
    queue.enqueue_batch(range(4))
    messages = member.read_batch(4)
    for number, message in enumerate(reversed(messages), 1):
        before = queue.memory_usage
        message.ack()
        assert len(queue) == 4 - number
        assert queue.memory_usage <= before - size
    assert queue.memory_usage == 0


def test_an_acked_message_stays_until_others_have_read_it(interest):
    queue = interest()
    consumer = queue.add_consumer()
    member = queue.add_group("g", ack_wait=LONG).add_consumer()
    queue.enqueue("a")
    member.read().ack()
    assert len(queue) == 1
    assert consumer.get() == "a"
    assert len(queue) == 0


def test_closing_an_acknowledging_group_releases_pending_messages(interest):
    queue = interest()
    consumer = queue.add_consumer()
    group = queue.add_group("g", ack_wait=LONG)
    queue.enqueue_batch("ab")
    group.add_consumer().read_batch(2)
    payloads(consumer)
    assert len(queue) == 2
    group.close()
    assert held(queue) == (0, False)


# It makes room for producers.


def test_the_last_read_makes_space_for_a_blocked_producer(interest, run_thread):
    queue = interest(max_items=2)
    one, other = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(2))
    producer = run_thread(queue.enqueue, 2, timeout=None)
    one.read()
    producer.assert_waiting()
    other.read()
    assert producer.result() == 2


def test_an_ack_makes_space_for_a_waiting_task(interest):
    queue = interest(max_items=1)
    member = queue.add_group("g", ack_wait=LONG).add_consumer()
    queue.enqueue(0)

    async def main():
        task = asyncio.create_task(queue.aenqueue(1))
        message = await member.aread()
        await settled(task)
        message.ack()
        assert await asyncio.wait_for(task, PATIENCE) == 1

    asyncio.run(main())


def test_removing_the_slowest_consumer_makes_space_for_a_blocked_producer(interest, run_thread):
    queue = interest(max_items=1)
    fast, slow = queue.add_consumer(), queue.add_consumer()
    queue.enqueue(0)
    fast.read()
    producer = run_thread(queue.enqueue, 1, timeout=None)
    producer.assert_waiting()
    slow.close()
    assert producer.result() == 1


def test_a_tiny_queue_delivers_everything_to_all(interest):
    total = 1000
    queue = interest(max_items=2)
    consumers = [queue.add_consumer() for _ in range(3)]

    def produce():
        for number in range(total):
            queue.enqueue(number, timeout=None)
        queue.close()

    def read(consumer):
        return [message.payload for message in consumer]

    *received, _ = together(*(lambda consumer=consumer: read(consumer) for consumer in consumers), produce)
    assert received == [list(range(total))] * 3
    assert held(queue) == (0, False)
