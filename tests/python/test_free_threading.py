"""Without the GIL: importing leaves it off, and objects stay intact that threads share or change during a call."""

import array
import collections
import contextlib
import random
import sys
import sysconfig
import threading

import pytest

from harness import output_of, together
from helpers import assert_books_balance
from mpmc_queue import ConsumerClosedError, Queue, QueueClosedError, QueueFullError

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.thread_unsafe(reason="starts a process")
@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter always has a GIL")
def test_importing_leaves_the_gil_off():
    source = """
import sys
before = sys._is_gil_enabled()
import mpmc_queue
queue = mpmc_queue.Queue("q")
queue.enqueue(1)
print(before, sys._is_gil_enabled())
"""
    assert output_of(source, options=("-W", "error")) == "False False\n"


@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter always has a GIL")
def test_the_gil_is_off_while_this_suite_runs():
    assert not sys._is_gil_enabled()


class Slotted:
    __slots__ = ("one", "other")


class Plain:
    pass


def change_list(values, rng):
    if rng.random() < 0.5 or len(values) > 200:
        del values[rng.randrange(len(values) + 1) :]
    values.extend(str(rng.random()) for _ in range(rng.randrange(30)))


def change_dict(values, rng):
    if len(values) > 200:
        values.clear()
    values[rng.randrange(1000)] = [str(rng.random())]
    values.pop(rng.randrange(1000), None)


def change_set(values, rng):
    if len(values) > 200:
        values.clear()
    values.add(str(rng.random()))
    values.discard(rng.choice(["a", "b"]))


def change_bytearray(values, rng):
    with contextlib.suppress(BufferError):  # a buffer of it is in use
        values[:] = bytes(rng.randrange(5000))


def change_deque(values, rng):
    values.append(str(rng.random()))
    if len(values) > 200:
        values.clear()


def change_array(values, rng):
    with contextlib.suppress(BufferError):  # a buffer of it is in use
        values.extend([1] * rng.randrange(50))
        del values[100:]


def change_attributes(values, rng):
    setattr(values, rng.choice(["one", "other"]), [str(rng.random())] * rng.randrange(20))
    if rng.random() < 0.2:
        values.one = values.other = None


def change_nested(values, rng):
    change_list(values[0], rng)
    change_dict(values[1], rng)
    values[2] = [{str(rng.random()): [1, 2, 3]}]


CHANGING = {
    "list": (list, change_list),
    "dict": (dict, change_dict),
    "set": (set, change_set),
    "bytearray": (bytearray, change_bytearray),
    "array": (lambda: array.array("i"), change_array),
    "__slots__": (Slotted, change_attributes),
    "__dict__": (Plain, change_attributes),
    "nested": (lambda: [[], {}, None], change_nested),
}


@pytest.mark.parametrize("kind", CHANGING)
def test_a_payload_may_change_while_it_is_sized(kind):
    make, change = CHANGING[kind]
    shared = make()
    queue = Queue("q", max_bytes=1 << 28, overflow="drop_oldest", max_items=10)
    consumer = queue.add_consumer(start="latest")
    done = threading.Event()

    def mutate():
        rng = random.Random(1)
        while not done.is_set():
            change(shared, rng)

    def enqueue():
        try:
            for _ in range(400):
                queue.enqueue(shared)
                queue.enqueue_batch([shared, [shared], (shared,)])
        finally:
            done.set()

    together(mutate, enqueue)
    assert queue.stats().enqueued == 1600
    message = consumer.read()
    assert message.size > 0
    assert_books_balance(consumer, 1600)


def test_a_deque_that_changes_is_sized_or_refused_as_python_would():
    shared = collections.deque(["a"])
    queue = Queue("q", overflow="drop_oldest", max_items=10, max_bytes=1 << 28)
    done = threading.Event()
    outcomes = collections.Counter()

    def mutate():
        rng = random.Random(3)
        while not done.is_set():
            change_deque(shared, rng)

    def enqueue():
        try:
            for _ in range(400):
                try:
                    queue.enqueue(shared)
                    outcomes["added"] += 1
                except RuntimeError:  # deque mutated during iteration
                    outcomes["refused"] += 1
        finally:
            done.set()

    together(mutate, enqueue)
    assert outcomes["added"] == queue.stats().enqueued
    assert outcomes.total() == 400


def test_an_iterable_may_change_while_it_is_enqueued():
    """Each message is what the list held at some moment. How many there are depends on the race, but each is intact."""
    shared = [str(number) for number in range(50)]
    queue = Queue("q", overflow="drop_oldest", max_items=5000, max_bytes=1 << 28)
    consumer = queue.add_consumer()
    done = threading.Event()

    def mutate():
        rng = random.Random(5)
        while not done.is_set():
            change_list(shared, rng)

    def enqueue():
        try:
            for _ in range(300):
                queue.enqueue_batch(shared)
        finally:
            done.set()

    together(mutate, enqueue)
    assert all(type(payload) is str for payload in consumer.get_batch(5000))


def test_a_message_shared_by_threads_is_the_same_for_all():
    queue = Queue("q")
    consumer = queue.add_consumer()
    for _ in range(50):
        queue.enqueue("x")
        message = consumer.read()

        def look(message=message):
            return message.id, message.seq, message.created, [event.timestamp for event in message.events]

        first, *others = together(look, look, look, look)
        assert all(other == first for other in others)


def test_everything_at_once_keeps_the_limits_and_the_books():
    limit = 300_000
    queue = Queue("q", max_bytes=limit, retention="interest", sizer=len)
    steady = queue.add_consumer()
    done = threading.Event()
    payload = "x" * 500

    def produce(seed):
        rng = random.Random(seed)
        for _ in range(300):
            try:
                if rng.random() < 0.5:
                    queue.enqueue(payload, timeout=0.01)
                else:
                    queue.enqueue_batch([payload] * rng.randint(1, 20), timeout=0.01)
            except QueueFullError:
                pass

    def produce_all():
        together(lambda: produce(1), lambda: produce(2))
        queue.close()

    def consume():
        return [message.seq for message in steady]

    def come_and_go():
        rng = random.Random(9)
        while not done.is_set():
            consumer = queue.add_consumer(rng.choice([None, "n"]), start=rng.choice(["earliest", "latest"]))
            try:
                consumer.read_batch(rng.randint(1, 20))
                consumer.seek("latest")
                consumer.history()
            except (QueueClosedError, ConsumerClosedError):
                pass
            finally:
                consumer.close()

    def look():
        while not done.is_set():
            stats = queue.stats()
            assert stats.memory_usage <= limit
            assert queue.memory_usage <= limit
            assert 0 <= stats.first_seq <= stats.next_seq == stats.enqueued
            books = steady.stats()
            assert books.missed_items == 0
            queue.consumer_stats(), queue.consumers, len(queue)

    def consume_until_closed():
        try:
            return consume()
        finally:
            done.set()

    seqs, *_ = together(consume_until_closed, produce_all, come_and_go, look)
    total = queue.stats().enqueued
    assert seqs == list(range(total))
    assert_books_balance(steady, total)
    assert (len(queue), queue.memory_usage) == (0, 0)
