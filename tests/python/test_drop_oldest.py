"""overflow="drop_oldest": the oldest messages make room, no more than needed, and each is accounted for."""

import threading
import time
import weakref

import pytest

from harness import LONG, at_once, eventually, together
from helpers import PATIENCE, assert_books_balance, payloads
from mpmc_queue import ItemLimitError, MemoryLimitError, MessagesMissedError, QueueClosedError

MEGA = 1_000_000
SLACK = 200_000  # more than the overhead of a few messages and their chunk


@pytest.fixture
def dropping(make_queue):
    """dropping(**arguments) -> a Queue that expires nothing"""
    return lambda **arguments: make_queue(ttl=None, overflow="drop_oldest", **arguments)


@pytest.fixture
def sized(dropping):
    """sized() -> a Queue of ten megabytes, whose payloads are their own sizes in megabytes"""
    return lambda: dropping(max_bytes=10 * MEGA + SLACK, sizer=lambda payload: payload * MEGA)


def test_the_newest_messages_are_kept(dropping):
    queue = dropping(max_items=3)
    assert [queue.enqueue(number) for number in range(10)] == list(range(10))
    stats = queue.stats()
    assert (len(queue), stats.dropped, stats.expired, stats.rejected) == (3, 7, 0, 0)
    assert (stats.first_seq, stats.next_seq) == (7, 10)
    assert payloads(queue.add_consumer()) == [7, 8, 9]


def test_nothing_is_dropped_while_there_is_space(dropping):
    queue = dropping(max_items=3)
    queue.enqueue_batch(range(3))
    assert (len(queue), queue.stats().dropped) == (3, 0)


@pytest.mark.parametrize(
    ("held", "new", "dropped"),
    [([1] * 10, 1, 1), ([1] * 10, 4, 4), ([3, 3, 3], 1, 0), ([3, 3, 3], 2, 1), ([5, 1, 4], 3, 1), ([1, 9], 10, 2)],
)
def test_no_more_bytes_are_dropped_than_needed(sized, held, new, dropped):
    large = sized()
    large.enqueue_batch(held)
    large.enqueue(new)
    assert large.stats().dropped == dropped
    assert payloads(large.add_consumer()) == [*held, new][dropped:]
    assert large.memory_usage <= large.max_bytes


def test_a_batch_drops_what_it_needs_at_once(dropping, sized):
    large = sized()
    queue = dropping(max_items=5)
    queue.enqueue_batch(range(5))
    assert queue.enqueue_batch(range(5, 8)) == range(5, 8)
    assert queue.stats().dropped == 3
    assert queue.enqueue_batch(range(8, 13)) == range(8, 13)
    assert payloads(queue.add_consumer()) == [8, 9, 10, 11, 12]
    large.enqueue_batch([2] * 5)
    large.enqueue_batch([1, 2])
    assert payloads(large.add_consumer()) == [2, 2, 2, 1, 2]


def test_a_payload_that_could_never_fit_is_refused_and_drops_nothing(dropping, sized):
    large = sized()
    queue = dropping(max_items=3)
    queue.enqueue_batch(range(3))
    with pytest.raises(ItemLimitError) as items:
        queue.enqueue_batch(range(4), timeout=None)
    assert (items.value.max, items.value.needed) == (3, 4)
    large.enqueue_batch([1, 2])
    for call in (lambda: large.enqueue(11, timeout=None), lambda: large.enqueue_batch([5, 6], timeout=None)):
        with pytest.raises(MemoryLimitError):
            call()
    assert (payloads(queue.add_consumer()), queue.stats().dropped, queue.stats().rejected) == ([0, 1, 2], 0, 4)
    assert (payloads(large.add_consumer()), large.stats().dropped, large.stats().rejected) == ([1, 2], 0, 3)


def test_an_endless_iterable_is_refused_and_drops_nothing(sized):
    large = sized()
    large.enqueue(5)
    with pytest.raises(MemoryLimitError):
        large.enqueue_batch(iter(lambda: 1, None), timeout=None)
    assert (len(large), large.stats().dropped) == (1, 0)


def test_an_error_in_the_callers_code_drops_nothing(dropping):
    def sizer(payload):
        return 1 // payload

    queue = dropping(max_items=2, sizer=sizer)
    queue.enqueue_batch([1, 2])
    for call in (lambda: queue.enqueue(0), lambda: queue.enqueue_batch([3, 0])):
        with pytest.raises(ZeroDivisionError):
            call()
    with pytest.raises(ValueError, match="ttl"):
        queue.enqueue(3, ttl=0)
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.enqueue(3)
    assert (payloads(queue.add_consumer()), queue.stats().dropped) == ([1, 2], 0)


def test_an_empty_batch_drops_nothing(dropping):
    queue = dropping(max_items=1)
    queue.enqueue(0)
    assert len(queue.enqueue_batch([])) == 0
    assert queue.stats().dropped == 0


def test_a_producer_never_waits(dropping):
    queue = dropping(max_items=1)
    queue.add_consumer()
    start = time.monotonic()
    for number in range(50):
        assert queue.enqueue(number, timeout=None) == 3 * number
        assert at_once(queue.aenqueue(number)) == 3 * number + 1
        queue.put(number)
    assert time.monotonic() - start < PATIENCE


