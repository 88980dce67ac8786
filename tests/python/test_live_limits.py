"""max_bytes and max_items may be changed while messages are held and producers wait."""

import asyncio

import pytest

from harness import settled
from helpers import payloads
from mpmc_queue import ItemLimitError, MemoryLimitError


def test_a_limit_below_the_messages_held_removes_nothing_and_admits_nothing(make_queue):
    queue = make_queue(retention="interest")
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(5))
    queue.max_items = 3
    assert (queue.max_items, queue.stats().max_items, len(queue)) == (3, 3, 5)
    with pytest.raises(ItemLimitError) as caught:
        queue.enqueue(5)
    assert (caught.value.current, caught.value.max, caught.value.needed) == (5, 3, 1)
    consumer.read_batch(2)
    with pytest.raises(ItemLimitError):
        queue.enqueue(5)
    consumer.read()
    assert queue.enqueue(5) == 5
    assert payloads(consumer) == [3, 4, 5]


def test_max_bytes_below_the_bytes_held_removes_nothing_and_admits_nothing(make_queue):
    queue = make_queue(max_bytes=10_000_000, retention="interest", sizer=lambda payload: 1_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(5))
    held = queue.memory_usage
    queue.max_bytes = 3_000_000
    assert (queue.max_bytes, queue.memory_usage, len(queue)) == (3_000_000, held, 5)
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue(5)
    assert (caught.value.current, caught.value.max) == (held, 3_000_000)
    assert caught.value.needed >= 1_000_000
    consumer.read_batch(4)
    assert queue.enqueue(5) == 5
    assert queue.memory_usage <= 3_000_000


def test_a_payload_that_does_not_fit_a_lowered_limit_fails_at_once(make_queue):
    queue = make_queue(max_bytes=10_000_000, sizer=lambda payload: 1_000_000)
    queue.max_bytes = 500_000
    with pytest.raises(MemoryLimitError):
        queue.enqueue(1, timeout=None)
    queue.max_bytes = 10_000_000
    queue.max_items = 1
    with pytest.raises(ItemLimitError):
        queue.enqueue_batch([1, 2], timeout=None)


@pytest.mark.parametrize("more", [3, None])
def test_raising_max_items_wakes_as_many_producers_as_fit(make_queue, more):
    queue = make_queue(max_items=1)
    queue.enqueue(0)

    async def main():
        tasks = [asyncio.create_task(queue.aenqueue(number)) for number in (1, 2, 3)]
        await settled(*tasks)
        queue.max_items = more
        admitted = tasks[: 2 if more else 3]
        assert await asyncio.gather(*admitted) == [1, 2, 3][: len(admitted)]
        await settled(*tasks[len(admitted) :])
        queue.max_items = 10
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_raising_max_bytes_wakes_a_blocked_producer(make_queue, run_thread):
    queue = make_queue(max_bytes=1_500_000, sizer=lambda payload: 1_000_000)
    queue.enqueue(0)
    waiting = run_thread(queue.enqueue, 1, timeout=None)
    waiting.assert_waiting()
    queue.max_bytes = 1_600_000
    waiting.assert_waiting()
    queue.max_bytes = 3_000_000
    assert waiting.result() == 1


def test_raising_one_limit_does_not_lift_the_other(make_queue, run_thread):
    queue = make_queue(max_items=1, max_bytes=1_500_000, sizer=lambda payload: 1_000_000)
    queue.enqueue(0)
    waiting = run_thread(queue.enqueue, 1, timeout=None)
    queue.max_items = None
    waiting.assert_waiting()
    assert len(queue) == 1
    queue.max_bytes = 3_000_000
    assert waiting.result() == 1


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), ("1", TypeError), (2**63, OverflowError)],
)
@pytest.mark.parametrize("limit", ["max_items", "max_bytes"])
def test_a_bad_limit_is_refused_and_changes_nothing(make_queue, limit, value, error):
    queue = make_queue(max_items=5)
    before = getattr(queue, limit)
    with pytest.raises(error):
        setattr(queue, limit, value)
    assert getattr(queue, limit) == before
