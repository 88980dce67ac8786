"""The synchronous interface over a server: in threads, interrupted, and at the end of the program."""

import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from queue import Empty, Full
from typing import get_type_hints

import pytest

from helpers import PATIENCE
from mpmc_queue import ConsumerClosedError, QueueClosedError, QueueError, jetstream
from mpmc_queue.jetstream.sync import ConnectOptions

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

_numbers = count(1)


@pytest.fixture
def name():
    return f"sync-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def queue(nats, name):
    with jetstream.connect_sync(nats.url, name) as queue:
        yield queue


class Interrupted(Exception):
    """Raised by the signal of a test, instead of KeyboardInterrupt, which could end the test run."""


@pytest.fixture
def alarm():
    """alarm(seconds) raises Interrupted in the main thread after so many seconds."""

    def raise_it(*_):
        raise Interrupted

    gc.disable()  # a finalizer that runs in the main thread would swallow the exception
    before = signal.signal(signal.SIGALRM, raise_it)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.enable()


def test_it_takes_the_options_of_connect():
    parameters = inspect.signature(jetstream.connect).parameters
    assert set(get_type_hints(ConnectOptions)) == set(parameters) - {"url", "name", "codec", "others"}


def test_one_loop_serves_all_queues(nats, name):
    before = threading.active_count()
    with jetstream.connect_sync(nats.url, name) as first, jetstream.connect_sync(nats.url, f"{name}-b") as second:
        assert first.enqueue("a") == second.enqueue("b") == 0
        assert threading.active_count() <= before + 1


def test_errors_of_connecting_reach_the_caller(nats, name):
    with pytest.raises(jetstream.OptionError):
        jetstream.connect_sync(nats.url, name, ttl=0.01)
    with pytest.raises(OSError, match=r"refused|Connect"):
        jetstream.connect_sync("nats://127.0.0.1:1", name, patience=1)


