"""Order between consumers: one reads a message only after others are done with it."""

import asyncio
import gc
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import LONG
from helpers import PATIENCE, expire_all
from mpmc_queue import Queue, QueueClosedError, wait_any


@pytest.fixture
def make_chain(make_queue):
    """Journal, then replica, then business logic."""

    def make():
        queue = make_queue()
        journal = queue.add_consumer("journal")
        replica = queue.add_consumer("replica", after=[journal])
        logic = queue.add_consumer("logic", after=[replica])
        return queue, journal, replica, logic

    return make


def test_consumers_in_a_chain_read_one_after_the_other(make_chain):
    chain = make_chain()
    queue, journal, replica, logic = chain
    queue.enqueue_batch("abc")
    assert (replica.read(), logic.read()) == (None, None)
    assert journal.get_batch(2) == ["a", "b"]
    assert logic.read() is None
    assert replica.get_batch(9) == ["a", "b"]
    assert logic.get_batch(1) == ["a"]
    assert journal.get() == "c"
    assert replica.get() == "c"
    assert logic.get_batch(9) == ["b", "c"]


def test_a_diamond_waits_for_both_sides(make_queue):
    queue = make_queue()
    top = queue.add_consumer()
    left, right = queue.add_consumer(after=[top]), queue.add_consumer(after=[top])
    bottom = queue.add_consumer(after=[left, right])
    queue.enqueue_batch(range(10))
    top.get_batch(8)
    left.get_batch(5)
    assert bottom.read() is None
    right.get_batch(3)
    assert bottom.get_batch(9) == [0, 1, 2]
    right.get_batch(9)
    assert bottom.get_batch(9) == [3, 4]


def test_peek_and_has_more_data_respect_after_and_unread_count_does_not(make_chain):
    chain = make_chain()
    queue, journal, replica, _ = chain
    queue.enqueue_batch("ab")
    assert (replica.has_more_data(), replica.peek(), replica.unread_count) == (False, None, 2)
    journal.read()
    assert (replica.has_more_data(), replica.peek().payload, replica.unread_count) == (True, "a", 2)
    assert replica.read_latest().payload == "a"
    assert replica.get_batch(9, linger=0.01) == []


@pytest.mark.parametrize("read", ["read", "aread", "wait_any", "linger"])
def test_a_waiting_reader_wakes_when_its_slowest_predecessor_has_read(make_queue, run_thread, read):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    last = queue.add_consumer(after=[first, second])
    waits = {
        "read": lambda: last.read(timeout=PATIENCE).payload,
        "aread": lambda: asyncio.run(last.aget(timeout=PATIENCE)),
        "wait_any": lambda: wait_any([last], timeout=PATIENCE)[0].get_nowait(),
        "linger": lambda: last.get_batch(1, timeout=PATIENCE, linger=PATIENCE)[0],
    }
    waiting = run_thread(waits[read])
    queue.enqueue("a")
    first.read()
    waiting.assert_waiting()
    second.read()
    assert waiting.result() == "a"


def test_an_acking_group_is_done_with_a_message_once_it_is_settled(make_queue, run_thread):
    queue = make_queue()
    workers = queue.add_group("workers", ack_wait=LONG)
    member = workers.add_consumer()
    last = queue.add_consumer(after=[workers])
    queue.enqueue_batch("abc")
    a, b, c = member.read_batch(3)
    assert last.read() is None
    b.ack()
    assert last.read() is None
    waiting = run_thread(last.read, timeout=PATIENCE)
    waiting.assert_waiting()
    a.ack()
    assert waiting.result().payload == "a"
    assert last.get_batch(9) == ["b"]
    c.nack()
    assert last.read() is None
    member.read().term()
    assert last.get_batch(9) == ["c"]


def test_after_a_member_means_after_its_group(make_queue):
    queue = make_queue()
    group = queue.add_group("group")
    one, two = group.add_consumer(), group.add_consumer()
    last = queue.add_consumer(after=[one])
    queue.enqueue_batch("ab")
    two.read()
    assert last.get_batch(9) == ["a"]
    one.close()
    assert last.read() is None
    two.read()
    assert last.get() == "b"


def test_a_group_can_follow_others(make_queue):
    queue = make_queue()
    first = queue.add_consumer()
    for options in ({}, {"ack_wait": LONG}):
        member = queue.add_group(f"group {options}", after=[first], **options).add_consumer()
        assert member.read() is None
    queue.enqueue_batch("ab")
    members = [consumer for consumer in queue.consumers if consumer.group is not None]
    assert [member.read() for member in members] == [None, None]
    first.read()
    assert [member.get_batch(9) for member in members] == [["a"], ["a"]]


