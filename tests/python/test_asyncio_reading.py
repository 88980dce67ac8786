"""Reading from an event loop: what it returns, when it waits, and when it does not."""

import asyncio
import time

import pytest

from harness import at_once, settled
from helpers import PATIENCE
from mpmc_queue import ConsumerClosedError, MessagesMissedError, QueueClosedError


def test_aread_returns_the_next_message(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        queue.enqueue("a")
        queue.enqueue("b")
        message = await consumer.aread()
        assert message is not None
        assert (message.payload, message.seq, consumer.position) == ("a", 0, 1)
        assert (await consumer.aread()).payload == "b"

    asyncio.run(main())


def test_available_messages_are_read_without_suspending(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(8))
    assert at_once(consumer.aread()).payload == 0
    assert at_once(consumer.aread(timeout=5)).payload == 1
    assert [m.payload for m in at_once(consumer.aread_batch(3))] == [2, 3, 4]
    assert at_once(consumer.aget()) == 5
    assert at_once(anext(consumer)).payload == 6
    assert at_once(consumer.aread_batch(99, timeout=5))[0].payload == 7


def test_timeout_zero_never_suspends(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert at_once(consumer.aread(timeout=0)) is None
    assert at_once(consumer.aread_batch(5, timeout=0.0)) == []
    assert at_once(consumer.atake_missed(timeout=0)) == 0


def test_pending_errors_are_raised_without_suspending(make_queue):
    queue = make_queue()
    drained, removed = queue.add_consumer(), queue.add_consumer()
    removed.close()
    queue.close()
    for call in (drained.aread, lambda: drained.aread_batch(3), drained.aget):
        with pytest.raises(QueueClosedError):
            at_once(call())
    for call in (removed.aread, lambda: removed.aread_batch(3), removed.aget):
        with pytest.raises(ConsumerClosedError):
            at_once(call())


def test_aread_waits_for_a_message_from_its_own_loop(make_queue):
    async def main():
        queue = make_queue()
        task = asyncio.create_task(queue.add_consumer().aread())
        await settled(task)
        queue.enqueue("late")
        assert (await task).payload == "late"

    asyncio.run(main())


def test_aread_waits_for_a_message_from_a_thread(make_queue, run_thread):
    async def main():
        queue = make_queue()
        task = asyncio.create_task(queue.add_consumer().aread())
        await settled(task)
        run_thread(queue.enqueue, "from outside").result()
        assert (await task).payload == "from outside"

    asyncio.run(main())


def test_aread_returns_none_after_the_timeout(make_queue):
    async def main():
        consumer = make_queue().add_consumer()
        start = time.monotonic()
        assert await consumer.aread(timeout=0.05) is None
        assert await consumer.aread_batch(9, timeout=0.05) == []
        assert await consumer.atake_missed(timeout=0.05) == 0
        assert 0.15 <= time.monotonic() - start < 10
        assert consumer.position == 0

    asyncio.run(main())


def test_a_message_in_time_beats_the_timeout(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        asyncio.get_running_loop().call_later(0.01, queue.enqueue, 7)
        start = time.monotonic()
        message = await consumer.aread(timeout=PATIENCE)
        assert message is not None
        assert message.payload == 7
        assert time.monotonic() - start < PATIENCE / 2

    asyncio.run(main())


def test_aread_batch_waits_for_the_first_message_then_takes_those_available(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        task = asyncio.create_task(consumer.aread_batch(4))
        await settled(task)
        queue.enqueue_batch(range(6))
        assert [m.payload for m in await task] == [0, 1, 2, 3]
        assert [m.payload for m in await consumer.aread_batch(4)] == [4, 5]

    asyncio.run(main())


def test_aget_waits_for_the_bare_payload(make_queue):
    async def main():
        queue = make_queue()
        payload = object()
        task = asyncio.create_task(queue.add_consumer().aget())
        await settled(task)
        queue.enqueue(payload)
        assert await task is payload

    asyncio.run(main())


def test_async_for_ends_when_the_queue_is_closed_and_drained(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        queue.enqueue_batch(range(3))

        async def collect():
            return [message.payload async for message in consumer]

        task = asyncio.create_task(collect())
        await settled(task)
        queue.enqueue_batch(range(3, 6))
        queue.close()
        assert await task == [0, 1, 2, 3, 4, 5]

    asyncio.run(main())


def test_async_for_ends_at_once_when_the_queue_is_closed_immediately(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        queue.enqueue_batch(range(10))
        seen = []
        async for message in consumer:
            seen.append(message.payload)
            queue.close(immediate=True)
        assert seen == [0]

    asyncio.run(main())


def test_closing_wakes_every_waiting_reader(make_queue, run_thread):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(call) for call in (consumer.aread(), consumer.aread_batch(2), consumer.aget())]
        await settled(*tasks)
        run_thread(queue.close).result()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [QueueClosedError] * 3

    asyncio.run(main())


def test_removing_a_consumer_wakes_its_readers_and_no_others(make_queue, run_thread):
    async def main():
        queue = make_queue()
        removed, kept = queue.add_consumer(), queue.add_consumer()
        gone = [asyncio.create_task(call) for call in (removed.aread(), removed.aget(), removed.atake_missed())]
        stays = asyncio.create_task(kept.aread())
        await settled(*gone, stays)
        run_thread(removed.close).result()
        results = await asyncio.gather(*gone, return_exceptions=True)
        assert [type(result) for result in results] == [ConsumerClosedError] * 3
        await settled(stays)
        queue.enqueue(1)
        assert (await stays).payload == 1

    asyncio.run(main())


def test_tasks_that_share_a_consumer_get_each_message_once(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(consumer.aread()) for _ in range(50)]
        await settled(*tasks)
        for number in range(50):
            queue.enqueue(number)
        messages = await asyncio.gather(*tasks)
        assert sorted(message.payload for message in messages) == list(range(50))

    asyncio.run(main())


def test_tasks_with_their_own_consumers_all_get_the_message(make_queue):
    async def main():
        queue = make_queue()
        tasks = [asyncio.create_task(queue.add_consumer().aread()) for _ in range(50)]
        await settled(*tasks)
        queue.enqueue("all")
        messages = await asyncio.gather(*tasks)
        assert [message.payload for message in messages] == ["all"] * 50
        assert len({message.id for message in messages}) == 1

    asyncio.run(main())


def test_wait_for_and_timeout_of_asyncio_work(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.aread(), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await consumer.aget()
        queue.enqueue(1)
        queue.enqueue(2)
        assert (await asyncio.wait_for(consumer.aread(), PATIENCE)).payload == 1
        async with asyncio.timeout(PATIENCE):
            assert await consumer.aget() == 2

    asyncio.run(main())


def test_a_task_group_can_mix_every_call(make_queue):
    async def main():
        queue = make_queue()
        first, second, third = (queue.add_consumer() for _ in range(3))
        async with asyncio.TaskGroup() as group:
            one = group.create_task(first.aread())
            two = group.create_task(second.aget())
            three = group.create_task(third.aread_batch(2))
            group.create_task(queue.aenqueue_batch([5, 6]))
        assert one.result().payload == two.result() == 5
        assert [m.payload for m in three.result()] == [5, 6]

    asyncio.run(main())


def test_a_consumer_can_be_read_from_loops_and_threads_alike(make_queue, run_thread):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        task = asyncio.create_task(consumer.aread())
        await settled(task)
        worker = run_thread(consumer.read, timeout=None)
        queue.enqueue_batch([1, 2])
        message = await task
        assert {message.payload, worker.result().payload} == {1, 2}

    asyncio.run(main())


def test_missed_messages_are_reported_in_the_reading_task(make_queue):
    async def main():
        queue = make_queue(ttl=None)
        told: list[int] = []
        raising = queue.add_consumer(on_missed="raise")
        calling = queue.add_consumer(on_missed=told.append)
        queue.enqueue_batch([1, 2])
        queue.ttl = 1e-6
        while len(queue):
            queue.force_expiration()
        queue.ttl = None
        queue.enqueue(3)
        with pytest.raises(MessagesMissedError) as caught:
            await raising.aread()
        assert caught.value.count == 2
        assert (await raising.aread()).payload == 3
        message = await calling.aread()
        assert (message.payload, message.missed, told) == (3, 2, [2])

    asyncio.run(main())


def test_atake_missed_waits_for_the_first_loss(make_queue):
    async def main():
        queue = make_queue(ttl=None)
        consumer = queue.add_consumer()
        task = asyncio.create_task(consumer.atake_missed())
        await settled(task)
        queue.enqueue_batch([1, 2, 3])
        await settled(task)
        queue.ttl = 0.001
        taken = await asyncio.wait_for(task, PATIENCE)
        assert 1 <= taken <= 3
        while taken < 3:
            taken += await consumer.atake_missed(timeout=PATIENCE)
        assert taken == 3 == consumer.missed_count

    asyncio.run(main())


def test_atake_missed_returns_zero_at_once_after_close(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        waiting = asyncio.create_task(consumer.atake_missed())
        await settled(waiting)
        queue.close()
        assert await waiting == 0
        assert at_once(consumer.atake_missed()) == 0

    asyncio.run(main())


@pytest.mark.parametrize("bad", [-1, float("nan"), -0.001])
def test_a_bad_timeout_is_a_value_error(make_queue, bad):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        queue.enqueue(1)
        for call in (consumer.aread, lambda timeout: consumer.aread_batch(1, timeout=timeout), consumer.atake_missed):
            with pytest.raises(ValueError, match="timeout"):
                await call(timeout=bad)
        assert consumer.position == 0

    asyncio.run(main())


def test_a_bool_is_not_a_timeout(make_queue):
    async def main():
        consumer = make_queue().add_consumer()
        with pytest.raises(TypeError):
            await consumer.aread(timeout=True)
        with pytest.raises(TypeError):
            await consumer.aread_batch(1, timeout=False)

    asyncio.run(main())


def test_an_infinite_timeout_waits_without_limit(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(consumer.aread(timeout=t)) for t in (float("inf"), 1e300)]
        await settled(*tasks)
        queue.enqueue_batch([1, 2])
        assert {m.payload for m in await asyncio.gather(*tasks)} == {1, 2}

    asyncio.run(main())
