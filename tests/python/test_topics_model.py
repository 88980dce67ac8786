"""Random operations on a queue with topics, compared with a list of messages: all figures of all consumers after every step."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mpmc_queue import Consumer, ItemLimitError, Queue

SIZE = 10
TOPICS = ("a", "a.b", "a.c", "b", "b.c.d")
FILTERS = {
    "a": {"a"},
    "a.*": {"a.b", "a.c"},
    ">": set(TOPICS),
    "b.>": {"b.c.d"},
    "*": {"a", "b"},
    "x": set(),
}
"""The topics that each filter matches, listed instead of computed."""


@dataclass(eq=False)
class Held:
    seq: int
    topic: str | None
    is_mortal: bool


@dataclass(eq=False)
class Reader:
    consumer: Consumer[int]
    wanted: set[str] | None  # None: everything
    position: int
    expected: int = 0
    read: int = 0
    passed: int = 0
    filtered: int = 0
    missed: int = 0
    untaken: int = 0
    untold: int = 0  # lost since the last delivery, and before the position
    ahead: set[int] = field(default_factory=set)  # lost, at or after the position
    sought_back: bool = False

    def wants(self, message: Held) -> bool:
        return self.wanted is None or message.topic in self.wanted

    def needs(self, message: Held) -> bool:
        return message.seq >= self.position and self.wants(message)


class TopicMachine(RuleBasedStateMachine):
    readers: list[Reader]

    @initialize(interest=st.booleans(), drops=st.booleans(), limit=st.none() | st.integers(1, 8))
    def make(self, interest: bool, drops: bool, limit: int | None) -> None:
        self.interest, self.drops, self.limit = interest, drops, limit
        self.queue = Queue[int](
            "model",
            ttl=None,
            max_items=limit,
            retention="interest" if interest else "limits",
            overflow="drop_oldest" if drops else "reject",
            sizer=lambda payload: SIZE,
        )
        self.held: list[Held] = []
        self.next_seq = self.expired = self.dropped = self.rejected = 0
        self.readers = []

    # the model

    def pick(self, index: int) -> Reader:
        return self.readers[index % len(self.readers)]

    def unread(self, reader: Reader) -> list[Held]:
        return [message for message in self.held if reader.needs(message)]

    def lose(self, gone: list[Held]) -> None:
        self.held = [message for message in self.held if message not in gone]
        for reader in self.readers:
            lost = {message.seq for message in gone if reader.needs(message)}
            reader.ahead |= lost
            reader.missed += len(lost)
            reader.untaken += len(lost)

    def move(self, reader: Reader, seq: int) -> None:
        passed = [message for message in self.held if reader.position <= message.seq < seq]
        reader.filtered += sum(not reader.wants(message) for message in passed)
        reader.untold += sum(lost < seq for lost in reader.ahead)
        reader.ahead = {lost for lost in reader.ahead if lost >= seq}
        reader.position = seq

    def let_go(self) -> None:
        if self.interest and self.readers:
            self.held = [m for m in self.held if any(reader.needs(m) for reader in self.readers)]

    def take(self, reader: Reader, limit: int) -> list[tuple[int, int]]:
        """What a read of up to `limit` messages delivers: each seq, and how many were missed before it."""
        taken = []
        for message in self.unread(reader)[:limit]:
            self.move(reader, message.seq)
            taken.append((message.seq, reader.untold))
            reader.untold = 0
            reader.position = message.seq + 1
            reader.read += 1
        if len(taken) < limit:
            self.move(reader, self.next_seq)
        return taken

    # producing

    @rule(topic=st.none() | st.sampled_from(TOPICS), count=st.integers(0, 4), mortal=st.booleans())
    def enqueue_batch(self, topic: str | None, count: int, mortal: bool) -> None:
        wanted = any(reader.wants(Held(0, topic, False)) for reader in self.readers)
        needs_room = not (self.interest and self.readers) or wanted
        held = len(self.held)
        too_many = self.limit is not None and (
            count > self.limit or (needs_room and not self.drops and held + count > self.limit)
        )
        ttl = {"ttl": 3600.0} if mortal else {}
        if count and too_many:
            with pytest.raises(ItemLimitError):
                self.queue.enqueue_batch([0] * count, topic=topic, **ttl)
            self.rejected += count
            return
        assert self.queue.enqueue_batch([0] * count, topic=topic, **ttl) == range(self.next_seq, self.next_seq + count)
        if needs_room and self.limit is not None and held + count > self.limit and count:
            surplus = held + count - self.limit
            self.dropped += surplus
            self.lose(self.held[:surplus])
        new = [Held(self.next_seq + number, topic, mortal) for number in range(count)]
        self.next_seq += count
        if needs_room:
            self.held += new
            for reader in self.readers:
                reader.expected += sum(reader.wants(message) for message in new)

    @rule()
    def expire_all_by_the_queues_ttl(self) -> None:
        """Expires the messages without their own ttl."""
        self.queue.ttl = 1e-9
        self.queue.force_expiration()
        self.queue.ttl = None
        gone = [message for message in self.held if not message.is_mortal]
        self.expired += len(gone)
        self.lose(gone)

    # consumers

    @precondition(lambda self: len(self.readers) < 5)
    @rule(
        filters=st.none() | st.lists(st.sampled_from(sorted(FILTERS)), min_size=1, max_size=3),
        start=st.sampled_from(["earliest", "latest"]) | st.floats(0, 1),
    )
    def add_consumer(self, filters: list[str] | None, start: Any) -> None:
        if isinstance(start, float):
            start = int(start * self.next_seq)
        first = self.held[0].seq if self.held else self.next_seq
        position = max({"earliest": first, "latest": self.next_seq}.get(start, start), first)
        wanted = None if filters is None else set().union(*(FILTERS[each] for each in filters))
        reader = Reader(self.queue.add_consumer(start=start, topics=filters), wanted, position)
        assert reader.consumer.topics == (None if filters is None else tuple(filters))
        reader.expected = len(self.unread(reader))
        self.readers.append(reader)
        self.let_go()

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0))
    def remove_consumer(self, index: int) -> None:
        reader = self.pick(index)
        reader.consumer.close()
        self.readers.remove(reader)
        self.let_go()

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0), limit=st.integers(1, 6))
    def read_batch(self, index: int, limit: int) -> None:
        reader = self.pick(index)
        topics = {message.seq: message.topic for message in self.held}
        messages = reader.consumer.read_batch(limit)
        assert [(message.seq, message.missed) for message in messages] == self.take(reader, limit)
        assert [message.topic for message in messages] == [topics[message.seq] for message in messages]
        self.let_go()

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0))
    def read_latest(self, index: int) -> None:
        reader = self.pick(index)
        message = reader.consumer.read_latest()
        taken = self.take(reader, len(self.unread(reader)) or 1)
        assert (message and message.seq) == (taken[-1][0] if taken else None)
        if message is not None:
            assert message.missed == sum(missed for _, missed in taken)
            reader.passed += len(taken) - 1
        self.let_go()

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0))
    def peek(self, index: int) -> None:
        reader = self.pick(index)
        message = reader.consumer.peek()
        assert (message and message.seq) == next((held.seq for held in self.unread(reader)), None)

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0), to=st.floats(0, 1))
    def seek(self, index: int, to: float) -> None:
        reader, seq = self.pick(index), int(to * self.next_seq)
        reader.consumer.seek(seq)
        target = max(seq, self.held[0].seq if self.held else self.next_seq)
        if target >= reader.position:
            skipped = sum(message.seq < target for message in self.unread(reader))
            reader.read += skipped
            reader.passed += skipped
            self.move(reader, target)
        else:
            reader.sought_back = True
            reader.position = target
        self.let_go()

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0))
    def take_missed(self, index: int) -> None:
        reader = self.pick(index)
        assert reader.consumer.take_missed() == reader.untaken
        reader.untaken = 0

    # after every step

    @invariant()
    def the_queue_is_as_the_model_says(self) -> None:
        if not hasattr(self, "queue"):
            return
        stats = self.queue.stats()
        assert stats.total_items == len(self.held)
        assert (stats.next_seq, stats.expired) == (self.next_seq, self.expired)
        assert (stats.dropped, stats.rejected) == (self.dropped, self.rejected)
        assert (stats.memory_usage == 0) is (not self.held)

    @invariant()
    def every_figure_of_every_consumer_is_about_what_matches(self) -> None:
        for reader in getattr(self, "readers", ()):
            unread, stats = self.unread(reader), reader.consumer.stats()
            assert reader.consumer.unread_count == stats.unread_items == len(unread)
            assert stats.unread_bytes == SIZE * len(unread)
            assert reader.consumer.position == next((message.seq for message in unread), self.next_seq)
            assert reader.consumer.has_more_data() is bool(unread)
            assert reader.consumer.missed_count == stats.missed_items == reader.missed
            assert (stats.total_items_read, stats.passed_items) == (reader.read, reader.passed)
            assert stats.filtered_items == reader.filtered
            if not reader.sought_back:
                assert stats.total_items_read + stats.missed_items + stats.unread_items == reader.expected


TopicMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None, derandomize=True)


@pytest.mark.thread_unsafe(reason="hypothesis drives one machine at a time")
class TestTopics(TopicMachine.TestCase):
    pass
