"""A message may have a time to live of its own, shorter or longer than that of the queue."""

import threading
import time
from datetime import timedelta

import pytest

from harness import LONG, at_once
from helpers import PATIENCE, assert_books_balance, payloads
from mpmc_queue import CHUNK_SIZE

SHORT = 1e-6


@pytest.fixture
def still(make_queue):
    """still(**arguments) -> a Queue in which nothing expires until `expire`"""

    def make(**arguments):
        queue = make_queue(**{"ttl": None} | arguments)
        queue.disable_expiration()
        return queue

    return make


def expire(queue):
    """Removes the messages whose own short ttl is over, and no others. Returns how many."""
    held = len(queue)
    queue.enable_expiration()
    queue.force_expiration()
    queue.disable_expiration()
    return held - len(queue)


def test_a_shorter_ttl_ends_before_the_queues(still):
    queue = still(ttl=LONG)
    queue.enqueue("short", ttl=SHORT)
    queue.enqueue("long")
    assert expire(queue) == 1
    assert payloads(queue.add_consumer()) == ["long"]


@pytest.mark.parametrize("ttl", [None, LONG, float("inf"), 1e300, timedelta(days=1), timedelta.max])
def test_a_longer_ttl_outlasts_the_queues(still, ttl):
    queue = still(ttl=SHORT)
    queue.enqueue("gone")
    queue.enqueue("stays", ttl=ttl)
    queue.enqueue("gone")
    assert expire(queue) == 2
    assert (len(queue), queue.stats().first_seq, queue.stats().expired) == (1, 1, 2)
    assert payloads(queue.add_consumer()) == ["stays"]


def test_a_batch_gives_its_ttl_to_each_of_its_messages(still):
    queue = still(ttl=LONG)
    queue.enqueue_batch("abc", ttl=timedelta(microseconds=1))
    queue.enqueue_batch("de", ttl=None)
    assert at_once(queue.aenqueue_batch("fg", ttl=SHORT)) == range(5, 7)
    assert at_once(queue.aenqueue("h", ttl=SHORT)) == 7
    assert expire(queue) == 6
    assert payloads(queue.add_consumer()) == ["d", "e"]


@pytest.mark.parametrize(
    ("ttl", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (timedelta(0), ValueError),
        (True, TypeError),
        ("1", TypeError),
    ],
    ids=str,
)
def test_a_bad_ttl_is_refused_and_adds_nothing(make_queue, ttl, error):
    queue = make_queue()
    for call in (
        lambda: queue.enqueue(1, ttl=ttl),
        lambda: queue.enqueue_batch([1], ttl=ttl),
        lambda: at_once(queue.aenqueue(1, ttl=ttl)),
        lambda: at_once(queue.aenqueue_batch([1], ttl=ttl)),
    ):
        with pytest.raises(error):
            call()
    assert queue.stats().enqueued == 0


def test_setting_the_queues_ttl_moves_only_those_without_their_own(still):
    queue = still(ttl=None)
    queue.enqueue("own", ttl=LONG)
    queue.enqueue("queue's")
    queue.enqueue("own for ever", ttl=None)
    queue.enqueue("own, past", ttl=SHORT)
    queue.ttl = SHORT
    assert expire(queue) == 2
    queue.ttl = None
    assert payloads(queue.add_consumer()) == ["own", "own for ever"]


def test_a_longer_queue_ttl_does_not_keep_messages_with_a_shorter_own_ttl(still):
    queue = still(ttl=SHORT)
    queue.enqueue("own", ttl=SHORT)
    queue.enqueue("queue's")
    queue.ttl = LONG
    assert expire(queue) == 1
    assert payloads(queue.add_consumer()) == ["queue's"]


# In the middle of the queue.


