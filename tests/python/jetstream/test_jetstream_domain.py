"""Streams of another JetStream domain: API requests, pulls and acknowledgements all go there."""

import asyncio

import pytest

import servers
from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


def hub_and_leaf(directory):
    """A server with a domain, and its leaf node with another domain."""
    port = servers.free_port()
    hub = servers.NatsServer(directory / "hub", leafnodes={"host": "127.0.0.1", "port": port})
    leaf = servers.NatsServer(directory / "leaf", leafnodes={"remotes": [{"url": f"nats-leaf://127.0.0.1:{port}"}]})
    for server in (hub, leaf):
        name = server.directory.name
        server.configure(jetstream={"store_dir": str(server.directory / "store"), "domain": name})
    return hub, leaf


@pytest.mark.parametrize("argument", [{"domain": "hub"}, {"api": "$JS.hub.API"}], ids=["domain", "api"])
def test_a_queue_on_the_hub_is_read_through_a_leaf_node(directory, argument):
    async def main():
        hub, leaf = hub_and_leaf(directory)
        with hub, leaf:
            async with asyncio.timeout(2 * PATIENCE):
                there = await jetstream.connect(hub.url, "Orders")
                queue = await jetstream.connect(leaf.url, "Orders", patience=10, **argument)
                async with there, queue:
                    await queue.aenqueue_batch(range(10))
                    assert (await there.stats()).next_seq == 10
                    consumer, unnamed = queue.add_consumer("reader"), queue.add_consumer()
                    group = queue.add_group("workers", ack_wait=30)
                    for reader in (consumer, unnamed):
                        assert [m.payload for m in await reader.aread_batch(10)] == list(range(10))
                    member = group.add_consumer()
                    for number in range(10):
                        message = await member.aread()
                        assert message.payload == number
                        message.ack()
                    while await group.pending_count:  # the acknowledgements are in transit
                        pass
                    await there.aenqueue("later")
                    assert await consumer.aget() == "later"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"domain": "a.b"}, ValueError, "domain must be one word"),
        ({"domain": ""}, ValueError, "domain"),
        ({"domain": 1}, TypeError, "domain"),
        ({"api": "a..b"}, ValueError, "api must be words"),
        ({"api": "$JS.*"}, ValueError, "api"),
        ({"api": "$JS.API", "domain": "hub"}, ValueError, "in two ways"),
    ],
)
def test_a_bad_domain_is_named(arguments, error, words):
    async def main():
        with pytest.raises(error, match=words):
            await jetstream.connect("nats://127.0.0.1:1", "x", patience=0.1, **arguments)

    asyncio.run(main())
