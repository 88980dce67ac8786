"""Members of a group share one position. The group as a whole is one more independent reader."""

import asyncio
import uuid

import pytest

from harness import at_once, settled, together
from helpers import expire_all, payloads
from mpmc_queue import ConsumerClosedError, ConsumerGroup, MessagesMissedError, QueueClosedError


def test_each_message_goes_to_one_member(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(6))
    assert [one.get(), other.get(), other.get(), one.get()] == [0, 1, 2, 3]
    assert payloads(other) == [4, 5]
    assert one.read() is other.read() is None


def test_a_group_is_independent_of_consumers_and_other_groups(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    members = [queue.add_group(name).add_consumer() for name in ("a", "b")]
    queue.enqueue_batch(range(3))
    for reader in (consumer, *members):
        assert payloads(reader) == [0, 1, 2]


def test_members_share_one_position(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(5))
    one.read_batch(2)
    assert (one.position, other.position) == (2, 2)
    assert (group.unread_count, one.unread_count, other.unread_count) == (3, 3, 3)
    assert other.peek().payload == 2
    assert other.has_more_data()
    late = group.add_consumer()
    assert (late.position, late.get()) == (2, 2)


def test_a_group_has_name_members_and_counts(make_queue):
    queue = make_queue()
    group = queue.add_group("workers")
    assert isinstance(group, ConsumerGroup)
    assert (group.name, group.queue, group.members) == ("workers", queue, ())
    assert (group.pending_count, group.unread_count, group.missed_count) == (0, 0, 0)
    named, unnamed = group.add_consumer("first"), group.add_consumer()
    assert [member.id for member in group.members] == [named.id, unnamed.id]
    assert (named.name, unnamed.name, named.queue) == ("first", None, queue)
    assert named.group.name == "workers"
    assert (named.stats().group, queue.add_consumer().stats().group) == ("workers", None)
    assert queue.add_consumer().group is None


def test_groups_are_found_by_name_and_members_by_id(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    member = group.add_consumer()
    assert queue.get_group("g").name == "g"
    assert queue.get_group("other") is None
    assert queue.get_consumer(member.id).id == member.id
    assert queue.get_consumer(str(member.id)).group.name == "g"
    assert queue.get_consumer(uuid.uuid4()) is None
    found = {stats.id: stats.group for stats in queue.consumer_stats()}
    assert found[member.id] == "g"


def test_a_name_in_use_is_a_value_error(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    with pytest.raises(ValueError, match="g"):
        queue.add_group("g")
    assert queue.get_group("g").members == group.members
    group.close()
    assert queue.add_group("g").members == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"ack_wait": 0},
        {"ack_wait": -1},
        {"ack_wait": float("nan")},
        {"ack_wait": 1, "max_deliver": 0},
        {"ack_wait": 1, "max_deliver": -1},
        {"ack_wait": 1, "max_ack_pending": 0},
        {"ack_wait": 1, "backoff": [-1.0]},
        {"ack_wait": 1, "backoff": [float("nan")]},
        {"start": 1},
        {"start": "middle"},
    ],
    ids=str,
)
def test_a_bad_argument_is_a_value_error_and_adds_no_group(make_queue, bad):
    queue = make_queue()
    with pytest.raises(ValueError, match=r"."):
        queue.add_group("g", **bad)
    assert queue.get_group("g") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"ack_wait": True},
        {"ack_wait": "1"},
        {"ack_wait": 1, "max_deliver": True},
        {"ack_wait": 1, "dead_letter": "dead"},
    ],
    ids=str,
)
def test_an_argument_of_another_type_is_a_type_error_and_adds_no_group(make_queue, bad):
    queue = make_queue()
    with pytest.raises(TypeError):
        queue.add_group("g", **bad)
    assert queue.get_group("g") is None


@pytest.mark.parametrize(("start", "expected"), [("earliest", [0, 1, 2, 3]), ("latest", [3]), (1, [1, 2, 3])])
def test_a_group_starts_at_the_given_position(make_queue, start, expected):
    queue = make_queue()
    queue.enqueue_batch(range(3))
    member = queue.add_group("g", start=start).add_consumer()
    queue.enqueue(3)
    assert payloads(member) == expected


