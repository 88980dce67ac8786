"""No wake-up is lost, and none goes to a waiter that it cannot serve. A lost one would hang the stress tests."""

import asyncio
import contextlib
import queue as stdlib_queue
import random
import threading
from pathlib import Path

import pytest

from harness import asleep, together
from helpers import PATIENCE, assert_books_balance
from mpmc_queue import ConsumerClosedError, Queue, QueueClosedError, QueueFullError


class Crowd:
    """Threads that all wait in the same kind of call."""

    def __init__(self, size, call):
        threads = [threading.Thread(target=call, daemon=True) for _ in range(size)]
        for thread in threads:
            thread.start()
        self.naps = {thread: asleep(thread) for thread in threads}

    def wakings(self):
        """How often the threads that still wait have woken since all of them slept."""
        return sum(asleep(thread) - naps for thread, naps in self.naps.items() if thread.is_alive())

    def disperse(self):
        for thread in self.naps:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread still waits"


@pytest.mark.parametrize("readers", [1, 4])
def test_a_shared_consumer_delivers_each_message_to_one_thread(make_queue, readers):
    total = 4000
    queue = make_queue(max_items=100, retention="interest")
    consumer = queue.add_consumer()

    def read():
        return [message.seq for message in consumer]

    def produce(start):
        for number in range(start, total, 2):
            queue.enqueue(number, timeout=None)

    def produce_and_close():
        together(lambda: produce(0), lambda: produce(1))
        queue.close()

    *shares, _ = together(*[read] * readers, produce_and_close)
    assert sorted(seq for share in shares for seq in share) == list(range(total))
    assert consumer.stats().total_items_read == total


def test_threads_that_share_a_consumer_read_disjoint_runs_in_order(make_queue):
    total = 4000
    queue = make_queue()
    consumer = queue.add_consumer()

    def read(rng):
        seqs = []
        while True:
            try:
                batch = consumer.read_batch(rng.randint(1, 7), timeout=rng.choice([None, 0.0, 0.0005]))
            except QueueClosedError:
                return seqs
            seqs.extend(message.seq for message in batch)

    def produce():
        for number in range(total):
            queue.enqueue(number)
        queue.close()

    *shares, _ = together(*(lambda seed=seed: read(random.Random(seed)) for seed in range(4)), produce)
    assert sorted(seq for share in shares for seq in share) == list(range(total))
    assert all(share == sorted(share) for share in shares)


def test_every_consumer_that_waits_gets_the_message(make_queue, run_thread):
    queue = make_queue()
    consumers = [queue.add_consumer() for _ in range(20)]
    workers = [run_thread(consumer.get) for consumer in consumers]
    for worker in workers[:3]:
        worker.assert_waiting()
    queue.enqueue("all")
    assert [worker.result() for worker in workers] == ["all"] * 20


@pytest.mark.thread_unsafe(reason="counts how often threads wake, which others would disturb")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts context switches through /proc")
def test_a_message_does_not_wake_all_waiting_readers(make_queue):
    size, messages = 24, 40
    queue = make_queue()
    consumer = queue.add_consumer()

    def read():
        for _ in consumer:
            pass

    crowd = Crowd(size, read)
    for number in range(messages):
        queue.enqueue(number)
        assert queue.join(timeout=PATIENCE)
    wakings = crowd.wakings()
    queue.close()
    crowd.disperse()
    assert consumer.stats().total_items_read == messages
    assert wakings < messages * size / 4  # a wake-up takes a few naps, for the GIL and for locks


