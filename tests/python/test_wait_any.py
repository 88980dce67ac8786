"""Waiting for several consumers at once, of several queues."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time

import pytest

from harness import LONG
from helpers import PATIENCE, stopwatch
from mpmc_queue import Queue, await_any, wait_any

SHORT = 0.05


@pytest.fixture(params=["wait_any", "await_any"])
def wait(request):
    """Both ways to wait."""
    if request.param == "wait_any":
        return wait_any

    def wait(consumers, *, timeout=None):
        async def awaiting():
            return await await_any(consumers, timeout=timeout)

        return asyncio.run(awaiting())

    return wait


@pytest.fixture
def make_consumers(make_queue):
    """One consumer for each of three queues."""

    def make():
        return [make_queue(name).add_consumer() for name in "abc"]

    return make


def test_it_returns_the_readable_ones_in_the_order_given(make_consumers, wait):
    consumers = make_consumers()
    a, b, c = consumers
    c.queue.enqueue(1)
    assert wait(consumers, timeout=0) == [c]
    a.queue.enqueue(1)
    assert wait(consumers) == [a, c]
    assert wait([c, b, a]) == [c, a]
    assert wait((c, c, a)) == [c, c, a]
    assert (a.unread_count, c.unread_count) == (1, 1), "none are read from"


def test_it_accepts_any_iterable_and_iterates_once(make_consumers, wait):
    consumers = make_consumers()
    consumers[0].queue.enqueue(1)
    assert wait(iter(consumers)) == [consumers[0]]


def test_it_returns_an_empty_list_after_the_timeout(make_consumers, wait):
    consumers = make_consumers()
    assert wait(consumers, timeout=0) == []
    began = time.monotonic()
    assert wait(consumers, timeout=SHORT) == []
    assert time.monotonic() - began >= SHORT


@pytest.mark.parametrize("which", range(3))
def test_any_of_them_wakes_it(make_consumers, wait, run_thread, which):
    consumers = make_consumers()
    waiting = run_thread(wait, consumers, timeout=PATIENCE)
    waiting.assert_waiting()
    consumers[which].queue.enqueue("a")
    assert waiting.result() == [consumers[which]]
    assert consumers[which].read().payload == "a"


def test_it_waits_for_several_consumers_of_one_queue(make_queue, wait):
    queue = make_queue()
    first = queue.add_consumer()
    queue.enqueue(1)
    second = queue.add_consumer(start="latest")
    assert wait([second, first]) == [first]
    queue.enqueue(2)
    assert wait([second, first]) == [second, first]


def test_a_closed_queue_is_readable(make_consumers, wait, run_thread):
    consumers = make_consumers()
    waiting = run_thread(wait, consumers, timeout=PATIENCE)
    waiting.assert_waiting()
    consumers[1].queue.close()
    assert waiting.result() == [consumers[1]]


def test_a_removed_consumer_is_readable(make_consumers, wait, run_thread):
    consumers = make_consumers()
    waiting = run_thread(wait, consumers, timeout=PATIENCE)
    waiting.assert_waiting()
    consumers[1].close()
    assert waiting.result() == [consumers[1]]
    assert wait([consumers[1]]) == [consumers[1]]


def test_a_consumer_with_an_unreported_gap_is_readable(make_queue, wait):
    queue = make_queue(max_items=1, overflow="drop_oldest")
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue(1)
    queue.enqueue(2)
    assert wait([consumer], timeout=0) == [consumer]


def test_a_redelivery_wakes_it(make_queue, wait, run_thread):
    queue = make_queue()
    group = queue.add_group("workers", ack_wait=LONG)
    first, second = group.add_consumer(), group.add_consumer()
    queue.enqueue("job")
    message = first.read()
    waiting = run_thread(wait, [second], timeout=PATIENCE)
    waiting.assert_waiting()
    message.nack()
    assert waiting.result() == [second]


def test_it_waits_for_a_closed_queue_with_pending_messages(make_queue, wait, run_thread):
    queue = make_queue()
    group = queue.add_group("workers", ack_wait=LONG)
    first, second = group.add_consumer(), group.add_consumer()
    queue.enqueue("job")
    message = first.read()
    queue.close()
    waiting = run_thread(wait, [second], timeout=PATIENCE)
    waiting.assert_waiting()
    message.ack()
    assert waiting.result() == [second]


def test_it_takes_no_wake_up_from_a_reader(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    watching = run_thread(wait_any, [consumer], timeout=PATIENCE)
    watching.assert_waiting()
    reading = run_thread(consumer.read, timeout=PATIENCE)
    reading.assert_waiting()
    queue.enqueue("a")
    assert reading.result().payload == "a"
    queue.enqueue("b")
    assert watching.result() == [consumer]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (lambda c: [], ValueError),
        (lambda c: c, TypeError),
        (lambda c: None, TypeError),
        (lambda c: 5, TypeError),
        (lambda c: [c, c.queue], TypeError),
        (lambda c: [c, None], TypeError),
        (lambda c: "c", TypeError),
    ],
)
def test_a_bad_argument_is_named_before_it_waits(make_consumers, wait, given, error):
    consumers = make_consumers()
    with pytest.raises(error, match="consumers"):
        wait(given(consumers[0]))


def test_a_bad_timeout_is_named(make_consumers, wait):
    consumers = make_consumers()
    for timeout, error in [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)]:
        with pytest.raises(error, match="timeout"):
            wait(consumers, timeout=timeout)


def test_an_error_of_the_iterable_reaches_the_caller(wait):
    def failing():
        raise KeyError("mine")
        yield

    with pytest.raises(KeyError, match="mine"):
        wait(failing())


@pytest.mark.thread_unsafe
def test_a_wait_that_is_over_leaves_nothing_behind(make_queue, wait):
    queues = [make_queue(str(number)) for number in range(1000)]
    consumers = [queue.add_consumer() for queue in queues]
    for _ in range(3):
        assert wait(consumers, timeout=0.001) == []
    before = len(gc.get_objects())
    began = time.perf_counter()
    for _ in range(20):
        queues[500].enqueue("a")
        assert wait(consumers) == [consumers[500]]
        consumers[500].read()
        assert wait(consumers, timeout=0.001) == []
    assert (time.perf_counter() - began) / 20 < 0.2
    assert len(gc.get_objects()) - before < 500


def test_it_can_be_cancelled(make_consumers):
    consumers = make_consumers()

    async def main():
        task = asyncio.create_task(await_any(consumers))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        consumers[0].queue.enqueue("a")
        return await await_any(consumers)

    assert asyncio.run(main()) == [consumers[0]]


def test_many_tasks_that_wait_for_the_same_consumers_all_wake(make_consumers):
    consumers = make_consumers()

    async def main():
        tasks = [asyncio.create_task(await_any(consumers)) for _ in range(100)]
        for _ in range(3):
            await asyncio.sleep(0)
        consumers[2].queue.enqueue("a")
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [[consumers[2]]] * 100


def test_a_merger_reads_everything_of_many_producers(make_queue):
    queues = [make_queue(str(number), max_bytes=1 << 30) for number in range(5)]
    consumers = [queue.add_consumer() for queue in queues]

    def produce(queue):
        for number in range(500):
            queue.enqueue(number)
        queue.close()

    threads = [threading.Thread(target=produce, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    read = {queue.name: [] for queue in queues}
    left = list(consumers)
    while left:
        for consumer in wait_any(left, timeout=PATIENCE):
            batch = [] if consumer.queue.closed and not consumer.unread_count else consumer.get_batch(100)
            read[consumer.queue.name] += batch
            if not batch:
                left.remove(consumer)
    for thread in threads:
        thread.join(PATIENCE)
    assert read == {queue.name: list(range(500)) for queue in queues}


@pytest.mark.thread_unsafe
@pytest.mark.skipif(sys.platform == "win32", reason="no os.kill of oneself with SIGINT")
def test_ctrl_c_interrupts_it(make_consumers):
    consumers = make_consumers()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also if the parent process ignores the signal
    try:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            wait_any(consumers, timeout=PATIENCE)
        timer.join()
        assert time.monotonic() - began < 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_works_on_a_queue_without_other_references():
    consumer = Queue("q").add_consumer()
    assert wait_any([consumer], timeout=0) == []


@pytest.mark.thread_unsafe(reason="it measures time")
def test_a_wait_that_is_over_leaves_no_waiter():
    consumer = Queue("q").add_consumer()
    fastest = PATIENCE
    for _ in range(5):
        for _ in range(5_000):
            assert wait_any([consumer], timeout=1e-6) == []
        with stopwatch() as taken:
            consumer.queue.enqueue("a")
        consumer.get()
        fastest = min(fastest, taken.seconds)
    assert fastest < 0.0001  # to wake 5,000 takes longer
