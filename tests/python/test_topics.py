"""Topics: messages are enqueued under a topic, and consumers read those that match."""

import asyncio
import gc
import threading
import tracemalloc
import weakref

import pytest

from harness import CountingLoop, run_in, settled
from mpmc_queue import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    Queue,
    QueueClosedError,
    wait_any,
)
from topic_examples import MATCHES, TOPICS

OVERHEAD = 40
OF_TOPIC = 6
ONCE = 128


def contents(messages):
    return [message.payload for message in messages]


def make():
    return Queue("q", ttl=None, sizer=lambda payload: 10)


# --- what is read -------------------------------------------------------------------------------------------------------


def test_a_consumer_reads_matching_messages_in_order():
    queue = make()
    orders, everything = queue.add_consumer(topics="orders.>"), queue.add_consumer()
    queue.enqueue(0, topic="orders.eu.new")
    queue.enqueue(1, topic="news")
    queue.enqueue(2)
    queue.enqueue_batch([3, 4], topic="orders.us")
    assert contents(orders.read_batch(10)) == [0, 3, 4]
    read = everything.read_batch(10)
    assert contents(read) == [0, 1, 2, 3, 4]
    assert [message.topic for message in read] == ["orders.eu.new", "news", None, "orders.us", "orders.us"]


def test_messages_keep_their_topics_however_they_are_read():
    queue = make()
    reader = queue.add_consumer()
    topics = [None, "a", "a", "b", None, "a"]
    for topic in topics * 3:
        queue.enqueue(topic, topic=topic)
    assert [reader.read().topic for _ in topics] == topics
    assert [next(reader).topic for _ in topics] == topics
    assert [reader.peek().topic, *[message.topic for message in reader.read_batch(9)]] == [None, *topics]


@pytest.mark.parametrize(("filters", "expected"), [*MATCHES, (["a.*", "a.b", "b", "*.b"], ["a.b", "a.c", "b"])])
def test_wildcards_match_tokens(filters, expected):
    queue = make()
    reader = queue.add_consumer(topics=filters)
    for topic in TOPICS:
        queue.enqueue(topic, topic=topic)
    assert contents(reader.read_batch(10)) == expected
    assert reader.topics == ((filters,) if isinstance(filters, str) else tuple(filters))


def test_filters_are_in_stats_and_members():
    queue = make()
    group = queue.add_group("g", topics=["x", "y.*"])
    member = group.add_consumer()
    assert member.topics == group.stats().topics == member.stats().topics == ("x", "y.*")
    plain = queue.add_consumer()
    assert plain.topics is None
    assert plain.stats().topics is None
    member.close()
    assert member.topics == ("x", "y.*")


BAD_TOPICS = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a\tb",
    "a\u2003",
    "a\x1c",
    "*",
    "a.>",
    "a*",
    "x" * 256,
    "\u00e4" * 128,
]


@pytest.mark.parametrize("topic", BAD_TOPICS)
def test_a_bad_topic_is_a_value_error_that_shows_it(topic):
    queue = make()
    with pytest.raises(ValueError, match="topic") as caught:
        queue.enqueue(1, topic=topic)
    assert repr(topic)[:60] in str(caught.value)
    with pytest.raises(ValueError, match="topic"):
        queue.enqueue_batch([1], topic=topic)
    with pytest.raises(ValueError, match="topic"):
        queue.aenqueue(1, topic=topic)
    assert (len(queue), queue.stats().next_seq, queue.stats().rejected) == (0, 0, 0)


@pytest.mark.parametrize("filters", ["", "a.", "a b", "a*", "**", ">.a", "a.>.b", (), [], ["a", "b*"], "x" * 256])
def test_a_bad_filter_is_a_value_error_that_names_the_argument(filters):
    queue = make()
    with pytest.raises(ValueError, match="topics"):
        queue.add_consumer(topics=filters)
    with pytest.raises(ValueError, match="topics"):
        queue.add_group("g", topics=filters)
    assert queue.consumers == ()
    assert queue.get_group("g") is None


