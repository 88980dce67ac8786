"""Awaits that do not wait let the loop turn; a call never awaited warns; errors while waking reach the waker."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import signal
import sys
import time
import warnings

import pytest

from harness import settled
from mpmc_queue import Consumer, Queue, QueueClosedError

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
def test_awaits_that_need_not_wait_let_other_tasks_run(name):
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
        # Time that this thread has had: others may have the processor meanwhile.
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
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
def test_a_call_that_is_never_awaited_warns_and_does_nothing(name):
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
def test_a_call_that_only_the_collector_finds_warns_too():
    queue = Queue("q")
    payload = []
    payload.append(queue.aenqueue(payload))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del payload
        gc.collect()
    (warning,) = caught
    assert str(warning.message) == "coroutine 'Queue.aenqueue' was never awaited"
    assert len(queue) == 0


@pytest.mark.thread_unsafe(reason="warnings are caught for the whole process")
def test_a_call_that_was_closed_or_cancelled_does_not_warn():
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
def test_an_error_while_waking_a_loop_is_raised_and_the_tasks_wake(wake, error):
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


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("name", ["close", "remove_consumer", "seek", "group.close", "member.close"])
def test_an_error_while_a_consumer_changes_is_raised_by_that_call(name, error):
    async def main(loop):
        queue = Queue("q")
        queue.enqueue("a")
        group = queue.add_group("g", start="latest")
        reader = group.add_consumer() if "." in name else queue.add_consumer(start="latest")
        task = asyncio.create_task(reader.aread())
        await settled(task)
        loop.raises = error()
        changes = {
            "close": reader.close,
            "remove_consumer": lambda: queue.remove_consumer(reader),
            "seek": lambda: reader.seek(0),
            "group.close": group.close,
            "member.close": reader.close,
        }
        with pytest.raises(error):
            changes[name]()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 20)

    loop = InterruptedLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


ASYNC_METHODS = {
    Queue: ["aenqueue", "aenqueue_batch", "ajoin"],
    Consumer: ["aread", "aread_batch", "aget", "atake_missed"],
}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect takes no marks there")
@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in ASYNC_METHODS.items() for name in names])
def test_frameworks_see_that_a_method_is_a_coroutine_function(owner, name):
    queue = Queue("q")
    bound = getattr({Queue: queue, Consumer: queue.add_consumer()}[owner], name)
    assert inspect.iscoroutinefunction(getattr(owner, name))
    assert inspect.iscoroutinefunction(bound)
    assert inspect.iscoroutinefunction(functools.partial(bound, timeout=0))
    assert (bound.__name__, bound.__qualname__) == (name, f"{owner.__name__}.{name}")
    assert bound.__doc__ == getattr(owner, name).__doc__
    assert "asyncio" in bound.__doc__
    assert not inspect.iscoroutinefunction(queue.enqueue)


@pytest.mark.parametrize("name", ["get_loop", "nothing_of_the_kind"])
def test_a_coroutine_method_has_no_own_attributes(name):
    with pytest.raises(AttributeError, match=name):
        getattr(Queue.aenqueue, name)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
def test_eager_tasks_that_need_not_wait_let_other_tasks_run():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        queue = Queue("q", overflow="drop_oldest")
        turns = 0

        def other():
            nonlocal turns
            turns += 1
            loop.call_soon(other)

        loop.call_soon(other)
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            await asyncio.create_task(queue.aenqueue("more"))
        return turns

    assert asyncio.run(main()) >= 5


async def turns_until(wakes, waits):
    """Number of turns of the loop between the call that wakes a task and the task."""
    loop = asyncio.get_running_loop()
    turns = 0
    at = asyncio.get_running_loop().create_future()

    async def wait():
        with contextlib.suppress(QueueClosedError):
            await waits
        at.set_result(turns)

    def turn():
        nonlocal turns
        turns += 1
        if not at.done():
            loop.call_soon(turn)

    task = asyncio.create_task(wait())
    await settled(task)
    loop.call_soon(turn)
    await asyncio.sleep(0)
    before = turns
    wakes()
    await asyncio.wait_for(task, 20)
    return at.result() - before


def test_a_woken_task_runs_in_the_next_turn_as_with_asyncio():
    async def main():
        peer = asyncio.Queue()
        theirs = await turns_until(lambda: peer.put_nowait(1), peer.get())
        queue = Queue("q")
        reader = queue.add_consumer()
        assert await turns_until(lambda: queue.enqueue(1), reader.aread()) == theirs
        assert await turns_until(queue.close, reader.aread_batch(5)) == theirs

    asyncio.run(main())


@pytest.mark.parametrize("task_class", ["Task", "_PyTask"])
def test_a_task_in_either_language_is_woken_cancelled_and_timed_out(task_class):
    def factory(loop, coroutine, **options):
        return getattr(asyncio.tasks, task_class)(coroutine, loop=loop, **options)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        queue = Queue("q")
        reader = queue.add_consumer()
        tasks = [asyncio.create_task(reader.aget()) for _ in range(3)]
        await settled(*tasks)
        tasks[0].cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await tasks[0]
        queue.enqueue_batch(["a", "b"])
        assert sorted(await asyncio.gather(*tasks[1:])) == ["a", "b"]
        assert await reader.aread(timeout=0.01) is None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.aread(), 0.01)

    asyncio.run(main())


def test_a_task_that_is_cancelled_after_it_was_woken_leaves_the_message_to_another():
    async def main():
        queue = Queue("q")
        reader = queue.add_consumer()
        first, second = asyncio.create_task(reader.aget()), asyncio.create_task(reader.aget())
        await settled(first, second)
        queue.enqueue("a")
        first.cancel()
        assert await asyncio.wait_for(second, 20) == "a"
        assert first.cancelled()

    asyncio.run(main())


def test_a_task_keeps_its_context_when_it_is_woken():
    variable = contextvars.ContextVar("variable", default="nobody's")

    async def main():
        queue = Queue("q")
        reader = queue.add_consumer()

        async def read():
            variable.set("the reader's")
            await reader.aget()
            return variable.get()

        task = asyncio.create_task(read())
        await settled(task)
        variable.set("the waker's")
        queue.enqueue("a")
        assert await task == "the reader's"
        assert variable.get() == "the waker's"

    asyncio.run(main())


def test_a_task_that_exits_does_not_keep_the_others_from_running():
    async def main(queue, reader, got):
        async def read():
            got.append(await reader.aget())
            if len(got) == 1:
                raise SystemExit(3)

        tasks = [asyncio.create_task(read()) for _ in range(3)]
        await settled(*tasks)
        queue.enqueue_batch(range(3))
        await asyncio.wait(tasks)

    got = []
    queue = Queue("q")
    loop = asyncio.new_event_loop()
    try:
        main_task = loop.create_task(main(queue, queue.add_consumer(), got))
        with pytest.raises(SystemExit):
            loop.run_until_complete(main_task)
        loop.run_until_complete(main_task)
    finally:
        loop.close()
    assert sorted(got) == [0, 1, 2]


@pytest.mark.thread_unsafe(reason="it takes over the signal handler")
def test_an_interrupt_while_a_read_wakes_a_producer_is_raised_right_after_it():
    async def main(loop):
        queue = Queue("q", max_items=1, retention="interest")
        reader = queue.add_consumer()
        queue.enqueue("a")
        task = asyncio.create_task(queue.aenqueue("b"))
        await settled(task)
        loop.raises = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            reader.read()
        assert await asyncio.wait_for(task, 20) == 1
        assert reader.get_nowait() == "b"

    loop = InterruptedLoop()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        loop.run_until_complete(main(loop))
    finally:
        signal.signal(signal.SIGINT, handler)
        loop.close()
