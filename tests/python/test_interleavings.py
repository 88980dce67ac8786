"""Eight threads run random operations. Two of them are event loops that cancel calls. In any order, each cursor receives or
misses each message once, and each payload is freed once.

This takes a few seconds here; `make stress` runs it for a minute on each interpreter.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import queue as stdlib_queue
import random
import sys
import threading
import time
import weakref
from collections import Counter, deque

import pytest

from harness import LONG, eventually, outcome, together
from helpers import PATIENCE
from mpmc_queue import ConsumerClosedError, MessagesMissedError, Queue, QueueClosedError, QueueFullError

SECONDS = float(os.environ.get("STRESS_SECONDS", "3"))
ROUND = 0.4  # seconds until the queue of a round is closed
THREADS, LOOPS = 6, 2


class Token:
    """A payload that records when it is freed."""

    __slots__ = ("__weakref__", "deaths", "number")

    def __init__(self, number, deaths):
        self.number, self.deaths = number, deaths

    def __del__(self):
        self.deaths.append(self.number)


class Track:
    """One cursor and its observed results. Appending to a deque is atomic on every build."""

    def __init__(self, habit, *consumers):
        self.habit, self.consumers = habit, consumers
        self.got = deque()  # (seq or None, number, missed or None, deliveries)
        self.passed = deque()  # seqs that a predicate did not want
        self.taken, self.told = deque(), deque()  # counts of missed messages

    def messages(self, messages):
        for message in messages:
            if message is not None:
                self.got.append((message.seq, message.payload.number, message.missed, message.deliveries))

    def payloads(self, payloads):
        self.got.extend((None, payload.number, None, 1) for payload in payloads)

    def wanted(self, message, modulus):
        if message.payload.number % modulus == 0:
            return True
        self.passed.append(message.seq)
        return False


class Round:
    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.seed, self.numbers = seed, itertools.count()
        self.deaths, self.born, self.accepted = deque(), deque(), deque()  # numbers; weak references; (seq, number)
        self.queue = queue = Queue(
            "interleavings",
            ttl=rng.choice([0.001, 0.001, 0.01, None]),
            max_items=rng.choice([8, 100, 1500]),
            retention=rng.choice(["limits", "interest"]),
            overflow=rng.choice(["reject", "drop_oldest"]),
            sizer=lambda token: 10,
            audit=rng.random() < 0.5,
        )
        self.dead = Queue("dead", ttl=None, max_bytes=1 << 30, sizer=lambda token: 10)
        self.at_dead = self.dead.add_consumer()
        payloads = Track("payloads")
        payloads.consumers = (queue.add_consumer(on_missed=payloads.told.append),)
        where = Track("where", queue.add_consumer())
        group = queue.add_group("group")
        self.acking = queue.add_group(
            "acking",
            ack_wait=rng.choice([0.002, LONG]),
            max_deliver=rng.choice([None, 2]),
            max_ack_pending=rng.choice([None, 5]),
            dead_letter=self.dead,
        )
        self.acks = Track("acks", self.acking.add_consumer(), self.acking.add_consumer())
        self.acked = deque()
        self.steady = [
            Track("messages", queue.add_consumer()),
            Track("messages", queue.add_consumer(on_missed="raise")),
            payloads,
            where,
            Track("messages", group.add_consumer(), group.add_consumer()),
        ]
        self.passing = [
            Track("messages", queue.add_consumer(start="latest"))
        ]  # the last of these consumers exists only to be removed

    def token(self):
        token = Token(next(self.numbers), self.deaths)
        self.born.append(weakref.ref(token))
        return token

    def pick(self, rng):
        return rng.choice([*self.steady, self.acks, self.passing[-1]])

    def accept(self, seqs, numbers):
        self.accepted.extend(zip(seqs, numbers, strict=True))

    # one operation, in a thread

    def produce(self, rng):
        timeout, ttl = rng.choice([0.0, 0.0, 0.0005, None]), rng.choice([{}, {}, {"ttl": 0.002}, {"ttl": None}])
        tokens = [self.token() for _ in range(rng.choice([1, 1, 2, 20]))]
        numbers = [token.number for token in tokens]
        if len(tokens) == 1:
            self.accept([self.queue.enqueue(tokens.pop(), timeout=timeout, **ttl)], numbers)
        else:
            self.accept(self.queue.enqueue_batch(tokens, timeout=timeout, **ttl), numbers)

    def read(self, rng, track):
        consumer, timeout = rng.choice(track.consumers), rng.choice([0.0, 0.0, 0.0005, None])
        match track.habit:
            case "payloads" if rng.random() < 0.5:
                track.payloads([consumer.get(timeout=0.0005)])
            case "payloads":
                track.payloads(consumer.get_batch(rng.randint(1, 30), timeout=timeout))
            case "where":
                modulus = rng.randint(1, 4)
                track.messages(
                    [consumer.read_where(lambda m: track.wanted(m, modulus), timeout=rng.choice([0, 0.0005]))]
                )
            case "acks":
                # With a timeout, because unsettled messages may be delivered again, so that the end of the queue is not
                # the end.
                messages = consumer.read_batch(rng.randint(1, 5), timeout=timeout or 0.0)
                track.messages(messages)
                for message in messages:
                    self.settle(rng, message)
            case _ if rng.random() < 0.5:
                track.messages([consumer.read(timeout=timeout)])
            case _:
                track.messages(consumer.read_batch(rng.randint(1, 30), timeout=timeout))

    def settle(self, rng, message):
        match rng.randrange(8):
            case 0:
                message.nack(rng.choice([0.0, 0.001]))
            case 1:
                message.term()
            case 2:
                message.in_progress()
            case 3:
                pass
            case _:
                message.ack()
                self.acked.append(message.seq)

    def meddle(self, rng):
        queue, track = self.queue, self.pick(rng)
        match rng.randrange(9):
            case 0:
                track.taken.append(rng.choice(track.consumers).take_missed(timeout=rng.choice([0, 0.0005])))
            case 1:
                self.passing.append(Track("messages", queue.add_consumer(start=rng.choice(["earliest", "latest"]))))
                self.passing[-2].consumers[0].close()
            case 2:
                queue.force_expiration()
            case 3:
                queue.disable_expiration()
                queue.enable_expiration()
            case 4:
                queue.max_items = rng.choice([5, 100, 2000])
            case 5:
                queue.ttl = rng.choice([0.001, 0.01, None])
            case 6:
                rng.choice(track.consumers).peek()
                queue.join(timeout=0)
            case 7:
                rng.choice(track.consumers).history(5)
                assert queue.stats().memory_usage <= queue.max_bytes
            case _:
                stats = rng.choice(track.consumers).stats()
                assert min(stats.unread_items, stats.missed_items, stats.total_items_read) >= 0

    @contextlib.contextmanager
    def expected(self, track=None):
        """The results that an operation may have while others close, remove, fill and empty the queue."""
        try:
            yield
        except MessagesMissedError as error:
            track.told.append(error.count)
        except (QueueFullError, stdlib_queue.Empty, TimeoutError):
            pass
        except ConsumerClosedError:
            assert track is None or track in self.passing
        except QueueClosedError:
            assert self.queue.closed

    def in_a_thread(self, seed):
        rng = random.Random(seed)
        while not self.queue.closed:
            chance = rng.random()
            if chance < 0.4:
                with self.expected():
                    self.produce(rng)
            elif chance < 0.9:
                track = self.pick(rng)
                with self.expected(track):
                    self.read(rng, track)
            else:
                with self.expected():
                    self.meddle(rng)

    # one operation, in a task that may be cancelled

    async def aproduce(self, rng):
        tokens = [self.token() for _ in range(rng.choice([1, 3]))]
        numbers = [token.number for token in tokens]
        if len(tokens) == 1:
            self.accept([await self.queue.aenqueue(tokens.pop())], numbers)
        else:
            self.accept(await self.queue.aenqueue_batch(tokens), numbers)

    async def aread(self, rng, track):
        consumer = rng.choice(track.consumers)
        if track.habit == "payloads":
            track.payloads([await consumer.aget()])
        elif rng.random() < 0.5:
            track.messages([await consumer.aread()])
        else:
            track.messages(await consumer.aread_batch(rng.randint(1, 30)))

    async def atake(self, rng, track):
        track.taken.append(await rng.choice(track.consumers).atake_missed())

    async def begin_and_cancel(self, rng):
        track = None
        if rng.random() < 0.4:
            call = self.aproduce(rng)
        else:
            track = rng.choice([*self.steady, self.passing[-1]])
            call = (self.atake if rng.random() < 0.1 else self.aread)(rng, track)
        with self.expected(track):
            if rng.random() < 0.5:
                async with asyncio.timeout(rng.random() / 1000):
                    await call
            else:
                task = asyncio.ensure_future(call)
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
                await outcome(task)

    def in_a_loop(self, seed):
        async def work(seed):
            rng = random.Random(seed)
            while not self.queue.closed:
                await self.begin_and_cancel(rng)

        async def main():
            await asyncio.gather(*(work(f"{seed}.{task}") for task in range(3)))

        asyncio.run(main())

    # the end

    def play(self):
        def close():
            threading.Event().wait(ROUND)
            self.immediate = self.rng.random() < 0.3
            self.queue.close(immediate=self.immediate)

        together(
            close,
            *(lambda n=n: self.in_a_thread(f"{self.seed}.{n}") for n in range(THREADS)),
            *(lambda n=n: self.in_a_loop(f"{self.seed}.{n}") for n in range(THREADS, THREADS + LOOPS)),
            timeout=ROUND + PATIENCE,
        )
        self.drain()
        self.check()

    def drain(self):
        for track in self.steady:
            while not self.drained(track):
                pass
        for member in self.acks.consumers:
            member.close()  # its unsettled messages are delivered again
        with self.acking.add_consumer() as member, contextlib.suppress(QueueClosedError):
            while True:
                message = member.read(timeout=PATIENCE)
                self.acks.messages([message])
                message.ack()
                self.acked.append(message.seq)

    def drained(self, track):
        try:
            if track.habit == "payloads":
                track.payloads(track.consumers[0].get_batch(1000))
            else:
                track.messages(track.consumers[0].read_batch(1000))
        except MessagesMissedError as error:
            track.told.append(error.count)
        except QueueClosedError:
            return True
        return False

    def check(self):
        """Checks every message of every cursor, by its seq."""
        seqs, end = dict(self.accepted), self.queue.stats().next_seq
        assert sorted(seqs) == list(range(end)), "what was accepted has the seqs, and what was refused has none"
        assert len(self.accepted) == end
        assert (len(self.queue) == 0) if self.immediate else (len(self.queue) >= 0)
        of_number = {number: seq for seq, number in seqs.items()}
        for track in [*self.steady, self.acks, *self.passing]:
            delivered = [of_number[number] for _, number, _, deliveries in track.got if deliveries == 1]
            assert all(seq in (None, of_number[number]) for seq, number, _, _ in track.got)
            handed = Counter(delivered) + Counter(track.passed)
            assert all(count == 1 for count in handed.values()), f"delivered twice: {handed.most_common(3)}"
            if track.habit == "messages":
                self.check_gaps(track, sorted(track.got), track in self.steady)
        for track in self.steady:
            stats = [consumer.stats() for consumer in track.consumers]
            missed, unread = stats[0].missed_items, stats[0].unread_items
            assert sum(figures.total_items_read for figures in stats) == len(track.got) + len(track.passed)
            left_out = end - len(track.got) - len(track.passed) - missed
            assert (unread, left_out >= 0) == (0, True)
            assert self.immediate or left_out == 0, "delivered, or missed, and nothing else"
            assert sum(track.taken) + track.consumers[0].take_missed() == missed, "each miss is taken once"
            assert sum(track.told) == (missed if track.consumers[0] in self.told_of else 0)
        dead = [token.number for token in self.at_dead.get_batch(1_000_000)]
        assert len(dead) == len(set(dead))
        ends = {of_number[number] for number in dead}
        settled = ends | set(self.acked)
        assert (self.acking.pending_count, self.acking.unread_count) == (0, 0)
        assert self.acking.missed_count <= end - len(ends)
        assert self.immediate or self.acking.missed_count >= end - len(settled)

    @property
    def told_of(self):
        return [self.steady[1].consumers[0], self.steady[2].consumers[0]]

    def check_gaps(self, track, got, is_complete):
        """A message reports as missed exactly the messages between it and the one before.

        A consumer that was added late does not miss what had left before, and that may be in between.
        """
        before = -1
        for seq, _, missed, _ in got:
            gap = seq - before - 1
            assert missed == gap if is_complete else missed <= gap, f"missed {missed} between {before} and {seq}"
            before = seq


@pytest.fixture
def switching_often():
    """If there is a GIL, threads switch as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.timeout(2 * SECONDS + 100)
