"""The standard library's own tests of put and get hold here too, with queue.Full and queue.Empty."""

import queue as stdlib_queue
import sys

import pytest

import mpmc_queue
from helpers import CLOCK_SLACK, stopwatch
from mpmc_queue import ItemLimitError, MemoryLimitError, Queue, QueueClosedError, QueueError, QueueFullError

SIZE = 5


def full(queue):
    for i in range(SIZE):
        queue.put(i)


def test_get_returns_items_in_the_order_of_put(make_queue):
    queue = make_queue(max_items=SIZE)
    consumer = queue.add_consumer()
    assert queue.is_empty()
    for item in (111, 333, 222):
        queue.put(item)
    assert [consumer.get(), consumer.get(), consumer.get()] == [111, 333, 222]


def test_put_of_a_full_queue_raises_full_without_blocking(make_queue):
    queue = make_queue(max_items=SIZE)
    full(queue)
    with pytest.raises(stdlib_queue.Full):
        queue.put("full", block=False)
    with pytest.raises(stdlib_queue.Full):
        queue.put("full", False)
    with pytest.raises(stdlib_queue.Full):
        queue.put_nowait("full")
    assert len(queue) == SIZE


def test_put_of_a_full_queue_raises_full_after_its_timeout(make_queue):
    queue = make_queue(max_items=SIZE)
    full(queue)
    for arguments in ({"timeout": 0.1}, {"block": True, "timeout": 0.1}):
        with stopwatch() as took, pytest.raises(stdlib_queue.Full):
            queue.put("full", **arguments)
        assert took.seconds >= 0.1 - CLOCK_SLACK


def test_put_with_timeout_zero_does_not_wait(make_queue):
    queue = make_queue(max_items=SIZE)
    full(queue)
    with pytest.raises(stdlib_queue.Full):
        queue.put("full", timeout=0)


def test_without_blocking_a_timeout_is_not_waited_for(make_queue):
    queue = make_queue(max_items=SIZE)
    consumer = queue.add_consumer(start="latest")
    full(queue)
    with stopwatch() as took:
        with pytest.raises(stdlib_queue.Full):
            queue.put("full", block=False, timeout=30)
        consumer.seek("latest")
        with pytest.raises(stdlib_queue.Empty):
            consumer.get(block=False, timeout=30)
    assert took.seconds < 10


def test_put_blocks_by_default(make_queue, run_thread):
    queue = make_queue(max_items=SIZE, ttl=None)
    full(queue)
    worker = run_thread(queue.put, "full")
    worker.assert_waiting()
    queue.max_items = SIZE + 1
    assert worker.result() is None


def test_get_of_an_empty_queue_raises_empty_without_blocking(make_queue):
    consumer = make_queue().add_consumer()
    for call in (consumer.get_nowait, lambda: consumer.get(False), lambda: consumer.get(block=False)):
        with pytest.raises(stdlib_queue.Empty):
            call()


def test_get_of_an_empty_queue_raises_empty_after_its_timeout(make_queue):
    consumer = make_queue().add_consumer()
    for arguments in ((True, 0.1), (1, 0.1)):
        with stopwatch() as took, pytest.raises(stdlib_queue.Empty):
            consumer.get(*arguments) if arguments[0] is True else consumer.get(timeout=0.1)
        assert took.seconds >= 0.1 - CLOCK_SLACK


def test_get_blocks_by_default(make_queue, run_thread):
    queue = make_queue()
    worker = run_thread(queue.add_consumer().get)
    worker.assert_waiting()
    queue.put("item")
    assert worker.result() == "item"


