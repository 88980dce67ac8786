"""The figures of a group: its counts add up after every step, and has_more_data and peek agree with reads."""

import pytest

from harness import LONG, acking_group, eventually
from helpers import expire_all, payloads
from mpmc_queue import GroupStats, Queue, QueueError


def books(group):
    """read, missed, unread, pending, dead-lettered. Their sum is the number of messages enqueued since its start."""
    stats = group.stats()
    counts = (
        stats.total_items_read,
        stats.missed_items,
        stats.unread_items,
        stats.pending_items,
        stats.dead_lettered_items,
    )
    assert sum(counts) == group.queue.stats().enqueued
    assert (group.missed_count, group.unread_count, group.pending_count) == counts[1:4]
    return counts


def probes(member):
    """has_more_data, what peek shows, and what a read returns."""
    peeked, has_more = member.peek(), member.has_more_data()
    message = member.read()
    return has_more, peeked and peeked.payload, message and message.payload


def test_the_books_balance_whatever_happens_to_a_message(make_queue):
    dead = make_queue("dead")
    group = acking_group(*"abcdef", dead_letter=dead, max_deliver=2)
    member = group.add_consumer()
    acked, termed, nacked, held = member.read_batch(4)
    assert books(group) == (0, 0, 2, 4, 0)
    assert acked.ack() is True
    assert termed.term() is True
    assert nacked.nack() is True
    assert books(group) == (1, 0, 3, 1, 1)
    assert member.read().nack() is True  # its deliveries are used up
    assert books(group) == (1, 0, 2, 1, 2)
    assert payloads(dead.add_consumer()) == ["b", "c"]
    expire_all(group.queue)
    assert books(group) == (1, 3, 0, 0, 2)
    assert held.ack() is False
    assert group.queue.group_stats()[0].dead_lettered_items == 2


def test_without_a_dead_letter_queue_term_counts_as_read_and_max_deliver_as_missed():
    group = acking_group("a", "b", max_deliver=1)
    member = group.add_consumer()
    termed, used_up = member.read_batch(2)
    assert (termed.term(), used_up.nack()) == (True, True)
    assert books(group) == (1, 1, 0, 0, 0)


def test_without_acks_a_delivery_counts_as_read(make_queue):
    queue = make_queue("q")
    group = queue.add_group("group")
    queue.enqueue_batch("abc")
    group.add_consumer().read_batch(2)
    assert books(group) == (2, 0, 1, 0, 0)


def test_a_members_read_count_is_its_deliveries():
    group = acking_group("a")
    member = group.add_consumer()
    member.read().nack()
    member.read().ack()
    assert (member.stats().total_items_read, group.stats().total_items_read) == (2, 1)


def test_a_dead_letter_that_can_never_fit_is_missed_and_counted_separately(make_queue):
    dead = make_queue("dead", max_bytes=100)
    group = acking_group("x" * 1000, dead_letter=dead)
    assert group.add_consumer().read().term() is True
    assert books(group) == (0, 1, 0, 0, 0)
    assert group.stats().refused_dead_letters == 1
    assert group.queue.join(timeout=0)


def test_backlog_figures_include_redeliveries_that_are_ready():
    group = acking_group("a", "b")
    member = group.add_consumer()
    one, _ = member.read_batch(2)
    assert (group.stats().unread_bytes, group.stats().lag) == (0, 0.0)
    one.nack()
    stats = group.stats()
    assert (stats.unread_items, stats.unread_bytes) == (1, one.size)
    assert stats.lag > 0
    of_member = member.stats()
    assert (of_member.unread_items, of_member.unread_bytes) == (1, one.size)


def test_peek_and_has_more_data_see_nacked_messages():
    group = acking_group("a")
    member = group.add_consumer()
    member.read().nack()
    assert member.unread_count == 1
    assert probes(member) == (True, "a", "a")


def test_peek_and_has_more_data_see_messages_not_acked_in_time(make_queue):
    queue = make_queue("q")
    member = queue.add_group("group", ack_wait=0.01).add_consumer()
    queue.enqueue("a")
    member.read()
    eventually(member.has_more_data)
    assert probes(member) == (True, "a", "a")