@pytest.mark.parametrize("topic", [1, b"a", ["a"], 1.5, object()])
def test_a_topic_that_is_not_a_str_is_a_type_error(topic):
    queue = make()
    with pytest.raises(TypeError, match="topic"):
        queue.enqueue(1, topic=topic)
    assert len(queue) == 0


@pytest.mark.parametrize("filters", [1, b"a", [1], ["a", None], object()])
def test_filters_that_are_not_str_are_a_type_error(filters):
    queue = make()
    with pytest.raises(TypeError, match="topics"):
        queue.add_consumer(topics=filters)
    assert queue.consumers == ()


def test_a_lone_surrogate_is_a_value_error():
    queue = make()
    with pytest.raises(ValueError, match="surrogate"):
        queue.enqueue(1, topic="a\ud800")


def test_the_longest_topic_fits():
    queue = make()
    topic = "\u00e4" * 127 + "b"
    queue.enqueue(1, topic=topic)
    assert queue.add_consumer(topics=topic).read().topic == topic


# --- figures -------------------------------------------------------------------------------------------------------------


def test_every_figure_counts_matching_messages():
    queue = make()
    reader = queue.add_consumer(topics="a")
    for number in range(10):
        queue.enqueue(number, topic="a" if number % 3 == 0 else "b")
    assert (reader.unread_count, reader.position, reader.has_more_data()) == (4, 0, True)
    assert reader.read().payload == 0
    assert (reader.unread_count, reader.position) == (3, 3)
    stats = reader.stats()
    assert (stats.unread_items, stats.unread_bytes, stats.filtered_items) == (3, 30, 0)
    assert contents(reader.read_batch(2)) == [3, 6]
    assert reader.stats().filtered_items == 4
    assert reader.peek().payload == 9
    assert contents(reader.read_batch(5)) == [9]
    assert (reader.read(), reader.position, reader.has_more_data()) == (None, 10, False)
    stats = reader.stats()
    assert (stats.total_items_read, stats.passed_items, stats.filtered_items, stats.missed_items) == (4, 0, 6, 0)


def test_the_position_skips_messages_that_do_not_match():
    queue = make()
    reader = queue.add_consumer(topics="a")
    assert reader.position == 0
    queue.enqueue_batch(range(5), topic="b")
    assert reader.position == 5
    queue.enqueue(5, topic="a")
    queue.enqueue(6, topic="b")
    assert reader.position == 5
    again = queue.add_consumer(start=reader.position, topics="a")
    assert again.read().payload == reader.read().payload == 5


def test_unread_messages_that_leave_are_missed_if_they_match():
    queue = Queue("q", ttl=None, max_items=4, overflow="drop_oldest")
    reader = queue.add_consumer(topics="a")
    for number in range(10):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    assert (reader.missed_count, reader.unread_count) == (3, 2)
    message = reader.read()
    assert (message.payload, message.missed) == (7, 3)
    assert (reader.take_missed(), reader.read().missed) == (3, 0)
    assert reader.stats().filtered_items == 2  # 6 and 8: the others had left before they were passed


def test_a_gap_is_reported_to_consumers_it_matches():
    queue = Queue("q", ttl=None, max_items=2, overflow="drop_oldest")
    told = []
    raising = queue.add_consumer(topics="a", on_missed="raise")
    calling = queue.add_consumer(topics="a", on_missed=told.append)
    other = queue.add_consumer(topics="b", on_missed="raise")
    for number in range(4):
        queue.enqueue(number, topic="a")
    with pytest.raises(MessagesMissedError) as caught:
        raising.read()
    assert caught.value.count == 2
    assert (raising.get(), calling.get(), told) == (2, 2, [2])
    assert other.read() is None
    assert other.missed_count == 0