def test_get_with_a_timeout_returns_an_item_put_in_time(make_queue, run_thread):
    queue = make_queue()
    worker = run_thread(queue.add_consumer().get, True, 30)
    worker.assert_waiting()
    queue.put("item")
    assert worker.result() == "item"


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan")])
def test_a_negative_timeout_is_a_value_error(make_queue, timeout):
    queue = make_queue(max_items=1)
    consumer = queue.add_consumer()
    with pytest.raises(ValueError, match="timeout"):
        queue.put("item", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        consumer.get(timeout=timeout)
    queue.put("item")
    with pytest.raises(ValueError, match="timeout"):
        queue.put("item", True, timeout)
    with pytest.raises(ValueError, match="timeout"):
        consumer.get(True, timeout)


def test_the_errors_are_also_those_of_the_standard_library():
    for error in (QueueFullError, MemoryLimitError, ItemLimitError):
        assert issubclass(error, stdlib_queue.Full)
        assert issubclass(error, QueueError)
    assert not issubclass(QueueClosedError, (stdlib_queue.Full, stdlib_queue.Empty))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queue.ShutDown came with 3.13")
def test_queue_closed_error_is_a_shut_down(make_queue):
    assert issubclass(QueueClosedError, stdlib_queue.ShutDown)
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.shutdown()
    with pytest.raises(stdlib_queue.ShutDown):
        queue.put("item")
    with pytest.raises(stdlib_queue.ShutDown):
        queue.put_nowait("item")
    with pytest.raises(stdlib_queue.ShutDown):
        consumer.get()
    with pytest.raises(stdlib_queue.ShutDown):
        consumer.get_nowait()


def test_remaining_messages_can_be_read_after_shutdown(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.put("a")
    queue.put("b")
    queue.shutdown()
    assert consumer.get() == "a"
    assert consumer.get_nowait() == "b"
    with pytest.raises(QueueClosedError):
        consumer.get()


def test_an_immediate_shutdown_leaves_nothing(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.put("a")
    queue.shutdown(immediate=True)
    with pytest.raises(QueueClosedError):
        consumer.get()
    with pytest.raises(QueueClosedError):
        consumer.get_nowait()


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_blocked_gets_and_puts(make_queue, run_thread, immediate):
    queue = make_queue(max_items=1)
    consumer = queue.add_consumer(start="latest")
    queue.put("a")
    consumer.seek("latest")
    workers = [run_thread(consumer.get), run_thread(consumer.get), run_thread(queue.put, "b")]
    workers[-1].assert_waiting()
    queue.shutdown(immediate)
    for worker in workers:
        with pytest.raises(QueueClosedError):
            worker.result()


def test_many_threads_put_and_get_everything(make_queue, run_thread):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer()

    def get_all():
        got = []
        while (item := consumer.get()) is not None:
            got.append(item)
        return got

    getters = [run_thread(get_all) for _ in range(4)]
    putters = [run_thread(lambda: [queue.put(i) for i in range(500)]) for _ in range(3)]
    for putter in putters:
        putter.result()
    for _ in getters:
        queue.put(None)
    assert sorted(item for getter in getters for item in getter.result()) == sorted(list(range(500)) * 3)


def test_empty_is_the_standard_librarys_class():
    assert not hasattr(mpmc_queue, "Empty") or mpmc_queue.Empty is stdlib_queue.Empty


CALLS = (  # the call, and whether the queue then holds its one item
    ("put", ("x", 0), False),
    ("put", ("x", 0), True),
    ("put", ("x", None), True),
    ("put", ("x", False, -1), True),
    ("put", ("x", [], "no number"), True),
    ("put", ("x", 1, 0.01), True),
    ("put", ("x", "yes", -1), True),
    ("get", (0,), False),
    ("get", (0,), True),
    ("get", (1, 0.01), False),
    ("get", (False, -1), False),
    ("get", (None, "no number"), True),
    ("get", (True, -1), False),
)


def outcome(subject, reader, method, arguments, full):
    if full:
        subject.put("held")
    try:
        return getattr(reader if method == "get" else subject, method)(*arguments)
    except Exception as error:
        return next(
            kind for kind in (stdlib_queue.Full, stdlib_queue.Empty, ValueError, TypeError) if isinstance(error, kind)
        )


@pytest.mark.parametrize(("method", "arguments", "full"), CALLS)
def test_block_is_used_by_its_truth_value_and_without_it_timeout_is_ignored(method, arguments, full):
    theirs, ours = stdlib_queue.Queue(maxsize=1), Queue("q", max_items=1)
    expected = outcome(theirs, theirs, method, arguments, full)
    assert outcome(ours, ours.add_consumer(), method, arguments, full) == expected


def test_immediate_is_used_by_its_truth_value_in_shutdown():
    queue = Queue("q")
    queue.put("discarded")
    queue.shutdown(1)
    assert len(queue) == 0


def test_a_truth_value_that_raises_propagates_and_does_not_change_the_queue():
    class Undecided:
        def __bool__(self):
            raise ZeroDivisionError

    queue = Queue("q")
    with pytest.raises(ZeroDivisionError):
        queue.put("x", Undecided())
    with pytest.raises(ZeroDivisionError):
        queue.shutdown(Undecided())
    assert (len(queue), queue.closed) == (0, False)
