"""How a queue ends: close, shutdown, `with`, join; and how a consumer leaves."""

import pytest

from helpers import CLOCK_SLACK, READS, WRITES, expire_all, payloads, stopwatch
from mpmc_queue import ConsumerClosedError, QueueClosedError


def test_close_is_idempotent_and_returns_none(make_queue):
    queue = make_queue()
    assert queue.closed is False
    for _ in range(3):
        assert queue.close() is None
        assert queue.closed is True


@pytest.mark.parametrize("end", ["close", "immediate", "shutdown", "with"])
@pytest.mark.parametrize("how", WRITES)
def test_producers_fail_once_the_queue_is_closed(make_queue, end, how):
    queue = make_queue()
    finish(queue, end)
    for timeout in (0, 1, None):
        with pytest.raises(QueueClosedError):
            WRITES[how](queue, "a", timeout)
    assert len(queue) == 0
    assert queue.stats().enqueued == 0


def finish(queue, end):
    match end:
        case "close":
            queue.close()
        case "immediate":
            queue.close(immediate=True)
        case "shutdown":
            queue.shutdown()
        case "with":
            with queue:
                pass


def test_put_nowait_and_an_empty_batch_fail_on_a_closed_queue_too(make_queue):
    queue = make_queue()
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.put_nowait("a")
    with pytest.raises(QueueClosedError):
        queue.enqueue_batch([])


