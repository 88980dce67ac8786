"""Messages that expired unread are counted: exactly, for each consumer, never twice."""

import threading

import pytest

from helpers import PATIENCE, READS, assert_books_balance, expire_all, payloads
from mpmc_queue import CHUNK_SIZE, MessagesMissedError

MANY = 2 * CHUNK_SIZE + 3


def test_a_new_consumer_has_missed_nothing(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch("abc")
    expire_all(queue)
    consumer = queue.add_consumer()
    assert consumer.missed_count == 0
    assert consumer.take_missed() == 0
    assert consumer.stats().missed_items == 0


@pytest.mark.parametrize("read", [0, 1, CHUNK_SIZE, MANY - 1, MANY])
def test_exactly_the_unread_messages_are_missed(make_queue, read):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(MANY))
    if read:
        consumer.read_batch(read)
    expire_all(queue)
    assert consumer.missed_count == MANY - read
    assert consumer.stats().missed_items == MANY - read
    assert_books_balance(consumer, MANY)
    assert consumer.take_missed() == MANY - read


def test_each_consumer_has_its_own_missed_count(make_queue):
    queue = make_queue(ttl=None)
    consumers = [queue.add_consumer(start=0) for _ in range(5)]
    queue.enqueue_batch(range(10))
    for count, consumer in enumerate(consumers):
        for _ in range(count):
            consumer.read()
    expire_all(queue)
    assert [consumer.missed_count for consumer in consumers] == [10, 9, 8, 7, 6]
    assert [consumer.take_missed() for consumer in consumers] == [10, 9, 8, 7, 6]