def test_messages_that_expire_in_the_middle_are_skipped_and_missed(still):
    queue = still()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.enqueue_batch("bc", ttl=SHORT)
    queue.enqueue("d")
    assert expire(queue) == 2
    assert (len(queue), queue.stats().first_seq, queue.stats().next_seq) == (2, 0, 4)
    assert (consumer.unread_count, consumer.missed_count) == (2, 2)
    first, second = consumer.read(), consumer.read()
    assert [(m.payload, m.seq, m.missed) for m in (first, second)] == [("a", 0, 0), ("d", 3, 2)]
    assert (consumer.missed_count, consumer.take_missed(), consumer.take_missed()) == (2, 2, 0)
    assert_books_balance(consumer, 4)


def test_it_is_missed_only_by_consumers_that_had_not_read_it(still):
    queue = still()
    ahead, behind = queue.add_consumer(), queue.add_consumer()
    queue.enqueue("a")
    queue.enqueue("b", ttl=SHORT)
    queue.enqueue("c")
    ahead.read_batch(2)
    behind.read()
    expire(queue)
    assert (ahead.missed_count, behind.missed_count) == (0, 1)
    assert (ahead.unread_count, behind.unread_count) == (1, 1)
    assert (ahead.read().missed, behind.read().missed) == (0, 1)
    assert_books_balance(ahead, 3)
    assert_books_balance(behind, 3)


def test_its_memory_is_freed_at_once(still):
    size = 50_000
    queue = still(max_bytes=10_000_000, sizer=lambda payload: size)
    queue.enqueue("first")
    queue.enqueue_batch(range(10), ttl=SHORT)
    queue.enqueue("last")
    before = queue.memory_usage
    assert expire(queue) == 10
    assert queue.memory_usage <= before - 10 * size
    assert queue.memory_usage >= 2 * size


def test_it_makes_space_for_a_blocked_producer(make_queue, run_thread):
    queue = make_queue(ttl=None, max_items=3)
    queue.enqueue("a")
    queue.enqueue("b", ttl=0.2)
    queue.enqueue("c")
    waiting = run_thread(queue.enqueue, "d", timeout=None)
    waiting.assert_waiting()
    assert waiting.result() == 3
    assert payloads(queue.add_consumer()) == ["a", "c", "d"]


def test_it_ends_a_join_that_waited_for_it(make_queue, run_thread):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue("a", ttl=0.2)
    waiting = run_thread(queue.join)
    waiting.assert_waiting()
    assert waiting.result() is True
    assert consumer.missed_count == 1


def test_the_newest_message_may_leave_first(still):
    queue = still()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.enqueue("b", ttl=SHORT)
    expire(queue)
    assert (consumer.get(), consumer.unread_count, consumer.has_more_data(), consumer.missed_count) == (
        "a",
        0,
        False,
        1,
    )
    assert consumer.read() is None
    queue.enqueue("c")
    assert (consumer.read().seq, consumer.unread_count) == (2, 0)
    assert_books_balance(consumer, 3)


def test_nothing_is_left_when_all_messages_have_left(still):
    queue = still()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10), ttl=SHORT)
    assert expire(queue) == 10
    stats = queue.stats()
    assert (len(queue), queue.memory_usage, stats.first_seq, stats.next_seq) == (0, 0, 10, 10)
    assert (consumer.position, consumer.unread_count, consumer.missed_count) == (10, 0, 10)


def test_messages_that_left_from_the_middle_are_not_counted_again(still):
    queue = still()
    consumer = queue.add_consumer()
    queue.enqueue("a", ttl=None)
    queue.enqueue_batch("bcd", ttl=SHORT)
    queue.enqueue("e")
    expire(queue)
    assert consumer.get() == "a"
    queue.ttl = SHORT
    assert expire(queue) == 1
    assert (queue.stats().expired, consumer.missed_count) == (4, 4)
    assert_books_balance(consumer, 5)


def test_messages_that_left_before_a_consumer_was_added_are_not_its_losses(still):
    queue = still(max_items=4, overflow="drop_oldest")
    queue.enqueue_batch("abc")
    queue.enqueue("gone", ttl=SHORT)
    expire(queue)
    consumer = queue.add_consumer()
    assert (consumer.missed_count, consumer.unread_count) == (0, 3)
    queue.enqueue_batch("def")  # a and b are dropped for this batch
    messages = consumer.read_batch(9)
    assert [(message.payload, message.missed) for message in messages] == [("c", 2), ("d", 0), ("e", 0), ("f", 0)]
    assert consumer.missed_count == 2


