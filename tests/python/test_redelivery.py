"""Unsettled messages are delivered again: when, to which member, and how often."""

import asyncio
import threading
import time

import pytest

from harness import LONG, acking_group, ledger, settled
from helpers import PATIENCE, payloads
from mpmc_queue import QueueError


def test_nack_redelivers_to_the_next_reader_before_new_messages():
    group = acking_group("a", "b")
    one, other = group.add_consumer(), group.add_consumer()
    assert one.read().nack() is True
    assert ledger(group) == (0, 2, 0)
    again = other.read()
    assert (again.payload, again.seq, again.deliveries) == ("a", 0, 2)
    assert other.read().payload == "b"


def test_the_redelivery_is_a_new_message_object():
    group = acking_group("a")
    member = group.add_consumer()
    first = member.read()
    first.nack()
    second = member.read()
    assert (first.deliveries, second.deliveries) == (1, 2)
    assert (first.id, first.created_ns) == (second.id, second.created_ns)
    with pytest.raises(QueueError):
        first.ack()
    second.ack()
    assert group.pending_count == 0


def test_deliveries_are_counted_exactly():
    group = acking_group("a", "b")
    member = group.add_consumer()
    for expected in range(1, 20):
        message = member.read()
        assert (message.payload, message.deliveries) == ("a", expected)
        message.nack()
    message = member.read()
    message.ack()
    assert (message.deliveries, member.read().deliveries) == (20, 1)


def test_nack_with_a_delay_redelivers_after_it():
    group = acking_group("a")
    member = group.add_consumer()
    message = member.read()
    start = time.monotonic()
    message.nack(0.1)
    assert member.read() is None
    assert group.pending_count == 1
    again = member.read(timeout=PATIENCE)
    assert time.monotonic() - start >= 0.099
    assert (again.payload, again.deliveries) == ("a", 2)


def test_new_messages_are_delivered_while_a_nacked_one_waits():
    group = acking_group("a", "b")
    member = group.add_consumer()
    member.read().nack(LONG)
    assert member.read().payload == "b"
    assert member.read() is None


def test_a_message_not_acked_in_time_goes_to_a_blocked_member_after_ack_wait(run_thread):
    group = acking_group("a", ack_wait=0.25)
    one, other = group.add_consumer(), group.add_consumer()
    start = time.monotonic()
    assert one.read().deliveries == 1
    waiting = run_thread(lambda: (other.read(timeout=None), time.monotonic()))
    message, at = waiting.result()
    assert (message.payload, message.deliveries) == ("a", 2)
    assert 0.249 <= at - start < 5


@pytest.mark.thread_unsafe(reason="measures time")
def test_a_redelivery_is_on_time():
    """There is no polling: the best of a few tries is as precise as a wake-up can be. And it is never early."""
    group = acking_group("a", ack_wait=0.05)
    member = group.add_consumer()
    began = time.monotonic()
    member.read()
    late = []
    for _ in range(5):
        start = time.monotonic()  # this thread may have been suspended since the delivery
        assert member.read(timeout=PATIENCE) is not None
        late.append(time.monotonic() - start - 0.05)
    assert min(late) < 0.01, late
    assert time.monotonic() - began > 5 * 0.05 - 0.001


def test_a_blocked_member_wakes_for_a_nack_with_and_without_delay(run_thread):
    group = acking_group("a")
    one, other = group.add_consumer(), group.add_consumer()
    for delay in (0.0, 0.05):
        message = one.read(timeout=PATIENCE)
        waiting = run_thread(other.read, timeout=None)
        waiting.assert_waiting()
        message.nack(delay)
        waiting.result().nack()


def test_a_waiting_task_wakes_for_a_redelivery():
    group = acking_group("a", ack_wait=0.1)
    member = group.add_consumer()

    async def main():
        assert (await member.aread()).deliveries == 1
        task = asyncio.create_task(member.aread())
        await settled(task)
        message = await asyncio.wait_for(task, PATIENCE)
        assert message.deliveries == 2
        message.ack()

    asyncio.run(main())
    assert group.pending_count == 0


def test_a_cancelled_aread_leaves_nothing_pending():
    group = acking_group()
    member = group.add_consumer()

    async def main():
        task = asyncio.create_task(member.aread())
        await settled(task)
        group.queue.enqueue("a")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ledger(group) == (0, 1, 0)
        assert (await member.aread()).deliveries == 1

    asyncio.run(main())


def test_in_progress_restarts_ack_wait():
    group = acking_group("a", ack_wait=0.5)
    member = group.add_consumer()
    message = member.read()
    pause = threading.Event()
    start = time.monotonic()
    while time.monotonic() - start < 0.8:
        pause.wait(0.02)
        message.in_progress()
        assert member.read() is None
    last = time.monotonic()
    again = member.read(timeout=PATIENCE)
    assert again.deliveries == 2
    assert time.monotonic() - last >= 0.45
    again.ack()


def test_an_ack_in_time_prevents_the_redelivery():
    group = acking_group("a", ack_wait=0.5)
    member = group.add_consumer()
    member.read().ack()
    assert member.read(timeout=0.7) is None
    assert ledger(group) == (0, 0, 0)


@pytest.mark.parametrize("how", ["close", "remove_consumer", "with"])
def test_pending_messages_of_a_closed_member_are_redelivered_at_once(run_thread, how):
    group = acking_group("a", "b", "c")
    gone, stays = group.add_consumer(), group.add_consumer()
    held = gone.read_batch(2)
    stays.read().ack()
    waiting = run_thread(stays.read_batch, 2, timeout=None)
    waiting.assert_waiting()
    if how == "close":
        gone.close()
    elif how == "with":
        with gone:
            pass
    else:
        assert group.queue.remove_consumer(gone.id)
    again = waiting.result()
    again += stays.read_batch(9)
    assert sorted((message.payload, message.deliveries) for message in again) == [("a", 2), ("b", 2)]
    assert group.pending_count == 2
    assert [message.deliveries for message in held] == [1, 1]


def test_messages_a_closed_member_had_settled_are_not_redelivered():
    group = acking_group("a", "b")
    gone = group.add_consumer()
    gone.read().ack()
    gone.read()
    gone.close()
    assert payloads(group.add_consumer()) == ["b"]


def test_backoff_sets_the_wait_of_each_redelivery_and_its_last_value_repeats():
    backoff = [0.05, 0.2]
    group = acking_group("a", backoff=backoff)
    member = group.add_consumer()
    message = member.read()
    for wait in (0.05, 0.2, 0.2):
        start = time.monotonic()
        message.nack()
        message = member.read(timeout=PATIENCE)
        assert wait - 0.002 <= time.monotonic() - start < wait + 2
    assert message.deliveries == 4


def test_a_delay_longer_than_the_backoff_is_kept():
    group = acking_group("a", backoff=[0.01])
    member = group.add_consumer()
    message = member.read()
    start = time.monotonic()
    message.nack(0.15)
    assert member.read(timeout=PATIENCE).deliveries == 2
    assert time.monotonic() - start >= 0.148


def test_backoff_applies_to_messages_not_acked_in_time():
    group = acking_group("a", ack_wait=0.05, backoff=[0.3])
    member = group.add_consumer()
    start = time.monotonic()
    member.read()
    assert member.read(timeout=PATIENCE).deliveries == 2
    assert 0.298 <= time.monotonic() - start < 5
