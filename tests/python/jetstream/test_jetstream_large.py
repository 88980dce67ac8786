"""Large messages: prefetching is also limited in bytes, for all consumers of a connection together."""

import asyncio

import pytest

import servers
from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

MB = 1_000_000
OPTIONS = {"ttl": None, "max_bytes": 1_000 * MB, "codec": "bytes"}


def held(consumer):
    """Bytes that have arrived for a consumer and are unread."""
    return sum(len(delivery.data) for delivery in consumer._feed.buffer)


def test_idle_consumers_of_large_messages_do_not_break_the_connection(directory):
    async def main():
        # Half of a server's default buffer for a slow client, so that the test needs less disk space.
        with servers.NatsServer(directory / "server", max_pending=32 * 1024 * 1024 + 4 * MB) as server:
            async with await jetstream.connect(server.url, "x", **OPTIONS) as queue:
                cuts = []
                queue._server.on_cut.append(lambda: cuts.append(1))
                for number in range(60):
                    await queue.aenqueue(bytes([number]) * MB)
                idle = [await queue.add_consumer(name) for name in ("a", "b", None, None, None)]
                reader = await queue.add_consumer("reader")
                member = (await queue.add_group("workers", ack_wait=30)).add_consumer()
                for number in range(60):
                    message = await asyncio.wait_for(reader.aread(), PATIENCE)
                    assert message.payload[:1] == bytes([number])
                seen = 0
                while seen < 60:
                    found = await member.aread_batch(60, timeout=PATIENCE)
                    assert found
                    for message in found:
                        message.ack()
                    seen += len(found)
                assert cuts == []
                assert sum(map(held, idle)) <= 32 * 1024 * 1024 + 5 * MB
                # The idle consumers can still read everything, in order.
                for consumer in idle[1:3]:
                    got = []
                    while len(got) < 60:
                        got += [m.payload[0] for m in await consumer.aread_batch(60)]
                    assert got == list(range(60))
                assert cuts == []

    asyncio.run(asyncio.wait_for(main(), 5 * PATIENCE))


@pytest.mark.parametrize("kind", ["consumer", "group"])
def test_a_message_larger_than_a_share_is_requested_alone(run_remote, kind):
    """With so many consumers a share is 16 KB, and messages are smaller and larger than that."""

    async def main(place):
        queue = await place.queue(**OPTIONS)
        queue._server.room.readers += 5000
        sizes = [10, 5000, 100_000, 20, 300_000, 300_000, 7000, 9000, 30, 1_000_000, 1]
        for number, size in enumerate(sizes):
            await queue.aenqueue(bytes([number]) * size)
        if kind == "consumer":
            readers = [await queue.add_consumer("a"), await queue.add_consumer()]
        else:
            readers = [(await queue.add_group(name)).add_consumer() for name in "ab"]
        for reader in readers:
            got = []
            while len(got) < len(sizes):
                found = await reader.aread_batch(4, timeout=PATIENCE)
                assert found
                got += [(m.payload[0], len(m.payload)) for m in found]
            assert got == list(enumerate(sizes))
            assert await reader.aread(timeout=0) is None
        # Also as single reads, and with messages enqueued later.
        task = asyncio.create_task(readers[0].aread())
        await queue.aenqueue(b"x" * 500_000)
        assert len((await asyncio.wait_for(task, PATIENCE)).payload) == 500_000
        assert len((await readers[1].aread(timeout=0)).payload) == 500_000

    run_remote(main)
