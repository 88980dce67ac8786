"""Topics: random histories compared with a list, waiting producers, errors in user code, and calls that must not be delayed."""

import gc
import random
import re
import threading

import pytest

from helpers import PATIENCE, stopwatch
from mpmc_queue import MessagesMissedError, Queue, QueueFullError, wait_any

LONG = "a" * 200
OVERHEAD, OF_TOPIC, ONCE = 40, 6, 128


def is_match(pattern, topic):
    escaped = re.escape(pattern).replace(r"\*", "[^.]+")
    return re.fullmatch(re.sub(">$", ".+", escaped), topic) is not None


class Reader:
    """The expected figures of a consumer with filters."""

    def __init__(self, consumer, filters, position, held):
        self.consumer, self.filters, self.position = consumer, filters, position
        self.read = self.missed = self.filtered = 0
        self.lost = []
        self.since = len(self.unread(held))

    def wants(self, topic):
        return self.filters is None or (topic is not None and any(is_match(each, topic) for each in self.filters))

    def unread(self, held):
        return [seq for seq, (topic, _) in held.items() if seq >= self.position and self.wants(topic)]

    def pass_to(self, seq, held):
        passed = [topic for at, (topic, _) in held.items() if self.position <= at < seq]
        self.filtered += sum(not self.wants(topic) for topic in passed)
        self.position = seq

    def take(self, message, held):
        assert message.missed == sum(seq < message.seq for seq in self.lost)
        self.lost = [seq for seq in self.lost if seq > message.seq]
        self.pass_to(message.seq, held)
        self.position += 1


class History:
    TOPICS = ("a", "b", "a.b", "a.c", "a.b.c", LONG, None)
    FILTERS = ("a", "b", "a.*", "a.>", ">", "*", "*.b", "a.b.c", "zz")

    def __init__(self, seed):
        self.random = choose = random.Random(seed)
        self.is_interest, self.drops = choose.random() < 0.5, choose.random() < 0.5
        self.max_items, self.max_bytes = choose.choice([None, 4, 20]), choose.choice([10**7, 700, 2_500])
        limits = {"ttl": None, "max_items": self.max_items, "max_bytes": self.max_bytes}
        limits |= {"retention": "interest"} if self.is_interest else {}
        limits |= {"overflow": "drop_oldest"} if self.drops else {}
        self.queue = Queue("q", sizer=lambda payload: payload, **limits)
        self.empty = self.queue.memory_usage
        self.held, self.short, self.readers = {}, set(), []
        self.next = self.expired = self.dropped = 0

    def usage(self):
        topics = {topic for topic, _ in self.held.values() if topic}
        each = sum(size + OVERHEAD + (OF_TOPIC if topic else 0) for topic, size in self.held.values())
        return each + sum(ONCE + len(topic) for topic in topics)

    def lose(self, seq):
        topic, _ = self.held.pop(seq)
        for reader in self.readers:
            if seq >= reader.position and reader.wants(topic):
                reader.missed += 1
                reader.lost.append(seq)

    def enqueue(self):
        topic, count = self.random.choice(self.TOPICS), self.random.choice([1, 1, 3])
        sizes = [self.random.choice([0, 10, 60]) for _ in range(count)]
        lives = {"ttl": 1e-9} if self.random.random() < 0.3 else {}
        try:
            seqs = self.queue.enqueue_batch(sizes, topic=topic, **lives)
        except QueueFullError:
            return
        is_wanted = not (self.is_interest and self.readers) or any(reader.wants(topic) for reader in self.readers)
        assert seqs.start == self.next
        self.next = seqs.stop
        for reader in self.readers:
            reader.since += count * reader.wants(topic)
        if not is_wanted:
            return
        self.held.update({seq: (topic, size) for seq, size in zip(seqs, sizes, strict=True)})
        self.short.update(seqs if lives else ())
        while self.usage() > self.max_bytes or len(self.held) > (self.max_items or len(self.held)):
            assert self.drops
            self.dropped += 1
            self.lose(min(self.held))

    def expire(self):
        self.queue.enable_expiration()
        self.queue.force_expiration()
        self.queue.disable_expiration()
        for seq in self.short & self.held.keys():
            self.expired += 1
            self.lose(seq)

    def add(self):
        if len(self.readers) < 5:
            filters = self.random.choice([None, tuple(self.random.sample(self.FILTERS, 2))])
            start = self.random.randint(0, self.next)
            consumer = self.queue.add_consumer(start=start, topics=filters)
            position = max(start, min(self.held, default=self.next))
            self.readers.append(Reader(consumer, filters, position, self.held))

    def close(self):
        if self.readers and self.random.random() < 0.3:
            self.readers.pop(self.random.randrange(len(self.readers))).consumer.close()

    def read(self):
        for reader in self.random.sample(self.readers, min(1, len(self.readers))):
            unread, limit = reader.unread(self.held), self.random.choice([1, 2, 9])
            messages = reader.consumer.read_batch(limit)
            assert [message.seq for message in messages] == unread[:limit]
            reader.read += len(messages)
            for message in messages:
                assert (message.topic, message.payload) == self.held[message.seq]
                reader.take(message, self.held)
            if len(messages) < limit:
                reader.pass_to((reader.unread(self.held) or [self.next])[0], self.held)

    def check(self):
        if self.is_interest and self.readers:
            needed = {seq for reader in self.readers for seq in reader.unread(self.held)}
            self.held = {seq: each for seq, each in self.held.items() if seq in needed}
        stats = self.queue.stats()
        assert len(self.queue) == len(self.held)
        assert stats.memory_usage - self.empty == self.usage()
        assert (stats.enqueued, stats.expired, stats.dropped) == (self.next, self.expired, self.dropped)
        for reader in self.readers:
            unread, stats = reader.unread(self.held), reader.consumer.stats()
            assert (stats.unread_items, stats.unread_bytes) == (len(unread), sum(self.held[seq][1] for seq in unread))
            read, missed = stats.total_items_read, stats.missed_items
            assert (read, missed, stats.filtered_items) == (reader.read, reader.missed, reader.filtered)
            assert read + missed + len(unread) == reader.since
            assert reader.consumer.position == (unread or [self.next])[0]
            assert bool(wait_any([reader.consumer], timeout=0)) == reader.consumer.has_more_data() == bool(unread)