def test_a_removed_predecessor_holds_nobody_up(make_chain, run_thread):
    chain = make_chain()
    queue, journal, replica, logic = chain
    queue.enqueue_batch("ab")
    waiting = run_thread(replica.read, timeout=PATIENCE)
    waiting.assert_waiting()
    journal.close()
    assert waiting.result().payload == "a"
    replica.close()
    assert logic.get_batch(9) == ["a", "b"]


def test_a_closed_group_holds_nobody_up(make_queue):
    queue = make_queue()
    group = queue.add_group("group", ack_wait=LONG)
    member = group.add_consumer()
    last = queue.add_consumer(after=[group])
    queue.enqueue("a")
    member.read()
    assert last.read() is None
    group.close()
    assert last.get() == "a"


def test_an_ephemeral_predecessor_is_not_kept_alive(make_queue):
    queue = make_queue()
    last = queue.add_consumer(after=[queue.add_consumer(ephemeral=True)])
    gc.collect()
    queue.enqueue("a")
    assert (queue.consumers, last.get()) == ((last,), "a")


def test_a_predecessor_that_started_after_a_message_does_not_hold_it_up(make_queue):
    queue = make_queue()
    queue.enqueue_batch("ab")
    late = queue.add_consumer(start="latest")
    last = queue.add_consumer(after=[late])
    queue.enqueue("c")
    assert last.get_batch(9) == ["a", "b"]
    late.read()
    assert last.get() == "c"


def test_missed_messages_do_not_hold_up_the_next_consumer(make_queue):
    queue = make_queue()
    first = queue.add_consumer()
    last = queue.add_consumer(after=[first])
    queue.enqueue_batch("ab")
    expire_all(queue)
    queue.enqueue("c")
    assert last.read() is None
    assert first.get() == "c"
    message = last.read()
    assert (message.payload, message.missed) == ("c", 2)
    assert (first.missed_count, last.missed_count) == (2, 2)


def test_pending_messages_that_a_group_lost_do_not_hold_up_the_next_consumer(make_queue, run_thread):
    queue = make_queue(ttl=None)
    group = queue.add_group("group", ack_wait=LONG)
    member = group.add_consumer()
    last = queue.add_consumer(after=[group])
    queue.enqueue("a", ttl=0.2)
    queue.enqueue("b")
    member.read()
    member.read().ack()
    assert last.read() is None
    waiting = run_thread(last.read, timeout=PATIENCE)
    message = waiting.result()
    assert (message.payload, message.missed) == ("b", 1)


def test_dropped_messages_are_counted_exactly(make_queue):
    queue = make_queue(max_items=3, overflow="drop_oldest")
    first = queue.add_consumer()
    last = queue.add_consumer(after=[first])
    queue.enqueue_batch("abc")
    first.get_batch(2)
    queue.enqueue_batch("de")
    assert last.read() is None
    assert last.missed_count == 2
    assert first.get_batch(9) == ["c", "d", "e"]
    assert last.get_batch(9) == ["c", "d", "e"]


def test_a_predecessor_that_seeks_back_holds_up_only_unread_messages(make_chain):
    chain = make_chain()
    queue, journal, replica, _ = chain
    queue.enqueue_batch("abcd")
    journal.get_batch(9)
    assert replica.get_batch(2) == ["a", "b"]
    journal.seek(1)
    assert replica.read() is None
    assert journal.get_batch(2) == ["b", "c"]
    assert replica.get_batch(9) == ["c"]
    journal.seek("latest")
    assert replica.get_batch(9) == ["d"]


def test_interest_frees_a_message_when_the_last_in_the_chain_has_read_it(make_queue):
    queue = make_queue(retention="interest")
    first = queue.add_consumer()
    last = queue.add_consumer(after=[first])
    queue.enqueue_batch("ab")
    first.get_batch(9)
    assert len(queue) == 2
    last.get_batch(9)
    assert len(queue) == 0


def test_after_close_messages_that_were_held_up_can_still_be_read(make_chain):
    chain = make_chain()
    queue, journal, replica, _ = chain
    queue.enqueue("a")
    queue.close()
    assert replica.read() is None
    assert journal.get() == "a"
    assert replica.get() == "a"
    for consumer in (journal, replica):
        with pytest.raises(QueueClosedError):
            consumer.read()


def ends_of(reader):
    """The error that ends a waiting call, by each kind of call."""

    def ended(call):
        with pytest.raises(QueueClosedError):
            call()
        return True

    return [
        lambda: ended(lambda: reader.read(timeout=PATIENCE)),
        lambda: ended(lambda: asyncio.run(reader.aread(timeout=PATIENCE))),
        lambda: wait_any([reader], timeout=PATIENCE) == [reader],
    ]