@pytest.mark.thread_unsafe(reason="has eight threads of its own, and changes how often threads take turns")
@pytest.mark.usefixtures("switching_often")
def test_in_any_interleaving_each_message_is_delivered_or_missed_once():
    first = int(os.environ.get("STRESS_SEED", time.time_ns() if "STRESS_SECONDS" in os.environ else 1))
    until = time.monotonic() + SECONDS
    rounds, payloads, deliveries, missed = 0, 0, 0, 0
    while rounds == 0 or time.monotonic() < until:
        game = Round(first + rounds)
        try:
            game.play()
        except BaseException:
            print(f"STRESS_SEED={game.seed}")
            raise
        rounds += 1
        payloads += len(game.born)
        deliveries += sum(len(track.got) for track in [*game.steady, game.acks, *game.passing])
        missed += sum(track.consumers[0].missed_count for track in game.steady)
        deaths, born = game.deaths, game.born
        del game
        gc.collect()
        eventually(lambda deaths=deaths, born=born: len(deaths) >= len(born))
        assert not any(reference() for reference in born), "a payload outlives its queue"
        assert sorted(deaths) == list(range(len(born))), "each dies once"
    assert min(payloads, deliveries, missed) > 0
    print(f"{rounds} rounds, {payloads} payloads, {deliveries} deliveries, {missed} missed")
