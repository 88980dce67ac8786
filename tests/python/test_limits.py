"""max_bytes and max_items are hard limits: what does not fit is refused with figures, or waits."""

import itertools
import queue as stdlib_queue

import pytest

from helpers import CLOCK_SLACK, WRITES, expire_all, fill, stopwatch
from mpmc_queue import CHUNK_SIZE, ItemLimitError, MemoryLimitError, QueueFullError

KILO = b"x" * 1000
FOREVER = [0, 0.0, 30, None, float("inf"), 1e300]


def test_max_items_messages_fit_and_no_more(make_queue):
    queue = make_queue(max_items=3)
    assert fill(queue, "a") == 3
    assert len(queue) == 3


def test_item_figures_are_messages(make_queue):
    queue = make_queue(max_items=3)
    fill(queue, "a")
    with pytest.raises(ItemLimitError) as caught:
        queue.enqueue("b")
    assert (caught.value.current, caught.value.max, caught.value.needed) == (3, 3, 1)


def test_memory_figures_say_exactly_how_many_bytes_are_missing(make_queue):
    queue = make_queue(max_bytes=100_000, sizer=len)
    assert fill(queue, KILO) > 0
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue(KILO)
    error = caught.value
    assert error.current == queue.memory_usage
    assert error.max == 100_000
    assert error.needed > 1000
    assert error.current + error.needed > error.max

    queue.max_bytes = error.current + error.needed - 1
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue(KILO)
    assert caught.value.needed == error.needed
    queue.max_bytes = error.current + error.needed
    queue.enqueue(KILO)
    assert queue.memory_usage == queue.max_bytes


@pytest.mark.parametrize("length", [2, 100, CHUNK_SIZE, 2 * CHUNK_SIZE + 1])
def test_memory_figures_of_a_batch_say_exactly_what_it_needs(make_queue, length):
    queue = make_queue(max_bytes=1, sizer=len)
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue_batch([KILO] * length)
    error = caught.value
    assert (error.current, error.max) == (0, 1)
    assert error.needed > length * 1000
    queue.max_bytes = error.needed - 1
    with pytest.raises(MemoryLimitError):
        queue.enqueue_batch([KILO] * length)
    queue.max_bytes = error.needed
    queue.enqueue_batch([KILO] * length)
    assert queue.memory_usage == queue.max_bytes


def test_limit_errors_have_their_figures_in_the_message(make_queue):
    queue = make_queue(max_items=2)
    fill(queue, "a")
    with pytest.raises(ItemLimitError) as caught:
        queue.enqueue_batch(["b"] * 17)
    for figure in ("2", "17"):
        assert figure in caught.value.message
    assert caught.value.message in str(caught.value)


@pytest.mark.parametrize("how", WRITES)
def test_a_full_queue_refuses_at_once_with_timeout_zero(make_queue, how):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    with pytest.raises(stdlib_queue.Full) as caught:
        WRITES[how](queue, "b", 0)
    assert isinstance(caught.value, ItemLimitError)
    assert len(queue) == 1
    assert queue.stats().rejected == 1


@pytest.mark.parametrize("how", WRITES)
def test_a_full_queue_refuses_after_the_timeout(make_queue, how):
    queue = make_queue(ttl=None, max_items=1)
    queue.enqueue("a")
    with stopwatch() as took, pytest.raises(ItemLimitError) as caught:
        WRITES[how](queue, "b", 0.1)
    assert took.seconds >= 0.1 - CLOCK_SLACK
    assert (caught.value.current, caught.value.max, caught.value.needed) == (1, 1, 1)
    assert queue.stats().rejected == 1


def test_memory_usage_rises_with_each_message_by_more_than_its_size(make_queue):
    queue = make_queue(sizer=len)
    before = queue.memory_usage
    for _ in range(10):
        queue.enqueue(KILO)
        assert queue.memory_usage > before + 1000
        before = queue.memory_usage