@pytest.mark.parametrize("seed", range(100))
def test_random_histories_keep_the_books(seed):
    history = History(seed)
    history.queue.disable_expiration()
    steps = [history.enqueue] * 4 + [history.read] * 3
    steps += [history.add, history.close, history.expire]
    for _ in range(60):
        history.random.choice(steps)()
        history.check()
    history.queue.close(immediate=True)
    assert (len(history.queue), history.queue.memory_usage) == (0, history.empty)


@pytest.mark.parametrize("frees", ["read", "limit"])
def test_a_waiting_producer_with_a_topic_in_use_enqueues_as_soon_as_it_fits(run_thread, frees):
    queue = Queue("q", ttl=None, retention="interest", sizer=lambda payload: 10)
    reader = queue.add_consumer()
    queue.enqueue_batch([0, 1], topic=LONG)
    queue.max_bytes = queue.memory_usage
    producer = run_thread(queue.enqueue, 2, topic=LONG, timeout=PATIENCE)
    producer.assert_waiting()
    if frees == "read":
        reader.read()
    else:
        queue.max_bytes += 10 + OVERHEAD + OF_TOPIC  # enough, though not for the topic's text once more
    assert producer.result(PATIENCE / 4) == 2


@pytest.mark.parametrize("other", ["consumer", "ephemeral", "group", "everything"])
def test_a_waiting_producer_enqueues_when_the_last_matching_consumer_is_removed(run_thread, other):
    queue = Queue("q", ttl=None, retention="interest", max_items=1)
    queue.add_consumer(topics="a")
    wanting = {
        "consumer": lambda: queue.add_consumer(topics="b"),
        "ephemeral": lambda: queue.add_consumer(topics="b", ephemeral=True),
        "group": lambda: queue.add_group("g", topics="b"),
        "everything": queue.add_consumer,
    }[other]()
    queue.enqueue(0, topic="a")
    producer = run_thread(queue.enqueue, 1, topic="b", timeout=PATIENCE)
    producer.assert_waiting()
    if other != "ephemeral":
        wanting.close()
    del wanting
    gc.collect()
    assert producer.result(PATIENCE / 4) == 1


