"""Messages that a group would miss go to its dead letter queue."""

import pytest

from harness import LONG, eventually
from helpers import PATIENCE, expire_all
from mpmc_queue import Queue


@pytest.fixture
def make_dead(make_queue):

    def make():
        return make_queue("dead", ttl=None)

    return make


def letters(dead):
    """The payloads of all dead letters so far."""
    return dead.add_consumer().get_batch(1000)


def letters_when_there_are(dead, count):
    """The payloads of so many dead letters. The expiration thread may be the one that moves them."""
    reader = dead.add_consumer()
    return [reader.get(timeout=PATIENCE) for _ in range(count)]


def books(group):
    stats = group.stats()
    return (
        stats.total_items_read,
        stats.unread_items,
        stats.pending_items,
        stats.missed_items,
        stats.dead_lettered_items,
    )


@pytest.mark.parametrize("acks", [{}, {"ack_wait": LONG}])
def test_messages_that_expire_unread_are_moved_and_not_missed(make_queue, make_dead, acks):
    dead = make_dead()
    queue = make_queue()
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True, **acks)
    member = group.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    assert letters_when_there_are(dead, 3) == ["a", "b", "c"]
    assert books(group) == (0, 0, 0, 0, 3)
    queue.enqueue("d")
    message = member.read()
    assert (message.payload, message.missed) == ("d", 0)
    assert member.take_missed() == 0


def test_messages_that_expire_while_pending_are_moved(make_queue, make_dead):
    dead = make_dead()
    queue = make_queue()
    group = queue.add_group("group", ack_wait=LONG, dead_letter=dead, dead_letter_missed=True)
    member = group.add_consumer()
    queue.enqueue_batch("abc")
    first, second = member.read_batch(2)
    first.ack()
    expire_all(queue)
    assert sorted(letters_when_there_are(dead, 2)) == ["b", "c"]
    assert books(group) == (1, 0, 0, 0, 2)
    assert second.ack() is False


@pytest.mark.parametrize("acks", [{}, {"ack_wait": LONG}])
def test_dropped_messages_are_moved_before_the_call_returns(make_queue, make_dead, acks):
    dead = make_dead()
    queue = make_queue(max_items=3, overflow="drop_oldest")
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True, **acks)
    member = group.add_consumer()
    reader = dead.add_consumer()
    queue.enqueue_batch("abc")
    member.read()
    queue.enqueue("d")
    assert reader.get_batch(9) == ([] if not acks else ["a"])
    queue.enqueue_batch("efg")
    assert reader.get_batch(9) == ["b", "c", "d"]
    assert books(group)[3] == 0
    assert member.get_batch(9) == list("efg")
    assert sum(books(group)) == 7


def test_messages_with_their_own_ttl_are_moved_from_the_middle(make_queue, make_dead):
    dead = make_dead()
    queue = make_queue(ttl=None)
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    member = group.add_consumer()
    for number in range(10):
        if number % 3 == 1:
            queue.enqueue(number, ttl=1e-6)
        else:
            queue.enqueue(number)
    while len(queue) > 7:
        queue.force_expiration()
    assert sorted(letters_when_there_are(dead, 3)) == [1, 4, 7]
    assert [(message.payload, message.missed) for message in member.read_batch(9)] == [
        (number, 0) for number in (0, 2, 3, 5, 6, 8, 9)
    ]
    assert books(group) == (7, 0, 0, 0, 3)


def test_the_expiration_thread_moves_them_too(make_queue, make_dead):
    dead = make_dead()
    queue = make_queue(ttl=0.05)
    reader = dead.add_consumer()
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    queue.enqueue_batch("ab")
    assert [reader.get(timeout=PATIENCE) for _ in range(2)] == ["a", "b"]
    assert books(group) == (0, 0, 0, 0, 2)


