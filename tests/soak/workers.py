"""Who writes and who reads. Each reader checks what it reads, and keeps its own books to compare with the queue's."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Final

from mpmc_queue import Consumer, ConsumerGroup, Message, Queue, QueueClosedError, QueueError, QueueFullError

Payload = tuple[int, int, bytes]
"""Number of the producer, how many it sent before, and some more."""

BURST: Final = 200
"""Messages at the most that a producer sends between two rests."""
REST: Final = 0.04
"""Seconds that a producer rests at the most."""


class Producer:
    """Sends bursts, one by one or as a batch."""

    def __init__(self, number: int, queue: Queue[Payload]) -> None:
        self.number, self.queue = number, queue
        self.rng = random.Random(number)
        self.made = self.sent = 0

    def burst(self) -> list[Payload]:
        count = self.rng.randint(1, BURST)
        burst = [(self.number, self.made + n, bytes(self.rng.randrange(400))) for n in range(count)]
        self.made += count
        return burst

    def run(self, done: threading.Event) -> None:
        while not done.wait(self.rng.random() * REST):
            burst = self.burst()
            timeout = self.rng.choice([0.0, 0.01])
            try:
                if self.rng.random() < 0.5:
                    self.sent += len(self.queue.enqueue_batch(burst, timeout=timeout))
                else:
                    for payload in burst:
                        self.queue.enqueue(payload, timeout=timeout)
                        self.sent += 1
            except (QueueFullError, QueueClosedError):
                pass

    async def arun(self, done: threading.Event) -> None:
        while not done.is_set():
            await asyncio.sleep(self.rng.random() * REST)
            burst = self.burst()
            with contextlib.suppress(QueueFullError, QueueClosedError):
                if self.rng.random() < 0.5:
                    self.sent += len(await self.queue.aenqueue_batch(burst, timeout=0.01))
                else:
                    for payload in burst:
                        await self.queue.aenqueue(payload, timeout=0.01)
                        self.sent += 1


class Reader:
    """One consumer with a position of its own."""

    def __init__(self, name: str, queue: Queue[Payload], rest: float = 0.0) -> None:
        self.name, self.rest = f"{queue.name}: {name}", rest
        self.consumer: Consumer[Payload] = queue.add_consumer(name)
        self.rng = random.Random(name)
        self.read = self.missed = 0
        self.last_seq = -1
        self.last_of: dict[int, int] = {}

    def take(self, messages: Iterable[Message[Payload] | None]) -> None:
        """Order, and that what was missed is just what is not there."""
        for message in messages:
            if message is None:
                continue
            if message.missed != message.seq - self.last_seq - 1:
                raise AssertionError(f"{self.name}: {message.missed} missed from {self.last_seq} to {message.seq}")
            who, number, _ = message.payload
            if number <= self.last_of.get(who, -1):
                raise AssertionError(f"{self.name}: {number} of producer {who} after {self.last_of[who]}")
            self.last_seq, self.last_of[who] = message.seq, number
            self.read += 1
            self.missed += message.missed

    def run(self, done: threading.Event) -> None:
        with contextlib.suppress(QueueClosedError):
            while True:
                if self.rest and not done.wait(self.rest):
                    self.take([self.consumer.read()])
                elif self.rng.random() < 0.5:
                    self.take([self.consumer.read(timeout=None)])
                else:
                    self.take(self.consumer.read_batch(self.rng.randint(1, 300), timeout=0.05))

    async def arun(self) -> None:
        with contextlib.suppress(QueueClosedError):
            while True:
                if self.rng.random() < 0.5:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.005):  # cancels the call, and loses nothing
                            self.take([await self.consumer.aread()])
                else:
                    self.take(await self.consumer.aread_batch(self.rng.randint(1, 300)))

    def settle_up(self, enqueued: int) -> str:
        """The books, once all is read."""
        figures = self.consumer.stats()
        tail = enqueued - self.last_seq - 1
        assert (figures.total_items_read, figures.missed_items) == (self.read, self.missed + tail), self.name
        assert figures.unread_items == 0, self.name
        assert figures.total_items_read + figures.missed_items == enqueued, self.name
        assert self.consumer.take_missed() == figures.missed_items, self.name
        return f"{self.name}: {self.read} read + {figures.missed_items} missed = {enqueued}"


class Team:
    """A group of two, one a thread and one a task, that acknowledges most of what it is given."""

    def __init__(self, queue: Queue[Payload]) -> None:
        self.name = f"{queue.name}: group"
        # Ended messages come here; they need no ttl, since someone always reads them.
        self.dead: Queue[Payload] = Queue("dead", ttl=None, retention="interest", max_bytes=1 << 26)
        self.graves = self.dead.add_consumer()
        self.buried = 0
        self.group: ConsumerGroup[Payload] = queue.add_group(
            "team", ack_wait=0.05, max_deliver=3, backoff=[0.0, 0.01], max_ack_pending=2000, dead_letter=self.dead
        )
        self.members = [self.group.add_consumer(f"member {number}") for number in range(2)]
        self.rng = random.Random(queue.name)

    def settle(self, message: Message[Payload]) -> None:
        chance = self.rng.random()
        if chance < 0.02:
            message.nack(0.01)
        elif chance < 0.03:
            message.term()
        elif chance < 0.04:
            pass  # comes again once ack_wait is over
        else:
            message.ack()

    def run(self, done: threading.Event) -> None:
        with contextlib.suppress(QueueClosedError):
            while True:
                for message in self.members[0].read_batch(100, timeout=0.05):
                    self.settle(message)
                self.buried += len(self.graves.get_batch(1000))

    async def arun(self) -> None:
        with contextlib.suppress(QueueClosedError):
            async for message in self.messages():
                self.settle(message)

    async def messages(self) -> AsyncIterator[Message[Payload]]:
        while True:
            for message in await self.members[1].aread_batch(100):
                yield message

    def settle_up(self, enqueued: int) -> str:
        self.buried += len(self.graves.get_batch(1 << 30))
        acked = sum(member.stats().total_items_read for member in self.members)
        group = self.group
        assert (group.unread_count, group.pending_count) == (0, 0), self.name
        assert acked + self.buried + group.missed_count == enqueued, self.name
        return f"{self.name}: {acked} acked + {self.buried} dead letters + {group.missed_count} missed = {enqueued}"


class Visitor:
    """Comes, reads a little, and goes, again and again."""

    def __init__(self, queue: Queue[Payload]) -> None:
        self.queue, self.visits = queue, 0

    def run(self, done: threading.Event) -> None:
        while not done.wait(0.002):
            with self.queue.add_consumer() as consumer, contextlib.suppress(QueueError):
                consumer.read_batch(10)
            self.visits += 1


def books_are_right(queue: Queue[Payload], readers: Iterable[Reader]) -> None:
    """While all goes on: what a consumer accounts for lies between what had been enqueued just before and after."""
    for reader in readers:
        before = queue.stats().enqueued
        figures = reader.consumer.stats()
        after = queue.stats().enqueued
        books = figures.total_items_read + figures.missed_items + figures.unread_items
        assert before <= books <= after, f"{reader.name}: {before} <= {books} <= {after}"
    stats = queue.stats()
    assert stats.memory_usage <= stats.max_bytes, f"{queue.name}: {stats}"
