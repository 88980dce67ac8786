"""Consumers with filters, and readers of messages with topics, read without the queue's lock, with no visible difference."""

import queue as stdlib_queue

import pytest

from mpmc_queue import QueueClosedError

COUNT = 6_000
TOPICS = ["eu.new", "us.new", None, "eu.old"]
FILTERS = {"everything": None, "half": "eu.>", "a quarter": "us.*", "two": ["eu.new", "us.new"]}
READS = {
    "get_nowait": lambda consumer: [(consumer.get_nowait(), None)],
    "read": lambda consumer: [(message.payload, message) for message in [consumer.read()]],
    "get_batch": lambda consumer: [(payload, None) for payload in consumer.get_batch(100)],
    "read_batch": lambda consumer: [(message.payload, message) for message in consumer.read_batch(70)],
}


def wanted(filters, number):
    """Whether a consumer with these filters gets the message with a number."""
    topic = TOPICS[number % len(TOPICS)]
    match filters:
        case None:
            return True
        case "eu.>":
            return topic in ("eu.new", "eu.old")
        case "us.*":
            return topic == "us.new"
        case _:
            return topic in filters


def produce(queue):
    for number in range(COUNT):
        queue.enqueue(number, topic=TOPICS[number % len(TOPICS)])
    queue.close()


def drain(consumer, how):
    """All payloads that a consumer gets until its queue is closed; each message is compared with what was enqueued."""
    payloads = []
    while True:
        try:
            for payload, message in READS[how](consumer):
                payloads.append(payload)
                if message is not None:
                    assert (message.seq, message.topic) == (payload, TOPICS[payload % len(TOPICS)])
        except QueueClosedError:
            return payloads
        except (stdlib_queue.Empty, AttributeError):
            pass  # no message now; a read that finds none returns None


@pytest.mark.parametrize("how", READS)
def test_figures_are_exact_while_consumers_with_filters_read(make_queue, run_thread, how):
    queue = make_queue(max_bytes=1 << 30)
    consumers = {name: queue.add_consumer(name, topics=filters) for name, filters in FILTERS.items()}
    matches = {name: sum(wanted(filters, number) for number in range(COUNT)) for name, filters in FILTERS.items()}
    for number in range(COUNT // 2):
        queue.enqueue(number, topic=TOPICS[number % len(TOPICS)])
    readers = [run_thread(drain, consumer, how) for consumer in consumers.values()]

    def add_the_others():
        for number in range(COUNT // 2, COUNT):
            queue.enqueue(number, topic=TOPICS[number % len(TOPICS)])

    producer = run_thread(add_the_others)
    while not producer.done:
        for stats in queue.consumer_stats():
            assert matches[stats.name] // 2 <= stats.total_items_read + stats.unread_items <= matches[stats.name]
            assert stats.filtered_items <= COUNT - matches[stats.name]
    queue.close()
    expected = [[n for n in range(COUNT) if wanted(filters, n)] for filters in FILTERS.values()]
    assert [reader.result() for reader in readers] == expected
    for stats in queue.consumer_stats():
        assert (stats.total_items_read, stats.missed_items) == (matches[stats.name], 0)
        assert stats.filtered_items == COUNT - matches[stats.name]


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("how", READS)
def test_a_reader_with_a_filter_that_falls_behind_drop_oldest_gets_every_gap(make_queue, run_thread, how, filters):
    queue = make_queue(max_items=300, overflow="drop_oldest")
    consumer = queue.add_consumer(topics=filters)
    producer = run_thread(produce, queue)
    payloads = drain(consumer, how)
    producer.result()
    matches = [number for number in range(COUNT) if wanted(filters, number)]
    read = set(payloads)
    assert payloads == [number for number in matches if number in read]
    stats = consumer.stats()
    assert stats.total_items_read == len(payloads)
    assert stats.total_items_read + stats.missed_items == len(matches)
    assert stats.filtered_items <= COUNT - len(matches)


def test_threads_that_share_a_consumer_with_a_filter_get_each_match_once(make_queue, run_thread):
    queue = make_queue(max_bytes=1 << 30)
    consumer = queue.add_consumer(topics="eu.>")
    produce(queue)
    parts = [run_thread(drain, consumer, "read") for _ in range(3)]
    payloads = [payload for part in parts for payload in part.result()]
    assert sorted(payloads) == [number for number in range(COUNT) if wanted("eu.>", number)]
    assert consumer.stats().filtered_items == COUNT // 2


def test_the_audit_trail_has_every_read_of_a_consumer_with_a_filter(make_queue):
    queue = make_queue(max_bytes=1 << 30)
    consumers = {name: queue.add_consumer(name, topics=filters) for name, filters in FILTERS.items()}
    produce(queue)
    for consumer, how in zip(consumers.values(), READS, strict=True):
        drain(consumer, how)
    for consumer, filters in zip(consumers.values(), FILTERS.values(), strict=True):
        assert [seq for seq, _ in consumer.history(COUNT)] == [n for n in range(COUNT) if wanted(filters, n)]
    assert queue.stats().audit_complete
