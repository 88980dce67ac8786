"""Signals reach a main thread that waits: Ctrl-C in time, handlers that use the queue, timeouts that are kept."""

import signal
import subprocess
import sys
import time

import pytest

from harness import SCRIPT_PATIENCE, environment, output_of

pytestmark = pytest.mark.thread_unsafe(reason="starts processes and measures time")

PRELUDE = """
import asyncio, os, signal, sys, threading, time
from mpmc_queue import *

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever started us ignores it
queue = Queue("q", max_items=2, retention="interest")
consumer = queue.add_consumer()
stuck = Queue("stuck", max_items=2)
unread = stuck.add_consumer()
stuck.enqueue_batch([1, 2])
group = queue.add_group("g")
member = group.add_consumer()
acking = Queue("acking").add_group("a", ack_wait=1000).add_consumer()
"""

BLOCKING = {
    "read": "consumer.read(timeout=None)",
    "read with a timeout": "consumer.read(timeout=1000)",
    "read_batch": "consumer.read_batch(5, timeout=None)",
    "read_where": "consumer.read_where(lambda message: True, timeout=None)",
    "get": "consumer.get()",
    "get_batch": "consumer.get_batch(5, timeout=None)",
    "next": "next(consumer)",
    "take_missed": "consumer.take_missed(timeout=None)",
    "read of a group": "member.read(timeout=None)",
    "read of an acknowledging group": "acking.read(timeout=None)",
    "enqueue": "stuck.enqueue(3, timeout=None)",
    "enqueue_batch": "stuck.enqueue_batch([3, 4], timeout=None)",
    "put": "stuck.put(3)",
    "join": "stuck.join()",
    "asyncio": "asyncio.run(consumer.aread())",
}

INTERRUPTED = """
for _ in range(3):
    try:
        print("ready", flush=True)
        {call}
        print("it returned", flush=True)
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
assert queue.enqueue("later") == 0
assert consumer.get(timeout=10) == member.get(timeout=10) == "later"
assert len(queue) == 0 and len(stuck) == 2 and unread.get_batch(9) == [1, 2]
"""


def sleeps(pid):
    """Whether the main thread of the process sleeps in the kernel (always True without /proc)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"
    except OSError:
        return True


@pytest.mark.parametrize("call", BLOCKING)
def test_ctrl_c_interrupts(call):
    source = PRELUDE + INTERRUPTED.format(call=BLOCKING[call])
    delays = []
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            for _ in range(3):
                assert process.stdout.readline() == "ready\n", process.communicate(timeout=SCRIPT_PATIENCE)
                calm = 0
                while calm < 3:  # the line is printed before the call begins
                    time.sleep(0.01)
                    calm = calm + 1 if sleeps(process.pid) else 0
                sent = time.monotonic()
                process.send_signal(signal.SIGINT)
                delays.append(float(process.stdout.readline()) - sent)
            output, errors = process.communicate(timeout=SCRIPT_PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, output, errors) == (0, "", "")
    assert sorted(delays)[1] < 0.1, delays  # the median, because the machine may be busy


HANDLER_ENQUEUES = """
signal.signal(signal.SIGUSR1, lambda *_: queue.enqueue("from the handler"))
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
assert consumer.get(timeout=30) == "from the handler"
assert member.get() == "from the handler"
"""

HANDLER_READS = """
queue.enqueue_batch([1, 2])
signal.signal(signal.SIGUSR1, lambda *_: [consumer.get(), member.get()])
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
assert queue.enqueue(3, timeout=30) == 2
assert consumer.get_batch(9) == [2, 3]
"""

HANDLER_CLOSES_THE_QUEUE = """
signal.signal(signal.SIGUSR1, lambda *_: queue.close())
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
try:
    consumer.read(timeout=None)
except QueueClosedError:
    print("closed")
"""

HANDLER_REMOVES_THE_CONSUMER = """
signal.signal(signal.SIGUSR1, lambda *_: consumer.close())
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
try:
    consumer.read(timeout=None)
except ConsumerClosedError:
    print("closed")
"""

HANDLER_WAITS_ITSELF = """
signal.signal(signal.SIGUSR1, lambda *_: print("inner", member.get()))
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
threading.Timer(0.3, queue.enqueue, ("both",)).start()
print("outer", consumer.get())
"""

HANDLER_RAISES = """
def handler(*_):
    raise LookupError("mine")
signal.signal(signal.SIGUSR1, handler)
for wait in (consumer.get, lambda: stuck.put(3), stuck.join, lambda: consumer.take_missed(timeout=None)):
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        wait()
        raise AssertionError("it returned")
    except LookupError:
        pass
queue.enqueue(1)
assert consumer.get() == 1
"""


@pytest.mark.parametrize(
    ("source", "output"),
    [
        (HANDLER_ENQUEUES, ""),
        (HANDLER_READS, ""),
        (HANDLER_CLOSES_THE_QUEUE, "closed\n"),
        (HANDLER_REMOVES_THE_CONSUMER, "closed\n"),
        (HANDLER_WAITS_ITSELF, "inner both\nouter both\n"),
        (HANDLER_RAISES, ""),
    ],
    ids=["enqueues", "reads", "closes the queue", "removes the consumer", "waits itself", "raises"],
)
def test_a_handler_may_use_the_queue(source, output):
    assert output_of(PRELUDE + source) == output


SIGNALS_ALL_THE_TIME = """
heard = 0
def handler(*_):
    global heard
    heard += 1
    queue.stats(), consumer.unread_count
signal.signal(signal.SIGALRM, handler)
waits = {
    "read": lambda: consumer.read(timeout=0.3),
    "read_batch": lambda: consumer.read_batch(2, timeout=0.3),
    "take_missed": lambda: consumer.take_missed(timeout=0.3),
    "join": lambda: stuck.join(timeout=0.3),
    "enqueue": lambda: stuck.enqueue(3, timeout=0.3),
    "member": lambda: member.read(timeout=0.3),
}
for name, wait in waits.items():
    heard = 0
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    start = time.monotonic()
    try:
        assert not wait()
    except QueueFullError:
        assert name == "enqueue"
    taken = time.monotonic() - start
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(name, taken, heard)
"""


def test_a_timeout_is_kept_while_signals_arrive_all_the_time():
    lines = output_of(PRELUDE + SIGNALS_ALL_THE_TIME).splitlines()
    assert len(lines) == 6
    for line in lines:
        name, taken, heard = line.split()
        assert 0.299 <= float(taken) < 0.6, line
        assert int(heard) >= 3, line  # each within 100 ms
        assert name


MESSAGES_BETWEEN_SIGNALS = """
heard = 0
def handler(*_):
    global heard
    heard += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
source = Queue("source", max_items=10, retention="interest")
reader = source.add_consumer()
def produce():
    for number in range(5000):
        source.enqueue(number, timeout=None)
    source.close()
thread = threading.Thread(target=produce)
thread.start()
assert [message.payload for message in reader] == list(range(5000))
signal.setitimer(signal.ITIMER_REAL, 0)
thread.join()
assert heard
"""


def test_signals_lose_and_repeat_no_message():
    output_of(PRELUDE + MESSAGES_BETWEEN_SIGNALS)
