"""After a fork both processes continue, whatever other threads were doing in the queue at that moment."""

import os

import pytest

from harness import output_of

pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

PRELUDE = """
import asyncio, multiprocessing, os, signal, sys, threading, time, warnings
from mpmc_queue import *

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here

def in_child(call):
    "Forks, calls it in the child, and returns once the child has left well."
    pid = os.fork()
    if pid == 0:
        signal.alarm(25)  # a child that hangs is killed, and its exit code tells
        try:
            call()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status

def expires(queue):
    "The expiration thread of this process comes by."
    consumer = queue.add_consumer(start="latest")
    queue.enqueue("short-lived", timeout=15)
    assert consumer.take_missed(timeout=15) == 1
    consumer.close()
"""

HAMMERED = """
queue = Queue("q", max_items=100, ttl=0.01, overflow="reject")
done = threading.Event()

def produce():
    while not done.is_set():
        try:
            queue.enqueue_batch(range(3), timeout=0.001)
        except QueueFullError:
            pass

def consume():
    while not done.is_set():
        with queue.add_consumer(start="earliest") as consumer:
            for _ in range(20):
                consumer.read_batch(2, timeout=0.0005)
                consumer.stats(), queue.stats(), consumer.unread_count

def expire():
    while not done.is_set():
        queue.force_expiration()

def child():
    consumer = queue.add_consumer(start="latest")
    while True:
        try:
            seq = queue.enqueue("from the child", timeout=5)
            break
        except QueueFullError:
            pass
    message = consumer.read(timeout=5)
    # it may have expired on the way, in which case it has been counted
    assert (message and message.seq == seq) or consumer.missed_count == 1, (message, seq)
    expires(queue)
    assert len(queue.consumers) >= 1
    stats = queue.stats()
    assert stats.next_seq == stats.enqueued
    queue.close()

threads = [threading.Thread(target=f) for f in (produce, produce, consume, consume, expire)]
for thread in threads:
    thread.start()
for _ in range(50):
    in_child(child)
done.set()
for thread in threads:
    thread.join(20)
    assert not thread.is_alive(), "a thread of the parent hangs"
assert not queue.closed
expires(queue)
print("both went on")
"""


def test_fifty_forks_while_threads_hammer_the_queue():
    assert output_of(PRELUDE + HAMMERED) == "both went on\n"


NOTHING_SHARED = """
queue = Queue("q")
consumer = queue.add_consumer()
queue.enqueue_batch([1, 2, 3])
assert consumer.get() == 1

def child():
    assert consumer.get_batch(9) == [2, 3]
    assert queue.enqueue("only here") == 3
    assert queue.get_consumer(consumer.id).get() == "only here"
    queue.close(immediate=True)

for _ in range(3):
    in_child(child)
assert (len(queue), consumer.unread_count, queue.closed) == (3, 2, False)
assert consumer.get_batch(9) == [2, 3]
"""


def test_the_child_has_a_copy_and_the_parent_is_not_affected():
    output_of(PRELUDE + NOTHING_SHARED)


EXPIRATION = """
def child():
    expires(queue)
    fresh = Queue("made in the child", ttl=0.01)
    expires(fresh)
    in_child(lambda: expires(fresh))  # and in the grandchild

queue = Queue("q", ttl=0.01)
expires(queue)
waiting = Queue("waiting", ttl=0.3)
left_behind = waiting.add_consumer()
waiting.enqueue("enqueued before the fork")

def also_what_was_there():
    assert left_behind.take_missed(timeout=15) == 1

in_child(also_what_was_there)
for _ in range(5):
    in_child(child)
expires(queue)
assert left_behind.take_missed(timeout=15) == 1
"""


def test_expiration_runs_in_the_child_and_goes_on_in_the_parent():
    output_of(PRELUDE + EXPIRATION)


