"""The figures of a queue and of a consumer, and that the counts add up."""

from datetime import UTC
from uuid import UUID

import pytest

from helpers import CLOCK_SLACK, WALL_SLACK, assert_books_balance, expire_all, fill, now, stopwatch
from mpmc_queue import CHUNK_SIZE, ConsumerStats, QueueFullError, QueueStats

QUEUE_FIELDS = [name for name in QueueStats.__dict__ if not name.startswith("_")]
CONSUMER_FIELDS = [name for name in ConsumerStats.__dict__ if not name.startswith("_")]


def test_stats_of_a_new_queue(make_queue):
    before = now()
    queue = make_queue("orders", ttl=30, max_bytes=5000, max_items=7)
    stats = queue.stats()
    assert type(stats) is QueueStats
    assert stats.name == "orders"
    assert (stats.total_items, stats.memory_usage, stats.memory_percent) == (0, 0, 0.0)
    assert (stats.max_bytes, stats.max_items, stats.ttl) == (5000, 7, 30.0)
    assert (stats.audit_bytes, stats.consumer_count) == (0, 0)
    assert (stats.enqueued, stats.expired, stats.dropped, stats.rejected) == (0, 0, 0, 0)
    assert (stats.first_seq, stats.next_seq) == (0, 0)
    assert stats.created_at == queue.created_at
    assert stats.created_at.tzinfo is UTC
    assert before - WALL_SLACK <= stats.created_at <= now() + WALL_SLACK


def test_stats_follow_every_change(make_queue):
    queue = make_queue(ttl=None, max_items=10)
    queue.add_consumer()
    queue.enqueue("a")
    queue.enqueue_batch("bcd")
    expire_all(queue)
    queue.enqueue_batch("ef")
    with pytest.raises(QueueFullError):
        queue.enqueue_batch("123456789")
    with pytest.raises(QueueFullError):
        queue.enqueue_batch("123456789")
    stats = queue.stats()
    assert stats.total_items == len(queue) == 2
    assert stats.memory_usage == queue.memory_usage > 0
    assert stats.consumer_count == 1
    assert (stats.enqueued, stats.expired, stats.dropped, stats.rejected) == (6, 4, 0, 18)
    assert (stats.first_seq, stats.next_seq) == (4, 6)


