"""Loops and threads together: how often a loop is called, what a closed loop costs, and fairness inside one."""

import asyncio
import gc
import importlib.util
import os
import statistics
import sysconfig
import threading
import time
import warnings
import weakref
from collections.abc import Callable

import pytest

from harness import CountingLoop, asleep, at_once, outcome, run_in, settled
from helpers import PATIENCE, payloads
from mpmc_queue import Queue, QueueClosedError

TASKS = 100


def test_a_message_costs_one_call_into_the_loop_however_many_tasks_wait(make_queue, run_thread):
    queue = make_queue()
    loop = CountingLoop()

    async def main():
        tasks = [asyncio.create_task(queue.add_consumer().aget()) for _ in range(TASKS)]
        await settled(*tasks)
        before = loop.outside_calls
        run_thread(queue.enqueue, "one").result()
        assert loop.outside_calls - before == 1
        assert await asyncio.gather(*tasks) == ["one"] * TASKS

    run_in(loop, main())


def test_messages_before_the_next_turn_of_the_loop_cost_no_further_call(make_queue, run_thread):
    queue = make_queue()
    loop = CountingLoop()

    async def main():
        tasks = [asyncio.create_task(queue.add_consumer().aread_batch(50)) for _ in range(TASKS)]
        await settled(*tasks)
        before = loop.outside_calls
        run_thread(lambda: [queue.enqueue(number) for number in range(50)]).result()
        assert loop.outside_calls - before == 1
        batches = await asyncio.gather(*tasks)
        assert all([message.payload for message in batch] == list(range(50)) for batch in batches)

    run_in(loop, main())


def test_a_message_that_no_task_waits_for_does_not_call_the_loop(make_queue, run_thread):
    queue = make_queue()
    loop = CountingLoop()

    async def main():
        consumer = queue.add_consumer()
        assert await consumer.aread(timeout=0.001) is None
        cancelled = asyncio.create_task(consumer.aread())
        await settled(cancelled)
        cancelled.cancel()
        assert await outcome(cancelled) is None
        before = loop.outside_calls
        run_thread(lambda: [queue.enqueue(number) for number in range(50)]).result()
        assert loop.outside_calls == before

    run_in(loop, main())


def test_a_message_for_a_shared_consumer_wakes_no_more_tasks_than_it_can_serve(make_queue, run_thread):
    queue = make_queue()
    loop = CountingLoop()

    async def main():
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(consumer.aget()) for _ in range(TASKS)]
        await settled(*tasks)
        before = loop.calls
        run_thread(queue.enqueue, "one").result()
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == ["one"]
        await settled(*waiting)
        assert loop.calls - before < TASKS / 4  # a task that is woken takes at least one call
        queue.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {QueueClosedError}

    run_in(loop, main())


def test_each_waiting_loop_is_called_once(make_queue, run_thread):
    queue = make_queue()
    loops = [CountingLoop() for _ in range(4)]
    waiting = threading.Barrier(len(loops) + 1)
    sent = threading.Event()
    calls = [0] * len(loops)

    def serve(index):
        async def main():
            tasks = [asyncio.create_task(queue.add_consumer().aget()) for _ in range(25)]
            await settled(*tasks)
            before = loops[index].outside_calls
            waiting.wait(PATIENCE)
            assert sent.wait(PATIENCE)
            calls[index] = loops[index].outside_calls - before
            return await asyncio.gather(*tasks)

        return run_in(loops[index], main())

    workers = [run_thread(serve, index) for index in range(len(loops))]
    waiting.wait(PATIENCE)
    queue.enqueue("all")
    sent.set()
    assert [worker.result() for worker in workers] == [["all"] * 25] * len(loops)
    assert calls == [1] * len(loops)


def test_loops_in_threads_feed_each_other(make_queue, run_thread):
    there, back = make_queue(), make_queue()
    at_server, at_client = there.add_consumer(), back.add_consumer()

    async def serve():
        async for message in at_server:
            await back.aenqueue(message.payload + 1)
        back.close()

    async def ask():
        number = 0
        for _ in range(200):
            await there.aenqueue(number)
            number = await at_client.aget()
        there.close()
        return number

    workers = [run_thread(asyncio.run, main()) for main in (serve, ask)]
    assert [worker.result() for worker in workers] == [None, 200]