def test_in_a_closed_queue_a_wait_ends_when_the_messages_expire(make_queue, run_thread):
    queue = make_queue()
    reader = queue.add_consumer(after=[queue.add_consumer()])
    queue.enqueue("a")
    queue.close()
    waiting = [run_thread(call) for call in ends_of(reader)]
    for thread in waiting:
        thread.assert_waiting()
    expire_all(queue)
    assert [thread.result() for thread in waiting] == [True, True, True]


def test_in_a_closed_queue_a_wait_ends_when_another_thread_has_read_the_last_message(make_queue, run_thread):
    queue = make_queue()
    first = queue.add_consumer()
    reader = queue.add_consumer(after=[first])
    queue.enqueue("a")
    queue.close()
    waiting = [run_thread(reader.read, timeout=PATIENCE) for _ in range(3)]
    for thread in waiting:
        thread.assert_waiting()
    first.read()
    results = []
    for thread in waiting:
        try:
            results.append(thread.result().payload)
        except QueueClosedError:
            results.append("closed")
    assert sorted(results) == ["a", "closed", "closed"]


def test_join_waits_for_the_whole_chain(make_chain):
    chain = make_chain()
    queue, journal, replica, logic = chain
    queue.enqueue("a")
    for consumer in (journal, replica, logic):
        assert queue.join(timeout=0) is False
        consumer.read()
    assert queue.join(timeout=0) is True


def test_threads_in_a_chain_read_everything_in_order(make_queue):
    queue = make_queue(max_bytes=1 << 30)
    stages = [queue.add_consumer()]
    for _ in range(3):
        stages.append(queue.add_consumer(after=[stages[-1]]))
    read = [[] for _ in stages]

    def collect(stage):
        while True:
            try:
                message = stages[stage].read(timeout=PATIENCE)
            except QueueClosedError:
                return
            read[stage].append(message.payload)

    threads = [threading.Thread(target=collect, args=(stage,)) for stage in range(len(stages))]
    for thread in threads:
        thread.start()
    for number in range(2000):
        queue.enqueue(number)
    queue.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert read == [list(range(2000))] * len(stages)


@pytest.mark.parametrize(
    ("after", "error"),
    [
        (lambda one, other: [other], ValueError),
        (lambda one, other: one, TypeError),
        (lambda one, other: [None], TypeError),
        (lambda one, other: [one, "two"], TypeError),
        (lambda one, other: 5, TypeError),
        (lambda one, other: "one", TypeError),
    ],
)
def test_a_bad_argument_is_named_and_adds_nothing(make_queue, after, error):
    queue = make_queue()
    one, other = queue.add_consumer(), Queue("other").add_consumer()
    for add in (queue.add_consumer, queue.add_group):
        with pytest.raises(error, match="after"):
            add("name", after=after(one, other))
    assert (queue.consumers, queue.get_group("name")) == ((one,), None)


def test_a_predecessor_removed_before_does_not_count(make_queue):
    queue = make_queue()
    gone = queue.add_consumer()
    gone.close()
    last = queue.add_consumer(after=[gone])
    queue.enqueue("a")
    assert last.get() == "a"


def newest(parents, number):
    """Up to two of the consumers that were added before a new one."""
    return sorted({parent % number for parent in parents}) if number else []


steps = st.one_of(
    st.tuples(st.just("enqueue"), st.integers(1, 3)),
    st.tuples(st.just("read"), st.integers(0, 5), st.integers(1, 4)),
    st.tuples(st.just("seek"), st.integers(0, 5), st.integers(0, 20)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
)


@given(st.lists(st.lists(st.integers(0, 9), max_size=2), min_size=2, max_size=6), st.lists(steps, max_size=40))
def test_any_order_of_consumers_agrees_with_a_model(shape, plan):
    with Queue("model", ttl=None) as queue:
        before, consumers = [], []
        for number, parents in enumerate(shape):
            before.append(set(newest(parents, number)))
            consumers.append(queue.add_consumer(after=[consumers[parent] for parent in before[-1]]))
        positions, enqueued = [0] * len(shape), 0
        for step in plan:
            if step[0] == "enqueue":
                queue.enqueue_batch(range(enqueued, enqueued + step[1]))
                enqueued += step[1]
                continue
            index = step[1] % len(shape)
            if positions[index] is None:
                continue
            if step[0] == "read":
                allowed = min((positions[parent] for parent in before[index]), default=enqueued)
                expected = list(range(positions[index], min(allowed, positions[index] + step[2])))
                assert consumers[index].has_more_data() is bool(expected)
                assert consumers[index].get_batch(step[2]) == expected
                positions[index] += len(expected)
            elif step[0] == "seek":
                positions[index] = min(step[2], enqueued)
                consumers[index].seek(positions[index])
            else:
                positions[index] = None
                consumers[index].close()
                for parents in before:
                    parents.discard(index)
            assert queue.join(timeout=0) is all(position in (None, enqueued) for position in positions)