def test_first_seq_of_an_empty_queue_is_the_next_seq(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(range(CHUNK_SIZE))
    expire_all(queue)
    stats = queue.stats()
    assert stats.first_seq == stats.next_seq == CHUNK_SIZE


def test_memory_percent_is_of_max_bytes(make_queue):
    queue = make_queue(max_bytes=200_000, sizer=len)
    queue.enqueue_batch([b"x" * 1000] * 100)
    stats = queue.stats()
    assert stats.memory_percent == pytest.approx(100 * stats.memory_usage / 200_000)
    assert 50 < stats.memory_percent <= 100


def test_stats_are_a_snapshot(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    of_queue, of_consumer = queue.stats(), consumer.stats()
    queue.enqueue("a")
    consumer.read()
    assert (of_queue.total_items, of_queue.enqueued, of_queue.next_seq) == (0, 0, 0)
    assert (of_consumer.total_items_read, of_consumer.last_read_time) == (0, None)


def test_every_documented_field_is_there():
    assert set(QUEUE_FIELDS) >= {
        *(
            "name",
            "total_items",
            "memory_usage",
            "memory_percent",
            "max_bytes",
            "max_items",
            "audit_bytes",
            "audit_complete",
        ),
        *("consumer_count", "created_at", "ttl", "enqueued", "expired", "dropped", "rejected", "first_seq", "next_seq"),
    }
    assert set(CONSUMER_FIELDS) >= {
        *("id", "name", "group", "total_items_read", "unread_items", "unread_bytes", "lag", "missed_items"),
        "last_read_time",
    }


@pytest.mark.parametrize("field", QUEUE_FIELDS)
def test_queue_stats_cannot_be_changed(make_queue, field):
    with pytest.raises(AttributeError):
        setattr(make_queue().stats(), field, 1)


@pytest.mark.parametrize("field", CONSUMER_FIELDS)
def test_consumer_stats_cannot_be_changed(make_queue, field):
    with pytest.raises(AttributeError):
        setattr(make_queue().add_consumer().stats(), field, 1)


def test_stats_of_a_new_consumer(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer("reader")
    stats = consumer.stats()
    assert type(stats) is ConsumerStats
    assert type(stats.id) is UUID
    assert (stats.id, stats.name, stats.group) == (consumer.id, "reader", None)
    assert (stats.total_items_read, stats.unread_items, stats.unread_bytes, stats.missed_items) == (0, 0, 0, 0)
    assert stats.lag == 0.0
    assert stats.last_read_time is None
    assert queue.add_consumer().stats().name is None


def test_unread_bytes_are_those_of_the_unread_messages(make_queue):
    queue = make_queue(sizer=len)
    consumer = queue.add_consumer()
    queue.enqueue_batch([b"x" * 1000] * 10)
    whole = consumer.stats().unread_bytes
    assert 10_000 <= whole <= queue.memory_usage
    consumer.read_batch(4)
    assert consumer.stats().unread_bytes == whole * 6 // 10
    consumer.seek("earliest")
    assert consumer.stats().unread_bytes == whole
    consumer.seek("latest")
    assert consumer.stats().unread_bytes == 0


@pytest.mark.parametrize("size", [0, 10])
def test_unread_bytes_are_exact_at_every_position(make_queue, size):
    queue = make_queue(ttl=None, max_bytes=10_000_000, sizer=lambda payload: payload % 100 + size)
    consumer = queue.add_consumer()
    count = 2 * CHUNK_SIZE + 100
    queue.enqueue_batch(range(count))
    overhead = consumer.stats().unread_bytes - sum(i % 100 + size for i in range(count))
    assert overhead >= 0
    for seq in (1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, count - 1, count):
        consumer.seek(seq)
        expected = sum(i % 100 + size for i in range(seq, count)) + overhead * (count - seq) / count
        assert consumer.stats().unread_bytes == pytest.approx(expected)


def test_lag_is_the_age_of_the_oldest_unread_message(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    with stopwatch() as outer:
        queue.enqueue("a")
        with stopwatch() as inner:
            assert consumer.take_missed(timeout=0.05) == 0
        lag = consumer.stats().lag
    assert inner.seconds - CLOCK_SLACK <= lag <= outer.seconds + CLOCK_SLACK
    with stopwatch() as since:
        queue.enqueue("b")
        assert consumer.stats().lag >= lag
        consumer.read()
        lag = consumer.stats().lag
    assert lag <= since.seconds + CLOCK_SLACK
    consumer.read()
    assert consumer.stats().lag == 0.0


def test_last_read_time_is_the_time_of_the_last_read(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    before = now()
    consumer.read()
    first = consumer.stats().last_read_time
    assert first.tzinfo is UTC
    assert before - WALL_SLACK <= first <= now() + WALL_SLACK
    consumer.peek()
    assert consumer.take_missed(timeout=0.01) == 0
    assert consumer.stats().last_read_time == first
    consumer.read_batch(2)
    assert consumer.stats().last_read_time > first


def test_consumer_stats_lists_all_in_the_order_they_were_added(make_queue):
    queue = make_queue()
    assert queue.consumer_stats() == []
    consumers = [queue.add_consumer(name) for name in ("a", "b", None)]
    assert [s.id for s in queue.consumer_stats()] == [c.id for c in consumers]
    assert [s.name for s in queue.consumer_stats()] == ["a", "b", None]
    consumers[1].close()
    assert [s.name for s in queue.consumer_stats()] == ["a", None]
    assert queue.stats().consumer_count == 2


def test_books_balance_after_every_step(make_queue):
    queue = make_queue(ttl=None, max_items=500)
    queue.enqueue_batch(range(50))
    expire_all(queue)
    queue.enqueue_batch(range(10))
    consumer = queue.add_consumer()
    enqueued = 10
    for step in range(40):
        enqueued += len(queue.enqueue_batch(range(step % 7)))
        assert_books_balance(consumer, enqueued)
        consumer.read_batch(step % 5 + 1)
        assert_books_balance(consumer, enqueued)
        if step % 6 == 0:
            expire_all(queue)
            assert_books_balance(consumer, enqueued)
        consumer.read_where(lambda m: m.payload == 3)
        assert_books_balance(consumer, enqueued)


def test_a_consumer_that_starts_late_counts_from_its_start(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(range(10))
    latest, middle = queue.add_consumer(start="latest"), queue.add_consumer(start=4)
    queue.enqueue_batch(range(3))
    latest.read()
    middle.read_batch(2)
    expire_all(queue)
    queue.enqueue("a")
    assert_books_balance(latest, 4)
    assert_books_balance(middle, 10)


def test_one_snapshot_of_stats_balances_while_others_work(make_queue, run_thread):
    queue = make_queue(ttl=0.01, max_bytes=10_000_000)
    consumer = queue.add_consumer()

    def produce():
        for i in range(3000):
            queue.enqueue(i)
        queue.close()

    workers = [run_thread(produce), run_thread(lambda: sum(1 for _ in consumer))]
    while not workers[0].done:
        before = queue.stats().next_seq
        stats = consumer.stats()
        after = queue.stats().next_seq
        assert before <= stats.total_items_read + stats.missed_items + stats.unread_items <= after
        of_queue = queue.stats()
        assert of_queue.next_seq == of_queue.enqueued
        assert of_queue.total_items == of_queue.next_seq - of_queue.first_seq
        assert of_queue.first_seq == of_queue.expired
    for worker in workers:
        worker.result()
    assert_books_balance(consumer, 3000)


def test_rejected_counts_refusals_and_nothing_else(make_queue):
    queue = make_queue(max_items=2, sizer=len)
    assert fill(queue, "a") == 2
    assert queue.stats().rejected == 1
    with pytest.raises(TypeError):
        queue.enqueue(5)
    with pytest.raises(ValueError, match="timeout"):
        queue.enqueue("a", timeout=-1)
    queue.close()
    with pytest.raises(Exception, match="closed"):
        queue.enqueue("a")
    assert queue.stats().rejected == 1
