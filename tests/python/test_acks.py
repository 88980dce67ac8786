"""An acknowledging group delivers a message until it is settled."""

import threading

import pytest

from harness import LONG, acking_group, ledger, together
from helpers import PATIENCE, expire_all
from mpmc_queue import QueueClosedError, QueueError


def test_a_delivery_is_pending_until_it_is_acked():
    group = acking_group("a", "b")
    member = group.add_consumer()
    first = member.read()
    assert (first.payload, first.deliveries, ledger(group)) == ("a", 1, (1, 1, 0))
    second = member.read()
    assert ledger(group) == (2, 0, 0)
    assert member.read() is None
    first.ack()
    assert ledger(group) == (1, 0, 0)
    second.ack()
    assert ledger(group) == (0, 0, 0)


def test_each_message_of_a_batch_is_settled_separately():
    group = acking_group(*range(5))
    messages = group.add_consumer().read_batch(9)
    assert group.pending_count == 5
    for message in messages[::2]:
        message.ack()
    assert group.pending_count == 2


def test_any_thread_may_settle(run_thread):
    group = acking_group("a")
    message = group.add_consumer().read()
    run_thread(message.ack).result()
    assert group.pending_count == 0


@pytest.mark.parametrize("second", ["ack", "nack", "term", "in_progress"])
@pytest.mark.parametrize("first", ["ack", "nack", "term"])
def test_settling_twice_is_a_queue_error(first, second):
    group = acking_group("a")
    message = group.add_consumer().read()
    getattr(message, first)()
    before = ledger(group)
    with pytest.raises(QueueError):
        getattr(message, second)()
    assert ledger(group) == before


@pytest.mark.parametrize("settle", ["ack", "nack", "term", "in_progress"])
def test_settling_outside_an_acking_group_is_a_queue_error(make_queue, settle):
    queue = make_queue()
    queue.enqueue("a")
    messages = [queue.add_consumer().read(), queue.add_consumer().peek(), queue.add_group("g").add_consumer().read()]
    for message in messages:
        with pytest.raises(QueueError):
            getattr(message, settle)()


def test_only_one_of_many_threads_settles():
    group = acking_group("a")
    message = group.add_consumer().read()

    def ack():
        try:
            message.ack()
        except QueueError:
            return False
        return True

    assert sorted(together(*[ack] * 6)) == [False] * 5 + [True]
    assert group.pending_count == 0


@pytest.mark.parametrize(
    ("delay", "error"), [(-1, ValueError), (float("nan"), ValueError), (True, TypeError), ("1", TypeError)]
)
def test_a_bad_delay_is_refused_and_settles_nothing(delay, error):
    group = acking_group("a")
    message = group.add_consumer().read()
    with pytest.raises(error):
        message.nack(delay)
    message.ack()
    assert group.pending_count == 0


def test_term_never_redelivers():
    group = acking_group("a")
    one, other = group.add_consumer(), group.add_consumer()
    message = one.read()
    message.term()
    assert group.pending_count == 0
    one.close()
    assert other.read(timeout=0.05) is None


def test_a_message_is_missed_after_max_deliver_without_a_dead_letter_queue():
    group = acking_group("a", "b", max_deliver=3)
    member = group.add_consumer()
    for expected in (1, 2, 3):
        message = member.read()
        assert (message.payload, message.deliveries) == ("a", expected)
        message.nack()
    assert ledger(group) == (0, 1, 1)
    assert member.read().payload == "b"


def test_no_new_deliveries_beyond_max_ack_pending():
    group = acking_group(*range(5), max_ack_pending=2)
    one, other = group.add_consumer(), group.add_consumer()
    first, second = one.read_batch(9)
    assert other.read() is None
    assert ledger(group) == (2, 3, 0)
    first.ack()
    assert [message.payload for message in other.read_batch(9)] == [2]
    assert ledger(group) == (2, 2, 0)
    second.ack()


def test_redeliveries_are_not_new_deliveries():
    group = acking_group(*range(3), max_ack_pending=1)
    member = group.add_consumer()
    member.read().nack()
    again = member.read()
    assert (again.payload, again.deliveries) == (0, 2)
    assert member.read() is None


def test_settling_wakes_a_member_held_back_by_max_ack_pending(run_thread):
    for settle in ("ack", "term"):
        group = acking_group("a", "b", max_ack_pending=1)
        message = group.add_consumer().read()
        waiting = run_thread(group.add_consumer().read, timeout=None)
        waiting.assert_waiting()
        getattr(message, settle)()
        assert waiting.result().payload == "b"


def test_a_pending_message_that_expires_is_missed_and_its_late_ack_does_nothing():
    group = acking_group("a", "b", "c")
    member = group.add_consumer()
    acked, late = member.read(), member.read()
    acked.ack()
    expire_all(group.queue)
    assert ledger(group) == (0, 0, 2)
    assert group.queue.memory_usage == 0
    late.ack()
    assert ledger(group) == (0, 0, 2)
    assert late.payload == "b"
    group.queue.enqueue("d")
    assert member.read().payload == "d"


