"""Producing from an event loop, waiting for space there, and waiting for the readers."""

import asyncio
import time

import pytest

from harness import at_once, settled
from helpers import PATIENCE
from mpmc_queue import ItemLimitError, MemoryLimitError, QueueClosedError, QueueFullError


def full_queue(make_queue):
    """A queue with two messages and room for two. A read by its consumers makes room."""
    queue = make_queue(max_items=2, retention="interest")
    queue.enqueue_batch([0, 1])
    return queue


def test_aenqueue_returns_the_seq_without_suspending(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert at_once(queue.aenqueue("a")) == 0
    assert at_once(queue.aenqueue("b", timeout=5)) == 1
    assert at_once(queue.aenqueue_batch(["c", "d"])) == range(2, 4)
    assert consumer.get_batch(9) == ["a", "b", "c", "d"]


def test_an_empty_batch_is_an_empty_range(make_queue):
    queue = make_queue()
    assert len(at_once(queue.aenqueue_batch([]))) == 0
    assert queue.stats().enqueued == 0


def test_timeout_zero_refuses_without_suspending(make_queue):
    queue = full_queue(make_queue)
    with pytest.raises(ItemLimitError) as caught:
        at_once(queue.aenqueue(2, timeout=0))
    assert (caught.value.current, caught.value.max, caught.value.needed) == (2, 2, 1)
    with pytest.raises(ItemLimitError):
        at_once(queue.aenqueue_batch([2, 3], timeout=0.0))
    assert queue.stats().rejected == 3


def test_aenqueue_waits_for_space_by_default(make_queue, run_thread):
    async def main():
        queue = full_queue(make_queue)
        consumer = queue.add_consumer()
        task = asyncio.create_task(queue.aenqueue(2))
        await settled(task)
        assert run_thread(consumer.get).result() == 0
        assert await task == 2
        assert consumer.get_batch(9) == [1, 2]

    asyncio.run(main())


def test_aenqueue_batch_waits_until_all_of_it_fits(make_queue):
    async def main():
        queue = full_queue(make_queue)
        consumer = queue.add_consumer()
        task = asyncio.create_task(queue.aenqueue_batch([2, 3]))
        await settled(task)
        consumer.get()
        await settled(task)
        assert len(queue) == 1
        consumer.get()
        assert await task == range(2, 4)
        assert consumer.get_batch(9) == [2, 3]

    asyncio.run(main())


def test_a_raised_limit_lets_waiting_tasks_in(make_queue):
    async def main():
        queue = full_queue(make_queue)
        tasks = [asyncio.create_task(queue.aenqueue(number)) for number in (2, 3)]
        await settled(*tasks)
        queue.max_items = 4
        assert await asyncio.gather(*tasks) == [2, 3]

    asyncio.run(main())


def test_expiry_lets_a_waiting_task_in(make_queue):
    async def main():
        queue = make_queue(max_items=1, ttl=0.05)
        queue.enqueue(0)
        assert await asyncio.wait_for(queue.aenqueue(1), PATIENCE) == 1

    asyncio.run(main())


def test_aenqueue_is_refused_when_there_is_no_space_in_time(make_queue):
    async def main():
        queue = full_queue(make_queue)
        start = time.monotonic()
        with pytest.raises(QueueFullError):
            await queue.aenqueue(2, timeout=0.05)
        with pytest.raises(QueueFullError):
            await queue.aenqueue_batch([2, 3], timeout=0.05)
        assert 0.1 <= time.monotonic() - start < 10
        assert (len(queue), queue.stats().rejected, queue.stats().next_seq) == (2, 3, 2)

    asyncio.run(main())


def test_a_payload_that_could_never_fit_fails_at_once(make_queue):
    queue = make_queue(max_bytes=100_000, max_items=3)
    with pytest.raises(MemoryLimitError) as caught:
        at_once(queue.aenqueue(bytes(200_000), timeout=None))
    assert caught.value.max == 100_000 < caught.value.needed
    with pytest.raises(ItemLimitError):
        at_once(queue.aenqueue_batch([b""] * 4, timeout=None))
    assert len(queue) == 0


def test_closing_wakes_every_waiting_producer(make_queue, run_thread):
    async def main():
        queue = full_queue(make_queue)
        tasks = [asyncio.create_task(queue.aenqueue(2)), asyncio.create_task(queue.aenqueue_batch([2, 3]))]
        await settled(*tasks)
        run_thread(queue.close).result()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [QueueClosedError] * 2
        assert len(queue) == 2

    asyncio.run(main())


def test_a_closed_queue_refuses_without_suspending(make_queue):
    queue = make_queue()
    queue.close()
    for call in (lambda: queue.aenqueue(1), lambda: queue.aenqueue_batch([1]), lambda: queue.aenqueue_batch([])):
        with pytest.raises(QueueClosedError):
            at_once(call())


def test_an_error_in_the_iterable_reaches_the_awaiter_and_adds_nothing(make_queue):
    def broken():
        yield 1
        raise LookupError("mine")

    queue = make_queue()
    with pytest.raises(LookupError, match="mine"):
        at_once(queue.aenqueue_batch(broken()))
    assert len(queue) == 0


@pytest.mark.parametrize("bad", [-1, float("nan")])
def test_a_bad_timeout_is_a_value_error(make_queue, bad):
    queue = make_queue()
    for call in (
        lambda: queue.aenqueue(1, timeout=bad),
        lambda: queue.aenqueue_batch([1], timeout=bad),
        lambda: queue.ajoin(timeout=bad),
    ):
        with pytest.raises(ValueError, match="timeout"):
            at_once(call())
    assert len(queue) == 0


def test_ajoin_is_true_at_once_when_all_messages_are_read(make_queue):
    queue = make_queue()
    assert at_once(queue.ajoin()) is True
    consumer = queue.add_consumer()
    queue.enqueue(1)
    assert at_once(queue.ajoin(timeout=0)) is False
    consumer.read()
    assert at_once(queue.ajoin()) is True


def test_ajoin_waits_for_the_slowest_consumer(make_queue, run_thread):
    async def main():
        queue = make_queue()
        fast, slow = queue.add_consumer(), queue.add_consumer()
        queue.enqueue_batch([1, 2])
        task = asyncio.create_task(queue.ajoin())
        fast.read_batch(2)
        slow.read()
        await settled(task)
        run_thread(slow.read).result()
        assert await task is True

    asyncio.run(main())


def test_ajoin_is_false_after_the_timeout(make_queue):
    async def main():
        queue = make_queue()
        queue.add_consumer()
        queue.enqueue(1)
        start = time.monotonic()
        assert await queue.ajoin(timeout=0.05) is False
        assert 0.05 <= time.monotonic() - start < 10

    asyncio.run(main())


def test_ajoin_ends_when_the_slowest_consumer_is_removed_or_its_messages_expire(make_queue):
    async def main():
        queue = make_queue(ttl=None)
        straggler = queue.add_consumer()
        queue.enqueue(1)
        task = asyncio.create_task(queue.ajoin())
        await settled(task)
        straggler.close()
        assert await task is True
        queue.add_consumer()
        task = asyncio.create_task(queue.ajoin())
        await settled(task)
        queue.ttl = 0.001
        assert await asyncio.wait_for(task, PATIENCE) is True

    asyncio.run(main())


def test_producers_and_readers_in_one_loop_move_everything_through_a_small_queue(make_queue):
    async def main():
        queue = make_queue(max_items=3, retention="interest")
        consumers = [queue.add_consumer() for _ in range(3)]

        async def produce(producer):
            for number in range(100):
                await queue.aenqueue((producer, number))

        async def consume(index):
            return [message.payload async for message in consumers[index]]

        readers = [asyncio.create_task(consume(index)) for index in range(3)]
        await asyncio.gather(*(produce(producer) for producer in range(4)))
        assert await queue.ajoin(timeout=PATIENCE)
        queue.close()
        received = await asyncio.gather(*readers)
        assert received[0] == received[1] == received[2]
        for producer in range(4):
            assert [n for p, n in received[0] if p == producer] == list(range(100))

    asyncio.run(main())
