"""Cancelling a call takes no message, whatever else happens at that moment."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest

from harness import outcome, settled
from helpers import PATIENCE


def test_a_cancelled_read_changes_neither_position_nor_counts(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(call) for call in (consumer.aread(), consumer.aread_batch(5), consumer.aget())]
        await settled(*tasks)
        for task in tasks:
            task.cancel()
        assert [await outcome(task) for task in tasks] == [None] * 3
        queue.enqueue(1)
        assert (consumer.position, consumer.unread_count, consumer.stats().total_items_read) == (0, 1, 0)
        message = consumer.read()
        assert message is not None
        assert len(message.events) == 2

    asyncio.run(main())


@pytest.mark.parametrize("order", ["enqueue first", "cancel first"])
@pytest.mark.parametrize("call", ["aread", "aread_batch", "aget", "anext"])
def test_cancelling_at_the_moment_of_arrival_loses_nothing(make_queue, call, order):
    """Both happen before the task runs again: its wake-up has begun when it is cancelled."""

    def start(consumer):
        if call == "aread_batch":
            return consumer.aread_batch(1)
        return anext(consumer) if call == "anext" else getattr(consumer, call)()

    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        task = asyncio.ensure_future(start(consumer))
        await settled(task)
        steps: list[Callable[[], object]] = [lambda: queue.enqueue(1), task.cancel]
        for step in steps if order == "enqueue first" else reversed(steps):
            step()
        assert await outcome(task) is None
        assert (consumer.position, consumer.unread_count) == (0, 1)
        message = consumer.read()
        assert message is not None
        assert message.payload == 1

    asyncio.run(main())


def test_a_wake_up_spent_on_a_cancelled_task_passes_to_the_next(make_queue, run_thread):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(consumer.aread()) for _ in range(3)]
        await settled(*tasks)
        run_thread(queue.enqueue, 1).result()  # this loop has not turned since then: the first in line was chosen
        tasks[0].cancel()
        tasks[1].cancel()
        message = await asyncio.wait_for(tasks[2], PATIENCE)
        assert message.payload == 1

    asyncio.run(main())


def test_a_wake_up_spent_on_a_cancelled_task_passes_to_a_thread(make_queue, run_thread):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        task = asyncio.create_task(consumer.aread())
        await settled(task)
        worker = run_thread(consumer.read, timeout=None)
        queue.enqueue(1)
        task.cancel()
        assert await outcome(task) is None
        message = await asyncio.to_thread(worker.result)
        assert message.payload == 1

    asyncio.run(main())


def test_space_meant_for_a_cancelled_producer_passes_to_the_next(make_queue, run_thread):
    async def main():
        queue = make_queue(max_items=1, retention="interest")
        consumer = queue.add_consumer()
        queue.enqueue(0)
        first, second = asyncio.create_task(queue.aenqueue(1)), asyncio.create_task(queue.aenqueue(2))
        await settled(first, second)
        run_thread(consumer.get).result()
        first.cancel()
        assert await outcome(first) is None
        assert await asyncio.wait_for(second, PATIENCE) == 1
        assert consumer.get_batch(9) == [2]

    asyncio.run(main())


def test_a_waiting_batch_that_is_cancelled_no_longer_holds_up_those_behind(make_queue):
    async def main():
        queue = make_queue(max_items=4, retention="interest")
        queue.enqueue_batch([0, 1])
        large = asyncio.create_task(queue.aenqueue_batch([2, 3, 4]))
        await settled(large)
        small = asyncio.create_task(queue.aenqueue(5))
        await settled(large, small)
        large.cancel()
        assert await asyncio.wait_for(small, PATIENCE) == 2

    asyncio.run(main())


def test_a_cancelled_enqueue_has_added_nothing(make_queue, run_thread):
    async def main():
        queue = make_queue(max_items=1, retention="interest")
        consumer = queue.add_consumer()
        queue.enqueue(0)
        task = asyncio.create_task(queue.aenqueue(1))
        await settled(task)
        run_thread(consumer.get).result()
        task.cancel()
        added = await outcome(task)
        assert (added, len(queue), queue.stats().enqueued) == (None, 0, 1)

    asyncio.run(main())


def test_a_cancelled_atake_missed_leaves_the_count(make_queue):
    async def main():
        queue = make_queue(ttl=None)
        consumer = queue.add_consumer()
        task = asyncio.create_task(consumer.atake_missed())
        await settled(task)
        queue.enqueue_batch([1, 2])
        queue.ttl = 1e-6
        while len(queue):
            queue.force_expiration()
        task.cancel()
        assert await outcome(task) is None
        assert consumer.take_missed() == 2

    asyncio.run(main())


def test_a_cancelled_ajoin_can_be_started_again(make_queue):
    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        queue.enqueue(1)
        task = asyncio.create_task(queue.ajoin())
        await settled(task)
        consumer.read()
        task.cancel()
        assert await outcome(task) is None
        assert await queue.ajoin() is True

    asyncio.run(main())


async def cancel_at_random(consumer, rng, expected):
    """Reads `expected` messages with calls most of which are cancelled, in one of several ways."""
    got: list[int] = []

    async def call():
        if rng.random() < 0.5:
            return await consumer.aread_batch(rng.randint(1, 3))
        message = await consumer.aread()
        assert message is not None
        return [message]

    while len(got) < expected:
        match rng.randrange(4):
            case 0:
                try:
                    messages = await asyncio.wait_for(call(), rng.random() / 5000)
                except TimeoutError:
                    continue
            case 1:
                messages = []
                try:
                    async with asyncio.timeout(rng.random() / 5000):
                        messages = await call()
                except TimeoutError:
                    pass
            case _:
                task = asyncio.create_task(call())
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                if rng.random() < 0.7:
                    task.cancel()
                messages = await outcome(task) or []
        got.extend(message.payload for message in messages)
    return got


@pytest.mark.parametrize("seed", range(3))
def test_random_cancellations_lose_and_repeat_nothing(make_queue, run_thread, seed):
    total = 1500
    queue = make_queue()
    consumer = queue.add_consumer()

    def produce():
        pause, rng = asyncio.Event(), random.Random(seed + 100)

        async def trickle():
            for number in range(total):
                queue.enqueue(number)
                if rng.random() < 0.3:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(pause.wait(), rng.random() / 2000)

        asyncio.run(trickle())

    producer = run_thread(produce)
    got = asyncio.run(asyncio.wait_for(cancel_at_random(consumer, random.Random(seed), total), PATIENCE))
    producer.result()
    assert got == list(range(total))
    assert (consumer.missed_count, consumer.unread_count) == (0, 0)


def test_random_cancellations_of_tasks_that_share_a_consumer(make_queue, run_thread):
    total, tasks = 1000, 8

    async def main():
        queue = make_queue()
        consumer = queue.add_consumer()
        rng = random.Random(7)
        got: list[int] = []

        async def reader():
            while len(got) < total:
                task = asyncio.create_task(consumer.aread())
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
                if rng.random() < 0.5 or len(got) >= total:
                    task.cancel()
                message = await outcome(task)
                if message is not None:
                    got.append(message.payload)
                    if len(got) == total:
                        queue.close()

        producer = run_thread(lambda: [queue.enqueue(number) for number in range(total)])
        await asyncio.wait_for(asyncio.gather(*(reader() for _ in range(tasks)), return_exceptions=True), PATIENCE)
        producer.result()
        assert sorted(got) == list(range(total))

    asyncio.run(main())


def test_random_cancellations_of_producers_add_each_message_at_most_once(make_queue):
    async def main():
        queue = make_queue(max_items=2, retention="interest")
        consumer = queue.add_consumer()
        rng = random.Random(11)
        added: dict[int, int] = {}

        async def produce(number):
            task = asyncio.create_task(queue.aenqueue(number))
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if rng.random() < 0.5:
                task.cancel()
            seq = await outcome(task)
            if seq is not None:
                added[seq] = number

        async def consume():
            return [message.payload async for message in consumer]

        reading = asyncio.create_task(consume())
        for start in range(0, 1000, 10):
            await asyncio.wait_for(asyncio.gather(*(produce(start + n) for n in range(10))), PATIENCE)
        assert await queue.ajoin(timeout=PATIENCE)
        queue.close()
        received = await reading
        assert received == [added[seq] for seq in range(len(received))]
        assert len(added) == len(received) == queue.stats().enqueued > 100

    asyncio.run(main())
