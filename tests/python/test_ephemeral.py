"""An ephemeral consumer is removed when nothing refers to it any more."""

import asyncio
import gc
import threading
import weakref

import pytest

from harness import LONG
from helpers import PATIENCE
from mpmc_queue import Queue

# A garbage collection covers the whole process.
pytestmark = pytest.mark.thread_unsafe


def test_it_is_removed_with_its_last_reference(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer("client", ephemeral=True)
    lasting = queue.add_consumer("lasting")
    another = consumer
    assert queue.consumers == (consumer, lasting)
    del consumer
    assert another in queue.consumers
    del another
    assert queue.consumers == (lasting,)
    assert queue.stats().consumer_count == 1


def test_it_can_be_found_and_closed_like_any_other(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer(ephemeral=True)
    assert queue.get_consumer(consumer.id) is consumer
    assert queue.consumers[0] is consumer
    consumer.close()
    assert queue.consumers == ()
    del consumer
    assert queue.consumers == ()


def test_it_is_removed_in_a_reference_cycle_too(make_queue):
    queue = make_queue()

    class Client:
        def __init__(self):
            self.missed = []
            self.consumer = queue.add_consumer(ephemeral=True, on_missed=self.on_missed)

        def on_missed(self, count):
            self.missed.append(count)

    client = Client()
    gc.collect()
    assert len(queue.consumers) == 1
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert (gone(), queue.consumers) == (None, ())


def test_its_on_missed_callback_is_called(make_queue):
    queue = make_queue(max_items=2, overflow="drop_oldest")
    missed = []
    consumer = queue.add_consumer(ephemeral=True, on_missed=missed.append)
    queue.enqueue_batch("ab")
    queue.enqueue_batch("cd")
    assert (consumer.get_batch(9), missed) == (["c", "d"], [2])


def test_it_does_not_hold_up_an_interest_queue(make_queue):
    queue = make_queue(retention="interest")
    reader, client = queue.add_consumer(), queue.add_consumer(ephemeral=True)
    queue.enqueue_batch("abc")
    reader.get_batch(9)
    assert len(queue) == 3
    del client
    assert len(queue) == 0


def test_messages_and_figures_do_not_keep_it(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer(ephemeral=True)
    queue.enqueue("a")
    kept = [consumer.read(), consumer.stats(), queue.consumer_stats(), consumer.history(), consumer.id]
    del consumer
    assert queue.consumers == ()
    assert kept[0].payload == "a"


def test_an_iterator_keeps_it(make_queue):
    queue = make_queue()
    iterator = iter(queue.add_consumer(ephemeral=True))
    queue.enqueue_batch("ab")
    assert next(iterator).payload == "a"
    assert len(queue.consumers) == 1
    del iterator
    assert queue.consumers == ()


def test_a_call_in_progress_keeps_it(make_queue, run_thread):
    queue = make_queue()
    reading = run_thread(lambda: queue.add_consumer(ephemeral=True).read(timeout=PATIENCE))
    reading.assert_waiting()
    assert len(queue.consumers) == 1
    queue.enqueue("a")
    assert reading.result().payload == "a"
    assert queue.consumers == ()


def test_a_task_keeps_it_until_it_is_cancelled(make_queue):
    queue = make_queue()

    async def main():
        task = asyncio.ensure_future(queue.add_consumer(ephemeral=True).aread())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert len(queue.consumers) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert queue.consumers == ()


def test_pending_messages_of_an_ephemeral_member_are_redelivered(make_queue):
    queue = make_queue()
    group = queue.add_group("workers", ack_wait=LONG)
    lasting = group.add_consumer("lasting")
    queue.enqueue("job")
    client = group.add_consumer("client", ephemeral=True)
    message = client.read()
    assert lasting.read() is None
    del client
    assert group.members == (lasting,)
    assert lasting.read().deliveries == 2
    assert message.payload == "job"


def test_it_keeps_its_queue_open_and_is_removed_with_it():
    queue = Queue("q")
    consumer = queue.add_consumer(ephemeral=True)
    engine = weakref.ref(queue)
    del queue
    gc.collect()
    assert consumer.queue.closed is False
    del consumer
    gc.collect()
    assert engine() is None


def test_one_that_is_a_payload_is_removed_with_the_queue():
    queue = Queue("q")
    queue.enqueue(queue.add_consumer(ephemeral=True))
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None


def test_it_can_be_removed_in_any_thread_while_others_work(make_queue):
    queue = make_queue(max_bytes=1 << 30)
    stop = threading.Event()

    def produce():
        while not stop.is_set():
            queue.put("message")

    producer = threading.Thread(target=produce)
    producer.start()

    def clients():
        for _ in range(300):
            queue.add_consumer(ephemeral=True, start="latest").read()

    threads = [threading.Thread(target=clients) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    stop.set()
    producer.join(PATIENCE)
    assert queue.consumers == ()


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_a_bad_argument_is_named_and_adds_nothing(make_queue, value):
    queue = make_queue()
    group = queue.add_group("group")
    for add in (queue.add_consumer, group.add_consumer):
        with pytest.raises(TypeError, match="ephemeral"):
            add(ephemeral=value)
    assert queue.consumers == ()
