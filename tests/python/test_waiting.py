"""A waiting call wakes when its condition holds, at a close and at a removal. It costs no CPU and lets others work."""

import queue as stdlib_queue
import signal
import subprocess
import sys
import time

import pytest

from helpers import CLOCK_SLACK, READS, WRITES, expire_all, stopwatch
from mpmc_queue import ConsumerClosedError, ItemLimitError, QueueClosedError

WAITING_FOREVER = [None, 300, float("inf"), 1e300]
reads = pytest.mark.parametrize("how", READS)
writes = pytest.mark.parametrize("how", WRITES)


@reads
@pytest.mark.parametrize("timeout", WAITING_FOREVER, ids=str)
def test_a_reader_wakes_for_a_message(make_queue, run_thread, how, timeout):
    queue = make_queue()
    consumer = queue.add_consumer()
    worker = run_thread(READS[how], consumer, timeout)
    worker.assert_waiting()
    queue.enqueue("a")
    assert worker.result() == "a"


@writes
def test_a_reader_wakes_for_every_way_to_write(make_queue, run_thread, how):
    queue = make_queue()
    worker = run_thread(queue.add_consumer().get)
    worker.assert_waiting()
    WRITES[how](queue, "a", 0)
    assert worker.result() == "a"


@pytest.mark.parametrize("method", ["read_batch", "get_batch"])
def test_a_batch_reader_wakes_for_the_first_message_and_takes_available_messages(make_queue, run_thread, method):
    queue = make_queue()
    worker = run_thread(getattr(queue.add_consumer(), method), 10, timeout=None)
    worker.assert_waiting()
    queue.enqueue_batch("abc")
    assert len(worker.result()) == 3


def test_one_message_wakes_the_readers_of_all_consumers(make_queue, run_thread):
    queue = make_queue()
    workers = [run_thread(queue.add_consumer().get) for _ in range(6)]
    workers[-1].assert_waiting()
    queue.enqueue("a")
    assert [worker.result() for worker in workers] == ["a"] * 6