def test_a_dead_letter_queue_that_is_full_or_closed_counts_as_missed(make_queue):
    queue, dead = make_queue(), make_queue("dead", max_items=1)
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    member = group.add_consumer()
    queue.enqueue_batch("abc")
    expire_all(queue)
    assert letters_when_there_are(dead, 1) == ["a"]
    eventually(lambda: books(group) == (0, 0, 0, 2, 1))
    assert member.take_missed() == 2
    dead.close()
    queue.enqueue("d")
    expire_all(queue)
    eventually(lambda: books(group) == (0, 0, 0, 3, 1))


def test_each_groups_dead_letters_are_what_it_would_miss_and_consumers_miss_it(make_queue):
    queue = make_queue()
    deads = [make_queue(f"dead {number}") for number in range(2)]
    groups = [queue.add_group(dead.name, dead_letter=dead, dead_letter_missed=True) for dead in deads]
    plain = queue.add_group("plain")
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    groups[0].add_consumer().read()
    expire_all(queue)
    assert [letters_when_there_are(dead, count) for dead, count in zip(deads, (2, 3), strict=True)] == [
        ["b", "c"],
        ["a", "b", "c"],
    ]
    assert (consumer.missed_count, plain.missed_count) == (3, 3)


def test_messages_that_left_before_the_group_was_added_are_not_moved(make_queue, make_dead):
    dead = make_dead()
    queue = make_queue(max_items=2, overflow="drop_oldest")
    queue.enqueue_batch("ab")
    group = queue.add_group("group", start="latest", dead_letter=dead, dead_letter_missed=True)
    queue.enqueue("c")
    assert (letters(dead), books(group)) == ([], (0, 1, 0, 0, 0))


def test_messages_that_an_immediate_close_discards_are_not_moved(make_queue, make_dead):
    dead = make_dead()
    queue = make_queue()
    queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    queue.enqueue("a")
    queue.close(immediate=True)
    assert letters(dead) == []


def test_thousands_that_expire_are_moved(make_queue):
    queue, dead = make_queue(max_bytes=1 << 30), make_queue("dead", ttl=None, max_bytes=1 << 30)
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    queue.enqueue_batch(range(5000))
    expire_all(queue)
    # The expiration thread may have moved some of them at the same time, so there is no order.
    assert sorted(letters_when_there_are(dead, 5000)) == list(range(5000))
    assert books(group) == (0, 0, 0, 0, 5000)


def test_thousands_that_one_call_drops_are_moved_in_order(make_queue):
    queue = make_queue(max_items=5000, max_bytes=1 << 30, overflow="drop_oldest")
    dead = make_queue("dead", ttl=None, max_bytes=1 << 30)
    group = queue.add_group("group", dead_letter=dead, dead_letter_missed=True)
    queue.enqueue_batch(range(5000))
    queue.enqueue_batch(range(5000, 10_000))
    assert dead.add_consumer().get_batch(9999) == list(range(5000))
    assert books(group) == (0, 5000, 0, 0, 5000)


def test_two_queues_that_are_each_others_dead_letter_queue_come_to_an_end(make_queue):
    one, two = (make_queue(name, max_items=2, overflow="drop_oldest") for name in ("one", "two"))
    first = one.add_group("group", dead_letter=two, dead_letter_missed=True)
    second = two.add_group("group", dead_letter=one, dead_letter_missed=True)
    for number in range(20):
        one.enqueue(number)
        two.enqueue(-number)
    for group, queue in ((first, one), (second, two)):
        assert sum(books(group)) == queue.stats().enqueued


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"dead_letter_missed": True}, ValueError, "dead_letter"),
        ({"dead_letter_missed": 1}, TypeError, "dead_letter_missed"),
        ({"dead_letter_missed": None}, TypeError, "dead_letter_missed"),
    ],
)
def test_a_bad_argument_is_named_and_adds_nothing(arguments, error, named):
    queue = Queue("q")
    with pytest.raises(error, match=named):
        queue.add_group("group", **arguments)
    assert queue.get_group("group") is None