def test_a_waiting_producer_enqueues_when_a_consumer_without_a_match_is_added(run_thread):
    queue = Queue("q", ttl=None, retention="interest", max_items=1)
    queue.enqueue(0, topic="a")
    producer = run_thread(queue.enqueue, 1, topic="b", timeout=PATIENCE)
    producer.assert_waiting()
    queue.add_consumer(topics="a")
    assert producer.result(PATIENCE / 4) == 1


def test_each_consumer_shows_its_own_filters(make_queue):
    queue = make_queue()
    first, second = queue.add_consumer(topics=["a", "b"]), queue.add_consumer(topics=["b", "a", "a"])
    group = queue.add_group("g", topics=["b", "a"])
    assert (first.topics, first.stats().topics) == (("a", "b"), ("a", "b"))
    assert (second.topics, second.stats().topics) == (("b", "a", "a"), ("b", "a", "a"))
    assert group.stats().topics == group.add_consumer().topics == ("b", "a")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("call", ["topics", "after", "wait_any"])
def test_an_error_of_an_iterable_propagates_unchanged(make_queue, call, error):
    class Raising:
        def __iter__(self):
            raise error("its own")

    queue = make_queue()
    with pytest.raises(error, match="its own"):
        wait_any(Raising()) if call == "wait_any" else queue.add_consumer(**{call: Raising()})
    assert queue.consumers == ()


def test_the_error_of_a_bad_topic_shows_the_mistake_at_any_place(make_queue):
    with pytest.raises(ValueError, match="b c"):
        make_queue().enqueue(1, topic="a." * 50 + "b c")


def test_wait_any_returns_only_consumers_with_something_to_read():
    queue = Queue("q", ttl=None)
    journal = queue.add_consumer(topics="a")
    actor = queue.add_consumer(topics="a", after=[journal], on_missed="raise")
    queue.enqueue(0, topic="a")
    queue.enqueue(1, topic="a", ttl=1e-9)
    queue.force_expiration()
    assert actor.read() is None  # the gap lies behind 0, which the journal has not read
    assert wait_any([actor], timeout=0) == []
    journal.read()
    assert wait_any([actor], timeout=0) == [actor]
    assert actor.get() == 0
    with pytest.raises(MessagesMissedError):
        actor.read()


def test_many_filters_and_topics_are_matched_without_comparing_each_pair():
    queue = Queue("q", ttl=None, max_bytes=10**8)
    for number in range(10_000):
        queue.enqueue(None, topic=f"user.{number}")
    with stopwatch() as taken:
        reader = queue.add_consumer(topics=[f"user.{number}" for number in range(0, 20_000, 2)])
    assert reader.unread_count == 5_000
    assert taken.seconds < 1


@pytest.mark.thread_unsafe
def test_other_threads_proceed_while_a_new_filter_scans_the_messages_held(run_thread):
    queue = Queue("q", ttl=None, max_bytes=10**9, audit=False)
    for number in range(50):
        queue.enqueue_batch([None] * 10_000, topic=f"t.{number}")
    longest, is_on, is_over = [], threading.Event(), threading.Event()

    def look():
        while not is_over.is_set():
            with stopwatch() as taken:
                assert queue.memory_usage
            longest[:] = [max(*longest, taken.seconds, 0.0)]
            is_on.set()

    looking = run_thread(look)
    assert is_on.wait(PATIENCE)
    with stopwatch() as building:
        queue.add_consumer(topics=">")
    is_over.set()
    looking.join()
    assert longest[0] < max(building.seconds / 2, 0.02)  # with a GIL, others get it after 5 ms


@pytest.mark.thread_unsafe
def test_a_message_costs_nothing_for_waiters_in_wait_any_it_does_not_match(run_thread):
    def measure():
        with stopwatch() as taken:
            for _ in range(1_000):
                queue.enqueue(None, topic="nobody")
        return taken.seconds

    queue = Queue("q", ttl=None, max_bytes=10**8)
    readers = [queue.add_consumer(topics=f"t.{number}") for number in range(1_000)]
    alone = min(measure() for _ in range(5))
    waiting = run_thread(wait_any, readers, timeout=PATIENCE)
    waiting.assert_waiting()
    beside = min(measure() for _ in range(5))
    queue.enqueue(None, topic="t.7")
    assert waiting.result() == [readers[7]]
    assert beside < 10 * alone