def test_peek_and_has_more_data_see_pending_messages_of_a_closed_member():
    group = acking_group("a")
    holder, member = group.add_consumer(), group.add_consumer()
    holder.read()
    holder.close()
    assert probes(member) == (True, "a", "a")


def test_peek_and_has_more_data_respect_max_ack_pending():
    group = acking_group("a", "b", max_ack_pending=1)
    member = group.add_consumer()
    held = member.read()
    assert probes(member) == (False, None, None)
    assert member.unread_count == 1
    held.ack()
    assert probes(member) == (True, "b", "b")


def test_a_removed_consumer_has_nothing_more(make_queue):
    queue = make_queue("q")
    queue.enqueue("a")
    reader = queue.add_consumer()
    reader.close()
    assert (reader.has_more_data(), reader.unread_count) == (False, 0)


@pytest.mark.parametrize("method", ["read_batch", "get_batch"])
def test_a_batch_takes_redeliveries_and_new_messages(method):
    group = acking_group(*"abcd")
    member = group.add_consumer()
    for message in member.read_batch(3):
        message.nack()
    batch = getattr(member, method)(10)
    assert [getattr(each, "payload", each) for each in batch] == ["a", "b", "c", "d"]


def test_messages_that_read_where_skips_are_settled_as_read():
    group = acking_group(*"abcd", max_ack_pending=2)
    member = group.add_consumer()
    found = member.read_where(lambda message: message.payload == "d")
    assert found.ack() is True
    assert books(group) == (4, 0, 0, 0, 0)
    assert group.queue.join(timeout=0)


def test_a_message_whose_predicate_raised_is_settled_as_read():
    group = acking_group("a")
    with pytest.raises(ZeroDivisionError):
        group.add_consumer().read_where(lambda message: 1 / 0)
    assert books(group) == (1, 0, 0, 0, 0)


def test_message_missed_counts_only_undelivered_messages(make_queue):
    queue = make_queue("q")
    member = queue.add_group("group", ack_wait=LONG).add_consumer()
    queue.enqueue_batch("ab")
    member.read()
    expire_all(queue)
    queue.enqueue("c")
    assert member.read().missed == 1
    assert member.missed_count == 2


def test_settling_is_too_late_after_the_group_closed_and_after_a_seek(make_queue):
    queue = make_queue("q")
    queue.enqueue_batch("ab")
    group = queue.add_group("group", ack_wait=LONG)
    member = group.add_consumer()
    one, other = member.read_batch(2)
    member.seek("earliest")
    assert (one.ack(), one.seq) == (False, 0)
    with pytest.raises(QueueError):
        one.ack()  # called once, whatever it returns
    again = member.read()
    group.close()
    assert (again.ack(), other.nack()) == (False, False)


def test_the_figures_can_be_read_by_name(make_queue):
    queue = make_queue("q")
    first, second = queue.add_group("first"), queue.add_group("second")
    second.add_consumer()
    assert [stats.name for stats in queue.group_stats()] == ["first", "second"]
    assert (first.stats().member_count, second.stats().member_count) == (0, 1)
    assert isinstance(first.stats(), GroupStats)
    assert "second" in repr(second.stats())
    second.close()
    with pytest.raises(QueueError):
        second.stats()


def test_a_waiter_behind_ten_thousand_others_gets_its_missed_count():
    """A batch is read in slices, and an error between two of them is left to the next read."""
    for on_missed in ("raise", lambda count: 1 / 0):
        queue = Queue("q", ttl=None, max_bytes=1 << 30)
        reader = queue.add_consumer(on_missed=on_missed)
        queue.enqueue_batch([1] * 10_000)
        queue.enqueue(2, ttl=0.001)
        queue.enqueue(3)
        eventually(lambda queue=queue: queue.stats().expired == 1)
        assert len(reader.get_batch(20_000)) == 10_000
        with pytest.raises((QueueError, ZeroDivisionError)):
            reader.get_batch(20_000)
        assert reader.get_batch(20_000) == [3]