WAITERS = """
queue = Queue("q", max_items=3, retention="interest")
full = Queue("full", max_items=1, retention="interest")
full.enqueue("there")
consumer, looped = queue.add_consumer(), queue.add_consumer()
at_full = full.add_consumer()
results = []
loop = asyncio.new_event_loop()
entered = threading.Semaphore(0)

def read():
    entered.release()
    results.append(consumer.get(timeout=20))

def write():
    entered.release()
    results.append(full.enqueue("more", timeout=20))

def serve():
    async def main():
        entered.release()
        return await looped.aget()
    results.append(loop.run_until_complete(asyncio.wait_for(main(), 20)))
    loop.close()

threads = [threading.Thread(target=f) for f in (read, write, serve)]
for thread in threads:
    thread.start()
for thread in threads:
    assert entered.acquire(timeout=20)
time.sleep(0.1)  # they are about to wait; it holds if they do not yet

def child():
    queue.enqueue("child")  # wakes nobody: those who waited are in the parent
    assert consumer.get() == looped.get() == "child"
    assert at_full.get() == "there"
    assert full.enqueue("mine", timeout=5) == 1  # and nobody is before us in line
    assert at_full.get() == "mine"
    async def main():
        task = asyncio.create_task(looped.aread(timeout=5))
        await asyncio.sleep(0)
        queue.enqueue("in a loop of the child")
        return (await task).payload
    assert asyncio.run(main()) == "in a loop of the child"

for _ in range(5):
    in_child(child)
assert results == []
queue.enqueue("parent")
assert at_full.get() == "there"
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
assert sorted(map(str, results)) == ["1", "parent", "parent"]
"""


def test_waiters_of_the_parent_are_not_in_the_child():
    output_of(PRELUDE + WAITERS)


MULTIPROCESSING = """
def work(queue, consumer, number):
    queue.enqueue(number)
    assert consumer.get_batch(9) == ["before", number]
    expires(Queue("short", ttl=0.01))

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    queue = Queue("q")
    consumer = queue.add_consumer()
    queue.enqueue("before")
    done = threading.Event()
    busy = Queue("busy", overflow="drop_oldest", max_items=10)
    def hammer():
        while not done.is_set():
            busy.enqueue(0)
    thread = threading.Thread(target=hammer)
    thread.start()
    processes = [context.Process(target=work, args=(queue, consumer, number)) for number in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0, process.exitcode
    done.set()
    thread.join()
    assert consumer.get_batch(9) == ["before"]
"""


def test_multiprocessing_with_fork_works_with_inherited_queues():
    output_of(PRELUDE + MULTIPROCESSING)


FROM_A_THREAD = """
queue = Queue("q")
consumer = queue.add_consumer()
def fork():
    in_child(lambda: [queue.enqueue(1), consumer.get(timeout=5), expires(Queue("short", ttl=0.01))])
thread = threading.Thread(target=fork)
thread.start()
thread.join(40)
assert not thread.is_alive() and len(queue) == 0
"""


def test_a_thread_may_fork():
    output_of(PRELUDE + FROM_A_THREAD)


EXIT_OF_THE_CHILD = """
queue = Queue("q", ttl=0.01)
queue.add_consumer()
queue.enqueue_batch(range(100))
pid = os.fork()
if pid == 0:
    queue.enqueue("child")
    sys.exit(7)  # the whole of an interpreter's end, not os._exit
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 7
"""


def test_the_child_can_exit_normally():
    output_of(PRELUDE + EXIT_OF_THE_CHILD)


def test_metrics_and_dashboard_work_in_a_forked_child() -> None:
    output_of(
        PRELUDE
        + """
from mpmc_queue.dashboard._feed import Feed

queue = Queue("q")
feed = Feed([queue], 0.05)
feed.start()
taken, done = threading.Event(), threading.Event()

def hold():
    with feed._lock, feed.watched._lock:
        taken.set()
        done.wait()

holder = threading.Thread(target=hold)
holder.start()
taken.wait()

def child():
    assert [queue for queue in feed.watched] == [queue]
    feed.start()
    with feed.view() as snapshots:
        assert snapshots.read(timeout=15) is not None
    feed.close()

in_child(child)
done.set()
holder.join()
feed.close()
"""
    )
