"""The interpreter exits with code 0 and prints nothing, however busy the queue is at that moment."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import script

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

REPEATS = {"threads are inside all the time": 40}  # 10 for the others; over a hundred in all
AT_A_TIME = 4

PRELUDE = """
import sys, threading, time
from mpmc_queue import *

repeat = int(sys.argv[1]) % 10

def daemon(call, *arguments):
    "A daemon thread that is about to call."
    entered = threading.Event()
    def run():
        entered.set()
        call(*arguments)
    threading.Thread(target=run, daemon=True).start()
    entered.wait()
"""

SCRIPTS = {
    "readers wait": """
queue = Queue("q")
queue.enqueue(1)
group = queue.add_group("g", start="latest", ack_wait=60)
for wait in (
    lambda c: c.read(timeout=None),
    lambda c: c.read_batch(5, timeout=1000),
    lambda c: c.read_where(lambda m: True, timeout=None),
    lambda c: c.get(),
    lambda c: next(c),
    lambda c: c.take_missed(timeout=None),
):
    daemon(wait, queue.add_consumer(start="latest"))
daemon(group.add_consumer().read_batch, 3)
daemon(lambda: group.add_consumer().read(timeout=None))
time.sleep(repeat / 200)
""",
    "producers wait": """
queue = Queue("q", max_items=1)
queue.add_consumer()
queue.enqueue(1)
daemon(queue.put, 2)
daemon(lambda: queue.enqueue(2, timeout=1000))
daemon(lambda: queue.enqueue_batch([2], timeout=None))
daemon(queue.join)
time.sleep(repeat / 200)
""",
    "threads are inside all the time": """
queue = Queue("q", max_items=50, retention="interest", ttl=0.005)
consumers = [queue.add_consumer() for _ in range(2)]
def produce():
    while True:
        try:
            queue.enqueue_batch(["x" * 10] * 3, timeout=None)
        except QueueError:
            return
def consume(consumer):
    for message in consumer:
        message.events, message.id
for _ in range(2):
    daemon(produce)
for consumer in consumers:
    daemon(consume, consumer)
time.sleep(repeat / 100)
""",
    "expiration is due": """
queues = [Queue("q", ttl=0.001 * (repeat + 1), max_bytes=1 << 26) for _ in range(3)]
for queue in queues:
    queue.add_consumer()
    queue.enqueue_batch([object() for _ in range(5000)])
time.sleep(0.001 * repeat)
""",
    "expired payloads have a __del__": """
class Payload:
    def __init__(self, queue): self.queue = queue
    def __del__(self):
        self.queue.stats()
        list(range(100))
queue = Queue("q", ttl=0.002 * (repeat + 1), max_bytes=1 << 26)
queue.add_consumer()
for _ in range(2000):
    queue.enqueue(Payload(queue), timeout=None)
time.sleep(0.002 * repeat)
""",
    "held payloads have a __del__": """
class Payload:
    def __del__(self):
        try:
            queue.enqueue("again")
        except (QueueError, NameError, TypeError, AttributeError):
            pass  # globals may be gone
queue = Queue("q", sizer=lambda payload: 10)
consumer = queue.add_consumer(on_missed=lambda count: None)
queue.enqueue_batch([Payload() for _ in range(50)])
message = consumer.read()
""",
    "a loop in a daemon thread waits": """
import asyncio
queue = Queue("q", max_items=1)
queue.enqueue(1)
ready = threading.Event()
async def main():
    calls = [queue.add_consumer(start="latest").aread() for _ in range(10)]
    calls += [queue.aenqueue(2), queue.add_consumer().atake_missed(), queue.ajoin()]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    ready.set()
    await asyncio.gather(*tasks)
daemon(asyncio.run, main())
ready.wait()
queue.max_items = 2 if repeat % 2 else 1
""",
    "a loop is left open, or closed, with waiters": """
import asyncio
queue = Queue("q")
loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)  # asyncio tells of tasks that never ended
tasks = [loop.create_task(queue.add_consumer().aread(timeout=None if n % 2 else 1000)) for n in range(10)]
loop.run_until_complete(asyncio.sleep(0))
if repeat % 2:
    loop.close()
queue.enqueue(1)
""",
    "atexit and non-daemon threads use the queue": """
import atexit
queue = Queue("q", ttl=0.05)
consumer = queue.add_consumer()
def last():
    queue.enqueue("at exit")
    assert consumer.get() in ("at exit", "late")
    queue.close()
atexit.register(last)
def late():
    time.sleep(0.01)
    queue.enqueue("late")
threading.Thread(target=late).start()
daemon(lambda: queue.add_consumer(start="latest").get())
""",
    "callbacks run in daemon threads": """
def slow(*_):
    time.sleep(0.001)
    return 1
queue = Queue("q", sizer=slow, max_items=5, overflow="drop_oldest")
consumer = queue.add_consumer(on_missed=slow)
def produce():
    while True:
        queue.enqueue(0)
def consume():
    while True:
        consumer.read_where(slow, timeout=None)
for call in (produce, produce, consume):
    daemon(call)
time.sleep(repeat / 200)
""",
}


# Until 3.14, CPython ends a daemon thread by unwinding its stack. That aborts the process if the stack has frames of an
# extension that has called back into Python.
UNTIL_3_14 = pytest.mark.skipif(sys.version_info < (3, 14), reason="daemon threads are unwound through the callback")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=UNTIL_3_14 if name.startswith("callbacks") else ()) for name in SCRIPTS]
)
def test_exit_is_clean_while(name):
    repeats = REPEATS.get(name, 10)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = list(pool.map(lambda repeat: script(PRELUDE + SCRIPTS[name], repeat), range(repeats)))
    assert [(run.returncode, run.stdout, run.stderr) for run in runs] == [(0, "", "")] * repeats
