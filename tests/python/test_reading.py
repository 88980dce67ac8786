"""The ways to read: one message, a batch, by predicate, peek, bare payloads, iteration."""

import queue as stdlib_queue

import pytest

from helpers import CLOCK_SLACK, READS, assert_books_balance, payloads, stopwatch
from mpmc_queue import CHUNK_SIZE, Message

TIMED = [how for how in READS if how != "next"]


@pytest.mark.parametrize("how", READS)
def test_each_way_reads_the_next_message(make_queue, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(["a", "b"])
    assert READS[how](consumer, 0.0) == "a"
    assert consumer.position == 1
    assert READS[how](consumer, None) == "b"
    assert consumer.position == 2
    assert consumer.stats().total_items_read == 2


def nothing(how, consumer, timeout):
    """Reads from an empty queue. get raises an error; the others return nothing."""
    if how == "get":
        with pytest.raises(stdlib_queue.Empty):
            consumer.get(timeout=timeout)
    else:
        assert READS[how](consumer, timeout) is None


@pytest.mark.parametrize("how", TIMED)
def test_an_empty_queue_returns_at_once_with_timeout_zero(make_queue, how):
    consumer = make_queue().add_consumer()
    nothing(how, consumer, 0)
    assert consumer.position == 0


@pytest.mark.parametrize("how", TIMED)
def test_an_empty_queue_returns_after_the_timeout(make_queue, how):
    consumer = make_queue().add_consumer()
    with stopwatch() as took:
        nothing(how, consumer, 0.1)
    assert 0.1 - CLOCK_SLACK <= took.seconds < 10


def test_an_empty_queue_returns_none_or_an_empty_list_or_raises_empty(make_queue):
    consumer = make_queue().add_consumer()
    assert consumer.read() is None
    assert consumer.read_batch(10) == []
    assert consumer.read_where(lambda m: True) is None
    assert consumer.peek() is None
    assert consumer.get_batch(10) == []
    with pytest.raises(stdlib_queue.Empty):
        consumer.get_nowait()
    with pytest.raises(stdlib_queue.Empty):
        consumer.get(block=False)
    with pytest.raises(stdlib_queue.Empty):
        consumer.get(False)
    with pytest.raises(stdlib_queue.Empty):
        consumer.get(True, 0)


def test_payloads_that_are_none_or_falsy_are_messages_too(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch([None, 0, None])
    assert consumer.read().payload is None
    assert consumer.get() == 0
    assert consumer.get_nowait() is None


@pytest.mark.parametrize("limit", [1, 3, CHUNK_SIZE, CHUNK_SIZE + 1, 2500])
@pytest.mark.parametrize("method", ["read_batch", "get_batch"])
def test_batches_take_up_to_limit_in_order(make_queue, method, limit):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(2500))
    got = []
    while batch := getattr(consumer, method)(limit):
        assert len(batch) == min(limit, 2500 - len(got))
        got += batch if method == "get_batch" else [m.payload for m in batch]
    assert got == list(range(2500))


@pytest.mark.parametrize("method", ["read_batch", "get_batch"])
def test_a_huge_limit_takes_the_available_messages(make_queue, method):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert len(getattr(consumer, method)(2**63 - 1)) == 3


@pytest.mark.parametrize("method", ["read_batch", "get_batch"])
def test_a_batch_does_not_wait_to_be_full(make_queue, method):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    assert len(getattr(consumer, method)(100, timeout=None)) == 1


def test_read_batch_is_a_list_of_messages_and_get_batch_of_payloads(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abcd")
    first, second = consumer.read_batch(2), consumer.get_batch(2)
    assert type(first) is list
    assert [type(m) for m in first] == [Message, Message]
    assert [(m.seq, m.payload) for m in first] == [(0, "a"), (1, "b")]
    assert second == ["c", "d"]


def test_read_where_returns_the_first_match_and_skips_the_others_permanently(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert consumer.read_where(lambda m: m.payload == 4).seq == 4
    assert consumer.position == 5
    assert payloads(consumer) == [5, 6, 7, 8, 9]


def test_messages_that_read_where_skips_count_as_read(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert consumer.read_where(lambda m: m.payload == 20) is None
    assert consumer.stats().total_items_read == 10
    assert consumer.missed_count == 0
    assert consumer.unread_count == 0
    assert_books_balance(consumer, 10)


def test_the_predicate_sees_each_message_once_and_in_order(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    seen = []
    consumer.read_where(lambda m: seen.append((m.seq, m.payload)))
    assert seen == [(0, "a"), (1, "b"), (2, "c")]


@pytest.mark.parametrize("answer", [1, "yes", [0], object()], ids=repr)
def test_any_truthy_result_of_a_predicate_is_a_match(make_queue, answer):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("ab")
    assert consumer.read_where(lambda m: answer).payload == "a"


@pytest.mark.parametrize("answer", [0, "", None, []], ids=repr)
def test_any_falsy_result_of_a_predicate_is_not_a_match(make_queue, answer):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    assert consumer.read_where(lambda m: answer) is None


def test_a_message_whose_predicate_raised_counts_as_read(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    error = ArithmeticError("the very one")

    def predicate(message):
        if message.payload == "b":
            raise error

    with pytest.raises(ArithmeticError) as caught:
        consumer.read_where(predicate)
    assert caught.value is error
    assert consumer.position == 2
    assert consumer.stats().total_items_read == 2
    assert [seq for seq, _ in consumer.history()] == [0, 1]
    assert payloads(consumer) == ["c"]


@pytest.mark.parametrize("predicate", [None, 1, "x"], ids=repr)
def test_a_predicate_that_is_not_callable_reads_nothing(make_queue, predicate):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    with pytest.raises(TypeError, match="predicate"):
        consumer.read_where(predicate)
    assert consumer.position == 0
    assert consumer.stats().total_items_read == 0


def test_read_where_waits_for_a_match_until_the_timeout(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    with stopwatch() as took:
        assert consumer.read_where(lambda m: False, timeout=0.1) is None
    assert took.seconds >= 0.1 - CLOCK_SLACK
    assert consumer.position == 3


def test_read_where_finds_a_match_that_comes_later(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("no")
    worker = run_thread(consumer.read_where, lambda m: m.payload == "yes", timeout=None)
    worker.assert_waiting()
    queue.enqueue("no")
    worker.assert_waiting()
    queue.enqueue_batch(["no", "yes", "rest"])
    assert worker.result().seq == 3
    assert payloads(consumer) == ["rest"]


def test_peek_shows_the_next_message_and_changes_nothing(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("ab")
    for _ in range(3):
        message = consumer.peek()
        assert (message.seq, message.payload) == (0, "a")
    stats = consumer.stats()
    assert consumer.position == 0
    assert (stats.total_items_read, stats.unread_items, stats.last_read_time) == (0, 2, None)
    assert consumer.history() == []
    assert [event.kind for event in message.events] == ["enqueue"]
    assert consumer.read().id == message.id
    assert consumer.peek().payload == "b"


def test_peek_after_the_last_message_is_none(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    consumer.read()
    assert consumer.peek() is None


def test_unread_count_and_has_more_data_follow_the_position(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert (consumer.unread_count, consumer.has_more_data()) == (0, False)
    queue.enqueue_batch("abc")
    assert (consumer.unread_count, consumer.has_more_data()) == (3, True)
    consumer.read_batch(2)
    assert (consumer.unread_count, consumer.has_more_data()) == (1, True)
    consumer.read()
    assert (consumer.unread_count, consumer.has_more_data()) == (0, False)


def test_consumers_are_independent(make_queue):
    queue = make_queue()
    fast, slow = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch(range(10))
    assert fast.get_batch(7) == list(range(7))
    assert slow.get_batch(2) == [0, 1]
    assert (fast.position, slow.position) == (7, 2)
    assert (fast.unread_count, slow.unread_count) == (3, 8)


def test_iterating_reads_available_messages_and_ends_with_the_queue(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.close()
    assert [(m.seq, m.payload) for m in consumer] == [(0, "a"), (1, "b"), (2, "c")]
    assert list(consumer) == []


def test_iterating_waits_for_the_next_message(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    worker = run_thread(lambda: [m.payload for m in consumer])
    worker.assert_waiting()
    queue.enqueue("a")
    worker.assert_waiting()
    queue.enqueue("b")
    queue.close()
    assert worker.result() == ["a", "b"]


def test_iteration_can_be_left_and_continued(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abcd")
    for message in consumer:
        if message.payload == "b":
            break
    assert next(consumer).payload == "c"
    assert next(iter(consumer)).payload == "d"