@pytest.mark.thread_unsafe(reason="counts how often threads wake, which others would disturb")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts context switches through /proc")
def test_space_for_one_does_not_wake_all_waiting_producers(make_queue):
    size = 40
    queue = make_queue(max_items=1, retention="interest")
    consumer = queue.add_consumer()
    queue.enqueue("first")
    crowd = Crowd(size, lambda: queue.enqueue("more", timeout=None))
    for _ in range(size // 2):
        assert consumer.get(timeout=PATIENCE)
    assert crowd.wakings() < size * size / 8
    for _ in range(size - size // 2 + 1):
        assert consumer.get(timeout=PATIENCE)
    crowd.disperse()


@pytest.mark.parametrize("wait", ["read", "read_batch", "read_where", "get", "next", "take_missed"])
def test_closing_wakes_every_waiting_call(make_queue, run_thread, wait):
    queue = make_queue()
    calls = {
        "read": lambda consumer: consumer.read(timeout=None),
        "read_batch": lambda consumer: consumer.read_batch(5, timeout=None),
        "read_where": lambda consumer: consumer.read_where(lambda message: True, timeout=None),
        "get": lambda consumer: consumer.get(),
        "next": next,
        "take_missed": lambda consumer: consumer.take_missed(timeout=None),
    }
    shared = queue.add_consumer()
    consumers = [shared, shared, queue.add_consumer(), queue.add_consumer()]
    workers = [run_thread(calls[wait], consumer) for consumer in consumers]
    workers[-1].assert_waiting()
    queue.close()
    for worker in workers:
        if wait == "take_missed":
            assert worker.result() == 0
        else:
            with pytest.raises(StopIteration if wait == "next" else QueueClosedError):
                worker.result()


def test_a_reader_that_gives_up_passes_its_wake_up_on(make_queue):
    """The timeouts are about the time between two messages: most wake-ups reach a reader that is about to give up."""
    total = 1500
    queue = make_queue()
    consumer = queue.add_consumer()
    left = threading.Semaphore(total)

    def impatient(seed):
        rng = random.Random(seed)
        while not queue.closed:
            try:
                if consumer.read(timeout=rng.random() / 3000) is not None:
                    left.acquire()
            except QueueClosedError:
                return

    def patient():
        for _ in consumer:
            left.acquire()

    def produce():
        pause = threading.Event()
        for number in range(total):
            queue.enqueue(number)
            if number % 3 == 0:
                pause.wait(0.0002)
        assert queue.join(timeout=PATIENCE), "a message lies there while a reader waits"
        queue.close()

    together(patient, *(lambda seed=seed: impatient(seed) for seed in range(3)), produce)
    assert consumer.stats().total_items_read == total
    assert_books_balance(consumer, total)


def test_a_producer_that_gives_up_passes_its_space_on(make_queue):
    queue = make_queue(max_items=1, retention="interest")
    consumer = queue.add_consumer()
    added = []

    def impatient(seed):
        rng = random.Random(seed)
        while not queue.closed:
            try:
                added.append(queue.enqueue(seed, timeout=rng.random() / 3000))
            except QueueClosedError:
                return
            except QueueFullError:
                pass

    def patient():
        for _ in range(300):
            added.append(queue.enqueue("patient", timeout=None))
        queue.close()

    def read():
        return [message.seq for message in consumer]

    received, *_ = together(read, patient, *(lambda seed=seed: impatient(seed) for seed in range(3)))
    assert received == sorted(added)


def test_random_timeouts_closes_and_removals_leave_no_caller_waiting(make_queue):
    """Every kind of waiter at once, while their conditions are met, time out, or end with a removal or a close."""
    for seed in range(6):
        queue = make_queue(max_items=5, retention="interest", ttl=0.02)
        rng = random.Random(seed)
        moments = [rng.random() / 500 for _ in range(30)]
        pause = threading.Event()

        def produce(seed, queue=queue):
            rng = random.Random(seed)
            while True:
                timeout = rng.choice([None, 0.0, 0.001])
                try:
                    if rng.random() < 0.3:
                        queue.enqueue_batch(range(rng.randint(1, 5)), timeout=timeout)
                    else:
                        queue.enqueue(0, timeout=timeout)
                except QueueClosedError:
                    return
                except QueueFullError:
                    pass

        def consume(seed, queue=queue):
            rng = random.Random(seed)
            while True:
                try:
                    with queue.add_consumer() as consumer:
                        for _ in range(rng.randint(1, 40)):
                            read_somehow(consumer, rng)
                            stats = consumer.stats()
                            assert stats.total_items_read >= 0
                        if queue.closed and not consumer.has_more_data():
                            return
                except ConsumerClosedError:
                    if queue.closed:
                        return
                except QueueClosedError:
                    return

        def meddle(queue=queue, rng=rng, moments=moments, pause=pause):
            for moment in moments:
                pause.wait(moment)
                match rng.randrange(3):
                    case 0 if queue.consumers:
                        queue.remove_consumer(rng.choice(queue.consumers or (queue.add_consumer(),)))
                    case 1:
                        queue.join(timeout=moment)
                    case _:
                        queue.max_items = rng.randint(3, 8)
            queue.close(immediate=rng.random() < 0.5)

        def consume_in_a_loop(seed, queue=queue):
            rng = random.Random(seed)

            async def read():
                try:
                    with queue.add_consumer() as consumer:
                        while True:
                            await consumer.aread(timeout=rng.choice([None, 0.001]))
                            await consumer.atake_missed(timeout=0.001)
                except (QueueClosedError, ConsumerClosedError):
                    pass

            async def main():
                while not queue.closed:
                    await asyncio.gather(*(read() for _ in range(3)))

            asyncio.run(main())

        together(
            *(lambda s=s: produce(s) for s in range(3)),
            *(lambda s=s: consume(s) for s in range(3)),
            lambda seed=seed: consume_in_a_loop(seed),
            meddle,
        )


def read_somehow(consumer, rng):
    timeout = rng.choice([None, 0.0, 0.0005, 0.002])
    match rng.randrange(5):
        case 0:
            consumer.read(timeout=timeout)
        case 1:
            consumer.read_batch(3, timeout=timeout)
        case 2:
            consumer.read_where(lambda message: message.seq % 3 == 0, timeout=0.001)
        case 3:
            with contextlib.suppress(stdlib_queue.Empty):
                consumer.get(timeout=timeout)
        case _:
            consumer.take_missed(timeout=0.001)


def test_a_removal_wakes_only_waiters_of_the_removed_consumer(make_queue, run_thread):
    queue = make_queue()
    removed, kept = queue.add_consumer(), queue.add_consumer()
    gone = [run_thread(removed.read, timeout=None) for _ in range(3)]
    stays = run_thread(kept.read, timeout=None)
    stays.assert_waiting()
    assert queue.remove_consumer(removed)
    for worker in gone:
        with pytest.raises(ConsumerClosedError):
            worker.result()
    stays.assert_waiting()
    queue.enqueue(1)
    assert stays.result().payload == 1


def test_two_threads_play_ping_pong(make_queue):
    """Each message is waited for. One lost wake-up would stop both threads."""
    rounds = 2000
    ping, pong = Queue("ping"), Queue("pong")
    at_ping, at_pong = ping.add_consumer(), pong.add_consumer()

    def answer():
        for _ in range(rounds):
            pong.enqueue(at_ping.get() + 1)

    def ask():
        number = 0
        for _ in range(rounds):
            ping.enqueue(number)
            number = at_pong.get()
        return number

    assert together(ask, answer)[0] == rounds