def test_many_threads_share_a_queue_and_its_consumers(queue):
    threads, each = 6, 50
    reader = queue.add_consumer()
    member = queue.add_group("workers", ack_wait=30).add_consumer()
    found, acked = Counter(), Counter()
    lock = threading.Lock()

    def produce(number):
        for index in range(each):
            queue.put(f"{number}/{index}", timeout=PATIENCE)

    def consume():
        while (message := reader.read(timeout=1)) is not None:
            with lock:
                found[message.payload] += 1

    def work():
        while (message := member.read(timeout=1)) is not None:
            message.ack()
            with lock:
                acked[message.payload] += 1

    running = [threading.Thread(target=produce, args=(number,)) for number in range(threads)]
    running += [threading.Thread(target=target) for target in (consume, consume, consume, work, work, work)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    wanted = Counter(f"{number}/{index}" for number in range(threads) for index in range(each))
    assert found == wanted
    assert acked == wanted


def test_topics_and_headers_are_sent_with_messages(queue):
    orders = queue.add_consumer("orders", topics=(filter for filter in ["orders.>"]))
    queue.enqueue(1, topic="orders.new", headers={"tenant": "acme"})
    queue.enqueue(2, topic="news")
    queue.enqueue_batch([3, 4], topic="orders.old")
    read = orders.read_batch(3, timeout=PATIENCE, linger=1)
    assert [(message.payload, message.topic) for message in read] == [
        (1, "orders.new"),
        (3, "orders.old"),
        (4, "orders.old"),
    ]
    assert read[0].headers["tenant"] == "acme"
    with pytest.raises(ValueError, match="topic must be"):
        queue.enqueue(5, topic="a..b")


def test_an_acknowledgement_is_confirmed_when_the_call_returns(queue):
    group = queue.add_group("workers", ack_wait=30, topics="jobs.*")
    member = group.add_consumer()
    queue.enqueue("job", topic="jobs.one")
    message = member.read(timeout=PATIENCE)
    message.ack(confirm=True)
    assert group.pending_count == 0


def test_closing_wakes_waiting_threads(nats, name):
    queue = jetstream.connect_sync(nats.url, name)
    reader, other = queue.add_consumer(), queue.add_consumer()
    said = []
    waiting = threading.Barrier(3)

    def read(consumer):
        waiting.wait()
        try:
            consumer.get()
        except QueueError as error:
            said.append(type(error))

    threads = [threading.Thread(target=read, args=(consumer,)) for consumer in (reader, other)]
    for thread in threads:
        thread.start()
    waiting.wait()
    reader.close()
    threads[0].join(PATIENCE)
    assert said == [ConsumerClosedError]
    queue.close()
    threads[1].join(PATIENCE)
    assert said == [ConsumerClosedError, QueueClosedError]


def test_on_missed_is_called_in_the_thread_that_reads(nats, name):
    with jetstream.connect_sync(nats.url, name, max_items=2, overflow="drop_oldest", prefetch=1) as queue:
        told = []
        reader = queue.add_consumer(
            on_missed=lambda count: told.append((count, threading.current_thread(), len(queue.consumers)))
        )
        for text in "abcdef":
            queue.enqueue(text)
        read = [reader.get(timeout=PATIENCE)]
        while read[-1] != "f":
            read.append(reader.get(timeout=PATIENCE))
        assert sum(count for count, *_ in told) + len(read) == 6
        assert told
        assert {(thread, consumers) for _, thread, consumers in told} == {(threading.current_thread(), 1)}


def test_an_error_in_on_missed_leaves_the_read_and_loses_nothing(nats, name):
    with jetstream.connect_sync(nats.url, name, max_items=1, overflow="drop_oldest", prefetch=1) as queue:

        def refuse(count):
            raise ZeroDivisionError

        reader = queue.add_consumer(on_missed=refuse)
        for text in "abcdef":
            queue.enqueue(text)
        told = 0
        read = []
        while read[-1:] != ["f"]:
            try:
                read.append(reader.get(timeout=PATIENCE))
            except ZeroDivisionError:
                told += 1
        assert told


def test_a_payload_iterable_runs_in_the_callers_thread_and_may_be_endless(queue):
    def endless():
        while True:
            assert threading.current_thread() is threading.main_thread() or queue.name
            yield "x" * 1000

    with pytest.raises(Full):
        queue.enqueue_batch(endless())

    def uses_the_queue():
        yield queue.stats().enqueued

    assert queue.enqueue_batch(uses_the_queue()) == range(1)


def test_a_callback_of_the_connection_cannot_wait_for_its_own_loop(nats, name):
    said = []

    async def callback():
        try:
            queue.stats()
        except QueueError as error:
            said.append(str(error))

    queue = jetstream.connect_sync(nats.url, name, connection={"closed_cb": callback})
    queue.close(immediate=True)
    assert said
    assert "wait for itself" in said[0]


def test_dead_letters_go_to_another_queue(nats, name):
    with jetstream.connect_sync(nats.url, name) as queue, jetstream.connect_sync(nats.url, f"{name}-dead") as dead:
        with pytest.raises(jetstream.OptionError):
            queue.add_group("wrong", ack_wait=30, dead_letter=object())
        graves = dead.add_consumer()
        member = queue.add_group("workers", ack_wait=30, dead_letter=dead).add_consumer()
        queue.enqueue("poison")
        member.read(timeout=PATIENCE).term()
        assert graves.get(timeout=PATIENCE) == "poison"


def test_settling_twice_is_an_error_in_the_callers_thread(queue):
    member = queue.add_group("workers", ack_wait=30).add_consumer()
    queue.enqueue("a")
    message = member.read(timeout=PATIENCE)
    message.in_progress()
    message.ack()
    with pytest.raises(QueueError, match="settled"):
        message.ack()


def test_wait_any_returns_the_readable_consumers(nats, name):
    with jetstream.connect_sync(nats.url, name) as orders, jetstream.connect_sync(nats.url, f"{name}-b") as alarms:
        first, second = orders.add_consumer(), alarms.add_consumer()
        assert jetstream.wait_any([first, second], timeout=0.05) == []
        threading.Timer(0.1, alarms.enqueue, ["fire"]).start()
        assert jetstream.wait_any([first, second], timeout=PATIENCE) == [second]
        assert second.get_nowait() == "fire"
        with pytest.raises(TypeError, match="consumers"):
            jetstream.wait_any([orders])
        with pytest.raises(ValueError, match="consumers"):
            jetstream.wait_any([])


# interrupts


BLOCKED = {
    "read": lambda queue, reader, member: reader.read(timeout=None),
    "get": lambda queue, reader, member: reader.get(),
    "read_batch": lambda queue, reader, member: reader.read_batch(5, timeout=None),
    "read_latest": lambda queue, reader, member: reader.read_latest(timeout=None),
    "next": lambda queue, reader, member: next(reader),
    "get of a member": lambda queue, reader, member: member.get(),
    "take_missed": lambda queue, reader, member: reader.take_missed(timeout=None),
    "wait_any": lambda queue, reader, member: jetstream.wait_any([reader]),
    "put": lambda queue, reader, member: [queue.put("x" * 1000) for _ in range(2000)],
}


@pytest.mark.thread_unsafe(reason="sends signals")
@pytest.mark.parametrize("what", BLOCKED)
def test_a_signal_interrupts_a_blocked_call_within_100_ms(queue, alarm, what):
    reader = queue.add_consumer()
    member = queue.add_group("workers").add_consumer()
    times = []
    for _ in range(3):
        start = time.monotonic()
        alarm(0.5)
        with pytest.raises(Interrupted):
            BLOCKED[what](queue, reader, member)
        times.append(time.monotonic() - start - 0.5)
    assert min(times) < 0.1  # the fastest round counts, because a busy machine only makes it slower


@pytest.mark.thread_unsafe(reason="sends signals")
def test_ctrl_c_ends_a_program_that_waits(nats, name):
    code = (
        "import sys\n"
        "from mpmc_queue import jetstream\n"
        "reader = jetstream.connect_sync(*sys.argv[1:]).add_consumer()\n"
        "print('waits', flush=True)\n"
        "reader.get()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, nats.url, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "waits\n"
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=PATIENCE)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert program.returncode in (1, -signal.SIGINT, 130)


@pytest.mark.thread_unsafe(reason="sends signals")
@pytest.mark.parametrize("how", ["one by one", "batches", "a group", "a group with acks"])
def test_interrupts_at_any_moment_lose_nothing(nats, name, alarm, how):
    total, rounds, each = 2000, 5, 15
    found = []
    interrupts = 0

    def read(reader, alarmed):
        """Reads until the queue is empty, or it is interrupted."""
        got = None
        try:
            while True:
                got = None
                got = reader.read_batch(7, timeout=1) if how == "batches" else reader.read(timeout=1)
                if not got:
                    return
                found.append(got)
        except Interrupted:
            assert alarmed
            if got and (not found or found[-1] is not got):
                found.append(got)  # it had been read before the interrupt
            raise

    with jetstream.connect_sync(nats.url, name, max_bytes=10_000_000) as queue:
        for start in range(0, total, 1000):
            queue.enqueue_batch(list(range(start, start + 1000)))
    # Each round has a new handle: it first reads what was not acknowledged before.
    for number in range(rounds):
        queue = jetstream.connect_sync(nats.url, name, max_bytes=10_000_000)
        if how.startswith("a group"):
            ack_wait = 30 if how == "a group with acks" else None
            reader = queue.add_group("workers", ack_wait=ack_wait).add_consumer()
        else:
            reader = queue.add_consumer("reader")
        begun = len(found)
        for _ in range(each):
            try:
                alarm(0.0005 + interrupts % 17 * 0.0007)
                read(reader, True)
            except Interrupted:
                interrupts += 1
            alarm(0)
        if number == rounds - 1:
            read(reader, False)
        if how == "a group with acks":
            for message in found[begun:]:
                message.ack()
        queue.close(immediate=True)
    messages = [message for got in found for message in (got if isinstance(got, list) else [got])]
    payloads = [message.payload for message in messages]
    assert interrupts > rounds * each / 2
    assert set(range(total)) - set(payloads) == set()
    if not how.startswith("a group"):
        assert payloads == list(range(total))


# the end of the program


def run_program(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, timeout=2 * PATIENCE
    )


@pytest.mark.thread_unsafe(reason="starts processes")
def test_a_program_that_ends_has_acknowledged_what_it_read(nats, name):
    code = (
        "import sys, threading\n"
        "from mpmc_queue import jetstream\n"
        "queue = jetstream.connect_sync(*sys.argv[1:])\n"
        "reader = queue.add_consumer('reader')\n"
        "member = queue.add_group('workers', ack_wait=3600).add_consumer()\n"
        "queue.enqueue_batch(['a', 'b', 'c'])\n"
        "other = queue.add_consumer(start='latest')\n"
        "threading.Thread(target=other.get, kwargs={'timeout': 3600}, daemon=True).start()\n"
        "assert reader.get() == 'a'\n"
        "member.read(timeout=10).ack()\n"
    )
    result = run_program(code, nats.url, name)
    assert (result.returncode, result.stderr) == (0, "")
    with jetstream.connect_sync(nats.url, name) as queue:
        assert queue.add_consumer("reader").get(timeout=PATIENCE) == "b"
        group = queue.add_group("workers", ack_wait=3600)
        assert group.add_consumer().get(timeout=PATIENCE) == "b"
        assert group.pending_count == 1


@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_to_connect_again(nats, name):
    code = (
        "import os, sys\n"
        "from mpmc_queue import QueueError, jetstream\n"
        "queue = jetstream.connect_sync(*sys.argv[1:])\n"
        "reader = queue.add_consumer()\n"
        "if not (pid := os.fork()):\n"
        "    try:\n"
        "        queue.enqueue('x')\n"
        "    except QueueError as error:\n"
        "        assert 'fork' in str(error)\n"
        "    with jetstream.connect_sync(*sys.argv[1:]) as own:\n"
        "        own.enqueue('from the child')\n"
        "    sys.exit()\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert reader.get(timeout=10) == 'from the child'\n"
    )
    result = run_program(code, nats.url, name)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.thread_unsafe(reason="starts processes")
def test_a_program_whose_server_has_died_ends_in_time(directory):
    import servers

    with servers.NatsServer(directory / "server") as server:
        code = (
            "import os, signal, sys\n"
            "from mpmc_queue import jetstream\n"
            "queue = jetstream.connect_sync(sys.argv[1], 'orders', patience=1)\n"
            "reader = queue.add_consumer('reader')\n"
            "queue.enqueue('a')\n"
            "reader.get()\n"
            "os.kill(int(sys.argv[2]), signal.SIGKILL)\n"
        )
        before = time.monotonic()
        result = run_program(code, server.url, str(server.process.pid))
        assert result.returncode == 0, result.stderr
        assert time.monotonic() - before < PATIENCE


def test_get_and_put_raise_as_the_standard_library_does(nats, name):
    with jetstream.connect_sync(nats.url, name, max_items=1) as queue:
        reader = queue.add_consumer()
        with pytest.raises(Empty):
            reader.get_nowait()
        with pytest.raises(Empty):
            reader.get(timeout=0.05)
        queue.put_nowait("a")
        with pytest.raises(Full):
            queue.put_nowait("b")
        with pytest.raises(Full):
            queue.put("b", timeout=0.05)
        with pytest.raises(Full):
            queue.put("b", block=False, timeout="not looked at")
