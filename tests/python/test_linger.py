"""A batch may wait to fill, and has a limit in bytes."""

import asyncio
import queue as stdlib_queue
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import LONG, acking_group
from helpers import PATIENCE, expire_all
from mpmc_queue import ConsumerClosedError, MessagesMissedError, Queue, QueueClosedError

SHORT = 0.05


def payloads(messages):
    return [message.payload for message in messages]


@pytest.fixture
def make_sized(make_queue):
    """A queue whose payloads are their own sizes."""

    def make():
        return make_queue(sizer=lambda payload: payload, max_bytes=1 << 30)

    return make


@pytest.fixture(params=["read_batch", "get_batch", "aread_batch", "aget_batch"])
def take(request):
    """Every way to read a batch, as a function that returns payloads."""

    def take(consumer, *args, **kwargs):
        method = getattr(consumer, request.param)
        if request.param.startswith("a"):

            async def awaiting():
                return await method(*args, **{"timeout": 0.0, **kwargs})

            batch = asyncio.run(awaiting())
        else:
            batch = method(*args, **kwargs)
        return payloads(batch) if "read" in request.param else batch

    return take


def test_a_batch_holds_no_more_bytes_than_max_bytes(make_sized, take):
    sized = make_sized()
    consumer = sized.add_consumer()
    sized.enqueue_batch([10, 20, 30, 5, 1])
    assert take(consumer, 9, max_bytes=30) == [10, 20]
    assert take(consumer, 9, max_bytes=36) == [30, 5, 1]
    assert take(consumer, 9, max_bytes=36) == []


def test_a_batch_holds_one_message_however_large(make_sized, take):
    sized = make_sized()
    consumer = sized.add_consumer()
    sized.enqueue_batch([10, 20, 30])
    assert take(consumer, 9, max_bytes=1) == [10]
    assert take(consumer, 9, max_bytes=1) == [20]
    assert take(consumer, 1, max_bytes=100) == [30]


def test_max_bytes_applies_over_many_slices(make_sized, take):
    sized = make_sized()
    consumer = sized.add_consumer()
    sized.enqueue_batch([3] * 30_000)
    assert len(take(consumer, 100_000, max_bytes=3 * 9_000 + 2)) == 9_000
    assert consumer.position == 9_000


def test_max_bytes_counts_redeliveries_too(make_queue, take):
    queue = make_queue(sizer=lambda payload: payload)
    member = queue.add_group("workers", ack_wait=LONG).add_consumer()
    queue.enqueue_batch([5, 6, 7, 8])
    for message in member.read_batch(2):
        message.nack()
    assert take(member, 9, max_bytes=18) == [5, 6, 7]
    assert take(member, 9, max_bytes=18) == [8]


def test_a_batch_that_is_full_does_not_linger(make_sized, take):
    sized = make_sized()
    consumer = sized.add_consumer()
    sized.enqueue_batch([10, 20, 30])
    assert take(consumer, 2, linger=PATIENCE) == [10, 20]
    sized.enqueue(10)
    assert take(consumer, 9, linger=PATIENCE, max_bytes=40) == [30, 10]


def test_without_a_message_a_batch_does_not_linger(make_queue, take):
    assert take(make_queue().add_consumer(), 2, linger=PATIENCE) == []


def test_a_batch_that_does_not_fill_returns_after_linger(make_queue, take):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    began = time.monotonic()
    assert take(consumer, 2, linger=SHORT) == ["a"]
    assert time.monotonic() - began >= SHORT