def test_a_group_without_members_keeps_its_position(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    with group.add_consumer() as member:
        queue.enqueue_batch(range(4))
        assert member.get() == 0
    assert (group.members, group.unread_count) == ((), 3)
    assert group.add_consumer().get() == 1


def test_closing_a_member_leaves_the_others(make_queue, run_thread):
    queue = make_queue()
    group = queue.add_group("g")
    gone, stays = group.add_consumer(), group.add_consumer()
    waiting, going = run_thread(stays.read, timeout=None), run_thread(gone.read, timeout=None)
    waiting.assert_waiting()
    gone.close()
    with pytest.raises(ConsumerClosedError):
        going.result()
    waiting.assert_waiting()
    assert [member.id for member in group.members] == [stays.id]
    assert queue.remove_consumer(gone) is False
    queue.enqueue(1)
    assert waiting.result().payload == 1


def test_closing_a_group_removes_it_and_wakes_its_members(make_queue, run_thread):
    queue = make_queue()
    group = queue.add_group("g")
    member = group.add_consumer()
    waiting = run_thread(member.read, timeout=None)
    waiting.assert_waiting()
    group.close()
    with pytest.raises(ConsumerClosedError):
        waiting.result()
    with pytest.raises(ConsumerClosedError):
        member.read()
    assert queue.get_group("g") is None
    assert queue.get_consumer(member.id) is None
    assert queue.join(timeout=0)
    group.close()


def test_without_ack_wait_a_delivery_settles_itself(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    member = group.add_consumer()
    queue.enqueue_batch(range(3))
    message = member.read()
    assert (message.deliveries, group.pending_count) == (1, 0)
    member.close()
    assert payloads(group.add_consumer()) == [1, 2]


def test_join_waits_for_the_group(make_queue, run_thread):
    queue = make_queue()
    member = queue.add_group("g").add_consumer()
    queue.enqueue(1)
    assert queue.join(timeout=0) is False
    waiting = run_thread(queue.join)
    waiting.assert_waiting()
    member.read()
    assert waiting.result() is True


def test_a_group_misses_messages_as_one_reader(make_queue):
    queue = make_queue(ttl=None)
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(5))
    one.read_batch(2)
    expire_all(queue)
    assert (group.missed_count, group.unread_count) == (3, 0)
    queue.enqueue_batch([5, 6])
    first, second = other.read(), one.read()
    assert [(first.payload, first.missed), (second.payload, second.missed)] == [(5, 3), (6, 0)]
    assert group.missed_count == 3


def test_the_audit_trail_names_the_member_that_read(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch("ab")
    first, second = one.read(), other.read()
    assert [event.consumer_id for event in first.events] == [None, one.id]
    assert [event.consumer_id for event in second.events] == [None, other.id]
    assert [seq for seq, _ in one.history()] == [0]
    assert [seq for seq, _ in other.history()] == [1]


def test_a_blocked_member_wakes_for_a_message(make_queue, run_thread):
    queue = make_queue()
    group = queue.add_group("g")
    waiting = [run_thread(group.add_consumer().get) for _ in range(3)]
    waiting[-1].assert_waiting()
    queue.enqueue_batch("abc")
    assert sorted(worker.result() for worker in waiting) == ["a", "b", "c"]


def test_members_in_a_loop_share_too(make_queue):
    queue = make_queue()
    group = queue.add_group("g")

    async def main():
        tasks = [asyncio.create_task(group.add_consumer().aget()) for _ in range(4)]
        await settled(*tasks)
        queue.enqueue_batch(range(4))
        assert sorted(await asyncio.gather(*tasks)) == [0, 1, 2, 3]
        queue.enqueue("there")
        assert at_once(group.members[0].aread()).payload == "there"

    asyncio.run(main())


def test_members_may_drain_a_closed_queue(make_queue):
    queue = make_queue()
    group = queue.add_group("g")
    one, other = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(2))
    queue.close()
    assert (one.get(), other.get()) == (0, 1)
    for member in (one, other):
        with pytest.raises(QueueClosedError):
            member.read(timeout=None)
    assert list(one) == []


def test_a_group_may_be_added_to_a_closed_queue_to_drain_it(make_queue):
    queue = make_queue()
    queue.enqueue_batch(range(2))
    queue.close()
    assert [message.payload for message in queue.add_group("g").add_consumer()] == [0, 1]


def test_threads_of_several_groups_share_within_and_repeat_across(make_queue):
    total = 1500
    queue = make_queue(max_items=50, retention="interest")
    groups = [queue.add_group(name) for name in "ab"]
    members = [group.add_consumer() for group in groups for _ in range(3)]

    def produce():
        for number in range(total):
            queue.enqueue(number, timeout=None)
        queue.close()

    def read(member):
        return [message.payload for message in member]

    *shares, _ = together(*(lambda member=member: read(member) for member in members), produce)
    for of_group in (shares[:3], shares[3:]):
        assert all(share == sorted(share) for share in of_group)
        assert sorted(number for share in of_group for number in share) == list(range(total))
    for group in groups:
        assert sum(member.stats().total_items_read for member in group.members) == total
        assert (group.missed_count, group.unread_count, group.pending_count) == (0, 0, 0)


def test_a_consumer_beside_a_group_may_still_raise_for_what_it_missed(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    member = queue.add_group("g").add_consumer()
    queue.enqueue(1)
    expire_all(queue)
    queue.enqueue(2)
    assert member.get() == 2
    with pytest.raises(MessagesMissedError):
        consumer.read()
    assert consumer.get() == 2
