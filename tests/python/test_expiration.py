"""Messages leave when their ttl is over: it is set, changed, switched off and on. No expired message is delivered."""

import queue as stdlib_queue
import time
from datetime import timedelta

import pytest

from helpers import CLOCK_SLACK, PATIENCE, READS, expire_all, payloads, stopwatch
from mpmc_queue import CHUNK_SIZE, Queue

AT_ONCE = 1e-9  # any held message is older than this


@pytest.mark.parametrize("ttl", [1, 0.5, 600, 600.0, 1e-9])
def test_ttl_is_seconds(make_queue, ttl):
    queue = make_queue(ttl=ttl)
    assert queue.ttl == pytest.approx(ttl)
    assert type(queue.ttl) is float
    assert queue.stats().ttl == queue.ttl


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(timedelta(minutes=2), 120.0), (timedelta(milliseconds=1500), 1.5), (timedelta(days=4000), 4000 * 86400.0)],
)
def test_ttl_may_be_a_timedelta(make_queue, ttl, seconds):
    assert make_queue(ttl=ttl).ttl == seconds
    queue = make_queue()
    queue.ttl = ttl
    assert queue.ttl == seconds


def test_ttl_none_never_expires(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue("a")
    assert queue.ttl is None
    assert queue.stats().ttl is None
    assert queue.force_expiration() == 0
    assert len(queue) == 1


@pytest.mark.parametrize("ttl", [float("inf"), 1e300, 1e12, timedelta.max], ids=str)
def test_a_ttl_too_long_to_represent_never_expires(make_queue, ttl):
    queue = make_queue(ttl=ttl)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    assert queue.force_expiration() == 0
    queue.ttl = 5
    queue.ttl = ttl
    assert queue.force_expiration() == 0
    assert consumer.get_nowait() == "a"


def test_messages_leave_by_themselves_after_their_ttl(make_queue):
    queue = make_queue(ttl=0.05)
    consumer = queue.add_consumer()
    with stopwatch() as took:
        queue.enqueue_batch("abc")
        assert consumer.take_missed(timeout=PATIENCE) == 3
    assert took.seconds >= 0.05 - CLOCK_SLACK
    assert queue.stats().expired == 3
    assert len(queue) == 0
    assert queue.memory_usage == 0


def test_messages_expire_without_any_call(make_queue, run_thread):
    queue = make_queue(ttl=0.05, max_items=1)
    start = time.perf_counter()
    queue.enqueue("a")
    assert queue.enqueue("b", timeout=PATIENCE) == 1
    assert time.perf_counter() - start >= 0.05 - CLOCK_SLACK


def test_later_messages_outlive_earlier_ones(make_queue):
    queue = make_queue(ttl=0.1)
    consumer = queue.add_consumer()
    queue.enqueue("early")
    assert consumer.take_missed(timeout=0.05) == 0
    queue.enqueue("late")
    assert consumer.take_missed(timeout=PATIENCE) == 1
    with stopwatch() as took:
        assert consumer.take_missed(timeout=PATIENCE) == 1
    assert took.seconds > 0.005


def test_a_shorter_ttl_applies_at_once_to_held_messages(make_queue):
    queue = make_queue(ttl=600)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.ttl = 0.02
    assert consumer.take_missed(timeout=PATIENCE) == 3


def test_a_finite_ttl_after_none_applies_to_held_messages(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.ttl = 0.02
    assert consumer.take_missed(timeout=PATIENCE) == 3


def test_a_longer_ttl_keeps_held_messages(make_queue):
    queue = make_queue(ttl=0.1)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.ttl = 600
    assert consumer.take_missed(timeout=0.2) == 0
    assert payloads(consumer) == ["a", "b", "c"]


def test_ttl_none_keeps_held_messages(make_queue):
    queue = make_queue(ttl=0.1)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.ttl = None
    assert consumer.take_missed(timeout=0.2) == 0
    assert consumer.get_nowait() == "a"


def test_a_longer_ttl_does_not_restore_messages_that_have_left(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    expire_all(queue)
    queue.ttl = 600
    assert consumer.read() is None
    assert consumer.missed_count == 1


@pytest.mark.parametrize("how", [how for how in READS if how != "next"])
def test_expired_messages_are_not_delivered_even_before_they_are_removed(make_queue, how):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    for _ in range(50):
        queue.enqueue("old")
        queue.ttl = AT_ONCE
        if how == "get":
            with pytest.raises(stdlib_queue.Empty):
                consumer.get_nowait()
        else:
            assert READS[how](consumer, 0.0) is None
        queue.ttl = None
    assert consumer.missed_count == 50
    assert consumer.stats().total_items_read == 0


def test_expired_messages_are_not_shown_or_counted_as_unread(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(20))
    queue.ttl = AT_ONCE
    assert consumer.peek() is None
    assert consumer.unread_count == 0
    assert consumer.has_more_data() is False
    assert consumer.missed_count == 20
    stats = consumer.stats()
    assert (stats.unread_items, stats.unread_bytes, stats.missed_items, stats.lag) == (0, 0, 20, 0.0)


def test_a_new_consumer_does_not_start_at_an_expired_message(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(range(20))
    queue.ttl = AT_ONCE
    consumer = queue.add_consumer()
    assert consumer.read() is None
    assert consumer.missed_count == 0


def test_a_message_is_never_delivered_past_its_ttl(make_queue, run_thread):
    ttl = 0.02
    queue = make_queue(ttl=ttl, max_bytes=50_000_000)
    consumer = queue.add_consumer()

    def produce():
        for _ in range(3000):
            queue.enqueue(time.perf_counter())

    worker = run_thread(produce)
    read = 0
    before = time.perf_counter()
    while not worker.done or consumer.unread_count:
        for enqueued_after in consumer.get_batch(5):
            read += 1
            assert before - enqueued_after <= ttl + CLOCK_SLACK
        before = time.perf_counter()
    assert read + consumer.missed_count == 3000


def test_force_expiration_returns_how_many_it_removed(make_queue):
    queue = make_queue(ttl=600)
    queue.disable_expiration()
    queue.enqueue_batch(range(10))
    assert queue.force_expiration() == 0
    queue.ttl = AT_ONCE
    before = queue.stats().expired
    queue.enable_expiration()
    removed = queue.force_expiration()
    assert 0 <= removed <= 10
    assert before == 0
    assert queue.stats().expired == 10
    assert queue.force_expiration() == 0
    assert len(queue) == 0


def test_force_expiration_keeps_messages_within_their_ttl(make_queue):
    queue = make_queue(ttl=600)
    queue.enqueue_batch(range(10))
    assert queue.force_expiration() == 0
    assert len(queue) == 10


@pytest.mark.parametrize("count", [1, CHUNK_SIZE, 3 * CHUNK_SIZE + 5])
def test_everything_past_its_ttl_is_removed_at_once(make_queue, count):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(count))
    queue.ttl = AT_ONCE
    queue.force_expiration()
    assert len(queue) == 0
    assert queue.stats().expired == count
    assert queue.stats().first_seq == count
    assert consumer.missed_count == count


def test_while_disabled_nothing_expires(make_queue):
    queue = make_queue(ttl=0.02)
    consumer = queue.add_consumer()
    queue.disable_expiration()
    assert queue.expiration_enabled is False
    queue.enqueue_batch("abc")
    assert consumer.take_missed(timeout=0.1) == 0
    assert queue.force_expiration() == 0
    assert len(queue) == 3
    assert consumer.unread_count == 3
    assert payloads(consumer) == ["a", "b", "c"]


def test_enabling_expiration_removes_expired_messages(make_queue):
    queue = make_queue(ttl=0.01)
    consumer = queue.add_consumer()
    queue.disable_expiration()
    queue.enqueue_batch("abc")
    assert consumer.take_missed(timeout=0.05) == 0
    queue.enable_expiration()
    assert queue.expiration_enabled is True
    assert consumer.read() is None
    assert consumer.take_missed(timeout=PATIENCE) == 3


def test_enable_and_disable_may_be_repeated(make_queue):
    queue = make_queue()
    for _ in range(2):
        assert queue.disable_expiration() is None
    for _ in range(2):
        assert queue.enable_expiration() is None
    assert queue.expiration_enabled is True


def test_a_ttl_set_while_disabled_applies_once_enabled(make_queue):
    queue = make_queue(ttl=600)
    consumer = queue.add_consumer()
    queue.disable_expiration()
    queue.enqueue("a")
    queue.ttl = AT_ONCE
    assert queue.force_expiration() == 0
    assert consumer.peek().payload == "a"
    queue.enable_expiration()
    assert consumer.read() is None
    assert consumer.missed_count == 1


def test_expiration_of_one_queue_leaves_others_alone(make_queue):
    short, long = make_queue(ttl=0.02), make_queue(ttl=600)
    consumer = short.add_consumer()
    short.enqueue("a")
    long.enqueue("b")
    assert consumer.take_missed(timeout=PATIENCE) == 1
    assert len(long) == 1


def test_many_queues_expire_in_the_order_of_their_deadlines(make_queue):
    queues = [make_queue(f"{ms} ms", ttl=ms / 1000) for ms in (150, 100, 50)]
    consumers = [queue.add_consumer() for queue in queues]
    start = time.perf_counter()
    for queue in queues:
        queue.enqueue("a")
    for consumer in reversed(consumers):
        assert consumer.take_missed(timeout=PATIENCE) == 1
        assert time.perf_counter() - start >= consumer.queue.ttl - CLOCK_SLACK


def test_expiration_of_other_queues_continues_after_a_queue_is_gone(make_queue):
    gone = Queue("gone", ttl=0.03)
    gone.enqueue("a")
    queue = make_queue(ttl=0.06)
    consumer = queue.add_consumer()
    queue.enqueue("b")
    del gone
    assert consumer.take_missed(timeout=PATIENCE) == 1
