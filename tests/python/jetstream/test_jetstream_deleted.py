"""Reading from a deleted stream or group raises; once it is made again, reading continues."""

import asyncio

import pytest

from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

KINDS = ["named", "unnamed", "group", "acknowledging group"]


async def reader_of(queue, kind):
    if kind == "named":
        return await queue.add_consumer("reader")
    if kind == "unnamed":
        return await queue.add_consumer()
    return (await queue.add_group("reader", ack_wait=30 if "ack" in kind else None)).add_consumer()


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "later"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_stream_is_reported_and_a_new_one_is_read(run_remote, kind, waiting):
    async def main(place):
        queue, operator = await place.queue(), await place.queue()
        reader = await reader_of(queue, kind)
        await queue.aenqueue_batch(range(5))
        assert [(await reader.aread()).payload for _ in range(5)] == list(range(5))
        task = asyncio.create_task(reader.aread_batch(10))
        await asyncio.wait([task], timeout=0.2)
        if not waiting:
            task.cancel()
            await asyncio.wait([task])
        await operator._server.ask(f"STREAM.DELETE.{queue.name}")
        with pytest.raises(jetstream.DeletedError, match="stream not found") as caught:
            await asyncio.wait_for(task if waiting else reader.aread(timeout=PATIENCE), PATIENCE)
        assert caught.value.code == 10059
        for call in (lambda: reader.aread(), lambda: reader.aread_batch(5, timeout=1), lambda: queue.aenqueue(1)):
            with pytest.raises(jetstream.DeletedError):
                await asyncio.wait_for(call(), PATIENCE)
        again = await place.queue(queue.name)
        await again.aenqueue_batch("abc")
        await queue.aenqueue("d")
        seen = []
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 4:
                try:
                    seen += await reader.aread_batch(4 - len(seen))
                except jetstream.DeletedError:
                    assert not seen  # nothing of the old stream
        assert [message.payload for message in seen] == list("abcd")
        assert [message.seq for message in seen] == list(range(4))
        if kind == "named":
            reader.close()
            await queue.aenqueue("e")
            assert await queue.add_consumer("reader").aget() == "e"

    run_remote(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_made_again_unnoticed_is_read_from_its_start(run_remote, kind):
    """The readers have no chance to notice that it was gone."""

    async def main(place):
        queue, operator = await place.queue(), await place.queue()
        reader = await reader_of(queue, kind)
        await queue.aenqueue_batch(range(100))
        found = []
        while len(found) < 100:
            found += await reader.aread_batch(100)
        config = (await operator._server.ask(f"STREAM.INFO.{queue.name}"))["config"]
        await operator._server.ask(f"STREAM.DELETE.{queue.name}")
        await operator._server.ask(f"STREAM.CREATE.{queue.name}", **config)
        await queue.aenqueue_batch("abc")
        seen = []
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 3:
                try:
                    seen += await reader.aread_batch(3 - len(seen))
                except jetstream.DeletedError:
                    assert not seen
        assert [message.payload for message in seen] == list("abc")
        if kind in ("named", "unnamed"):
            assert reader.missed_count == 0
            assert await reader.unread_count == 0

    run_remote(main)


@pytest.mark.parametrize("ack_wait", [None, 30])
def test_a_deleted_group_is_reported_until_it_is_added_again(run_remote, ack_wait):
    async def main(place):
        queue, operator = await place.queue("groups"), await place.queue("groups")
        group = await queue.add_group("workers", ack_wait=ack_wait)
        member, other = group.add_consumer(), group.add_consumer()
        task = asyncio.create_task(member.aread())
        await asyncio.wait([task], timeout=0.2)
        await operator._server.ask(f"CONSUMER.DELETE.{queue.name}.workers")
        with pytest.raises(jetstream.DeletedError, match="group 'workers' has been deleted"):
            await asyncio.wait_for(task, PATIENCE)
        await queue.aenqueue("tea")
        for _ in range(2):
            with pytest.raises(jetstream.DeletedError):
                await asyncio.wait_for(other.aread(), PATIENCE)
        with pytest.raises(jetstream.DeletedError):
            await member.aread(timeout=0)
        again = (await operator.add_group("workers", ack_wait=ack_wait)).add_consumer()
        assert (await again.aread()).payload == "tea"
        await queue.aenqueue("milk")
        assert (await asyncio.wait_for(other.aread(), PATIENCE)).payload == "milk"

    run_remote(main)
