"""A cancelled read loses nothing: messages that had arrived for it are returned by the next read."""

import asyncio
import gc
import random
from collections import Counter

import pytest

from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

COUNT = 750


async def cancelled_now_and_then(reader, seen, chance, acks=False):
    """Reads batches until COUNT messages are there; about half of the reads are cancelled in the middle."""
    cancelled = 0
    while len(seen) < COUNT:
        task = asyncio.create_task(reader.aread_batch(50))
        if chance.random() < 0.5:
            await asyncio.wait([task], timeout=chance.random() * 0.004)
            task.cancel()
        try:
            found = await task
        except asyncio.CancelledError:
            cancelled += 1
            continue
        for message in found:
            seen.append(message.payload)
            if acks:
                message.ack()
    return cancelled


async def produce(queue):
    for start in range(0, COUNT, 5):
        await queue.aenqueue_batch(range(start, start + 5))


@pytest.mark.parametrize("name", [None, "reader"])
@pytest.mark.parametrize("options", [{}, {"prefetch": 2}, {"retention": "interest"}], ids=["", "prefetch", "interest"])
def test_a_consumer_whose_reads_are_cancelled_reads_each_message_once(run_remote, name, options):
    async def main(place):
        queue = await place.queue(**options)
        consumer = await queue.add_consumer(name)
        seen = []
        _, cancelled = await asyncio.gather(produce(queue), cancelled_now_and_then(consumer, seen, random.Random(1)))
        assert seen == list(range(COUNT))
        assert consumer.missed_count == 0
        assert cancelled > 10
        assert await consumer.unread_count == 0

    run_remote(main)


@pytest.mark.parametrize("retention", ["limits", "interest"])
def test_messages_of_a_cancelled_read_are_read_by_the_next_process(run_remote, retention):
    """The position on the server counts only messages that were returned."""

    async def main(place):
        queue = await place.queue(prefetch=4, retention=retention)
        consumer = await queue.add_consumer("reader")
        await queue.aenqueue_batch(range(20))
        assert [m.payload for m in await consumer.aread_batch(3)] == [0, 1, 2]
        reached = asyncio.Event()
        fetch = consumer._feed.fetch

        async def fetch_and_stop(count=1, **more):
            await fetch(count, **more)
            if len(consumer._feed.buffer) >= 8:
                reached.set()
                await asyncio.Event().wait()

        consumer._feed.fetch = fetch_and_stop
        task = asyncio.create_task(consumer.aread_batch(15))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await queue.aclose()
        again = (await place.queue(queue.name, retention=retention)).add_consumer("reader")
        assert [m.payload for m in await again.aread_batch(20)] == list(range(3, 20))

    run_remote(main)


@pytest.mark.parametrize("ack_wait", [None, 30])
def test_a_group_whose_reads_are_cancelled_reads_each_message_once(run_remote, ack_wait):
    """No message is held back either: it would be redelivered only after thirty seconds."""

    async def main(place):
        queue = await place.queue()
        group = await queue.add_group("workers", ack_wait=ack_wait)
        seen = []
        readers = [cancelled_now_and_then(group.add_consumer(), seen, random.Random(n), ack_wait) for n in range(3)]
        tasks = [asyncio.create_task(reader) for reader in readers]
        await produce(queue)
        done, waiting = await asyncio.wait(tasks, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert Counter(seen) == Counter(range(COUNT))
        assert sum(task.result() for task in done) > 5
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run_remote(main)


@pytest.mark.parametrize("ack_wait", [None, 30])
def test_messages_of_a_members_cancelled_read_go_to_others(run_remote, ack_wait):
    """The read has taken one message, and is cancelled while it requests more."""

    async def main(place):
        queue = await place.queue()
        group = await queue.add_group("workers", ack_wait=ack_wait)
        one, two = group.add_consumer(), group.add_consumer()
        await queue.aenqueue_batch(range(3))
        reached = asyncio.Event()
        pull = one._pull

        async def pull_and_stop(batch, expires, room=None):
            if one._arrived:
                reached.set()
                await asyncio.Event().wait()
            await pull(min(batch, 1), expires)

        one._pull = pull_and_stop
        task = asyncio.create_task(one.aread_batch(10))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = []
        while len(seen) < 3:
            found = await two.aread_batch(10, timeout=PATIENCE)
            assert found
            seen += [message.payload for message in found]
        assert sorted(seen) == [0, 1, 2]

    run_remote(main)


def test_a_group_without_ack_wait_acknowledges_what_it_returns(run_remote):
    async def main(place):
        queue = await place.queue()
        group = await queue.add_group("workers")
        member = group.add_consumer()
        await queue.aenqueue_batch(range(10))
        found = []
        while len(found) < 10:
            found += await member.aread_batch(3)
            async with asyncio.timeout(PATIENCE):
                while await group.pending_count:  # the acknowledgement is in transit
                    pass
        assert [message.payload for message in found] == list(range(10))

    run_remote(main)


def test_a_read_cancelled_at_a_disconnect_leaves_no_unretrieved_exception(run_remote):
    async def main(place):
        queue = await place.queue()
        member = (await queue.add_group("workers")).add_consumer()
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        tasks = [asyncio.create_task(member.aread()), asyncio.create_task(queue.stats())]
        await asyncio.wait(tasks[1:])
        tasks.append(asyncio.create_task(queue.stats()))
        await asyncio.sleep(0)
        queue._server.client._transport.close()
        for call in [*queue._server.on_cut, queue._server._forget]:
            call()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [True, False, True]
        del task, tasks
        for _ in range(3):  # scheduled callbacks still refer to the tasks
            await asyncio.sleep(0)
        gc.collect()
        assert complaints == []
        await queue.aenqueue("tea")
        assert await asyncio.wait_for(member.aget(), PATIENCE) == "tea"

    run_remote(main)


class Interrupted(BaseException):
    """Like KeyboardInterrupt, which would end the test run."""


class Interrupting(jetstream.JsonCodec):
    """Raises once, while it decodes a 5."""

    interrupted = False

    def decode(self, data, content_type):
        if data == b"5" and not self.interrupted:
            self.interrupted = True
            raise Interrupted
        return super().decode(data, content_type)


@pytest.mark.parametrize("kind", ["consumer", "group", "acknowledging group"])
def test_taken_messages_are_given_back_when_an_exception_ends_the_read(run_remote, kind):
    async def main(place):
        queue = await place.queue(codec=Interrupting())
        if kind == "consumer":
            reader = await queue.add_consumer("reader")
        else:
            reader = (await queue.add_group("g", ack_wait=30 if "ack" in kind else None)).add_consumer()
        await queue.aenqueue_batch(range(10))
        with pytest.raises(Interrupted):
            await reader.aread_batch(10)
        seen = []
        while len(seen) < 10:
            found = await reader.aread_batch(10, timeout=PATIENCE)
            assert found
            seen += [message.payload for message in found]
        assert sorted(seen) == list(range(10))
        if kind == "consumer":
            assert seen == list(range(10))
            assert reader.missed_count == 0

    run_remote(main)
