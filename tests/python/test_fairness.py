"""Waiting producers are served in the order of their arrival, large and small ones alike."""

import asyncio
import contextlib
import threading

import pytest

from harness import asleep, settled
from helpers import PATIENCE
from mpmc_queue import QueueFullError


@pytest.fixture
def full(make_queue):
    """full(n) -> (Queue that holds n messages and has room for n, its consumer, whose reads make room)"""

    def make(size):
        queue = make_queue(max_items=size, retention="interest")
        consumer = queue.add_consumer()
        queue.enqueue_batch(["old"] * size)
        return queue, consumer

    return make


async def line_up(*coroutines):
    """Tasks that wait in the given order."""
    tasks = []
    for coroutine in coroutines:
        tasks.append(asyncio.create_task(coroutine))
        await settled(*tasks)
    return tasks


def test_tasks_are_served_in_the_order_of_arrival(full):
    async def main():
        queue, consumer = full(1)
        tasks = await line_up(*(queue.aenqueue(number) for number in range(20)))
        received = [await consumer.aget() for _ in range(21)]
        assert received == ["old", *range(20)]
        assert await asyncio.gather(*tasks) == list(range(1, 21))

    asyncio.run(main())


def test_threads_are_served_in_the_order_of_arrival(full):
    queue, consumer = full(1)
    threads = []
    for number in range(8):
        thread = threading.Thread(target=queue.enqueue, args=(number,), kwargs={"timeout": PATIENCE}, daemon=True)
        thread.start()
        asleep(thread)
        threads.append(thread)
    assert [consumer.get(timeout=PATIENCE) for _ in range(9)] == ["old", *range(8)]
    for thread in threads:
        thread.join(PATIENCE)


def test_threads_and_tasks_stand_in_one_line(full):
    async def main():
        queue, consumer = full(1)
        tasks = await line_up(queue.aenqueue("task 1"))
        thread = threading.Thread(target=queue.enqueue, args=("thread",), kwargs={"timeout": PATIENCE}, daemon=True)
        thread.start()
        await asyncio.to_thread(asleep, thread)
        tasks += await line_up(queue.aenqueue("task 2"))
        received = [await consumer.aget() for _ in range(4)]
        assert received == ["old", "task 1", "thread", "task 2"]
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_space_for_several_serves_several_in_order(full):
    async def main():
        queue, consumer = full(5)
        tasks = await line_up(*(queue.aenqueue(number) for number in range(8)))
        consumer.read_batch(5)
        assert await asyncio.gather(*tasks[:5]) == [5, 6, 7, 8, 9]
        await settled(*tasks[5:])
        assert consumer.get_batch(5) == [0, 1, 2, 3, 4]
        await asyncio.gather(*tasks[5:])
        assert consumer.get_batch(5) == [5, 6, 7]

    asyncio.run(main())


def test_a_large_batch_is_not_overtaken_by_small_messages_behind_it(full):
    async def main():
        queue, consumer = full(10)
        (large,) = await line_up(queue.aenqueue_batch(["large"] * 8))
        small = await line_up(*(queue.aenqueue("small") for _ in range(5)))
        for _ in range(7):
            assert consumer.get() == "old"
            await settled(large, *small)
        assert len(queue) == 3
        consumer.get()
        assert await large == range(10, 18)
        received = [await consumer.aget() for _ in range(2 + 8 + 5)]
        assert received == ["old"] * 2 + ["large"] * 8 + ["small"] * 5
        await asyncio.gather(*small)

    asyncio.run(main())


def test_calls_that_do_not_wait_do_not_starve_a_large_batch(full, run_thread):
    """Each small message would fit at some moment, but the batch came first."""
    queue, consumer = full(10)
    over = threading.Event()

    def hurry():
        while not over.is_set():
            with contextlib.suppress(QueueFullError):
                queue.enqueue("small", timeout=0.0)

    def read():
        while not over.is_set():
            consumer.get(timeout=PATIENCE)

    large = threading.Thread(target=queue.enqueue_batch, args=(["large"] * 9,), kwargs={"timeout": None}, daemon=True)
    large.start()
    asleep(large)
    workers = [run_thread(hurry), run_thread(hurry)]
    reader = run_thread(read)
    large.join(PATIENCE)
    served = not large.is_alive()
    over.set()
    for worker in workers:
        worker.result()
    queue.close()
    try:
        reader.result()
    except Exception:  # the queue may have been closed already
        assert queue.closed
    assert served


def test_the_next_producer_is_served_when_the_first_gives_up(full):
    async def main():
        queue, consumer = full(4)
        consumer.read_batch(2)
        (large,) = await line_up(queue.aenqueue_batch(["large"] * 3, timeout=0.2))
        small = await line_up(queue.aenqueue(1), queue.aenqueue(2), queue.aenqueue(3))
        with pytest.raises(QueueFullError):
            await large
        assert await asyncio.wait_for(small[0], PATIENCE) == 4
        assert await asyncio.wait_for(small[1], PATIENCE) == 5
        await settled(small[2])
        consumer.read()
        assert await small[2] == 6

    asyncio.run(main())


def test_the_order_is_kept_when_a_producer_in_the_middle_gives_up(full):
    async def main():
        queue, consumer = full(1)
        tasks = await line_up(*(queue.aenqueue(number) for number in range(5)))
        tasks[1].cancel()
        tasks[3].cancel()
        received = [await consumer.aget() for _ in range(4)]
        assert received == ["old", 0, 2, 4]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if isinstance(result, int)] == [1, 2, 3]

    asyncio.run(main())


def test_each_producer_keeps_its_own_order(full, run_thread):
    queue, consumer = full(1)

    def produce(producer):
        for number in range(200):
            queue.enqueue((producer, number), timeout=None)

    workers = [run_thread(produce, producer) for producer in range(4)]
    assert consumer.get() == "old"
    received = [consumer.get(timeout=PATIENCE) for _ in range(800)]
    for worker in workers:
        worker.result()
    for producer in range(4):
        assert [number for who, number in received if who == producer] == list(range(200))