def test_a_loop_in_debug_mode_reports_nothing(make_queue, run_thread):
    queue = make_queue(max_items=2, retention="interest")
    consumer = queue.add_consumer()

    async def main():
        asyncio.get_running_loop().slow_callback_duration = PATIENCE
        received = []
        producer = run_thread(lambda: [queue.enqueue(number, timeout=None) for number in range(100)])
        while len(received) < 100:
            received.append(await consumer.aget())
        producer.result()
        return received

    assert asyncio.run(main(), debug=True) == list(range(100))


def test_a_consumer_can_move_from_loop_to_loop(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    async def read():
        task = asyncio.create_task(consumer.aget())
        await settled(task)
        queue.enqueue("x")
        return await task

    assert [asyncio.run(read()) for _ in range(5)] == ["x"] * 5


# A closed loop.


def close_with_waiters(loop, *coroutines):
    """Closes the loop while the coroutines wait in it. Returns their tasks."""
    loop.set_exception_handler(lambda loop, context: None)  # asyncio reports tasks that never ended
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    loop.run_until_complete(settled(*tasks))
    loop.close()
    return tasks


def test_a_loop_closed_with_waiters_pending_costs_a_producer_nothing(make_queue):
    queue = make_queue(max_items=50, retention="interest")
    consumer = queue.add_consumer()
    loop = asyncio.new_event_loop()
    tasks = close_with_waiters(loop, consumer.aread(), consumer.aread_batch(5), consumer.atake_missed())
    for number in range(50):
        assert queue.enqueue(number) == number
    assert payloads(consumer) == list(range(50))
    del tasks


def test_producers_that_waited_in_a_closed_loop_do_not_hold_up_others(make_queue):
    queue = make_queue(max_items=1, retention="interest")
    consumer = queue.add_consumer()
    queue.enqueue(0)
    tasks = close_with_waiters(asyncio.new_event_loop(), queue.aenqueue(1), queue.ajoin())
    assert consumer.get() == 0
    assert queue.enqueue(2, timeout=PATIENCE) == 1
    assert consumer.get() == 2
    assert queue.join(timeout=PATIENCE)
    del tasks


def test_a_waiter_of_a_closed_loop_is_not_kept(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    loop = CountingLoop()
    tasks = close_with_waiters(loop, consumer.aread(), queue.add_consumer().aread(), consumer.atake_missed())
    queue.enqueue_batch(range(10))
    queue.close(immediate=True)  # everything that the task waited for has happened
    alive = weakref.ref(loop)
    del loop, tasks
    gc.collect()
    assert alive() is None


def test_a_wake_up_spent_on_a_closed_loop_passes_to_a_thread(make_queue, run_thread):
    queue = make_queue()
    consumer = queue.add_consumer()
    tasks = close_with_waiters(asyncio.new_event_loop(), consumer.aread(), consumer.aread())
    ready, names = threading.Event(), []

    def read():
        names.append(threading.current_thread())
        ready.set()
        return consumer.read(timeout=None)

    worker = run_thread(read)
    assert ready.wait(PATIENCE)
    asleep(names[0])
    queue.enqueue(1)
    assert worker.result().payload == 1
    del tasks


# Coroutines that never run, or not in a loop.


def test_a_coroutine_that_is_never_awaited_does_nothing(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for call in (consumer.aread, consumer.aget, lambda: consumer.aread_batch(5), lambda: queue.aenqueue("b")):
            coroutine = call()
            del coroutine
        gc.collect()
    assert (len(queue), consumer.position) == (1, 0)
    assert payloads(consumer) == ["a"]


def test_a_coroutine_closed_before_it_ran_does_nothing(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    for coroutine in (consumer.aread(), consumer.aget(), queue.aenqueue("b"), queue.ajoin()):
        coroutine.close()
    assert (len(queue), consumer.position) == (1, 0)


def test_a_call_that_has_to_wait_needs_a_running_loop(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    with pytest.raises(RuntimeError, match="no running event loop"):
        at_once(consumer.aread())
    queue.enqueue("a")
    assert payloads(consumer) == ["a"]


# Fairness and idleness.


@pytest.mark.thread_unsafe(reason="measures time")
def test_a_long_backlog_lets_other_tasks_run():
    backlog = 200_000
    queue = Queue("q", max_bytes=1 << 30)
    queue.enqueue_batch(range(backlog))

    async def main():
        gaps, reading = [], True

        async def tick():
            last = time.perf_counter()
            while reading:
                await asyncio.sleep(0)
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

        ticker = asyncio.create_task(tick())
        await asyncio.sleep(0)
        count = 0
        with queue.add_consumer() as consumer:
            async for message in consumer:
                assert message.seq == count
                count += 1
                if count == backlog:
                    break
        reading = False
        await ticker
        return gaps

    rounds = [asyncio.run(main()) for _ in range(3)]
    assert min(max(gaps) for gaps in rounds) < 0.05
    assert min(statistics.median(gaps) for gaps in rounds) < 0.005


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_waiting_takes_no_thread_and_does_not_turn_the_loop(make_queue):
    queue = make_queue()
    queue.enqueue("the expiration thread runs from now on, at the latest")
    loop = CountingLoop()

    def threads():
        return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()

    async def main():
        consumers = [queue.add_consumer(start="latest") for _ in range(TASKS)]
        queue.add_consumer()  # this consumer reads nothing
        before = threads()
        tasks = [asyncio.create_task(consumer.aread(timeout=PATIENCE)) for consumer in consumers]
        tasks += [asyncio.create_task(consumer.atake_missed()) for consumer in consumers]
        tasks.append(asyncio.create_task(queue.ajoin()))
        await settled(*tasks)
        turns = loop.turns
        await asyncio.sleep(0.3)
        assert loop.turns - turns < 10
        assert threads() <= before
        assert not any(task.done() for task in tasks)
        queue.close(immediate=True)
        await asyncio.gather(*tasks, return_exceptions=True)

    run_in(loop, main())


# uvloop


@pytest.fixture
def new_uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    if importlib.util.find_spec("uvloop") is None or sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("uvloop is not installed, or would turn the GIL on")
    return pytest.importorskip("uvloop").new_event_loop


def test_uvloop_reads_what_threads_produce(make_queue, run_thread, new_uvloop):
    queue = make_queue(max_items=10, retention="interest")
    consumer = queue.add_consumer()

    def produce():
        for number in range(1000):
            queue.enqueue(number, timeout=None)
        queue.close()

    async def main():
        worker = run_thread(produce)
        received = [message.payload async for message in consumer]
        worker.result()
        return received

    assert run_in(new_uvloop(), main()) == list(range(1000))


def test_uvloop_times_out_cancels_and_produces(make_queue, new_uvloop):
    queue = make_queue(max_items=1, retention="interest")
    consumer = queue.add_consumer()

    async def main():
        assert await consumer.aread(timeout=0.01) is None
        cancelled, served = asyncio.create_task(consumer.aread()), asyncio.create_task(consumer.aread())
        await settled(cancelled, served)
        queue.enqueue(1)
        cancelled.cancel()
        assert (await served).payload == 1
        assert await outcome(cancelled) is None
        assert await queue.aenqueue(2) == 1
        waiting = asyncio.create_task(queue.aenqueue(3))
        await settled(waiting)
        assert consumer.get() == 2
        assert await waiting == 2

    run_in(new_uvloop(), main())


def test_a_closed_uvloop_costs_a_producer_nothing(make_queue, new_uvloop):
    queue = make_queue()
    consumer = queue.add_consumer()
    tasks = close_with_waiters(new_uvloop(), consumer.aread(), queue.add_consumer().aread())
    queue.enqueue_batch(range(5))
    assert payloads(consumer) == list(range(5))
    del tasks
