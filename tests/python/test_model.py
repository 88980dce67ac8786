"""Random operations, compared with a small model of the queue. The counts add up after every step."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helpers import expire_all
from mpmc_queue import Consumer, ItemLimitError, Queue

SIZE = 100  # the size that the sizer returns for every payload


@dataclass
class Cursor:
    """The model's data of a consumer."""

    consumer: Consumer[Any]
    start: int
    position: int
    read: int = 0
    missed: int = 0
    gap: int = 0  # lost since the last delivery
    untaken: int = 0  # lost since the last take_missed
    sought_back: bool = False


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.held: list[tuple[int, int]] = []  # (seq, payload)
        self.next_seq = 0
        self.rejected = 0
        self.expired = 0
        self.cursors: list[Cursor] = []
        self.max_items: int | None = None

    @initialize(audit=st.booleans())
    def make(self, audit):
        self.queue = Queue("model", ttl=None, max_bytes=100_000_000, sizer=lambda payload: SIZE, audit=audit)

    def teardown(self):
        if hasattr(self, "queue"):
            self.queue.close(immediate=True)
            assert self.queue.memory_usage == 0
            assert [c.unread_count for c in self.queue.consumers] == [0] * len(self.cursors)

    # the model

    @property
    def first_seq(self):
        return self.held[0][0] if self.held else self.next_seq

    def append(self, batch):
        self.held += [(self.next_seq + i, payload) for i, payload in enumerate(batch)]
        self.next_seq += len(batch)

    def fits(self, count):
        return self.max_items is None or len(self.held) + count <= self.max_items

    def unread(self, cursor):
        return [entry for entry in self.held if entry[0] >= cursor.position]

    def pick(self, index):
        return self.cursors[index % len(self.cursors)]

    def delivered(self, cursor, entries, messages):
        """Compares what was read with the model, and updates the model."""
        assert [(m.seq, m.payload, m.size) for m in messages] == [(*entry, SIZE) for entry in entries]
        assert [m.missed for m in messages] == ([cursor.gap] + [0] * len(entries))[: len(entries)]
        if entries:
            cursor.gap = 0
            cursor.position = entries[-1][0] + 1
            cursor.read += len(entries)

    # producing

    @rule(payload=st.integers(0, 9))
    def enqueue(self, payload):
        if self.fits(1):
            assert self.queue.enqueue(payload) == self.next_seq
            self.append([payload])
        else:
            with pytest.raises(ItemLimitError):
                self.queue.enqueue(payload)
            self.rejected += 1

    @rule(batch=st.lists(st.integers(0, 9), max_size=8) | st.integers(900, 1200).map(lambda n: [n % 7] * n))
    def enqueue_batch(self, batch):
        if self.fits(len(batch)) or not batch:
            assert self.queue.enqueue_batch(iter(batch)) == range(self.next_seq, self.next_seq + len(batch))
            self.append(batch)
        else:
            with pytest.raises(ItemLimitError) as caught:
                self.queue.enqueue_batch(batch)
            error = caught.value
            assert (error.current, error.max, error.needed) == (len(self.held), self.max_items, len(batch))
            self.rejected += len(batch)

    @rule(limit=st.none() | st.integers(1, 30) | st.integers(1000, 3000))
    def set_max_items(self, limit):
        self.queue.max_items = limit
        self.max_items = limit

    # expiration

    @rule()
    def expire(self):
        expire_all(self.queue)
        self.expired += len(self.held)
        for cursor in self.cursors:
            lost = self.next_seq - max(cursor.position, self.first_seq)
            cursor.missed += lost
            cursor.gap += lost
            cursor.untaken += lost
            cursor.position = self.next_seq
        self.held = []

    @rule(ttl=st.none() | st.sampled_from([3600.0, 1e300]))
    def force_what_is_not_due(self, ttl):
        self.queue.ttl = ttl
        assert self.queue.force_expiration() == 0

    # consumers

    @precondition(lambda self: len(self.cursors) < 5)
    @rule(start=st.sampled_from(["earliest", "latest"]) | st.floats(0, 1))
    def add_consumer(self, start):
        if isinstance(start, float):
            start = int(start * self.next_seq)
        consumer = self.queue.add_consumer(start=start)
        position = {"earliest": self.first_seq, "latest": self.next_seq}.get(start, start)
        position = max(position, self.first_seq)
        assert consumer.position == position
        self.cursors.append(Cursor(consumer, position, position))

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0))
    def remove_consumer(self, index):
        cursor = self.pick(index)
        assert self.queue.remove_consumer(cursor.consumer) is True
        assert self.queue.remove_consumer(cursor.consumer) is False
        self.cursors.remove(cursor)

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0))
    def read(self, index):
        cursor = self.pick(index)
        message = cursor.consumer.read()
        self.delivered(cursor, self.unread(cursor)[:1], [] if message is None else [message])

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0), limit=st.integers(1, 10) | st.integers(500, 3000))
    def read_batch(self, index, limit):
        cursor = self.pick(index)
        self.delivered(cursor, self.unread(cursor)[:limit], cursor.consumer.read_batch(limit))

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0), wanted=st.integers(0, 9))
    def read_where(self, index, wanted):
        cursor = self.pick(index)
        unread = self.unread(cursor)
        message = cursor.consumer.read_where(lambda m: m.payload == wanted)
        match = next((i for i, (_, payload) in enumerate(unread) if payload == wanted), None)
        passed = unread if match is None else unread[:match]
        if passed:
            cursor.position = passed[-1][0] + 1
            cursor.read += len(passed)
        self.delivered(cursor, [] if match is None else [unread[match]], [] if message is None else [message])

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0))
    def peek(self, index):
        cursor = self.pick(index)
        message = cursor.consumer.peek()
        shown = [] if message is None else [(message.seq, message.payload)]
        assert shown == self.unread(cursor)[:1]

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0), to=st.sampled_from(["earliest", "latest"]) | st.floats(0, 1))
    def seek(self, index, to):
        cursor = self.pick(index)
        if isinstance(to, float):
            to = int(to * self.next_seq)
        cursor.consumer.seek(to)
        target = max({"earliest": self.first_seq, "latest": self.next_seq}.get(to, to), self.first_seq)
        if target >= cursor.position:
            cursor.read += target - cursor.position
        else:
            cursor.sought_back = True
        cursor.position = target

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0), beyond=st.integers(1, 1000))
    def seek_too_far(self, index, beyond):
        with pytest.raises(ValueError, match="to"):
            self.pick(index).consumer.seek(self.next_seq + beyond)

    @precondition(lambda self: self.cursors)
    @rule(index=st.integers(0))
    def take_missed(self, index):
        cursor = self.pick(index)
        assert cursor.consumer.take_missed() == cursor.untaken
        cursor.untaken = 0

    # after every step

    @invariant()
    def the_queue_is_as_the_model_says(self):
        if not hasattr(self, "queue"):
            return
        stats = self.queue.stats()
        assert len(self.queue) == stats.total_items == len(self.held)
        assert (stats.first_seq, stats.next_seq) == (self.first_seq, self.next_seq)
        assert (stats.enqueued, stats.expired, stats.rejected) == (self.next_seq, self.expired, self.rejected)
        assert stats.memory_usage <= stats.max_bytes
        if self.held:
            assert stats.memory_usage > SIZE * len(self.held)
        else:
            assert stats.memory_usage == 0
        assert [c.id for c in self.queue.consumers] == [c.consumer.id for c in self.cursors]

    @invariant()
    def the_books_of_every_consumer_balance(self):
        for cursor in self.cursors:
            stats = cursor.consumer.stats()
            unread = self.next_seq - cursor.position
            assert cursor.consumer.position == cursor.position
            assert cursor.consumer.unread_count == stats.unread_items == unread
            assert cursor.consumer.has_more_data() is (unread > 0)
            assert cursor.consumer.missed_count == stats.missed_items == cursor.missed
            assert stats.total_items_read == cursor.read
            if not cursor.sought_back:
                books = stats.total_items_read + stats.missed_items + stats.unread_items
                assert books == self.next_seq - cursor.start


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)


@pytest.mark.thread_unsafe(reason="hypothesis drives one machine at a time")
class TestQueue(QueueMachine.TestCase):
    pass
