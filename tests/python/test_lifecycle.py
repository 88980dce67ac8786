"""The exit of a process while threads are at work, and a fork while a queue is in use."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.thread_unsafe(reason="each test is a process of its own")

START = """
import threading
from mpmc_queue import Queue, QueueClosedError

queue = Queue("test", ttl=0.01, max_items=1000)
consumer = queue.add_consumer()
"""


def run(script, *options):
    done = subprocess.run([sys.executable, *options, "-c", START + script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    "call", ["consumer.get()", "consumer.take_missed(timeout=None)", "list(consumer)", "queue.join()"]
)
def test_a_process_exits_cleanly_while_daemon_threads_wait(call):
    script = f"""
reader = queue.add_consumer()
queue.ttl = None
queue.enqueue("unread")
consumer.read()
started = threading.Event()
def wait():
    started.set()
    {call}
for _ in range(3):
    threading.Thread(target=wait, daemon=True).start()
started.wait()
print("end")
"""
    assert run(script) == ["end"]


def test_a_process_exits_cleanly_while_daemon_threads_work():
    script = """
def write():
    while True:
        try:
            queue.put([1, 2, 3], timeout=0.01)
        except Exception:
            pass
def read():
    while True:
        consumer.read_batch(10, timeout=0.01)
for work in (write, write, read, read):
    threading.Thread(target=work, daemon=True).start()
consumer.take_missed(timeout=0.1)
print("end")
"""
    assert run(script) == ["end"]


def test_a_process_exits_cleanly_with_messages_about_to_expire():
    script = """
class Noisy:
    def __del__(self):
        len(queue)
queue.ttl = 0.02
queue.enqueue_batch(Noisy() for _ in range(1000))
print("end")
"""
    assert run(script) == ["end"]


def test_a_process_that_only_imports_starts_no_thread():
    script = """
import os
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", "import mpmc_queue" + script], capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == ["1"]


def test_a_traced_process_exits_cleanly():
    assert run("queue.enqueue('a')\nprint(consumer.get())", "-X", "dev") == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_childs_queues_work():
    script = """
import os, sys, warnings
warnings.simplefilter("ignore")
queue.enqueue("before")
assert consumer.take_missed(timeout=10) == 1       # the expiration thread runs
keep = Queue("keep", ttl=None, max_items=1)
keep.enqueue("held")
reader = keep.add_consumer()
child = os.fork()
assert reader.get(timeout=5) == "held"
queue.enqueue("after")
assert consumer.take_missed(timeout=10) == 1       # and runs in both
fresh = Queue("fresh", ttl=0.01, max_items=1)
fresh.enqueue("a")
assert fresh.enqueue("b", timeout=10) == 1
thread = threading.Thread(target=lambda: keep.put("more"))
thread.start()
keep.max_items = 2
thread.join(10)
assert reader.get(timeout=5) == "more"
sys.stdout.write("child " if child == 0 else "parent ")
sys.stdout.flush()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert sorted(run(script)) == ["child", "parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_threads_work_leaves_no_lock_taken():
    script = """
import os, sys, warnings
warnings.simplefilter("ignore")
queue.ttl = 0.001
def write():
    while not queue.closed:
        try:
            queue.put("x", timeout=0.01)
        except Exception:
            pass
def read():
    try:
        while True:
            consumer.read_batch(10)
    except QueueClosedError:
        pass
threads = [threading.Thread(target=work) for work in (write, write, read)]
for thread in threads:
    thread.start()
for _ in range(300):  # so many, for it also meets the locks of the interpreter that no hook takes
    child = os.fork()
    if child == 0:
        queue.max_items = None
        queue.enqueue("child")
        consumer.seek("latest")
        consumer.read()
        queue.stats()
        queue.close(immediate=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
queue.close()
for thread in threads:
    thread.join()
print("end")
"""
    assert run(script) == ["end"]