def test_only_consumers_that_had_not_read_dropped_messages_miss_them(dropping):
    queue = dropping(max_items=4)
    none_read, some_read, all_read = (queue.add_consumer() for _ in range(3))
    queue.enqueue_batch(range(4))
    some_read.read_batch(2)
    all_read.read_batch(4)
    queue.enqueue_batch(range(4, 7))
    assert [c.missed_count for c in (none_read, some_read, all_read)] == [3, 1, 0]
    assert [c.position for c in (none_read, some_read, all_read)] == [3, 3, 4]
    assert [c.unread_count for c in (none_read, some_read, all_read)] == [4, 4, 3]
    assert [c.read().missed for c in (none_read, some_read, all_read)] == [3, 1, 0]
    assert [c.read().missed for c in (none_read, some_read, all_read)] == [0, 0, 0]
    for consumer in (none_read, some_read, all_read):
        assert_books_balance(consumer, 7)


def test_take_missed_returns_dropped_messages_once(dropping):
    queue = dropping(max_items=2)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(2))
    queue.enqueue(2)
    assert (consumer.take_missed(), consumer.take_missed()) == (1, 0)
    queue.enqueue_batch([3, 4])
    assert (consumer.take_missed(), consumer.missed_count) == (2, 3)


def test_a_drop_wakes_waiters_for_missed_messages(dropping, run_thread):
    queue = dropping(max_items=1)
    consumer = queue.add_consumer()
    queue.enqueue(0)
    waiting = run_thread(consumer.take_missed, timeout=None)
    waiting.assert_waiting()
    queue.enqueue(1)
    assert waiting.result() == 1


def test_on_missed_is_called_for_dropped_messages(dropping):
    queue = dropping(max_items=2)
    told = []
    raising, calling = queue.add_consumer(on_missed="raise"), queue.add_consumer(on_missed=told.append)
    queue.enqueue_batch(range(2))
    queue.enqueue_batch(range(2, 4))
    with pytest.raises(MessagesMissedError) as caught:
        raising.read()
    assert (caught.value.count, raising.get(), calling.get(), told) == (2, 2, 2, [2])


def test_dropped_payloads_are_freed_at_once_and_outside_the_lock(dropping):
    class Payload:
        def __del__(self):
            seen.append((len(queue), queue.stats().dropped))

    seen = []
    queue = dropping(max_items=2)
    payload = Payload()
    gone = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    queue.enqueue_batch([1, 2])
    assert gone() is None
    assert seen == [(2, 1)]


def test_a_lowered_limit_applies_from_the_next_message(dropping):
    queue = dropping(max_items=5)
    queue.enqueue_batch(range(5))
    queue.max_items = 2
    queue.enqueue(5)
    assert payloads(queue.add_consumer()) == [4, 5]
    assert queue.stats().dropped == 4


def test_a_group_misses_dropped_messages_once(dropping):
    queue = dropping(max_items=3)
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(3))
    one.read()
    queue.enqueue_batch(range(3, 5))
    assert (group.missed_count, group.unread_count) == (1, 3)
    assert (other.read().missed, one.read().missed) == (1, 0)


def test_pending_messages_are_dropped_too_and_missed(dropping):
    queue = dropping(max_items=2)
    group = queue.add_group("g", ack_wait=LONG)
    member = group.add_consumer()
    queue.enqueue_batch(range(2))
    first, second = member.read_batch(2)
    queue.enqueue(2)
    assert (group.pending_count, group.unread_count, group.missed_count) == (1, 1, 1)
    first.ack()
    second.ack()
    assert (group.pending_count, group.unread_count, group.missed_count) == (0, 1, 1)
    assert payloads(member) == [2]


def test_with_interest_fewer_messages_are_dropped(dropping):
    queue = dropping(max_items=2, retention="interest")
    consumer = queue.add_consumer()
    for number in range(4):
        queue.enqueue(number)
        assert consumer.get() == number
    assert queue.stats().dropped == 0
    queue.enqueue_batch(range(4, 6))
    queue.enqueue(6)
    assert (queue.stats().dropped, consumer.missed_count, payloads(consumer)) == (1, 1, [5, 6])


def test_the_books_balance_while_producers_outrun_readers(dropping):
    queue = dropping(max_items=20)
    consumers = [queue.add_consumer() for _ in range(2)]
    limit = queue.max_items
    finished = threading.Event()

    def produce():
        for number in range(0, 3000, 3):
            queue.enqueue_batch(range(number, number + 3))

    def produce_and_close():
        together(produce, produce)
        queue.close()

    def read(consumer):
        """Seqs increase, and each gap is what the message reports as missed."""
        expected = missed = count = 0
        for message in consumer:
            assert message.seq - expected == message.missed
            expected = message.seq + 1
            missed += message.missed
            count += 1
        return count, missed

    def look():
        while not finished.is_set():
            assert len(queue) <= limit
            stats = consumers[0].stats()
            assert stats.unread_items <= limit

    def read_all():
        try:
            return together(*(lambda consumer=consumer: read(consumer) for consumer in consumers), produce_and_close)
        finally:
            finished.set()

    (results, _) = together(read_all, look)
    for (count, missed), consumer in zip(results[:2], consumers, strict=True):
        assert count + missed == 6000
        assert consumer.missed_count == consumer.take_missed() == missed
        assert_books_balance(consumer, 6000)
    eventually(lambda: queue.stats().dropped == 6000 - len(queue))
