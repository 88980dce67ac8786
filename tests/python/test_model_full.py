"""Random operations of all kinds, compared with a model. The counts of all readers add up after every step."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness import LONG, at_once
from helpers import fill
from log_model import Log, Pending, Reader
from mpmc_queue import ItemLimitError, MessagesMissedError, Queue, QueueClosedError, QueueError

PENDING_OVERHEAD = 56  # bytes charged for a pending delivery
SIZE = 100  # the size that the sizer returns for every payload
SHORT = 1e-9  # a time to live that is over before any check
LIVES = {"queue's": {}, "for ever": {"ttl": None}, "long": {"ttl": LONG}, "over": {"ttl": SHORT}}

# Every way to take available messages. The second kind returns bare payloads.
MESSAGES = {
    "read": lambda c, n: [c.read()],
    "read_batch": lambda c, n: c.read_batch(n),
    "read_where": lambda c, n: [c.read_where(lambda message: True)],
    "next": lambda c, n: [next(c)] if c.has_more_data() else [],
    "aread": lambda c, n: [at_once(c.aread(timeout=0))],
    "aread_batch": lambda c, n: at_once(c.aread_batch(n, timeout=0)),
}
PAYLOADS = {
    "get": lambda c, n: [c.get(block=False)] if c.has_more_data() else [],
    "get_nowait": lambda c, n: [c.get_nowait()] if c.has_more_data() else [],
    "get_batch": lambda c, n: c.get_batch(n),
    "aget": lambda c, n: [at_once(c.aget())] if c.has_more_data() else [],
}

indices = st.integers(0, 1000)
starts = st.sampled_from(["earliest", "latest"]) | st.floats(0, 1)


def pick(things, index):
    return things[index % len(things)]


class Machine(RuleBasedStateMachine):
    @initialize(
        interest=st.booleans(),
        drop=st.booleans(),
        max_items=st.none() | st.integers(1, 12),
        audit=st.booleans(),
        drain=st.booleans(),
    )
    def make(self, interest, drop, max_items, audit, drain):
        self.audit, self.drain = audit, drain
        self.queue = Queue(
            "model",
            ttl=None,
            max_bytes=1 << 40,
            max_items=max_items,
            retention="interest" if interest else "limits",
            overflow="drop_oldest" if drop else "reject",
            sizer=lambda payload: SIZE,
            audit=audit,
        )
        self.queue.disable_expiration()
        self.dead = Queue("dead", ttl=None, max_bytes=1 << 40)
        self.dead_payloads = []
        self.at_dead = self.dead.add_consumer()
        self.log = Log(interest=interest, drop=drop, max_items=max_items)
        self.consumers = []  # (Consumer, Reader)
        self.told = {}  # id: how a consumer is told what it missed, and the calls of its callback
        self.groups = []  # (ConsumerGroup, Reader)
        self.members = []  # (Consumer, ConsumerGroup, Reader)
        self.in_hand = []  # (Message, Reader): the latest delivery of each pending message
        self.settled = []  # messages that have been settled
        self.lost = []  # messages that were lost while pending
        self.names = 0
        with Queue("empty", max_items=1, sizer=lambda payload: SIZE) as other:
            fill(other, None)
            self.each = other.memory_usage  # the charge for one message

    def teardown(self):
        if hasattr(self, "queue"):
            if self.drain:
                self.close_and_drain()
            self.queue.close(immediate=True)
            assert (len(self.queue), self.queue.memory_usage) == (0, 0)
            assert all(consumer.unread_count == 0 for consumer, _ in self.consumers)
            assert all(group.unread_count == group.pending_count == 0 for group, _ in self.groups)

    def close_and_drain(self):
        self.queue.close()
        with pytest.raises(QueueClosedError):
            self.queue.enqueue(0)
        for consumer, reader in self.consumers:
            seqs = []
            with pytest.raises(QueueClosedError):
                while True:
                    try:
                        seqs += [message.seq for message in consumer.read_batch(4)]
                    except MessagesMissedError:
                        pass
            assert seqs == [entry.seq for entry in self.log.unread(reader)]
            reader.move_to(self.log.next_seq)
            self.log.let_go()

    # producing

    @rule(payloads=st.lists(st.integers(0, 9), min_size=1, max_size=6), life=st.sampled_from(sorted(LIVES)))
    def enqueue(self, payloads, life):
        ttl = LIVES[life]
        if self.log.admits(len(payloads)):
            if len(payloads) == 1:
                assert self.queue.enqueue(payloads[0], **ttl) == self.log.next_seq
            else:
                expected = range(self.log.next_seq, self.log.next_seq + len(payloads))
                assert self.queue.enqueue_batch(payloads, **ttl) == expected
            self.log.append(payloads, own_ttl=bool(ttl), mortal=life == "over")
            self.forget_lost()
        else:
            with pytest.raises(ItemLimitError) as caught:
                self.queue.enqueue_batch(payloads, **ttl)
            error = caught.value
            assert (error.current, error.max, error.needed) == (len(self.queue), self.log.max_items, len(payloads))

    @precondition(lambda self: not self.log.drop)
    @rule(limit=st.none() | st.integers(1, 12))
    def set_max_items(self, limit):
        self.queue.max_items = self.log.max_items = limit

    # expiration

    @rule(all_without_their_own=st.booleans())
    def expire(self, all_without_their_own):
        if all_without_their_own:
            self.queue.ttl = SHORT
        self.queue.enable_expiration()
        self.queue.force_expiration()
        self.queue.disable_expiration()
        self.queue.ttl = None
        self.log.expire(lambda message: message.mortal or (all_without_their_own and not message.own_ttl))
        self.log.let_go()
        self.forget_lost()

    def forget_lost(self):
        self.lost += [message for message, reader in self.in_hand if message.seq not in reader.pending]
        self.in_hand = [(message, reader) for message, reader in self.in_hand if message.seq in reader.pending]

    # readers are added and removed

    def start_at(self, start):
        """With retention by interest, the first reader takes all messages, because no later reader ever could."""
        if self.log.interest and not self.log.readers:
            return "earliest", self.log.first_seq
        if isinstance(start, float):
            seq = int(start * self.log.next_seq)
            return seq, max(seq, self.log.first_seq)
        return start, self.log.first_seq if start == "earliest" else self.log.next_seq

    @precondition(lambda self: len(self.consumers) < 3)
    @rule(start=starts, on_missed=st.sampled_from(["skip", "skip", "raise", "call back"]))
    def add_consumer(self, start, on_missed):
        start, position = self.start_at(start)
        told = []
        how = told.append if on_missed == "call back" else on_missed
        consumer = self.queue.add_consumer(start=start, on_missed=how)
        assert self.queue.get_consumer(consumer.id).id == consumer.id
        reader = Reader(position, tells=on_missed != "skip")
        self.told[consumer.id] = (on_missed, told)
        self.log.add(reader, consumer.missed_count)
        self.consumers.append((consumer, reader))

    @precondition(lambda self: len(self.groups) < 3)
    @rule(
        start=starts,
        acks=st.booleans(),
        max_pending=st.none() | st.integers(1, 4),
        max_deliver=st.none() | st.integers(1, 3),
    )
    def add_group(self, start, acks, max_pending, max_deliver):
        start, position = self.start_at(start)
        arguments = {"ack_wait": LONG, "max_ack_pending": max_pending, "max_deliver": max_deliver} if acks else {}
        self.names += 1
        group = self.queue.add_group(
            f"group {self.names}", start=start, dead_letter=self.dead if acks else None, **arguments
        )
        reader = Reader(position, acks=acks)
        if acks:
            reader.max_pending, reader.max_deliver = max_pending, max_deliver
        self.log.add(reader, group.missed_count)
        self.groups.append((group, reader))
        self.members.append((group.add_consumer(), group, reader))

    @precondition(lambda self: self.groups and len(self.members) < 6)
    @rule(index=indices)
    def add_member(self, index):
        group, reader = pick(self.groups, index)
        self.members.append((group.add_consumer(), group, reader))

    @precondition(lambda self: self.consumers)
    @rule(index=indices)
    def remove_consumer(self, index):
        consumer, reader = self.consumers.pop(index % len(self.consumers))
        assert self.queue.remove_consumer(consumer)
        self.log.readers.remove(reader)
        self.log.let_go()

    @precondition(lambda self: self.members)
    @rule(index=indices)
    def close_member(self, index):
        member, group, reader = self.members.pop(index % len(self.members))
        member.close()
        assert member.id not in [other.id for other in group.members]
        for seq, pending in list(reader.pending.items()):
            if pending.holder is member:
                pending.holder = None
                self.used_up(reader, seq)
        self.in_hand = [(m, r) for m, r in self.in_hand if m.seq in r.pending and r.pending[m.seq].holder]
        self.log.let_go()

    @precondition(lambda self: self.groups)
    @rule(index=indices)
    def close_group(self, index):
        group, reader = self.groups.pop(index % len(self.groups))
        group.close()
        assert self.queue.get_group(group.name) is None
        self.log.readers.remove(reader)
        self.log.let_go()
        self.members = [entry for entry in self.members if entry[1] is not group]
        self.in_hand = [(message, other) for message, other in self.in_hand if other is not reader]

    # consumers read

    def compare(self, reader, entries, messages, missed):
        assert [(m.seq, m.payload, m.size) for m in messages] == [(e.seq, e.payload, SIZE) for e in entries]
        assert {m.deliveries for m in messages} <= {1}
        if not reader.sought_back and not reader.acks:
            assert [m.missed for m in messages] == missed
        self.log.let_go()

    @precondition(lambda self: self.consumers)
    @rule(index=indices, limit=st.integers(1, 5), how=st.sampled_from([*MESSAGES, *PAYLOADS]))
    def read(self, index, limit, how):
        consumer, reader = pick(self.consumers, index)
        entries = self.log.unread(reader)
        if how not in ("read_batch", "get_batch", "aread_batch"):
            limit = 1
        if not entries and how in ("next", *PAYLOADS):
            return  # they would wait, or have nothing to report
        reader.move_to(entries[0].seq if entries else self.log.next_seq)
        on_missed, told = self.told[consumer.id]
        if reader.tells:
            count, reader.untold = reader.untold, 0
            if count and on_missed == "raise":
                with pytest.raises(MessagesMissedError) as caught:
                    (MESSAGES | PAYLOADS)[how](consumer, limit)
                assert caught.value.count == count
                return
            # A batch ends where more messages were missed.
            entries = entries[:1] + [entry for before, entry in self.neighbours(reader, entries)]
        entries = entries[:limit]
        got = (MESSAGES | PAYLOADS)[how](consumer, limit)
        if on_missed == "call back":
            assert told == [count] * (count > 0)
            told.clear()
        missed = [reader.deliver(entry.seq) for entry in entries]
        if how in MESSAGES:
            self.compare(reader, entries, [message for message in got if message is not None], missed)
        else:
            assert got == [entry.payload for entry in entries]
            self.log.let_go()

    def neighbours(self, reader, entries):
        """Pairs of messages, up to the first pair between which the reader lost something."""
        pairs = itertools.pairwise(entries)
        return itertools.takewhile(lambda pair: not any(pair[0].seq < seq < pair[1].seq for seq in reader.ahead), pairs)

    @precondition(lambda self: any(not reader.tells for _, reader in self.consumers))
    @rule(index=indices, wanted=st.integers(0, 9))
    def read_where(self, index, wanted):
        consumer, reader = pick([entry for entry in self.consumers if not entry[1].tells], index)
        message = consumer.read_where(lambda message: message.payload == wanted)
        missed = []
        for entry in self.log.unread(reader):
            if entry.payload == wanted:
                missed.append(reader.deliver(entry.seq))
                break
            reader.pass_over(entry.seq)
            reader.reads.append(entry.seq)
            reader.read += 1
        else:
            entry = None
        self.compare(reader, [entry] if entry else [], [message] if message else [], missed)

    @precondition(lambda self: self.consumers)
    @rule(index=indices)
    def peek(self, index):
        consumer, reader = pick(self.consumers, index)
        message = consumer.peek()
        shown = [] if message is None else [message.seq]
        assert shown == [entry.seq for entry in self.log.unread(reader)[:1]]

    @precondition(lambda self: self.consumers)
    @rule(index=indices, to=starts)
    def seek(self, index, to):
        consumer, reader = pick(self.consumers, index)
        if isinstance(to, float):
            to = int(to * self.log.next_seq)
        consumer.seek(to)
        self.log.seek(reader, {"earliest": self.log.first_seq, "latest": self.log.next_seq}.get(to, to))

    @precondition(lambda self: self.consumers or self.members)
    @rule(index=indices)
    def take_missed(self, index):
        members = [(member, reader) for member, _, reader in self.members]
        consumer, reader = pick(self.consumers + members, index)
        assert consumer.take_missed() == reader.untaken
        reader.untaken = 0

    # members read and settle

    @precondition(lambda self: self.members)
    @rule(index=indices, limit=st.integers(1, 5))
    def read_as_member(self, index, limit):
        member, _, reader = pick(self.members, index)
        messages = member.read_batch(limit)
        again = min(limit, len(reader.redeliverable()))
        for message in messages[:again]:
            assert message.seq in reader.redeliverable(), "a redelivery comes before new messages"
            pending = reader.pending[message.seq]
            pending.holder, pending.deliveries = member, pending.deliveries + 1
            assert message.deliveries == pending.deliveries
        fresh = self.log.unread(reader)[: min(limit - again, reader.allowance())]
        missed = [reader.deliver(entry.seq) for entry in fresh]
        if reader.acks:
            reader.pending |= {entry.seq: Pending(member) for entry in fresh}
            self.in_hand += [(message, reader) for message in messages]
        self.compare(reader, fresh, messages[again:], missed)

    def used_up(self, reader, seq):
        """Moves messages that have reached the maximum number of deliveries."""
        if reader.pending[seq].deliveries == reader.max_deliver:
            self.bury(reader, seq)

    def bury(self, reader, seq):
        del reader.pending[seq]
        reader.dead_lettered += 1
        self.dead_payloads.append(next(message.payload for message in self.log.held if message.seq == seq))

    @precondition(lambda self: any(r.pending[m.seq].holder for m, r in self.in_hand))
    @rule(index=indices, how=st.sampled_from(["ack", "nack", "nack later", "term", "in_progress"]))
    def settle(self, index, how):
        held = [(message, reader) for message, reader in self.in_hand if reader.pending[message.seq].holder]
        message, reader = pick(held, index)
        seq = message.seq
        pending = reader.pending[seq]
        if how == "in_progress":
            message.in_progress()
            return
        self.in_hand.remove((message, reader))
        self.settled.append(message)
        if how == "ack":
            assert message.ack() is True
            del reader.pending[seq]
            reader.read += 1
        elif how == "term":
            assert message.term() is True
            self.bury(reader, seq)
        else:
            pending.delayed = how == "nack later" and pending.deliveries != reader.max_deliver
            assert message.nack(LONG if pending.delayed else 0.0) is True
            pending.holder = None
            self.used_up(reader, seq)
        self.log.let_go()

    @precondition(lambda self: self.settled)
    @rule(index=indices, how=st.sampled_from(["ack", "nack", "term", "in_progress"]))
    def settle_again(self, index, how):
        with pytest.raises(QueueError):
            getattr(pick(self.settled, index), how)()

    @precondition(lambda self: self.lost)
    @rule(index=indices)
    def ack_too_late(self, index):
        assert self.lost.pop(index % len(self.lost)).ack() is False

    # after every step

    @invariant()
    def the_queue_is_as_the_model_says(self):
        if not hasattr(self, "queue"):
            return
        stats, log = self.queue.stats(), self.log
        assert len(self.queue) == stats.total_items == len(log.held)
        assert (stats.first_seq, stats.next_seq, stats.enqueued) == (log.first_seq, log.next_seq, log.next_seq)
        assert (stats.expired, stats.dropped, stats.rejected) == (log.expired, log.dropped, log.rejected)
        pending = sum(len(reader.pending) for _, reader in self.groups)
        charged = self.each * len(log.held) + PENDING_OVERHEAD * pending
        assert stats.memory_usage == self.queue.memory_usage == charged
        assert [c.id for c in self.queue.consumers if c.group is None] == [c.id for c, _ in self.consumers]
        assert (self.queue.max_items, self.queue.is_empty(), self.queue.closed) == (log.max_items, not log.held, False)
        assert self.queue.join(timeout=0) is log.all_read()
        assert [message.payload for message in self.at_dead.read_batch(1000)] == self.dead_payloads
        self.dead_payloads = []

    @invariant()
    def the_books_of_every_consumer_balance(self):
        for consumer, reader in getattr(self, "consumers", ()):
            stats, unread = consumer.stats(), self.log.unread(reader)
            assert (stats.total_items_read, stats.missed_items) == (reader.read, reader.missed)
            assert consumer.unread_count == stats.unread_items == len(unread)
            assert (consumer.missed_count, stats.unread_bytes) == (reader.missed, SIZE * len(unread))
            next_one = unread[0].seq if unread else self.log.next_seq
            assert max(reader.position, self.log.first_seq) <= consumer.position <= next_one
            assert consumer.has_more_data() is bool(unread)
            if not reader.sought_back:
                held = {message.seq for message in self.log.held}
                reads = [seq for seq in reader.reads if seq in held] if self.audit else []
                assert [seq for seq, _ in consumer.history()] == reads
                assert stats.total_items_read + stats.missed_items + stats.unread_items == reader.expected

    @invariant()
    def the_books_of_every_group_balance(self):
        for group, reader in getattr(self, "groups", ()):
            fresh, ready = len(self.log.unread(reader)), len(reader.redeliverable())
            stats = group.stats()
            assert self.queue.get_group(group.name).name == group.name
            counts = stats.pending_items, stats.unread_items, stats.missed_items
            assert counts == (group.pending_count, group.unread_count, group.missed_count)
            assert counts == (len(reader.pending) - ready, fresh + ready, reader.missed)
            assert (stats.total_items_read, stats.dead_lettered_items) == (reader.read, reader.dead_lettered)
            assert stats.unread_bytes == SIZE * (fresh + ready)
            assert reader.books + fresh == reader.expected
            for member in group.members:
                can_read = ready > 0 or min(fresh, reader.allowance()) > 0
                assert (member.has_more_data(), member.unread_count) == (can_read, fresh + ready)
                peeked = member.peek()
                assert (peeked is not None) is can_read
                assert not ready or peeked.seq == min(reader.redeliverable())
        if hasattr(self, "queue"):
            assert [stats.name for stats in self.queue.group_stats()] == [group.name for group, _ in self.groups]


Machine.TestCase.settings = settings(max_examples=250, stateful_step_count=50, deadline=None, derandomize=True)


@pytest.mark.thread_unsafe(reason="hypothesis drives one machine at a time")
class TestEverything(Machine.TestCase):
    pass