def test_messages_that_expire_in_the_middle_are_missed_if_they_match():
    queue = Queue("q", ttl=None)
    reader, other = queue.add_consumer(topics="a"), queue.add_consumer(topics="b")
    for number in range(6):
        queue.enqueue(number, topic="a" if number % 2 else "b", ttl=0.01 if number in (2, 3) else None)
    assert reader.take_missed(timeout=5) == other.take_missed(timeout=5) == 1
    assert (reader.unread_count, other.unread_count) == (2, 2)
    assert [(message.payload, message.missed) for message in reader.read_batch(9)] == [(1, 0), (5, 1)]
    assert [(message.payload, message.missed) for message in other.read_batch(9)] == [(0, 0), (4, 1)]


def test_a_filter_added_later_covers_the_messages_held():
    queue = Queue("q", ttl=None, max_bytes=10**9)
    for number in range(20_000):
        queue.enqueue(number, topic=f"t.{number % 10}")
    reader = queue.add_consumer(topics=["t.3", "t.7"])
    assert reader.unread_count == 4_000
    assert reader.get_batch(4_001) == [number for number in range(20_000) if number % 10 in (3, 7)]
    latest = queue.add_consumer(topics="t.3", start="latest")
    assert (latest.unread_count, latest.position) == (0, 20_000)


def test_seek_counts_matching_messages():
    queue = make()
    reader = queue.add_consumer(topics="a")
    for number in range(10):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    reader.seek(6)
    stats = reader.stats()
    assert (stats.total_items_read, stats.passed_items, stats.filtered_items) == (3, 3, 3)
    assert reader.read().payload == 7
    reader.seek("earliest")
    assert (reader.unread_count, reader.position) == (5, 1)
    assert contents(reader.read_batch(9)) == [1, 3, 5, 7, 9]
    reader.seek(queue.add_consumer().peek().created)
    assert reader.position == 1


def test_the_predicate_of_read_where_gets_only_matches():
    queue = make()
    reader = queue.add_consumer(topics="a")
    for number in range(8):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    asked = []

    def is_five(message):
        asked.append(message.payload)
        return message.payload == 5

    assert reader.read_where(is_five).payload == 5
    assert asked == [1, 3, 5]
    assert reader.stats().passed_items == 2


def test_read_latest_is_the_newest_match():
    queue = make()
    reader = queue.add_consumer(topics="a")
    for number in range(8):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    assert reader.read_latest().payload == 7
    assert (reader.stats().passed_items, reader.stats().total_items_read) == (3, 4)
    assert reader.read_latest() is None


def test_filtered_out_messages_leave_no_read_record():
    queue = make()
    reader = queue.add_consumer(topics="a")
    for number in range(4):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    reader.read_batch(9)
    assert [seq for seq, _ in reader.history()] == [1, 3]
    events = [message.events for message in queue.add_consumer().read_batch(9)]
    assert [len(each) for each in events] == [2, 3, 2, 3]


# --- waiting ------------------------------------------------------------------------------------------------------------


def test_a_waiting_reader_wakes_for_a_match_only():
    queue = make()
    reader = queue.add_consumer(topics="a")
    got = []
    thread = threading.Thread(target=lambda: got.append(reader.read(timeout=None).payload))
    thread.start()
    for number in range(100):
        queue.enqueue(number, topic="b")
    queue.enqueue("it", topic="a")
    thread.join(10)
    assert got == ["it"]


def test_a_task_wakes_for_a_match():
    queue = make()

    async def main():
        reader = queue.add_consumer(topics="a.*")
        task = asyncio.create_task(reader.aread(timeout=10))
        await asyncio.sleep(0)
        await queue.aenqueue(1, topic="b")
        await queue.aenqueue(2)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        await queue.aenqueue_batch([3, 4], topic="a.x")
        return (await task).payload, [message.payload for message in await reader.aread_batch(9)]

    assert asyncio.run(main()) == (3, [4])


def test_a_message_that_matches_no_waiting_task_does_not_call_the_loop(run_thread):
    queue = make()
    loop = CountingLoop()

    async def main():
        task = asyncio.create_task(queue.add_consumer(topics="a.>").aget())
        await settled(task)
        before = loop.outside_calls
        run_thread(lambda: [queue.enqueue(number, topic="b") for number in range(50)]).result()
        assert loop.outside_calls == before
        run_thread(queue.enqueue, "it", topic="a.b").result()
        assert loop.outside_calls - before == 1
        assert await task == "it"

    run_in(loop, main())