def test_an_acked_message_stays_in_the_queue_for_others():
    group = acking_group("a")
    group.add_consumer().read().ack()
    assert len(group.queue) == 1
    assert group.queue.add_consumer().get() == "a"


def test_join_waits_until_all_messages_are_settled(run_thread):
    group = acking_group("a", "b")
    first, second = group.add_consumer().read_batch(2)
    waiting = run_thread(group.queue.join)
    waiting.assert_waiting()
    first.ack()
    waiting.assert_waiting()
    second.term()
    assert waiting.result() is True


def test_join_waits_for_a_redelivery_too(run_thread):
    group = acking_group("a")
    member = group.add_consumer()
    member.read().nack(LONG)
    assert group.queue.join(timeout=0.02) is False
    member.close()
    assert group.queue.join(timeout=0.02) is False
    group.close()
    assert group.queue.join(timeout=0) is True


def test_a_message_nacked_after_close_is_delivered_before_the_end():
    group = acking_group("a")
    member = group.add_consumer()
    message = member.read()
    group.queue.close()
    message.nack()
    again = member.read()
    assert again.deliveries == 2
    again.ack()
    with pytest.raises(QueueClosedError):
        member.read()


def test_closing_immediately_discards_pending_messages_without_counting_them_missed():
    group = acking_group("a", "b")
    member = group.add_consumer()
    member.read()
    group.queue.close(immediate=True)
    assert ledger(group) == (0, 0, 0)
    with pytest.raises(QueueClosedError):
        member.read()


def test_threads_that_often_fail_settle_every_message_in_the_end(make_queue):
    """Each message is acked by some delivery, even if others nack it, forget it or leave first."""
    total = 400
    queue = make_queue(max_items=40, retention="interest")
    group = queue.add_group("g", ack_wait=0.3, max_ack_pending=30)
    produced = threading.Event()
    acked = []

    def work(seed):
        member = group.add_consumer()
        turn = seed
        while not (produced.is_set() and queue.is_empty()):
            message = member.read(timeout=0.02)
            turn += 1
            if message is None:
                continue
            assert ledger(group)[2] == 0
            match turn % 7:
                case 0:
                    message.nack(0.001)
                case 1 if message.deliveries == 1:
                    pass  # forgotten
                case 2 if message.deliveries == 1:
                    member.close()
                    member = group.add_consumer()
                case _:
                    acked.append(message.seq)
                    message.ack()
        member.close()

    def produce():
        for number in range(total):
            queue.enqueue(number, timeout=None)
        produced.set()

    together(produce, *(lambda seed=seed: work(seed) for seed in range(4)))
    assert set(acked) == set(range(total))
    assert queue.join(timeout=PATIENCE)
    assert ledger(group) == (0, 0, 0)
    assert (len(queue), queue.memory_usage) == (0, 0)


def test_a_pending_delivery_is_charged_until_it_is_settled(make_queue):
    queue = make_queue(sizer=lambda payload: 100)
    members = [queue.add_group(name, ack_wait=LONG).add_consumer() for name in "ab"]
    queue.enqueue_batch(range(10))
    unread = queue.memory_usage
    messages = [message for member in members for message in member.read_batch(10)]
    assert 0 < queue.memory_usage - unread <= len(messages) * 56
    each = (queue.memory_usage - unread) / len(messages)
    for settled, message in enumerate(messages, 1):
        message.ack()
        assert queue.memory_usage == unread + each * (len(messages) - settled)


def test_a_full_queue_can_be_read_and_accepts_more_once_enough_is_settled(make_queue, run_thread):
    queue = make_queue(retention="interest", max_bytes=10_000, sizer=lambda payload: 60)
    member = queue.add_group("workers", ack_wait=LONG).add_consumer()
    queue.enqueue_batch(range(100))
    assert queue.memory_usage == queue.max_bytes == 10_000
    messages = member.read_batch(100)
    assert len(messages) == 100
    assert queue.stats().memory_usage == 10_000
    producer = run_thread(queue.enqueue, "more", timeout=PATIENCE)
    for message in messages:
        message.ack()
        assert queue.memory_usage <= 10_000
    assert producer.result() == 100
    assert member.read().payload == "more"


@pytest.mark.parametrize("ending", ["close", "seek", "drop"])
def test_only_pending_deliveries_are_charged(make_queue, ending):
    queue = make_queue(max_items=10, overflow="drop_oldest", sizer=lambda payload: 100)
    group = queue.add_group("workers", ack_wait=LONG)
    queue.enqueue_batch(range(10))
    unread = queue.memory_usage
    member = group.add_consumer()
    assert len(member.read_batch(10)) == 10
    assert queue.memory_usage > unread
    if ending == "close":
        group.close()
    elif ending == "seek":
        member.seek("earliest")
    else:
        queue.enqueue_batch(range(10))
    assert queue.memory_usage == unread
