"""When the connection is lost for good, every call raises. It never looks like the end of the queue."""

import asyncio

import pytest

import servers
from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

# nats-py does not close the socket of a failed attempt to connect, so the garbage collector warns.
pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.filterwarnings(
        r"ignore:.*(unclosed|StreamWriter|socket\.socket|_SelectorTransport):pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:(unclosed|loop is closed):ResourceWarning"),
]


def run(main):
    asyncio.run(asyncio.wait_for(main, 3 * PATIENCE))


async def attempts_used_up(server, queue):
    server.kill()


async def not_let_in_any_more(server, queue):
    server.reload(authorization={"token": "other"})


async def too_many_subscriptions(server, queue):
    for _ in range(20):
        queue.add_consumer()


async def fatal_error(server, queue):
    # The server counts headers towards max_payload, the client does not.
    await queue._server.client.publish("elsewhere", b"x" * 1_048_570, headers={"a": "b" * 100})


WAYS = {
    attempts_used_up: "Connect call failed",
    not_let_in_any_more: "authorization failed",
    too_many_subscriptions: "(?i)maximum subscriptions exceeded",
    fatal_error: "(?i)maximum payload violation",
}


async def iterate(consumer):
    async for message in consumer:
        raise AssertionError(message)
    return "the end of the queue"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_call_raises_when_the_connection_is_lost_for_good(directory, way):
    async def main():
        server = servers.NatsServer(directory / "server", max_subscriptions=15, authorization={"token": "one"})
        with server:
            connection = {"token": "one", "max_reconnect_attempts": 1, "reconnect_time_wait": 0.05}
            queue = await jetstream.connect(server.url, "x", max_items=3, patience=2, connection=connection)
            consumer, other = await queue.add_consumer("reader", start=0), await queue.add_consumer(start="latest")
            member = (await queue.add_group("workers", ack_wait=30)).add_consumer()
            joined = (await queue.add_group("joined", start="latest")).add_consumer()
            await queue.aenqueue_batch(range(3))
            assert len(await consumer.aread_batch(3)) == 3
            assert len(await other.aread_batch(3)) == 3
            (*_, held) = [await member.aread() for _ in range(3)]
            assert len(await joined.aread_batch(3)) == 3
            calls = {
                "iterate": iterate(consumer),
                "read": other.aread(),
                "member": iterate(member),
                "joined": joined.aread_batch(10),
                "losses": other.atake_missed(),
                "full": queue.aenqueue("waits for space"),
            }
            waiting = {name: asyncio.create_task(call) for name, call in calls.items()}
            await asyncio.wait(waiting.values(), timeout=0.3)
            assert not any(task.done() for task in waiting.values())
            await way(server, queue)
            await asyncio.wait(waiting.values(), timeout=PATIENCE)
            for name, task in waiting.items():
                assert task.done(), name
                assert isinstance(task.exception(), jetstream.ConnectionLostError), (name, task.exception())
            later = [
                lambda: queue.aenqueue(1),
                lambda: queue.aenqueue(1, timeout=1),
                lambda: queue.aenqueue_batch([1, 2]),
                lambda: queue.stats(),
                lambda: consumer.aread(timeout=0),
                lambda: other.aread_batch(5, timeout=1),
                lambda: iterate(consumer),
                lambda: member.aread(),
                lambda: iterate(joined),
                lambda: consumer.peek(),
                lambda: consumer.atake_missed(timeout=1),
                lambda: queue.add_consumer().aread(),
                lambda: queue.add_group("more").add_consumer().aread(),
            ]
            for call in later:
                with pytest.raises(jetstream.ConnectionLostError, match=WAYS[way]) as caught:
                    await call()
                assert caught.value.__cause__ is not None
            with pytest.raises(jetstream.ConnectionLostError):
                held.ack()
            assert not queue.closed
            consumer.close()
            await queue.aclose()
            assert queue.closed

    run(main())


def test_a_consumer_that_drains_raises_too(directory):
    """There was more to read, so the iteration must not just end."""

    async def main():
        with servers.NatsServer(directory / "server") as server:
            connection = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.05}
            queue = await jetstream.connect(server.url, "x", prefetch=2, connection=connection)
            consumer = await queue.add_consumer("reader")
            await queue.aenqueue_batch(range(100))
            queue.close()
            await queue._ended.wait()
            assert (await consumer.aread()).payload == 0
            server.kill()
            with pytest.raises(jetstream.ConnectionLostError):
                async for _ in consumer:
                    pass
            await asyncio.wait_for(queue.wait_closed(), PATIENCE)

    run(main())


def test_the_callbacks_of_the_application_are_called_too(directory):
    async def main():
        called = {name: asyncio.Event() for name in ("error_cb", "disconnected_cb", "reconnected_cb", "closed_cb")}

        def callback(name):
            async def call(*args):
                called[name].set()
                raise ZeroDivisionError  # has no effect on the queue

            return call

        with servers.NatsServer(directory / "server") as server:
            connection = {name: callback(name) for name in called}
            async with await jetstream.connect(server.url, "x", connection=connection) as queue:
                server.kill()
                for name in ("error_cb", "disconnected_cb"):
                    await asyncio.wait_for(called[name].wait(), PATIENCE)
                await asyncio.to_thread(server.start)
                await asyncio.wait_for(called["reconnected_cb"].wait(), PATIENCE)
                assert await queue.aenqueue("tea") == 0
                assert not called["closed_cb"].is_set()
            assert called["closed_cb"].is_set()
            with pytest.raises(Exception, match="callback"):
                await jetstream.connect(server.url, "x", connection={"error_cb": print})

    run(main())


def test_a_connection_that_comes_back_is_not_lost(directory):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "x") as queue:
                consumer = await queue.add_consumer("reader")
                task = asyncio.create_task(consumer.aget())
                for _ in range(2):
                    server.kill()
                    await asyncio.to_thread(server.start)
                await queue.aenqueue("tea")
                assert await asyncio.wait_for(task, PATIENCE) == "tea"

    run(main())


def test_a_client_that_is_refused_after_a_restart_stops_trying(directory):
    async def main():
        with servers.NatsServer(directory / "server", authorization={"token": "one"}) as server:
            queue = await jetstream.connect(server.url, "x", connection={"token": "one"})
            consumer = await queue.add_consumer("reader")
            task = asyncio.create_task(iterate(consumer))
            server.kill()
            server.configure(authorization={"token": "other"})
            await asyncio.to_thread(server.start)
            with pytest.raises(jetstream.ConnectionLostError, match="Authorization Violation"):
                await asyncio.wait_for(task, PATIENCE)
            with pytest.raises(jetstream.ConnectionLostError):
                await queue.aenqueue(1)
            await queue.aclose()

    run(main())