def test_wait_any_waits_for_matches():
    queue = make()
    a, b = queue.add_consumer(topics="a"), queue.add_consumer(topics="b")
    assert wait_any([a, b], timeout=0) == []
    queue.enqueue(1, topic="c")
    assert wait_any([a, b], timeout=0) == []
    threading.Timer(0.05, queue.enqueue, (2,), {"topic": "b"}).start()
    assert wait_any([a, b], timeout=10) == [b]


def test_a_batch_that_lingers_fills_with_matches():
    queue = make()
    reader = queue.add_consumer(topics="a")
    queue.enqueue(0, topic="a")

    def produce():
        for number in range(1, 6):
            queue.enqueue(number, topic="b")
        queue.enqueue(6, topic="a")

    thread = threading.Thread(target=produce)
    thread.start()
    assert contents(reader.read_batch(2, timeout=10, linger=10)) == [0, 6]
    thread.join()


def test_a_closed_queue_is_drained_when_no_match_is_left():
    queue = make()
    reader = queue.add_consumer(topics="a")
    queue.enqueue(1, topic="a")
    queue.enqueue(2, topic="b")
    queue.close()
    assert contents(reader) == [1]
    with pytest.raises(QueueClosedError):
        reader.read()


def test_join_waits_for_the_matches_of_each_consumer():
    queue = make()
    reader = queue.add_consumer(topics="a")
    queue.enqueue(1, topic="a")
    queue.enqueue(2, topic="b")
    assert not queue.join(timeout=0)
    reader.read()
    assert queue.join(timeout=0)


def test_a_removed_consumer_with_a_filter_ends_its_waits():
    queue = make()
    reader = queue.add_consumer(topics="a")
    errors = []

    def read():
        try:
            reader.read(timeout=None)
        except ConsumerClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    reader.close()
    thread.join(10)
    assert len(errors) == 1


# --- interest, groups, order -----------------------------------------------------------------------------------------------


def test_interest_keeps_what_any_consumer_wants():
    queue = Queue("q", ttl=None, retention="interest", sizer=lambda payload: 10)
    empty = queue.memory_usage
    a, b = queue.add_consumer(topics="a"), queue.add_consumer(topics=["b", "ab"])
    assert queue.enqueue(0, topic="c") == 0
    assert queue.enqueue(1) == 1
    assert len(queue) == 0
    assert queue.memory_usage == empty
    queue.enqueue(2, topic="a")
    queue.enqueue(3, topic="b")
    queue.enqueue(4, topic="a")
    assert b.read().payload == 3
    assert len(queue) == 2  # a message left from the middle
    assert contents(a.read_batch(9)) == [2, 4]
    assert len(queue) == 0
    assert queue.memory_usage == empty
    stats = queue.stats()
    assert (stats.enqueued, stats.expired, stats.dropped, stats.rejected) == (5, 0, 0, 0)
    assert a.missed_count == b.missed_count == 0
    assert a.stats().filtered_items == 0


def test_with_interest_a_message_without_a_match_needs_no_space():
    queue = Queue("q", ttl=None, retention="interest", max_items=2)
    reader = queue.add_consumer(topics="a")
    queue.enqueue_batch([1, 2], topic="a")
    assert queue.enqueue(3, topic="b") == 2
    assert queue.enqueue_batch([4, 5], topic="b") == range(3, 5)
    with pytest.raises(ItemLimitError):
        queue.enqueue_batch(range(3), topic="b")  # it can never fit
    assert contents(reader.read_batch(9)) == [1, 2]
    dropping = Queue("d", ttl=None, retention="interest", max_items=2, overflow="drop_oldest")
    dropping.add_consumer(topics="a")
    dropping.enqueue_batch([1, 2], topic="a")
    dropping.enqueue(3, topic="b")
    assert (len(dropping), dropping.stats().dropped) == (2, 0)