def test_a_holed_log_is_read_in_order_across_chunks(still):
    total = 3 * CHUNK_SIZE
    queue = still(max_bytes=100_000_000)
    consumer = queue.add_consumer()
    for number in range(total):
        if number % 3:
            queue.enqueue(number, ttl=SHORT)
        else:
            queue.enqueue(number)
    assert expire(queue) == 2 * CHUNK_SIZE
    assert consumer.unread_count == CHUNK_SIZE
    messages = consumer.read_batch(total)
    assert [message.payload for message in messages] == list(range(0, total, 3))
    assert [message.missed for message in messages] == [0] + [2] * (CHUNK_SIZE - 1)
    assert_books_balance(consumer, total)


def test_a_whole_chunk_in_the_middle_may_leave(still):
    queue = still(max_bytes=100_000_000)
    consumer = queue.add_consumer()
    queue.enqueue("first")
    queue.enqueue_batch(range(3 * CHUNK_SIZE), ttl=SHORT)
    queue.enqueue("last")
    assert expire(queue) == 3 * CHUNK_SIZE
    assert consumer.unread_count == 2
    first, last = consumer.read_batch(9)
    assert (first.payload, last.payload, last.missed) == ("first", "last", 3 * CHUNK_SIZE)
    assert_books_balance(consumer, 3 * CHUNK_SIZE + 2)


def test_seeking_into_a_hole_reads_the_message_after_it(still):
    queue = still()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.enqueue_batch("bcd", ttl=SHORT)
    queue.enqueue("e")
    expire(queue)
    consumer.seek(2)
    assert (consumer.unread_count, consumer.get()) == (1, "e")
    assert queue.add_consumer(start=1).get() == "e"


# With a running clock.


def test_the_expiration_thread_removes_each_message_at_its_time(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    start = time.monotonic()
    queue.enqueue("last", ttl=0.3)
    queue.enqueue("never", ttl=None)
    queue.enqueue("first", ttl=0.1)
    assert consumer.take_missed(timeout=PATIENCE) == 1
    first = time.monotonic() - start
    assert consumer.take_missed(timeout=PATIENCE) == 1
    last = time.monotonic() - start
    assert 0.099 <= first <= last
    assert 0.299 <= last < 10
    assert payloads(consumer) == ["never"]


def test_a_new_message_may_expire_before_older_ones(make_queue, run_thread):
    queue = make_queue(ttl=LONG)
    consumer = queue.add_consumer()
    queue.enqueue("long")
    waiting = run_thread(consumer.take_missed, timeout=None)
    waiting.assert_waiting()
    queue.enqueue("short", ttl=0.05)
    assert waiting.result() == 1


def test_messages_past_their_own_ttl_are_never_delivered(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    pause = threading.Event()
    for number in range(200):
        queue.enqueue(number, ttl=SHORT)
        pause.wait(0.0001)
        assert consumer.read() is None
    assert consumer.missed_count == 200
    assert_books_balance(consumer, 200)


def test_while_expiration_is_disabled_messages_with_own_ttl_stay(still):
    queue = still()
    queue.enqueue("a", ttl=SHORT)
    assert queue.force_expiration() == 0
    assert payloads(queue.add_consumer()) == ["a"]


def test_a_pending_message_whose_own_ttl_is_over_is_missed(still):
    queue = still()
    group = queue.add_group("g", ack_wait=LONG)
    member = group.add_consumer()
    queue.enqueue("a", ttl=SHORT)
    queue.enqueue("b")
    late, other = member.read_batch(2)
    expire(queue)
    assert (group.pending_count, group.missed_count) == (1, 1)
    late.ack()
    other.ack()
    assert (group.pending_count, group.missed_count, group.unread_count) == (0, 1, 0)
