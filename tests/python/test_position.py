"""Where a consumer starts, its position, and how it is moved."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from helpers import assert_books_balance, expire_all, payloads
from mpmc_queue import CHUNK_SIZE

EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))


def moved(queue, how, to):
    """A consumer at position `to`, set by start= or by seek."""
    if how == "start":
        return queue.add_consumer(start=to)
    consumer = queue.add_consumer()
    consumer.seek(to)
    return consumer


both = pytest.mark.parametrize("how", ["start", "seek"])


def test_a_consumer_starts_at_the_oldest_message_by_default(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue("gone")
    expire_all(queue)
    queue.enqueue_batch("ab")
    consumer = queue.add_consumer()
    assert consumer.position == 1
    assert consumer.missed_count == 0
    assert payloads(consumer) == ["a", "b"]


@both
def test_earliest_is_the_oldest_message_held(make_queue, how):
    queue = make_queue(ttl=None)
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue_batch("cd")
    consumer = moved(queue, how, "earliest")
    assert consumer.position == 2
    assert payloads(consumer) == ["c", "d"]


@both
def test_latest_is_the_next_message_enqueued(make_queue, how):
    queue = make_queue()
    queue.enqueue_batch("ab")
    consumer = moved(queue, how, "latest")
    assert (consumer.position, consumer.unread_count) == (2, 0)
    assert consumer.read() is None
    queue.enqueue("c")
    assert payloads(consumer) == ["c"]


@both
@pytest.mark.parametrize("to", ["earliest", "latest", 0])
def test_every_start_of_an_empty_queue_is_its_next_seq(make_queue, how, to):
    queue = make_queue()
    consumer = moved(queue, how, to)
    assert consumer.position == 0
    queue.enqueue("a")
    assert payloads(consumer) == ["a"]


@both
@pytest.mark.parametrize("seq", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2499])
def test_an_int_is_the_message_with_that_seq(make_queue, how, seq):
    queue = make_queue(max_bytes=10_000_000)
    queue.enqueue_batch(range(2500))
    consumer = moved(queue, how, seq)
    assert consumer.position == seq
    assert consumer.unread_count == 2500 - seq
    assert consumer.read().seq == seq


@both
def test_the_next_seq_is_a_position_too(make_queue, how):
    queue = make_queue()
    queue.enqueue_batch("ab")
    consumer = moved(queue, how, 2)
    assert consumer.read() is None
    queue.enqueue("c")
    assert payloads(consumer) == ["c"]


@both
@pytest.mark.parametrize("seq", [0, 1, 4, 5])
def test_a_seq_below_the_oldest_held_is_the_oldest_and_nothing_is_missed(make_queue, how, seq):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(range(5))
    expire_all(queue)
    queue.enqueue_batch("ab")
    consumer = moved(queue, how, seq)
    assert consumer.position == 5
    assert consumer.missed_count == 0
    message = consumer.read()
    assert (message.payload, message.missed) == ("a", 0)


@both
@pytest.mark.parametrize("beyond", [1, 2, 1000, 2**62])
def test_a_seq_beyond_the_next_is_an_error_and_moves_nothing(make_queue, how, beyond):
    queue = make_queue()
    queue.enqueue_batch("abc")
    consumer = queue.add_consumer(start=1)
    with pytest.raises(ValueError, match=str(3 + beyond)):
        if how == "start":
            queue.add_consumer(start=3 + beyond)
        else:
            consumer.seek(3 + beyond)
    assert consumer.position == 1
    assert len(queue.consumers) == 1


@both
@pytest.mark.parametrize("seq", [2**63, 2**64, 2**200])
def test_a_seq_past_63_bits_is_an_overflow_error(make_queue, how, seq):
    queue = make_queue()
    consumer = queue.add_consumer()
    with pytest.raises(OverflowError):
        if how == "start":
            queue.add_consumer(start=seq)
        else:
            consumer.seek(seq)
    assert len(queue.consumers) == 1


@both
def test_a_datetime_is_the_first_message_created_at_or_after_it(make_queue, how):
    queue = make_queue(max_bytes=10_000_000)
    for i in range(CHUNK_SIZE + 200):
        queue.enqueue(i)
    created = [m.created for m in queue.add_consumer().read_batch(10_000)]
    for seq in (0, 1, 100, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 199):
        for at in (created[seq], created[seq] + timedelta(microseconds=1)):
            expected = next((i for i, c in enumerate(created) if c >= at), len(created))
            assert moved(queue, how, at).position == expected


@both
@pytest.mark.parametrize("zone", [UTC, EAST, WEST], ids=str)
def test_a_datetime_may_be_in_any_time_zone(make_queue, how, zone):
    queue = make_queue()
    queue.enqueue("a")
    message = queue.add_consumer().read()
    assert moved(queue, how, message.created.astimezone(zone)).position == 0
    later = (message.created + timedelta(seconds=1)).astimezone(zone)
    assert moved(queue, how, later).position == 1


@both
@pytest.mark.parametrize(
    ("at", "position"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), 2),
        (datetime.min.replace(tzinfo=EAST), 2),
        (datetime(1969, 12, 31, tzinfo=UTC), 2),
        (datetime(1970, 1, 1, tzinfo=UTC), 2),
        (datetime(2262, 4, 12, tzinfo=UTC), 4),
        (datetime.max.replace(tzinfo=UTC), 4),
        (datetime.max.replace(tzinfo=WEST), 4),
    ],
    ids=str,
)
def test_a_datetime_of_any_age_is_a_position(make_queue, how, at, position):
    queue = make_queue(ttl=None)
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue_batch("cd")
    consumer = moved(queue, how, at)
    assert consumer.position == position
    assert consumer.missed_count == 0


@both
@pytest.mark.parametrize(
    ("to", "error"),
    [
        (datetime(2024, 1, 1), ValueError),
        ("soon", ValueError),
        ("", ValueError),
        ("EARLIEST", ValueError),
        (None, TypeError),
        (1.0, TypeError),
        (True, TypeError),
        (b"latest", TypeError),
        (date(2024, 1, 1), TypeError),
        (timedelta(1), TypeError),
    ],
    ids=repr,
)
def test_an_invalid_position_is_an_error_and_changes_nothing(make_queue, how, to, error):
    queue = make_queue()
    queue.enqueue_batch("abc")
    consumer = queue.add_consumer(start=1)
    with pytest.raises(error, match=r"\bstart\b" if how == "start" else r"\bto\b"):
        if how == "start":
            queue.add_consumer(start=to)
        else:
            consumer.seek(to)
    assert consumer.position == 1
    assert len(queue.consumers) == 1


def test_seeking_back_reads_again(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert payloads(consumer) == ["a", "b", "c"]
    consumer.seek("earliest")
    assert consumer.unread_count == 3
    assert payloads(consumer) == ["a", "b", "c"]
    consumer.seek(1)
    assert payloads(consumer) == ["b", "c"]


def test_seeking_forward_counts_skipped_messages_as_read(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(10))
    consumer.read()
    consumer.seek(7)
    assert consumer.stats().total_items_read == 7
    assert consumer.missed_count == 0
    assert_books_balance(consumer, 10)
    consumer.seek("latest")
    assert consumer.stats().total_items_read == 10
    assert_books_balance(consumer, 10)


def test_seeking_to_the_current_position_changes_nothing(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    consumer.read()
    consumer.seek(1)
    assert consumer.position == 1
    assert consumer.stats().total_items_read == 1


def test_seek_returns_none_and_moves_one_consumer_only(make_queue):
    queue = make_queue()
    queue.enqueue_batch("abc")
    moving, standing = queue.add_consumer(), queue.add_consumer()
    assert moving.seek("latest") is None
    assert standing.position == 0


def test_position_never_points_below_the_oldest_held(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    assert consumer.position == 3
    queue.enqueue("d")
    assert consumer.position == 3
    assert consumer.read().seq == 3


def test_a_seek_back_wakes_a_waiting_reader(make_queue, run_thread):
    queue = make_queue()
    queue.enqueue("a")
    consumer = queue.add_consumer(start="latest")
    worker = run_thread(consumer.get)
    worker.assert_waiting()
    consumer.seek("earliest")
    assert worker.result() == "a"