def test_interest_is_updated_when_consumers_are_added_and_removed():
    queue = Queue("q", ttl=None, retention="interest")
    for number in range(3_000):
        queue.enqueue(number, topic=f"t{number % 3}")
    assert len(queue) == 3_000
    first = queue.add_consumer(topics="t0")
    assert len(queue) == 1_000
    second = queue.add_consumer()
    queue.enqueue("x", topic="t1")
    assert len(queue) == 1_001
    second.close()
    assert len(queue) == 1_000
    assert len(first.get_batch(5_000)) == 1_000
    assert len(queue) == 0


def test_with_interest_payloads_without_a_match_are_freed_at_once():
    class Payload:
        pass

    queue = Queue("q", retention="interest")
    queue.add_consumer(topics="a")
    payload = Payload()
    gone = weakref.ref(payload)
    queue.enqueue(payload, topic="b")
    del payload
    gc.collect()
    assert gone() is None


def test_a_group_reads_matches_and_its_books_balance():
    dead = Queue("dead", ttl=None)
    queue = Queue("q", ttl=None)
    group = queue.add_group("g", topics="jobs.*", ack_wait=30, max_deliver=1, dead_letter=dead)
    one, two = group.add_consumer(), group.add_consumer()
    for number in range(6):
        queue.enqueue(number, topic="jobs.x" if number % 2 else "news")
    assert group.unread_count == 3
    first, second = one.read(), two.read()
    assert (first.payload, second.payload) == (1, 3)
    assert first.ack()
    assert second.term()
    letter = dead.add_consumer().read()
    assert (letter.payload, letter.topic) == (3, "jobs.x")
    stats = group.stats()
    assert (stats.total_items_read, stats.dead_lettered_items, stats.unread_items) == (1, 1, 1)
    assert stats.filtered_items == 2
    assert queue.add_consumer(topics="news").unread_count == 3


def test_a_dead_letter_queue_gets_the_matches_a_filtered_group_would_miss():
    dead = Queue("dead", ttl=None)
    queue = Queue("q", ttl=None, max_items=2, overflow="drop_oldest")
    group = queue.add_group("g", topics="a", dead_letter=dead, dead_letter_missed=True)
    group.add_consumer()
    for number in range(6):
        queue.enqueue(number, topic="a" if number % 2 else "b")
    assert [(letter.payload, letter.topic) for letter in dead.add_consumer().read_batch(9)] == [(1, "a"), (3, "a")]
    stats = group.stats()
    assert (stats.missed_items, stats.dead_lettered_items, stats.unread_items) == (0, 2, 1)


def test_after_does_not_wait_for_messages_the_predecessor_filters_out():
    queue = make()
    journal = queue.add_consumer(topics="a")
    actor = queue.add_consumer(after=[journal])
    queue.enqueue(0, topic="b")
    queue.enqueue(1, topic="a")
    queue.enqueue(2, topic="b")
    assert contents(actor.read_batch(9)) == [0]
    assert journal.read().payload == 1
    assert contents(actor.read_batch(9)) == [1, 2]


def test_a_follower_wakes_when_the_message_that_held_it_up_expires():
    queue = Queue("q", ttl=None)
    journal = queue.add_consumer(topics="a")
    actor = queue.add_consumer(topics="b", after=[journal])
    queue.enqueue(0, topic="a", ttl=0.05)
    queue.enqueue(1, topic="b")
    assert actor.read(timeout=10).payload == 1
    assert journal.missed_count == 1


# --- memory ---------------------------------------------------------------------------------------------------------------


def test_a_topic_is_charged_once_and_freed_with_its_last_message():
    queue = make()
    empty = queue.memory_usage
    reader = queue.add_consumer()
    queue.enqueue(1, topic="abc")
    assert queue.memory_usage - empty == 10 + OVERHEAD + OF_TOPIC + ONCE + 3
    queue.enqueue(2, topic="abc")
    assert queue.memory_usage - empty == 2 * (10 + OVERHEAD + OF_TOPIC) + ONCE + 3
    assert reader.read().size == 10
    queue.ttl = 1e-9
    queue.force_expiration()
    assert queue.memory_usage == empty


