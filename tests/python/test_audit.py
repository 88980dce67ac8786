"""Who read what and when: history() of consumers, events of messages, and the cost of the records."""

from datetime import UTC

import pytest

from helpers import READS, WALL_SLACK, expire_all, now
from mpmc_queue import CHUNK_SIZE


def dequeues(message):
    return [event.consumer_id for event in message.events[1:]]


def test_history_is_what_was_read_and_when(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert consumer.history() == []
    queue.enqueue_batch("abc")
    before = now()
    consumer.read()
    consumer.read_batch(2)
    after = now()
    history = consumer.history()
    assert [seq for seq, _ in history] == [0, 1, 2]
    times = [at for _, at in history]
    assert times == sorted(times)
    assert all(at.tzinfo is UTC and before - WALL_SLACK <= at <= after + WALL_SLACK for at in times)


@pytest.mark.parametrize("how", READS)
def test_every_way_to_read_leaves_a_record(make_queue, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    READS[how](consumer, 0.0)
    assert [seq for seq, _ in consumer.history()] == [0]
    consumer.seek(0)
    assert dequeues(consumer.read()) == [consumer.id, consumer.id]


def test_messages_that_read_where_skips_are_in_the_audit_trail(make_queue):
    queue = make_queue()
    consumer, witness = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(5))
    consumer.read_where(lambda m: m.payload == 3)
    assert [seq for seq, _ in consumer.history()] == [0, 1, 2, 3]
    messages = witness.read_batch(5)
    assert [consumer.id in dequeues(m) for m in messages] == [True, True, True, True, False]


def test_history_agrees_with_the_events(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(20))
    messages = [consumer.read() for _ in range(10)] + consumer.read_batch(10)
    from_events = [(m.seq, m.events[-1].timestamp) for m in messages]
    assert consumer.history() == from_events


def test_history_leaves_out_messages_that_left_from_the_middle(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("stays")
    queue.enqueue("goes", ttl=0.02)
    queue.enqueue("stays, too")
    assert len(consumer.read_batch(3)) == 3
    while len(queue) > 2:
        queue.force_expiration()
    assert [seq for seq, _ in consumer.history()] == [0, 2]
    assert [seq for seq, _ in consumer.history(2)] == [0, 2]


def test_history_can_be_limited_to_the_latest(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(50))
    consumer.read_batch(20)
    for _ in range(10):
        consumer.read()
    whole = consumer.history()
    assert len(whole) == 30
    assert consumer.history(None) == consumer.history(limit=1000) == whole
    for limit in (1, 5, 10, 15, 30):
        assert consumer.history(limit) == whole[-limit:]


def test_the_history_is_a_copy_for_the_caller(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    consumer.read()
    consumer.history().clear()
    assert len(consumer.history()) == 1


def test_history_has_no_messages_that_are_no_longer_held(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    consumer.read_batch(10)
    expire_all(queue)
    assert consumer.history() == []
    queue.enqueue("a")
    consumer.read()
    assert [seq for seq, _ in consumer.history()] == [10]


def test_reading_again_leaves_a_second_record(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(3))
    consumer.read_batch(3)
    consumer.seek(1)
    message = consumer.read()
    assert sorted(seq for seq, _ in consumer.history()) == [0, 1, 1, 2]
    assert dequeues(message) == [consumer.id] * 2


def test_events_are_the_enqueue_then_every_dequeue_in_time_order(make_queue):
    queue = make_queue()
    consumers = [queue.add_consumer() for _ in range(4)]
    queue.enqueue_batch(range(10))
    order = [2, 0, 3, 1]
    for i in order:
        message = consumers[i].read_batch(10)[5] if i % 2 else [consumers[i].read() for _ in range(6)][5]
    times = [event.timestamp for event in message.events]
    assert times == sorted(times)
    assert [event.kind for event in message.events] == ["enqueue"] + ["dequeue"] * 4
    assert dequeues(message) == [consumers[i].id for i in order]


def test_events_of_a_message_in_hand_show_later_reads_too(make_queue):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    queue.enqueue("a")
    message = first.read()
    assert dequeues(message) == [first.id]
    second.read()
    assert dequeues(message) == [first.id, second.id]


def test_events_do_not_show_the_reads_of_other_messages(make_queue):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch("abc")
    first.read_batch(3)
    second.read()
    messages = queue.add_consumer().read_batch(3)
    assert [second.id in dequeues(m) for m in messages] == [True, False, False]
    assert all(first.id in dequeues(m) for m in messages)


def test_no_dequeue_is_stamped_before_its_enqueue(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    consumer = queue.add_consumer()

    def produce():
        for i in range(2000):
            queue.enqueue(i)
        queue.close()

    worker = run_thread(produce)
    for message in consumer:
        enqueued, dequeued = message.events
        assert enqueued.timestamp <= dequeued.timestamp
    worker.result()


def test_removing_a_consumer_removes_its_records(make_queue):
    queue = make_queue()
    leaving, staying = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(100))
    for _ in range(100):
        leaving.read()
    message = staying.read()
    assert set(dequeues(message)) == {leaving.id, staying.id}
    assert queue.remove_consumer(leaving) is True
    assert dequeues(message) == [staying.id]
    staying.close()
    assert queue.stats().audit_bytes == 0


def test_single_reads_cost_at_most_eight_bytes_each(make_queue):
    count = 5 * CHUNK_SIZE
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    queue.enqueue_batch(range(count))
    for readers in (1, 2, 3):
        consumer = queue.add_consumer()
        for _ in range(count):
            consumer.read()
        assert 0 < queue.stats().audit_bytes <= 8 * count * readers
    assert len(consumer.history()) == count


def test_a_batch_costs_the_same_however_long_it_is(make_queue):
    def cost(count):
        queue = make_queue(ttl=None, max_bytes=10_000_000)
        consumer = queue.add_consumer()
        queue.enqueue_batch(range(count))
        empty = queue.stats().audit_bytes
        consumer.read_batch(count)
        assert len(consumer.history()) == count
        return queue.stats().audit_bytes - empty

    short, long = cost(10), cost(10 * CHUNK_SIZE)
    assert 0 < long <= max(short, 64)


def test_audit_bytes_are_not_part_of_memory_usage(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(100))
    held = queue.memory_usage
    for _ in range(100):
        consumer.read()
    assert queue.memory_usage == held
    assert queue.stats().audit_bytes > 0


def test_reading_never_fails_for_memory(make_queue):
    queue = make_queue(ttl=None, sizer=len)
    queue.enqueue_batch([b"x" * 1000] * 500)
    queue.max_bytes = queue.memory_usage
    consumers = [queue.add_consumer() for _ in range(3)]
    for _ in range(500):
        for consumer in consumers:
            assert consumer.read() is not None
    assert queue.memory_usage == queue.max_bytes


def test_records_are_trimmed_with_their_messages(make_queue):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    consumer = queue.add_consumer()
    empty = queue.stats().audit_bytes
    for _ in range(3):
        queue.enqueue_batch(range(2 * CHUNK_SIZE))
        for _ in range(CHUNK_SIZE):
            consumer.read()
        consumer.read_batch(CHUNK_SIZE)
        assert queue.stats().audit_bytes > empty
        expire_all(queue)
        assert queue.stats().audit_bytes == empty


def test_records_of_repeated_reading_stay_bounded(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    for _ in range(10):
        consumer.read()
    once = queue.stats().audit_bytes
    for _ in range(10_000):
        consumer.seek(0)
        consumer.read()
    assert queue.stats().audit_bytes <= once + 8 * 1000
    expire_all(queue)
    assert consumer.history() == []


def test_without_audit_reads_leave_no_records(make_queue):
    queue = make_queue(audit=False)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    message = consumer.read()
    consumer.read_batch(5)
    assert [event.kind for event in message.events] == ["enqueue"]
    assert consumer.history() == []
    assert queue.stats().audit_bytes == 0


def test_without_audit_all_counts_are_kept(make_queue):
    queue = make_queue(audit=False, ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    consumer.read_batch(4)
    expire_all(queue)
    queue.enqueue("a")
    stats = consumer.stats()
    assert (stats.total_items_read, stats.missed_items, stats.unread_items) == (4, 6, 1)
    assert stats.last_read_time is not None


def test_the_trail_stays_within_the_queues_limit_and_reports_when_it_is_incomplete(make_queue):
    queue = make_queue(max_bytes=20_000, ttl=None)
    queue.enqueue_batch(["a"] * 150)
    readers = [queue.add_consumer() for _ in range(200)]
    assert queue.stats().audit_complete
    for _ in range(150):
        for reader in readers:
            reader.read()
        assert queue.stats().audit_bytes <= 20_000
    assert not queue.stats().audit_complete
    assert sum(len(reader.history()) for reader in readers) > 0
    queue.max_bytes = 1_000
    assert queue.stats().audit_bytes <= 1_000
    queue.ttl = 0.001
    queue.force_expiration()
    assert (queue.stats().audit_bytes, queue.stats().audit_complete) == (0, True)