@pytest.mark.parametrize("count", [1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
def test_memory_usage_is_that_of_an_empty_queue_once_all_messages_have_left(make_queue, count):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    for _ in range(2):
        queue.enqueue_batch(range(count))
        assert queue.memory_usage > 0
        expire_all(queue)
        assert queue.memory_usage == 0


def test_freed_memory_can_be_used_again(make_queue):
    queue = make_queue(ttl=None, max_bytes=100_000)
    first = fill(queue, KILO)
    for _ in range(5):
        expire_all(queue)
        assert fill(queue, KILO) == first


def test_messages_of_size_zero_are_limited_by_their_overhead(make_queue):
    queue = make_queue(max_bytes=100_000, sizer=lambda payload: 0)
    assert 0 < fill(queue, None) < 100_000
    assert queue.memory_usage <= 100_000


def test_a_size_just_below_max_bytes_does_not_fit_with_overhead(make_queue):
    queue = make_queue(max_bytes=100_000, sizer=lambda payload: 99_999)
    with pytest.raises(MemoryLimitError):
        queue.enqueue("a")


@pytest.mark.parametrize("timeout", FOREVER, ids=str)
@pytest.mark.parametrize("how", WRITES)
def test_a_message_that_could_never_fit_fails_at_once(make_queue, how, timeout):
    queue = make_queue(max_bytes=10_000, sizer=lambda payload: 10_001)
    with stopwatch() as took, pytest.raises(MemoryLimitError) as caught:
        WRITES[how](queue, "a", timeout)
    assert took.seconds < 10
    assert caught.value.needed > 10_001
    assert queue.stats().rejected == 1


@pytest.mark.parametrize("timeout", FOREVER, ids=str)
@pytest.mark.parametrize("held", [0, 1])
def test_a_batch_that_could_never_fit_fails_at_once(make_queue, held, timeout):
    many = make_queue(max_items=3, ttl=None)
    heavy = make_queue(max_bytes=50_000, sizer=len, ttl=None)
    for queue, batch in ((many, ["a"] * 4), (heavy, [KILO] * 51)):
        queue.enqueue_batch(batch[:held])
        with stopwatch() as took, pytest.raises(QueueFullError):
            queue.enqueue_batch(batch, timeout=timeout)
        assert took.seconds < 10
        assert len(queue) == held
        assert queue.stats().rejected == len(batch)


@pytest.mark.parametrize("timeout", FOREVER, ids=str)
def test_an_endless_iterable_fails_as_soon_as_it_is_past_max_bytes(make_queue, timeout):
    queue = make_queue(max_bytes=100_000, sizer=len)
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield KILO

    with pytest.raises(MemoryLimitError):
        queue.enqueue_batch(endless(), timeout=timeout)
    assert 0 < pulled <= 101
    assert len(queue) == 0
    assert queue.memory_usage == 0
    assert queue.stats().rejected > 0


def test_an_endless_iterable_of_payloads_without_size_fails_too(make_queue):
    queue = make_queue(max_bytes=100_000, sizer=lambda payload: 0)
    with pytest.raises(MemoryLimitError):
        queue.enqueue_batch(itertools.repeat(None), timeout=None)
    assert queue.memory_usage == 0


def test_an_endless_iterable_fails_also_where_items_are_limited(make_queue):
    queue = make_queue(max_bytes=100_000, max_items=5)
    with pytest.raises(QueueFullError):
        queue.enqueue_batch(itertools.count(), timeout=None)
    assert len(queue) == 0


def test_max_items_can_be_set_below_what_is_held(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(range(5))
    queue.max_items = 2
    assert queue.max_items == 2
    assert len(queue) == 5
    with pytest.raises(ItemLimitError) as caught:
        queue.enqueue("a")
    assert (caught.value.current, caught.value.max, caught.value.needed) == (5, 2, 1)
    expire_all(queue)
    assert fill(queue, "a") == 2


def test_max_bytes_can_be_set_below_what_is_held(make_queue):
    queue = make_queue(ttl=None, sizer=len)
    queue.enqueue_batch([KILO] * 200)
    held = queue.memory_usage
    queue.max_bytes = 150_000
    assert queue.max_bytes == 150_000
    assert queue.memory_usage == held
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue(KILO)
    assert (caught.value.current, caught.value.max) == (held, 150_000)
    expire_all(queue)
    assert 0 < fill(queue, KILO) < 150


def test_max_items_can_be_lifted(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    queue.max_items = None
    assert queue.max_items is None
    queue.enqueue_batch(range(100))
    assert len(queue) == 101


@pytest.mark.parametrize("limit", [2, None], ids=str)
@pytest.mark.parametrize("how", WRITES)
def test_raising_max_items_wakes_a_blocked_producer(make_queue, run_thread, how, limit):
    queue = make_queue(ttl=None, max_items=1)
    queue.enqueue("a")
    worker = run_thread(WRITES[how], queue, "b", None)
    worker.assert_waiting()
    queue.max_items = limit
    worker.result()
    assert len(queue) == 2


@pytest.mark.parametrize("how", WRITES)
def test_raising_max_bytes_wakes_a_blocked_producer(make_queue, run_thread, how):
    queue = make_queue(ttl=None, max_bytes=100_000, sizer=len)
    held = fill(queue, KILO)
    worker = run_thread(WRITES[how], queue, KILO, None)
    worker.assert_waiting()
    queue.max_bytes = 200_000
    worker.result()
    assert len(queue) == held + 1


def test_raising_a_limit_by_too_little_leaves_a_batch_waiting(make_queue, run_thread):
    queue = make_queue(ttl=None, max_items=3)
    queue.enqueue_batch([1, 2, 3])
    worker = run_thread(queue.enqueue_batch, [4, 5, 6], timeout=None)
    worker.assert_waiting()
    queue.max_items = 5
    worker.assert_waiting()
    queue.max_items = 6
    assert worker.result() == range(3, 6)


def test_raising_a_limit_wakes_all_producers_that_now_fit(make_queue, run_thread):
    queue = make_queue(ttl=None, max_items=1)
    queue.enqueue("a")
    workers = [run_thread(queue.enqueue, i, timeout=None) for i in range(4)]
    workers[-1].assert_waiting()
    queue.max_items = 5
    assert sorted(worker.result() for worker in workers) == [1, 2, 3, 4]


def test_threads_together_never_exceed_max_items(make_queue, run_thread):
    queue = make_queue(max_items=100)
    workers = [run_thread(fill, queue, "a") for _ in range(4)]
    assert sum(worker.result() for worker in workers) == 100
    assert len(queue) == 100
    assert queue.stats().rejected == 4


def test_memory_usage_is_never_seen_above_max_bytes(make_queue, run_thread):
    queue = make_queue(ttl=0.01, max_bytes=100_000, sizer=len)

    def produce():
        for _ in range(300):
            try:
                queue.enqueue_batch([KILO] * 7, timeout=0.05)
            except QueueFullError:
                pass

    workers = [run_thread(produce) for _ in range(2)]
    seen = 0
    while not all(worker.done for worker in workers):
        seen = max(seen, queue.memory_usage, queue.stats().memory_usage)
    for worker in workers:
        worker.result()
    assert 7000 < seen <= 100_000
