"""Events in a process: it forks while threads work, imports twice, creates subinterpreters, exits."""

import os
import sys

import pytest

from harness import output_of

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

FORKS = """
import faulthandler, gc, os, sys, threading, time, warnings
from mpmc_queue import Queue

warnings.simplefilter("ignore", DeprecationWarning)
faulthandler.dump_traceback_later(40, exit=True)
idle = [Queue(f"idle {number}", ttl=None) for number in range(50)]
for queue in idle:
    queue.enqueue(1)
busy = Queue("busy", ttl=None, max_bytes=1 << 31)
for _ in range(100):
    busy.enqueue_batch([0] * 1000)

def expiring():
    "Messages that expire in the middle of many: each expiry holds the lock for long."
    while True:
        busy.enqueue_batch([0] * 2000, ttl=0.001)
        busy.enqueue_batch([0] * 10, ttl=0.5)
        time.sleep(0.002)

def collecting():
    while True:
        gc.collect()

def allocating():
    while True:
        [[number] for number in range(2000)]

def arming():
    while True:
        for number in range(50):
            Queue("sooner and sooner", ttl=1000 - number).enqueue(1)

threading.Thread(target=expiring, daemon=True).start()
for _ in range(2):
    threading.Thread(target=globals()[sys.argv[1]], daemon=True).start()
end = time.monotonic() + 3
while time.monotonic() < end:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
print("came back", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("others", ["collecting", "allocating", "arming"])
def test_a_fork_returns_whatever_other_threads_do(others):
    assert output_of(FORKS, others) == "came back\n"


IMPORTED_TWICE = """
import faulthandler, os, sys, warnings

faulthandler.dump_traceback_later(20, exit=True)
warnings.simplefilter("ignore", DeprecationWarning)
import mpmc_queue
queue = mpmc_queue.Queue("of the first import")
for name in [name for name in sys.modules if name.startswith("mpmc_queue")]:
    del sys.modules[name]
import mpmc_queue
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(queue.enqueue("still at work"), mpmc_queue.Queue("of the second").enqueue("at work"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_returns_after_a_second_import():
    assert output_of(IMPORTED_TWICE) == "0 0\n"


SUBINTERPRETER = """
import faulthandler, sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
from mpmc_queue import Queue

faulthandler.dump_traceback_later(20, exit=True)
queue = Queue("main")
reader = queue.add_consumer()
got = []
thread = threading.Thread(target=lambda: got.extend(message.payload for message in reader))
thread.start()
legacy = interpreters.create("legacy") if sys.version_info >= (3, 13) else interpreters.create(isolated=False)
interpreters.run_string(legacy, '''
try:
    import mpmc_queue
except ImportError as error:
    assert "subinterpreter" in str(error)
else:
    raise SystemError("it was imported")
''')
interpreters.destroy(legacy)
queue.enqueue_batch(range(5))
queue.close()
thread.join()
print(got)
"""


def test_a_subinterpreter_is_refused_and_the_main_one_is_not_affected():
    assert output_of(SUBINTERPRETER) == "[0, 1, 2, 3, 4]\n"


EXIT = """
import atexit, faulthandler, time

faulthandler.dump_traceback_later(20, exit=True)

class Payload:
    def __del__(self):
        from mpmc_queue import Queue
        Queue("late", ttl=1.0).enqueue(1)  # arms the expiration thread, which has ended by then

def last():
    while time.monotonic() < expired:
        pass
    queue.enqueue(1)
    print("enqueued")

atexit.register(last)  # before the package is imported: hooks run in reverse, so this one after the package's
from mpmc_queue import Queue
queue = Queue("queue", ttl=0.05, max_bytes=1 << 30)
queue.enqueue_batch([Payload() for _ in range(6000)])
expired = time.monotonic() + 0.1
"""


def test_a_destructor_that_arms_a_deadline_at_exit_does_not_hang():
    assert output_of(EXIT) == "enqueued\n"


REALTIME = """
import faulthandler, os, sys, threading, time
from mpmc_queue import Queue

faulthandler.dump_traceback_later(40, exit=True)
try:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
except (AttributeError, OSError):
    print("not permitted")
    sys.exit()
queue = Queue("large", ttl=None, max_bytes=1 << 31)
queue.enqueue_batch([0] * 100_000)
stop = threading.Event()

def ordinary():
    while not stop.is_set():  # work for the expiration thread
        queue.enqueue_batch([0] * 2000, ttl=0.001)
        queue.enqueue_batch([0] * 10, ttl=0.5)
        time.sleep(0.001)

def realtime():
    os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, os.sched_param(10))
    worst, end = 0.0, time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.0013)
        start = time.perf_counter()
        queue.put(0)
        worst = max(worst, time.perf_counter() - start)
    stop.set()
    print("in time" if worst < 0.2 else f"one put took {worst:.2f} s")

threads = [threading.Thread(target=ordinary), threading.Thread(target=realtime)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this needs Linux")
def test_a_real_time_thread_does_not_wait_for_a_preempted_holder():
    said = output_of(REALTIME)
    if said == "not permitted\n":
        pytest.skip("real-time priority is not permitted here")
    assert said == "in time\n"
