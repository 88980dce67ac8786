"""A missing permission is an error that names the subject; it never looks like an empty queue."""

import asyncio
from contextlib import asynccontextmanager

import pytest

import servers
from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ADMIN = {"user": "admin", "password": "a"}
LIMITED = {"user": "limited", "password": "b"}


def users(**denied):
    """Two users: one with all permissions, and one to whom these subjects are denied."""
    permissions = {operation: {"deny": subjects} for operation, subjects in denied.items()}
    return {"users": [ADMIN, {**LIMITED, "permissions": permissions}]}


@asynccontextmanager
async def limited(directory, **denied):
    """A queue of the user with all permissions, one of the other user, and their server."""
    with servers.NatsServer(directory / "server", authorization=users(**denied)) as server:
        queue = await jetstream.connect(server.url, "Orders", connection=ADMIN)
        own = await jetstream.connect(server.url, "Orders", connection=LIMITED, patience=2)
        async with queue, own:
            yield queue, own, server


def run(main):
    asyncio.run(asyncio.wait_for(main, 3 * PATIENCE))


def test_publishing_without_permission_raises(directory):
    async def main():
        async with limited(directory, publish=["mpmc_queue.Orders"]) as (_, own, _server):
            for call in (
                lambda: own.aenqueue(1),
                lambda: own.aenqueue(1, timeout=1),
                lambda: own.aenqueue_batch([1, 2, 3]),
                lambda: own.aenqueue_batch([1, 2, 3], atomic=False),
            ):
                async with asyncio.timeout(1):
                    with pytest.raises(jetstream.NotPermittedError, match=r"publish to 'mpmc_queue\.Orders'") as caught:
                        await call()
                assert (caught.value.subject, caught.value.operation) == ("mpmc_queue.Orders", "publish")
            assert (await own.stats()).next_seq == 0

    run(main())


def test_a_consumer_that_is_refused_does_not_hold_up_producers(directory):
    async def main():
        async with limited(directory, publish=["$JS.API.CONSUMER.CREATE.>"]) as (_, own, _server):
            consumer, group = own.add_consumer("reader"), own.add_group("workers")
            async with asyncio.timeout(1.5):
                assert await own.aenqueue("tea") == 0
                for reader, name in ((consumer, "reader"), (group.add_consumer(), "workers")):
                    for _ in range(2):
                        with pytest.raises(jetstream.NotPermittedError) as caught:
                            await reader.aread()
                        assert caught.value.subject == f"$JS.API.CONSUMER.CREATE.Orders.{name}"
                    with pytest.raises(jetstream.NotPermittedError):
                        await reader.aread_batch(3, timeout=1)
                with pytest.raises(jetstream.NotPermittedError):
                    await own.add_consumer("other")

    run(main())


def test_a_consumer_without_an_answer_holds_up_producers_at_most_for_patience(directory):
    async def main():
        # These requests have no responder, as when an operator has not imported their subjects into an account.
        with servers.NatsServer(directory / "server", mappings={"$JS.API.CONSUMER.CREATE.>": "nowhere.>"}) as server:
            async with await jetstream.connect(server.url, "x", patience=0.5) as queue:
                consumer = queue.add_consumer("reader")
                async with asyncio.timeout(0.5 + 2):
                    assert await queue.aenqueue("tea") == 0
                    assert await queue.aenqueue("milk") == 1
                with pytest.raises(jetstream.NotConfirmedError):
                    await consumer

    run(main())


def test_requesting_messages_without_permission_raises(directory):
    async def main():
        async with limited(directory, publish=["$JS.API.CONSUMER.MSG.NEXT.>"]) as (queue, own, server):
            named = own.add_consumer("reader")
            member = own.add_group("workers", ack_wait=30).add_consumer()
            waiting = [asyncio.create_task(reader.aread()) for reader in (named, member)]
            await queue.aenqueue("tea")
            for task, name in zip(waiting, ("reader", "workers"), strict=True):
                with pytest.raises(jetstream.NotPermittedError) as caught:
                    await asyncio.wait_for(task, PATIENCE)
                assert caught.value.subject == f"$JS.API.CONSUMER.MSG.NEXT.Orders.{name}"
            for reader in (named, member):
                with pytest.raises(jetstream.NotPermittedError):
                    await reader.aread_batch(10, timeout=PATIENCE)
            # Once it is permitted, the next read continues.
            server.reload(authorization=users())
            for reader in (named, member):
                async with asyncio.timeout(PATIENCE):
                    while True:
                        try:
                            message = await reader.aread(timeout=PATIENCE)
                            break
                        except jetstream.NotPermittedError:
                            pass
                assert message.payload == "tea"

    run(main())


@pytest.mark.parametrize("kind", ["consumer", "group", "acknowledging group"])
def test_acknowledging_without_permission_raises(directory, kind):
    async def main():
        async with limited(directory, publish=["$JS.ACK.>"]) as (queue, own, _server):
            if kind == "consumer":
                reader = own.add_consumer("reader")
            else:
                reader = own.add_group("reader", ack_wait=30 if "ack" in kind else None).add_consumer()
            await queue.aenqueue("tea")
            message = await reader.aread()
            assert message.payload == "tea"
            if "ack" in kind:
                message.ack()
            with pytest.raises(jetstream.NotPermittedError) as caught:
                await asyncio.wait_for(reader.aread(), PATIENCE)
            assert caught.value.subject == "$JS.ACK.Orders.reader.>"

    run(main())


def test_subscribing_to_replies_without_permission_raises(directory):
    async def main():
        authorization = users(subscribe=["_INBOX.>"])
        with servers.NatsServer(directory / "server", authorization=authorization) as server:
            async with asyncio.timeout(3):
                with pytest.raises(jetstream.NotPermittedError, match="subscribe to '_INBOX") as caught:
                    await jetstream.connect(server.url, "Orders", connection=LIMITED)
            assert caught.value.operation == "subscribe"

    run(main())


def test_making_the_queue_without_permission_raises(directory):
    async def main():
        authorization = users(publish=["$JS.API.STREAM.CREATE.*"])
        with servers.NatsServer(directory / "server", authorization=authorization) as server:
            async with asyncio.timeout(3):
                with pytest.raises(jetstream.NotPermittedError) as caught:
                    await jetstream.connect(server.url, "Orders", connection=LIMITED)
            assert caught.value.subject == "$JS.API.STREAM.CREATE.Orders"
            assert isinstance(caught.value, PermissionError)

    run(main())