def test_missed_count_adds_up_over_gaps(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    for gap in (3, 4, 5):
        queue.enqueue_batch(range(gap))
        expire_all(queue)
        queue.enqueue("read")
        assert consumer.get() == "read"
    assert consumer.missed_count == 12
    assert_books_balance(consumer, 15)


def test_take_missed_returns_each_loss_once(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    assert consumer.take_missed() == 3
    assert consumer.take_missed() == 0
    queue.enqueue("d")
    expire_all(queue)
    queue.enqueue("e")
    expire_all(queue)
    assert consumer.take_missed() == 2
    assert consumer.missed_count == 5


def test_reading_does_not_reset_take_missed(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    consumer.read()
    assert consumer.take_missed() == 3


@pytest.mark.parametrize("how", ["read", "read_batch", "read_where", "next"])
def test_message_missed_counts_losses_just_before_it(make_queue, how):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()

    def read():
        match how:
            case "read":
                return consumer.read()
            case "read_batch":
                return consumer.read_batch(1)[0]
            case "read_where":
                return consumer.read_where(lambda m: True)
            case _:
                return next(consumer)

    queue.enqueue("a")
    assert read().missed == 0
    queue.enqueue_batch("bcd")
    expire_all(queue)
    queue.enqueue_batch("ef")
    assert read().missed == 3
    assert read().missed == 0


def test_in_a_batch_only_the_first_message_reports_the_gap(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("def")
    assert [m.missed for m in consumer.read_batch(3)] == [3, 0, 0]


def test_message_missed_is_independent_of_take_missed(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    assert consumer.take_missed() == 3
    queue.enqueue("d")
    assert consumer.read().missed == 3


def test_losses_before_a_seek_are_reported_by_the_next_delivery(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("def")
    consumer.seek(5)
    message = consumer.read()
    assert (message.payload, message.missed) == ("f", 3)


def test_losses_before_skipped_messages_are_reported_by_the_next_delivery(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("xxz")
    message = consumer.read_where(lambda m: m.payload == "z")
    assert (message.payload, message.missed) == ("z", 3)
    assert consumer.missed_count == 3


def test_peek_does_not_clear_the_missed_count(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    consumer.peek()
    assert consumer.missed_count == 3
    assert consumer.read().missed == 3


def test_removing_a_consumer_does_not_change_what_others_missed(make_queue):
    queue = make_queue(ttl=None)
    first, second = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    first.close()
    assert second.take_missed() == 3


@pytest.mark.parametrize("how", READS)
def test_raise_reports_each_gap_once_and_then_continues(make_queue, how):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    for count, payload in ((3, "a"), (1, "b")):
        queue.enqueue_batch(range(count))
        expire_all(queue)
        queue.enqueue(payload)
        with pytest.raises(MessagesMissedError) as caught:
            READS[how](consumer, 0.0)
        assert caught.value.count == count
        assert str(count) in caught.value.message
        assert READS[how](consumer, 0.0) == payload
    assert consumer.missed_count == 4
    assert_books_balance(consumer, 6)


@pytest.mark.parametrize("expired", [1, CHUNK_SIZE + 3])
def test_the_message_after_a_raised_gap_reports_it_too(make_queue, expired):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch(range(expired))
    expire_all(queue)
    queue.enqueue_batch(["next", "last"])
    with pytest.raises(MessagesMissedError):
        consumer.read()
    messages = [consumer.read(), consumer.read()]
    assert [(message.payload, message.missed) for message in messages] == [("next", expired), ("last", 0)]


def test_raise_consumes_no_message(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue_batch("cd")
    with pytest.raises(MessagesMissedError):
        consumer.read_batch(10)
    assert consumer.unread_count == 2
    assert consumer.stats().total_items_read == 0
    assert payloads(consumer) == ["c", "d"]


def test_raise_reports_a_gap_also_when_there_is_no_message(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("ab")
    expire_all(queue)
    with pytest.raises(MessagesMissedError) as caught:
        consumer.read(timeout=None)
    assert caught.value.count == 2
    assert consumer.read() is None


def test_raise_reports_a_gap_before_the_end_of_a_closed_queue(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue("c")
    queue.close()
    with pytest.raises(MessagesMissedError):
        next(consumer)
    assert [m.payload for m in consumer] == ["c"]


def test_peek_does_not_raise_for_missed_messages(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue("c")
    assert consumer.peek().payload == "c"
    with pytest.raises(MessagesMissedError):
        consumer.read()


@pytest.mark.parametrize("how", READS)
def test_a_callback_gets_the_count_before_the_next_message_in_the_reading_thread(make_queue, how):
    queue = make_queue(ttl=None)
    calls = []
    consumer = queue.add_consumer(on_missed=lambda n: calls.append((n, consumer.position, threading.get_ident())))
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("de")
    assert calls == []
    assert READS[how](consumer, 0.0) == "d"
    assert READS[how](consumer, 0.0) == "e"
    assert calls == [(3, 3, threading.get_ident())]


def test_a_callback_leaves_message_missed_and_the_counts_as_they_are(make_queue):
    queue = make_queue(ttl=None)
    calls = []
    consumer = queue.add_consumer(on_missed=calls.append)
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    assert consumer.read().missed == 3
    assert consumer.missed_count == 3
    assert calls == [3]


def test_an_error_of_the_callback_propagates_and_consumes_nothing(make_queue):
    queue = make_queue(ttl=None)
    error = LookupError("the very one")
    calls = []

    def callback(count):
        calls.append(count)
        raise error

    consumer = queue.add_consumer(on_missed=callback)
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    with pytest.raises(LookupError) as caught:
        consumer.read()
    assert caught.value is error
    assert consumer.unread_count == 1
    assert consumer.read().payload == "d"
    assert calls == [3]
    assert consumer.missed_count == 3


def test_skip_continues_silently(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="skip")
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    assert consumer.get_nowait() == "d"


def test_losses_are_exact_while_threads_enqueue_and_messages_expire(make_queue, run_thread):
    queue = make_queue(ttl=0.005, max_bytes=50_000_000)
    consumers = [queue.add_consumer() for _ in range(3)]
    slow = queue.add_consumer()

    def produce():
        for i in range(1000):
            queue.enqueue(i)

    def consume(consumer):
        told = sum(m.missed for m in consumer)
        return told, consumer.stats()

    readers = [run_thread(consume, consumer) for consumer in consumers]
    for producer in [run_thread(produce) for _ in range(2)]:
        producer.result()
    taken = 0
    while taken < 2000:
        step = slow.take_missed(timeout=PATIENCE)
        assert step > 0
        taken += step
    queue.close()
    assert taken == slow.missed_count == 2000
    for consumer, reader in zip(consumers, readers, strict=True):
        told, stats = reader.result()
        assert told <= stats.missed_items
        assert stats.total_items_read + stats.missed_items == 2000
        assert consumer.take_missed() == stats.missed_items