def test_a_full_closed_queue_raises_closed_not_full(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.enqueue("b", timeout=None)
    assert queue.stats().rejected == 0


@pytest.mark.parametrize("how", READS)
def test_remaining_messages_can_be_read_and_then_reads_fail(make_queue, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("ab")
    queue.close()
    assert READS[how](consumer, None) == "a"
    assert READS[how](consumer, 0.0) == "b"
    for timeout in (0, 1, None):
        with pytest.raises(StopIteration if how == "next" else QueueClosedError):
            READS[how](consumer, timeout)


def test_get_nowait_of_a_closed_drained_queue_raises_closed_not_empty(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.close()
    with pytest.raises(QueueClosedError):
        consumer.get_nowait()
    with pytest.raises(QueueClosedError):
        consumer.get(block=False)


def test_read_where_drains_a_closed_queue_and_then_fails(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.close()
    assert consumer.read_where(lambda m: m.payload == "b").payload == "b"
    with pytest.raises(QueueClosedError):
        consumer.read_where(lambda m: False, timeout=None)
    assert consumer.position == 3


def test_a_batch_of_a_closed_queue_has_the_remaining_messages(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.close()
    assert consumer.get_batch(10, timeout=None) == ["a", "b", "c"]


def test_peek_of_a_closed_queue_shows_the_remaining_messages_and_then_none(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.close()
    assert consumer.peek().payload == "a"
    consumer.read()
    assert consumer.peek() is None


def test_messages_of_a_closed_queue_still_expire(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    queue.close()
    expire_all(queue)
    assert consumer.missed_count == 3
    assert queue.memory_usage == 0
    with pytest.raises(QueueClosedError):
        consumer.read()


def test_an_immediate_close_empties_the_queue(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(2500))
    consumer.read()
    queue.close(immediate=True)
    assert len(queue) == 0
    assert queue.is_empty()
    assert queue.memory_usage == 0
    assert consumer.unread_count == 0
    assert consumer.has_more_data() is False
    assert consumer.peek() is None
    with pytest.raises(QueueClosedError):
        consumer.read()
    assert list(consumer) == []


def test_what_an_immediate_close_discards_is_not_missed(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue("a")
    consumer.read()
    queue.enqueue_batch("bcd")
    queue.close(immediate=True)
    assert consumer.missed_count == 0
    assert consumer.take_missed(timeout=None) == 0
    assert queue.stats().expired == 0
    with pytest.raises(QueueClosedError):
        consumer.read()


def test_an_immediate_close_after_a_plain_one_discards_the_remaining_messages(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.close()
    assert len(queue) == 1
    queue.close(immediate=True)
    assert len(queue) == 0
    with pytest.raises(QueueClosedError):
        consumer.read()


def test_shutdown_is_the_same_as_close(make_queue):
    plain, immediate, keyword = make_queue(), make_queue(), make_queue()
    for queue in (plain, immediate, keyword):
        queue.enqueue("a")
    plain.shutdown()
    immediate.shutdown(True)
    keyword.shutdown(immediate=True)
    assert [queue.closed for queue in (plain, immediate, keyword)] == [True] * 3
    assert [len(queue) for queue in (plain, immediate, keyword)] == [1, 0, 0]


def test_immediate_is_keyword_only_in_close(make_queue):
    queue = make_queue()
    with pytest.raises(TypeError):
        queue.close(True)
    assert queue.closed is False


def test_with_returns_the_queue_and_closes_it_at_the_end(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    with queue as inner:
        assert inner is queue
        inner.enqueue("a")
        assert queue.closed is False
    assert queue.closed is True
    assert payloads(consumer) == ["a"]


def test_with_closes_the_queue_on_an_error_and_lets_it_propagate(make_queue):
    queue = make_queue()
    with pytest.raises(LookupError), queue:
        raise LookupError
    assert queue.closed is True


def test_consumers_can_be_added_to_a_closed_queue_to_drain_it(make_queue):
    queue = make_queue()
    queue.enqueue_batch("abc")
    queue.close()
    assert [m.payload for m in queue.add_consumer()] == ["a", "b", "c"]
    assert queue.add_consumer(start=1).get_batch(5) == ["b", "c"]
    with pytest.raises(QueueClosedError):
        queue.add_consumer(start="latest").read()


def test_figures_and_seek_work_on_a_closed_queue(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert payloads(consumer) == ["a", "b", "c"]
    queue.close()
    consumer.seek(1)
    assert consumer.unread_count == 2
    assert queue.stats().total_items == 3
    assert len(consumer.history()) == 3
    assert payloads(consumer) == ["b", "c"]


def test_take_missed_after_close_returns_the_count_and_then_zero_at_once(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.close()
    assert consumer.take_missed(timeout=None) == 3
    assert consumer.take_missed(timeout=None) == 0
    assert consumer.take_missed(timeout=30) == 0


@pytest.mark.parametrize("timeout", [0, 1, None])
def test_join_without_consumers_is_true_at_once(make_queue, timeout):
    queue = make_queue()
    assert queue.join(timeout) is True
    queue.enqueue("a")
    assert queue.join(timeout=timeout) is True


def test_join_is_true_when_every_consumer_has_read_everything(make_queue):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    assert queue.join() is True
    queue.enqueue_batch("ab")
    assert queue.join(0) is False
    first.read_batch(2)
    second.read()
    assert queue.join(timeout=0) is False
    second.read()
    assert queue.join() is True


def test_join_is_false_after_the_timeout(make_queue):
    queue = make_queue(ttl=None)
    queue.add_consumer()
    queue.enqueue("a")
    with stopwatch() as took:
        assert queue.join(0.1) is False
    assert took.seconds >= 0.1 - CLOCK_SLACK


def test_join_does_not_wait_for_messages_that_have_left(make_queue):
    queue = make_queue(ttl=None)
    queue.add_consumer()
    queue.enqueue("a")
    expire_all(queue)
    assert queue.join() is True


def test_join_of_a_closed_queue_is_true_once_it_is_drained(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.close()
    assert queue.join(0) is False
    consumer.read()
    assert queue.join() is True


@pytest.mark.parametrize("how", READS)
def test_a_removed_consumer_cannot_read(make_queue, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    consumer.close()
    for timeout in (0, None):
        with pytest.raises(ConsumerClosedError):
            READS[how](consumer, timeout)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.get_nowait(),
        lambda c: c.peek(),
        lambda c: c.seek(0),
        lambda c: c.take_missed(timeout=None),
        lambda c: list(c),
    ],
    ids="get_nowait peek seek take_missed iteration".split(),
)
def test_all_methods_of_a_removed_consumer_raise(make_queue, call):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    queue.remove_consumer(consumer)
    with pytest.raises(ConsumerClosedError):
        call(consumer)


def test_a_removed_consumer_of_a_closed_queue_raises_for_its_removal(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    consumer.close()
    queue.close()
    with pytest.raises(ConsumerClosedError):
        consumer.read()


def test_a_removed_consumer_keeps_its_name_and_id(make_queue):
    consumer = make_queue().add_consumer("reader")
    before = consumer.id
    consumer.close()
    assert (consumer.id, consumer.name) == (before, "reader")
    assert consumer.queue.name == "test"


def test_closing_a_consumer_twice_is_harmless(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    for _ in range(3):
        assert consumer.close() is None
    assert queue.consumers == ()
    assert queue.closed is False


def test_with_returns_the_consumer_and_removes_it_at_the_end(make_queue):
    queue = make_queue()
    queue.enqueue("a")
    consumer = queue.add_consumer()
    with consumer as inner:
        assert inner is consumer
        assert inner.get_nowait() == "a"
    assert queue.consumers == ()
    with pytest.raises(ConsumerClosedError):
        consumer.read()


def test_with_removes_the_consumer_on_an_error_and_lets_it_propagate(make_queue):
    queue = make_queue()
    with pytest.raises(LookupError), queue.add_consumer():
        raise LookupError
    assert queue.consumers == ()
