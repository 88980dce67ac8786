"""Consumers read without the queue's lock, with no visible difference: counts are exact, changes apply at once."""

import gc
import queue as stdlib_queue
import weakref

import pytest

from mpmc_queue import Queue, QueueClosedError

COUNT = 20_000
READS = {
    "get_nowait": lambda consumer: [consumer.get_nowait()],
    "read": lambda consumer: [consumer.read().payload],
    "get_batch": lambda consumer: consumer.get_batch(100),
    "read_batch": lambda consumer: [message.payload for message in consumer.read_batch(70)],
    "read_where": lambda consumer: [consumer.read_where(lambda message: True).payload],
}


def read_all(consumer, how, count=COUNT):
    payloads = []
    while len(payloads) < count:
        payloads += READS[how](consumer)
    return payloads


@pytest.mark.parametrize("how", READS)
def test_counts_are_exact_while_consumers_read(make_queue, run_thread, how):
    queue = make_queue(max_bytes=1 << 30)
    consumers = [queue.add_consumer() for _ in range(2)]
    queue.enqueue_batch(range(COUNT))
    readers = [run_thread(read_all, consumer, how) for consumer in consumers]
    is_over = False
    while not is_over:
        is_over = all(reader.done for reader in readers)
        for consumer, stats in zip(consumers, queue.consumer_stats(), strict=True):
            assert stats.total_items_read + stats.unread_items == COUNT
            assert stats.missed_items == 0
            assert consumer.position >= stats.total_items_read
    assert [reader.result() for reader in readers] == [list(range(COUNT))] * 2
    assert [stats.total_items_read for stats in queue.consumer_stats()] == [COUNT] * 2


def test_messages_enqueued_meanwhile_are_read_in_order(make_queue, run_thread):
    queue = make_queue(max_bytes=1 << 30)
    consumers = [queue.add_consumer() for _ in range(3)]

    def take(consumer):
        return [consumer.get(timeout=60) for _ in range(COUNT)]

    readers = [run_thread(take, consumer) for consumer in consumers]
    for number in range(COUNT):
        queue.put(number)
    assert [reader.result() for reader in readers] == [list(range(COUNT))] * 3


@pytest.mark.parametrize("how", READS)
def test_a_reader_that_falls_behind_drop_oldest_gets_every_gap(make_queue, run_thread, how):
    queue = make_queue(max_items=500, overflow="drop_oldest")
    consumer = queue.add_consumer()

    def produce():
        for number in range(COUNT):
            queue.enqueue(number)
        queue.close()

    producer = run_thread(produce)
    payloads = []
    while True:
        try:
            payloads += READS[how](consumer)
        except QueueClosedError:
            break
        except (stdlib_queue.Empty, AttributeError):
            pass  # no message now; a read that finds none returns None
    producer.result()
    assert payloads == sorted(set(payloads))
    stats = consumer.stats()
    assert stats.total_items_read == len(payloads)
    assert stats.total_items_read + stats.missed_items == COUNT


def test_a_payload_is_freed_when_its_message_leaves_during_a_read(make_queue):
    class Payload:
        pass

    queue = make_queue(max_items=10, overflow="drop_oldest")
    consumer = queue.add_consumer()
    refs = []
    for _ in range(10):
        payload = Payload()
        refs.append(weakref.ref(payload))
        queue.enqueue(payload)
    del payload
    consumer.get_nowait()
    consumer.get_nowait()
    queue.enqueue_batch([1] * 7)
    gc.collect()
    assert [ref() is not None for ref in refs] == [False] * 7 + [True] * 3
    assert consumer.read().missed == 5


def test_a_shorter_ttl_applies_to_a_reader_that_is_reading(make_queue):
    queue = make_queue(ttl=600)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert [consumer.get_nowait() for _ in range(3)] == [0, 1, 2]
    queue.ttl = 1e-9
    with pytest.raises(stdlib_queue.Empty):
        consumer.get_nowait()
    assert consumer.missed_count == 7


def test_two_threads_that_share_a_consumer_get_each_message_once(make_queue, run_thread):
    queue = make_queue(max_bytes=1 << 30)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(COUNT))
    queue.close()

    def drain():
        return [message.payload for message in consumer]

    parts = [run_thread(drain) for _ in range(3)]
    payloads = [payload for part in parts for payload in part.result()]
    assert sorted(payloads) == list(range(COUNT))
    assert consumer.stats().total_items_read == COUNT


def test_the_audit_trail_has_every_read(make_queue):
    queue = make_queue()
    consumers = [queue.add_consumer(f"consumer {number}") for number in range(3)]
    queue.enqueue_batch(range(1500))
    for consumer in consumers:
        for how in READS:
            read_all(consumer, how, count=200)
    message = queue.peek(1)[0] if hasattr(queue, "peek") else None
    for consumer in consumers:
        history = consumer.history(2000)
        assert len(history) == consumer.stats().total_items_read
    assert message is None or len(message.events) == 4
    assert queue.stats().audit_complete


def test_more_consumers_than_there_are_leases_read_everything():
    queue = Queue("many")
    consumers = [queue.add_consumer() for _ in range(300)]
    for start in range(0, 60, 20):
        queue.enqueue_batch(range(start, start + 20))
        for number in range(start, start + 20):
            assert {consumer.get_nowait() for consumer in consumers} == {number}
    assert all(stats.total_items_read == 60 and stats.unread_items == 0 for stats in queue.consumer_stats())