def test_one_message_ends_the_wait_of_one_reader_of_a_shared_consumer(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    workers = [run_thread(consumer.get) for _ in range(3)]
    workers[-1].assert_waiting()
    for count in (1, 2, 3):
        queue.enqueue(count)
        assert consumer.queue.join(10) is True
    assert sorted(worker.result() for worker in workers) == [1, 2, 3]
    assert consumer.stats().total_items_read == 3


@reads
@pytest.mark.parametrize("immediate", [False, True])
def test_a_reader_wakes_when_its_queue_is_closed(make_queue, run_thread, how, immediate):
    queue = make_queue()
    worker = run_thread(READS[how], queue.add_consumer(), None)
    worker.assert_waiting()
    queue.close(immediate=immediate)
    with pytest.raises(StopIteration if how == "next" else QueueClosedError):
        worker.result()


@reads
@pytest.mark.parametrize("removal", ["close", "remove_consumer"])
def test_a_reader_wakes_when_its_consumer_is_removed(make_queue, run_thread, how, removal):
    queue = make_queue()
    consumer = queue.add_consumer()
    worker = run_thread(READS[how], consumer, None)
    worker.assert_waiting()
    if removal == "close":
        consumer.close()
    else:
        queue.remove_consumer(consumer.id)
    with pytest.raises(ConsumerClosedError):
        worker.result()


def test_removing_one_consumer_leaves_the_readers_of_others_waiting(make_queue, run_thread):
    queue = make_queue()
    leaving, staying = queue.add_consumer(), queue.add_consumer()
    worker = run_thread(staying.get)
    leaving.close()
    worker.assert_waiting()
    queue.enqueue("a")
    assert worker.result() == "a"


def test_read_where_keeps_its_deadline_while_others_pass(make_queue, run_thread):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    with stopwatch() as took:
        worker = run_thread(consumer.read_where, lambda m: False, timeout=0.2)
        while not worker.done:
            queue.join(0.1)  # wakes each time the reader has skipped the messages that were there
            if len(queue) < 2000:
                queue.enqueue("no")
    assert worker.result() is None
    assert 0.2 - CLOCK_SLACK <= took.seconds < 10


@writes
@pytest.mark.parametrize("immediate", [False, True])
def test_a_producer_wakes_when_its_queue_is_closed(make_queue, run_thread, how, immediate):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    worker = run_thread(WRITES[how], queue, "b", None)
    worker.assert_waiting()
    queue.close(immediate=immediate)
    with pytest.raises(QueueClosedError):
        worker.result()
    assert queue.stats().enqueued == 1
    assert queue.stats().rejected == 0


@writes
def test_a_producer_wakes_when_messages_expire(make_queue, run_thread, how):
    queue = make_queue(ttl=None, max_items=1)
    queue.enqueue("a")
    worker = run_thread(WRITES[how], queue, "b", None)
    worker.assert_waiting()
    queue.ttl = 0.1
    worker.result()
    assert queue.stats().next_seq == 2
    assert queue.stats().rejected == 0


def test_a_producer_wakes_when_a_forced_expiration_makes_room(make_queue, run_thread):
    queue = make_queue(ttl=None, max_items=2)
    queue.enqueue_batch("ab")
    worker = run_thread(queue.enqueue_batch, ["c", "d"], timeout=None)
    worker.assert_waiting()
    expire_all_without_check(queue)
    assert worker.result() == range(2, 4)


def expire_all_without_check(queue):
    queue.ttl = 1e-9
    queue.force_expiration()
    queue.ttl = None


@writes
def test_a_message_that_had_to_wait_is_sized_once(make_queue, run_thread, how):
    sized = []
    queue = make_queue(ttl=None, max_items=1, sizer=lambda payload: sized.append(payload) or 1)
    queue.enqueue("a")
    worker = run_thread(WRITES[how], queue, "b", None)
    worker.assert_waiting()
    queue.max_items = 2
    worker.result()
    assert sized == ["a", "b"]


def test_a_message_that_waits_for_space_is_created_when_it_is_added(make_queue, run_thread):
    queue = make_queue(ttl=None, max_items=1)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    worker = run_thread(queue.enqueue, "b", timeout=None)
    worker.assert_waiting()
    queue.max_items = 2
    worker.result()
    first, second = consumer.read_batch(2)
    assert (second.created - first.created).total_seconds() >= 0.04


def test_take_missed_wakes_for_a_loss(make_queue, run_thread):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    worker = run_thread(consumer.take_missed, timeout=None)
    worker.assert_waiting()
    expire_all(queue)
    assert worker.result() == 3
    assert consumer.take_missed() == 0


def test_take_missed_does_not_wake_for_messages_that_were_read(make_queue, run_thread):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    consumer.read()
    worker = run_thread(consumer.take_missed, timeout=None)
    expire_all(queue)
    worker.assert_waiting()
    queue.close()
    assert worker.result() == 0


def test_take_missed_is_zero_after_the_timeout(make_queue):
    consumer = make_queue().add_consumer()
    with stopwatch() as took:
        assert consumer.take_missed(timeout=0.1) == 0
    assert took.seconds >= 0.1 - CLOCK_SLACK


@pytest.mark.parametrize("immediate", [False, True])
def test_take_missed_wakes_when_the_queue_is_closed(make_queue, run_thread, immediate):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    worker = run_thread(consumer.take_missed, timeout=None)
    worker.assert_waiting()
    queue.close(immediate=immediate)
    assert worker.result() == 0


def test_take_missed_wakes_when_its_consumer_is_removed(make_queue, run_thread):
    consumer = make_queue().add_consumer()
    worker = run_thread(consumer.take_missed, timeout=None)
    worker.assert_waiting()
    consumer.close()
    with pytest.raises(ConsumerClosedError):
        worker.result()


@pytest.mark.parametrize(
    "complete",
    [
        lambda queue, consumer: consumer.read(),
        lambda queue, consumer: consumer.read_batch(5),
        lambda queue, consumer: consumer.get_nowait(),
        lambda queue, consumer: consumer.read_where(lambda m: False),
        lambda queue, consumer: consumer.seek("latest"),
        lambda queue, consumer: consumer.close(),
        lambda queue, consumer: expire_all(queue),
        lambda queue, consumer: queue.close(immediate=True),
    ],
    ids="read read_batch get read_where seek removal expiry close".split(),
)
def test_join_wakes_when_nothing_is_left_to_read(make_queue, run_thread, complete):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    worker = run_thread(queue.join)
    worker.assert_waiting()
    complete(queue, consumer)
    assert worker.result() is True


def test_join_waits_for_the_slowest_consumer(make_queue, run_thread):
    queue = make_queue()
    consumers = [queue.add_consumer() for _ in range(3)]
    queue.enqueue_batch("ab")
    worker = run_thread(queue.join, 300)
    for consumer in consumers:
        worker.assert_waiting()
        consumer.read_batch(2)
    assert worker.result() is True


@pytest.mark.thread_unsafe(reason="measures the CPU time of the process")
@pytest.mark.parametrize("wait", ["read", "get", "read_where", "take_missed", "join", "enqueue"])
def test_waiting_costs_no_cpu(make_queue, wait):
    queue = make_queue(ttl=600, max_items=1)
    queue.enqueue("a")
    queue.add_consumer()
    reader = queue.add_consumer(start="latest")
    before = time.process_time()
    with stopwatch() as took:
        match wait:
            case "read":
                reader.read(timeout=0.4)
            case "get":
                with pytest.raises(stdlib_queue.Empty):
                    reader.get(timeout=0.4)
            case "read_where":
                reader.read_where(lambda m: True, timeout=0.4)
            case "take_missed":
                reader.take_missed(timeout=0.4)
            case "join":
                queue.join(0.4)
            case _:
                with pytest.raises(ItemLimitError):
                    queue.enqueue("b", timeout=0.4)
    assert took.seconds >= 0.4 - CLOCK_SLACK
    assert time.process_time() - before < 0.04


@pytest.mark.parametrize("how", READS)
def test_other_threads_run_while_many_wait(make_queue, run_thread, how):
    queue = make_queue()
    workers = [run_thread(READS[how], queue.add_consumer(), None) for _ in range(8)]
    with stopwatch() as took:
        assert sum(1 for _ in range(100_000)) == 100_000
    assert took.seconds < 10
    for worker in workers:
        assert not worker.done
    queue.enqueue("a")
    assert [worker.result() for worker in workers] == ["a"] * 8


INTERRUPTED = """
import os, signal, sys, threading, time
from mpmc_queue import Queue

signal.signal(signal.SIGINT, signal.default_int_handler)
queue = Queue("test", ttl=None, max_items=1)
queue.enqueue("held")
behind = queue.add_consumer()
reader = queue.add_consumer(start="latest")
call = {
    "read": lambda: reader.read(timeout=None),
    "read_batch": lambda: reader.read_batch(10, timeout=None),
    "read_where": lambda: reader.read_where(bool, timeout=None),
    "get": lambda: reader.get(),
    "get_batch": lambda: reader.get_batch(10, timeout=30),
    "next": lambda: next(reader),
    "enqueue": lambda: queue.enqueue("more", timeout=None),
    "enqueue_batch": lambda: queue.enqueue_batch(["more"], timeout=30),
    "put": lambda: queue.put("more"),
    "take_missed": lambda: reader.take_missed(timeout=None),
    "join": lambda: queue.join(),
}[sys.argv[1]]
sent = 0.0

def interrupt():
    global sent
    time.sleep(0.1)  # until the main thread waits: it cannot tell us, it waits
    sent = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)

delays = []
for _ in range(3):
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        call()
    except KeyboardInterrupt:
        delays.append(time.perf_counter() - sent)
    thread.join()
assert len(delays) == 3, delays
queue.max_items = 2
assert queue.enqueue("after") == 1
assert reader.get(timeout=5) == "after"
print(min(delays))
"""


@pytest.mark.thread_unsafe(reason="each run is a process of its own")
@pytest.mark.skipif(sys.platform == "win32", reason="needs os.kill with SIGINT")
@pytest.mark.parametrize("call", [*READS, *WRITES, "take_missed", "join"])
def test_ctrl_c_interrupts_within_100_ms(call):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, call], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.1


HANDLED = """
import os, signal, threading, time
from mpmc_queue import Queue

queue = Queue("test")
reader = queue.add_consumer()
signal.signal(signal.SIGUSR1, lambda number, frame: queue.enqueue("from the handler"))
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
print(reader.get(timeout=30))
"""


@pytest.mark.thread_unsafe(reason="each run is a process of its own")
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
def test_a_signal_handler_may_use_the_queue_its_thread_waits_on():
    done = subprocess.run([sys.executable, "-c", HANDLED], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("from the handler\n", "")