def test_a_refusal_counts_the_topic_and_leaves_nothing():
    queue = make()
    queue.max_bytes = 10 + OVERHEAD + OF_TOPIC + ONCE + 3 + 10 + OVERHEAD + OF_TOPIC
    queue.enqueue(1, topic="abc")
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue(2, topic="xyz")
    assert caught.value.current + caught.value.needed > caught.value.max
    queue.enqueue(3, topic="abc")
    assert queue.stats().rejected == 1


def test_drop_oldest_drops_no_more_than_the_topic_needs():
    one = 10 + OVERHEAD + OF_TOPIC
    queue = Queue("q", ttl=None, max_bytes=3 * (one + ONCE + 1), overflow="drop_oldest", sizer=lambda payload: 10)
    for number, topic in enumerate("abc"):
        queue.enqueue(number, topic=topic)
    assert queue.stats().dropped == 0
    queue.enqueue(3, topic="d")
    assert queue.stats().dropped == 1
    queue.enqueue(4, topic="d")
    assert queue.stats().dropped == 2
    queue.enqueue(5, topic="d")  # the space of "b" and its topic was enough for two
    assert queue.stats().dropped == 2


@pytest.mark.thread_unsafe
def test_unique_topics_leak_nothing():
    queue = Queue("q", ttl=None, max_items=1_000, max_bytes=10**9, overflow="drop_oldest")
    queue.add_consumer(topics="requests.*.done")
    empty = Queue("e").memory_usage

    def enqueue(numbers):
        for number in numbers:
            queue.enqueue(None, topic=f"requests.{number}.done")

    enqueue(range(5_000))
    usage = queue.memory_usage
    tracemalloc.start()
    enqueue(range(10_000, 60_000))
    assert tracemalloc.get_traced_memory()[0] < 100_000
    tracemalloc.stop()
    assert queue.memory_usage < usage * 1.1
    queue.ttl = 1e-9
    queue.force_expiration()
    assert queue.memory_usage == empty


def test_filters_of_removed_consumers_leave_nothing():
    queue = Queue("q", ttl=None, max_bytes=10**8)
    for number in range(500):
        reader = queue.add_consumer(topics=[f"user.{number}", "all"], ephemeral=True)
        queue.enqueue(number, topic=f"user.{number}")
        assert reader.get() == number
        del reader
    gc.collect()
    assert queue.consumers == ()
    late = queue.add_consumer(topics="user.>")
    assert late.unread_count == 500


@pytest.mark.thread_unsafe
def test_threads_with_filters_see_each_match_once():
    queue = Queue("q", ttl=None, max_items=500, max_bytes=10**8, retention="interest")
    topics = [f"t.{number}" for number in range(4)]
    readers = [queue.add_consumer(topics=topic) for topic in [*topics, "t.>"]]
    seen = [[] for _ in readers]

    def read(reader, into):
        into.extend(message.payload for message in reader)

    def produce(which):
        for number in range(2_000):
            queue.enqueue((which, number), topic=topics[(which + number) % 4], timeout=None)

    reading = [threading.Thread(target=read, args=pair) for pair in zip(readers, seen, strict=True)]
    producing = [threading.Thread(target=produce, args=(which,)) for which in range(2)]
    for thread in [*reading, *producing]:
        thread.start()
    for thread in producing:
        thread.join()
    queue.close()
    for thread in reading:
        thread.join()
    everything = [(which, number) for which in range(2) for number in range(2_000)]
    assert sorted(seen[-1]) == everything
    for topic, payloads in enumerate(seen[:-1]):
        assert sorted(payloads) == [pair for pair in everything if sum(pair) % 4 == topic]
        for which in range(2):
            mine = [number for producer, number in payloads if producer == which]
            assert mine == sorted(mine)
    assert len(queue) == 0