def test_a_batch_returns_as_soon_as_it_is_full(make_queue, take, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    taking = run_thread(take, consumer, 3, timeout=PATIENCE, linger=PATIENCE)
    for payload in "abc":
        queue.enqueue(payload)
    assert taking.result() == list("abc")


def test_a_message_that_does_not_fit_ends_the_linger(make_sized, take, run_thread):
    sized = make_sized()
    consumer = sized.add_consumer()
    taking = run_thread(take, consumer, 9, timeout=PATIENCE, linger=PATIENCE, max_bytes=25)
    sized.enqueue_batch([10, 10])
    sized.enqueue(10)
    assert taking.result() == [10, 10]
    assert consumer.get() == 10


def test_closing_ends_the_linger(make_queue, take, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    taking = run_thread(take, consumer, 9, linger=PATIENCE)
    queue.close()
    assert taking.result() == ["a"]
    with pytest.raises(QueueClosedError):
        take(consumer, 9, linger=PATIENCE)


def test_removal_ends_the_linger(make_queue, take, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    taking = run_thread(take, consumer, 9, linger=PATIENCE)
    consumer.close()
    with pytest.raises(ConsumerClosedError):
        taking.result()


def test_a_gap_ends_the_linger_and_is_reported_first(make_queue, take, run_thread):
    queue = make_queue(max_items=3, overflow="drop_oldest")
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("ab")
    taking = run_thread(take, consumer, 9, linger=PATIENCE)
    queue.enqueue_batch("cd")
    with pytest.raises(MessagesMissedError):
        taking.result()
    assert take(consumer, 9) == list("bcd")


def test_nothing_is_taken_while_a_reader_lingers(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    taking = run_thread(consumer.get_batch, 2, timeout=SHORT, linger=4 * SHORT)
    taking.assert_waiting()
    assert (consumer.unread_count, consumer.position) == (1, 0)
    assert consumer.get() == "a", "others that share the consumer may read it"
    assert taking.result() == []


def test_messages_that_expire_meanwhile_are_not_in_the_batch(make_queue, run_thread):
    queue = make_queue(ttl=600)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    taking = run_thread(consumer.get_batch, 3, timeout=SHORT, linger=PATIENCE)
    taking.assert_waiting()
    expire_all(queue)
    assert consumer.missed_count == 1
    queue.enqueue_batch("bcd")
    assert taking.result() == list("bcd")


def test_a_reader_that_lingers_does_not_hold_up_others(make_queue, run_thread):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    queue.enqueue("a")
    taking = run_thread(first.get_batch, 3, linger=PATIENCE)
    taking.assert_waiting()
    assert second.get() == "a"
    queue.enqueue("b")
    assert second.get() == "b"
    queue.enqueue("c")
    assert taking.result() == list("abc")


def test_cancelling_a_linger_leaves_everything_unread(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        queue.enqueue("a")
        task = asyncio.create_task(consumer.aread_batch(2, linger=PATIENCE))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        queue.enqueue("b")
        return await consumer.aget_batch(2, linger=PATIENCE)

    assert asyncio.run(main()) == ["a", "b"]


def test_a_task_that_lingers_is_woken_once_for_its_batch(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        loop = asyncio.get_running_loop()
        calls = []
        tell = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args, **kwargs: (calls.append(args), tell(*args, **kwargs))[1]
        queue.enqueue(0)
        task = asyncio.create_task(consumer.aget_batch(50, linger=PATIENCE))
        for _ in range(5):
            await asyncio.sleep(0)
        for number in range(1, 50):
            queue.enqueue(number)
            await asyncio.sleep(0)
        return await task, len(calls)

    assert asyncio.run(main()) == (list(range(50)), 1)


def test_a_group_lingers_for_messages_that_its_members_may_get(run_thread):
    group = acking_group("a")
    member = group.add_consumer()
    taking = run_thread(member.read_batch, 3, linger=PATIENCE)
    group.queue.enqueue_batch("bc")
    assert payloads(taking.result()) == list("abc")


def test_members_that_linger_share_the_work(make_queue):
    queue = make_queue(max_bytes=1 << 30)
    group = queue.add_group("writers")
    written, lock = [], threading.Lock()

    def write(member):
        try:
            while True:
                batch = member.get_batch(50, timeout=None, linger=SHORT)
                with lock:
                    written.extend(batch)
        except QueueClosedError:
            pass

    threads = [threading.Thread(target=write, args=(group.add_consumer(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1000):
        queue.enqueue(number)
    queue.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(written) == list(range(1000))


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"linger": None}, TypeError, "linger"),
        ({"linger": True}, TypeError, "linger"),
        ({"linger": "1"}, TypeError, "linger"),
        ({"linger": -1}, ValueError, "linger"),
        ({"linger": float("nan")}, ValueError, "linger"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"max_bytes": -1}, ValueError, "max_bytes"),
        ({"max_bytes": True}, TypeError, "max_bytes"),
        ({"max_bytes": 1.5}, TypeError, "max_bytes"),
        ({"max_bytes": 2**63}, OverflowError, "max_bytes"),
    ],
)
def test_a_bad_argument_is_named_and_nothing_is_read(make_queue, take, arguments, error, named):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    with pytest.raises(error, match=named):
        take(consumer, 9, **arguments)
    assert consumer.unread_count == 1


def test_aget_raises_empty_after_the_timeout(make_queue):
    consumer = make_queue().add_consumer()

    async def main():
        with pytest.raises(stdlib_queue.Empty):
            await consumer.aget(timeout=0)
        with pytest.raises(stdlib_queue.Empty):
            await consumer.aget(timeout=SHORT)
        consumer.queue.enqueue("a")
        return await consumer.aget(timeout=SHORT), await consumer.aget_batch(3, timeout=SHORT)

    assert asyncio.run(main()) == ("a", [])


def test_async_with_closes_queues_consumers_and_groups():
    async def main():
        async with Queue("q") as queue:
            async with queue.add_consumer() as consumer, queue.add_group("group") as group:
                queue.enqueue("a")
                assert await consumer.aget() == "a"
                member = group.add_consumer()
            assert (queue.consumers, queue.get_group("group")) == ((), None)
            with pytest.raises(ConsumerClosedError):
                await consumer.aread()
            with pytest.raises(ConsumerClosedError):
                await member.aread()
        assert queue.closed
        with pytest.raises(ValueError, match="mine"):
            async with Queue("other") as other:
                raise ValueError("mine")
        assert other.closed

    asyncio.run(main())


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), max_size=20),
)
def test_any_batch_is_the_longest_that_fits(payloads, plan):
    with Queue("model", ttl=None, sizer=lambda payload: payload[0]) as queue:
        reader = queue.add_consumer()
        for number, (size, expires) in enumerate(payloads):
            if expires:
                queue.enqueue((size, number), ttl=1e-6)
            else:
                queue.enqueue((size, number))
        left = [(size, number) for number, (size, expires) in enumerate(payloads) if not expires]
        while len(queue) > len(left):
            queue.force_expiration()
        for limit, max_bytes in plan:
            count = 0
            while count < min(limit, len(left)) and (
                count == 0 or sum(size for size, _ in left[: count + 1]) <= max_bytes
            ):
                count += 1
            assert reader.get_batch(limit, max_bytes=max_bytes) == left[:count]
            del left[:count]
