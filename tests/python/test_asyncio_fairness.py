"""Awaits that need not wait let the loop turn; a forgotten await is told; what is raised while waking leaves the waker."""

import asyncio
import gc
import time
import warnings

import pytest

from harness import settled
from mpmc_queue import Queue

CALLS = {
    "aread": lambda queue, reader: reader.aread(),
    "aget": lambda queue, reader: reader.aget(),
    "aread_batch": lambda queue, reader: reader.aread_batch(1),
    "anext": lambda queue, reader: reader.__anext__(),
    "aenqueue": lambda queue, reader: queue.aenqueue("more"),
    "aenqueue_batch": lambda queue, reader: queue.aenqueue_batch(["more"]),
    "ajoin": lambda queue, reader: queue.ajoin(timeout=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_awaits_that_need_not_wait_let_the_loop_run_others(name):
    async def main():
        queue = Queue("q", max_bytes=1 << 28)
        reader = queue.add_consumer()
        queue.enqueue_batch(range(1_000_000))
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            await CALLS[name](queue, reader)
        task.cancel()
        return turns

    assert asyncio.run(main()) >= 10


def test_a_timeout_fires_around_awaits_that_need_not_wait():
    async def forever(queue):
        while True:
            await queue.aenqueue(1)

    async def main():
        queue = Queue("q", overflow="drop_oldest")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(queue), 0.01)

    asyncio.run(main())


def test_a_pause_that_is_cancelled_loses_nothing():
    async def main():
        queue = Queue("q", ttl=None, max_bytes=1 << 28)
        reader = queue.add_consumer()
        queue.enqueue_batch(range(200_000))
        got = []

        async def read():
            while True:
                got.append(await reader.aget())

        for _ in range(20):
            task = asyncio.create_task(read())
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert got == list(range(len(got)))
        assert reader.position == len(got) > 0

    asyncio.run(main())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.thread_unsafe(reason="warnings are caught for the whole process")
def test_a_call_that_is_never_awaited_is_warned_of_and_does_nothing(name):
    queue = Queue("q")
    reader = queue.add_consumer()
    queue.enqueue("a")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CALLS[name](queue, reader)
        gc.collect()
    (warning,) = caught
    assert warning.category is RuntimeWarning
    assert "never awaited" in str(warning.message)
    assert (len(queue), reader.unread_count) == (1, 1)


@pytest.mark.thread_unsafe(reason="warnings are caught for the whole process")
def test_a_call_that_was_closed_or_cancelled_is_not_warned_of():
    async def main():
        reader = Queue("q").add_consumer()
        asyncio.create_task(reader.aread()).cancel()
        await asyncio.sleep(0)
        reader.aread().close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert caught == []


class InterruptedLoop(asyncio.SelectorEventLoop):
    """Raises once inside call_soon_threadsafe, as a signal handler may."""

    raises = None

    def call_soon_threadsafe(self, *args, **kwargs):
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        return super().call_soon_threadsafe(*args, **kwargs)


@pytest.mark.parametrize(
    "wake",
    [
        lambda queue, group: queue.enqueue("a"),
        lambda queue, group: queue.put("a"),
        lambda queue, group: queue.enqueue_batch(["a"]),
        lambda queue, group: queue.close(),
    ],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_is_raised_while_waking_a_loop_leaves_the_call_and_the_tasks_wake(wake, error):
    async def main(loop):
        queue = Queue("q")
        readers = [queue.add_consumer() for _ in range(3)]
        tasks = [asyncio.create_task(reader.aread()) for reader in readers]
        await settled(*tasks)
        loop.raises = error()
        with pytest.raises(error):
            wake(queue, None)
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert len(results) == 3

    loop = InterruptedLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


@pytest.mark.parametrize("name", ["close", "remove_consumer", "seek"])
def test_what_is_raised_while_a_consumer_changes_leaves_that_call(name):
    async def main(loop):
        queue = Queue("q")
        queue.enqueue("a")
        reader = queue.add_consumer(start="latest")
        task = asyncio.create_task(reader.aread())
        await settled(task)
        loop.raises = KeyboardInterrupt()
        changes = {
            "close": reader.close,
            "remove_consumer": lambda: queue.remove_consumer(reader),
            "seek": lambda: reader.seek(0),
        }
        with pytest.raises(KeyboardInterrupt):
            changes[name]()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 20)

    loop = InterruptedLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
