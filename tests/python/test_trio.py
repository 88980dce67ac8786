"""Asynchronous methods in tasks of trio, and with anyio on asyncio and trio."""

import asyncio
import gc
import queue as stdlib_queue
import threading
import time

import pytest

from helpers import PATIENCE
from mpmc_queue import ConsumerClosedError, Queue, QueueClosedError, QueueFullError, await_any

trio = pytest.importorskip("trio")
anyio = pytest.importorskip("anyio")

SHORT = 0.05
# Runs of trio in several threads share nothing, but warnings belong to the whole process.
pytestmark = pytest.mark.thread_unsafe


def test_available_messages_are_read_with_a_checkpoint(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        queue.enqueue("a")
        with trio.testing.assert_checkpoints():
            assert (await consumer.aread()).payload == "a"
        with trio.testing.assert_checkpoints():
            assert await queue.aenqueue("b") == 1
        with trio.testing.assert_checkpoints():
            assert await consumer.aget() == "b"

    import trio.testing

    trio.run(main)


def test_a_reader_waits_and_is_woken_by_a_task(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    read = []

    async def main():
        async with trio.open_nursery() as nursery:

            async def reader():
                async for message in consumer:
                    read.append(message.payload)

            nursery.start_soon(reader)
            for number in range(100):
                await queue.aenqueue(number)
                if number % 10 == 0:
                    await trio.sleep(0)
            queue.close()

    trio.run(main)
    assert read == list(range(100))


def test_a_reader_is_woken_from_another_thread(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        producer = threading.Thread(target=lambda: [(time.sleep(0.001), queue.put(number)) for number in range(50)])
        producer.start()
        with trio.fail_after(PATIENCE):
            read = [await consumer.aget() for _ in range(50)]
        producer.join()
        return read

    assert trio.run(main) == list(range(50))


def test_cancelling_loses_no_message(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        with trio.move_on_after(SHORT) as scope:
            await consumer.aread()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            queue.enqueue("a")
            await consumer.aread()
        assert scope.cancelled_caught
        assert consumer.unread_count == 1
        return await consumer.aget()

    assert trio.run(main) == "a"


def test_a_cancelled_task_passes_its_wake_up_on(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def main():
        read = []

        async def reader(scope):
            with scope:
                read.append(await consumer.aget())

        async with trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in range(2)]
            for scope in scopes:
                nursery.start_soon(reader, scope)
            await trio.testing.wait_all_tasks_blocked()
            queue.enqueue("a")
            scopes[0].cancel()
        return read

    import trio.testing

    assert trio.run(main) == ["a"]


def test_timeouts_are_kept(make_queue):
    queue = make_queue(max_items=1)
    consumer = queue.add_consumer()

    async def main():
        began = trio.current_time()
        assert await consumer.aread(timeout=SHORT) is None
        assert await consumer.aread(timeout=0) is None
        assert trio.current_time() - began >= SHORT * 0.9
        with pytest.raises(stdlib_queue.Empty):
            await consumer.aget(timeout=SHORT)
        queue.enqueue("a")
        with pytest.raises(QueueFullError):
            await queue.aenqueue("b", timeout=SHORT)
        assert await consumer.aread_batch(5, linger=SHORT)
        assert await consumer.atake_missed(timeout=SHORT) == 0
        assert await queue.ajoin() is True

    trio.run(main)


def test_closing_the_consumer_or_the_queue_wakes_a_task(make_queue):
    queue = make_queue()
    consumer, other = queue.add_consumer(), queue.add_consumer()

    async def main():
        async def reader(one, error):
            with pytest.raises(error):
                await one.aread()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader, consumer, ConsumerClosedError)
            nursery.start_soon(reader, other, QueueClosedError)
            await trio.sleep(0.01)
            consumer.close()
            queue.close()

    trio.run(main)


def test_a_producer_waits_for_space(make_queue):
    queue = make_queue(max_items=2, retention="interest")
    consumer = queue.add_consumer()

    async def main():
        async def produce():
            for number in range(50):
                await queue.aenqueue(number)
            queue.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            return [message.payload async for message in consumer]

    assert trio.run(main) == list(range(50))


def test_await_any_and_async_with_work():
    async def main():
        async with Queue("a") as first, Queue("b") as second:
            consumers = [first.add_consumer(), second.add_consumer()]
            assert await await_any(consumers, timeout=SHORT) == []

            async def produce():
                await trio.sleep(0.01)
                second.enqueue(1)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(produce)
                assert await await_any(consumers) == [consumers[1]]
        assert (first.closed, second.closed) == (True, True)

    trio.run(main)


def test_a_finished_run_does_not_affect_producers(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    calls = []

    async def main():
        call = consumer.aread()
        calls.append(call)
        with trio.move_on_after(0.01):
            await call

    trio.run(main)
    queue.enqueue("a")
    assert consumer.get() == "a"
    calls.clear()
    gc.collect()


def test_asyncio_works_beside_trio(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def read():
        return await consumer.aget(timeout=PATIENCE)

    async def wait_for_one():
        with trio.fail_after(PATIENCE):
            return await consumer.aget()

    for payload in "abc":
        thread = threading.Timer(0.01, queue.put, (payload,))
        thread.start()
        assert (asyncio.run(read()) if payload == "b" else trio.run(wait_for_one)) == payload
        thread.join()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_works_on_asyncio_and_trio(make_queue, backend):
    queue = make_queue(max_items=10, retention="interest")
    consumer = queue.add_consumer()

    async def main():
        read = []

        async def produce(first):
            for number in range(first, first + 100):
                await queue.aenqueue(number)

        async def consume():
            for _ in range(200):
                read.append(await consumer.aget())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(consume)
                group.start_soon(produce, 0)
                group.start_soon(produce, 1000)
        with anyio.move_on_after(SHORT) as scope:
            await consumer.aread()
        assert scope.cancelled_caught
        return read

    read = anyio.run(main, backend=backend)
    assert sorted(read) == [*range(100), *range(1000, 1100)]


def test_a_call_outside_of_any_loop_is_an_error(make_queue):
    call = make_queue().add_consumer().aread()
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.send(None)
