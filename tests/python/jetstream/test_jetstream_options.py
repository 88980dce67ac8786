"""What operators configure: options of streams and consumers, changing limits, and two readers of one name."""

import asyncio
import logging
import subprocess
import sys

import pytest

import servers
from helpers import PATIENCE
from mpmc_queue import ItemLimitError, MemoryLimitError, QueueError

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


async def configuration(queue):
    return (await queue._server.insist(f"STREAM.INFO.{queue.name}"))["config"]


async def consumer_configuration(queue, name):
    return (await queue._server.insist(f"CONSUMER.INFO.{queue.name}.{name}"))["config"]


async def update(queue, **changes):
    """Updates the stream's configuration, as an operator does."""
    await queue._server.insist(f"STREAM.UPDATE.{queue.name}", **await configuration(queue) | changes)


# --- streams -------------------------------------------------------------------------------------------------------------


def test_options_of_the_stream_reach_the_server(directory):
    async def main():
        with servers.NatsServer(directory / "server", server_tags=["ssd"]) as server:
            options = {
                "max_msg_size": 5000,
                "compression": "s2",
                "placement": {"tags": ["ssd"]},
                "description": "what was ordered",
                "max_bytes": None,
            }
            for _ in range(2):  # first made, then joined
                async with await jetstream.connect(server.url, "Orders", **options) as queue:
                    config = await configuration(queue)
                    assert {key: config[key] for key in options if key != "max_bytes"} == {
                        key: value for key, value in options.items() if key != "max_bytes"
                    }
                    assert (config["max_bytes"], (await queue.stats()).max_bytes) == (-1, None)
            # A handle that does not ask for them uses the existing ones; one that asks for others is refused.
            async with await jetstream.connect(server.url, "Orders", max_bytes=None):
                pass
            for other in ({"max_msg_size": 6000}, {"compression": "none"}, {"description": "x"}):
                with pytest.raises(jetstream.OptionError, match=next(iter(other))):
                    await jetstream.connect(server.url, "Orders", **options | other)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_message_above_max_msg_size_is_refused(run_remote):
    async def main(place):
        queue = await place.queue(max_msg_size=5000)
        with pytest.raises(jetstream.ServerError) as caught:
            await asyncio.wait_for(queue.aenqueue("x" * 5000), PATIENCE)
        assert caught.value.code == 10054
        assert await queue.aenqueue("x" * 4000) == 0

    run_remote(main)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_msg_size": 0}, ValueError),
        ({"max_msg_size": 2**31}, OverflowError),
        ({"max_msg_size": "1"}, TypeError),
        ({"compression": "gzip"}, ValueError),
        ({"compression": 1}, TypeError),
        ({"placement": "x"}, TypeError),
        ({"placement": {}}, ValueError),
        ({"placement": {"rack": "x"}}, ValueError),
        ({"placement": {"tags": "x"}}, TypeError),
        ({"description": 1}, TypeError),
        ({"max_bytes": 0}, ValueError),
    ],
)
def test_a_bad_option_of_the_stream_is_named(nats, options, error):
    async def main():
        with pytest.raises(error, match=next(iter(options))):
            await jetstream.connect(nats.url, "x", **options)

    asyncio.run(main())


# --- consumers -----------------------------------------------------------------------------------------------------------


def test_options_of_consumers_reach_the_server(run_remote):
    async def main(place):
        queue = await place.queue()
        options = {"inactive_threshold": 90, "replicas": 1, "storage": "memory"}
        there = {"inactive_threshold": 90 * 10**9, "num_replicas": 1, "mem_storage": True}
        await queue.add_consumer("reader", **options)
        await queue.add_group("group", **options)
        unnamed = await queue.add_consumer(inactive_threshold=7)
        for name in ("reader", "group"):
            config = await consumer_configuration(queue, name)
            assert {key: config[key] for key in there} == there
        config = await consumer_configuration(queue, unnamed._feed._placing.name)
        assert config["inactive_threshold"] == 7 * 10**9
        other = await place.queue(queue.name)
        await other.add_consumer("reader", **options)
        for changed in ({"inactive_threshold": 91}, {"storage": "file"}):
            group = other.add_group("group", **options | changed)
            with pytest.raises(jetstream.OptionError, match="exists with other options"):
                await group
            group.close()
        third = await place.queue(queue.name)
        with pytest.raises(jetstream.OptionError, match="inactive_threshold"):
            await third.add_consumer("reader", inactive_threshold=91)

    run_remote(main)


def test_an_idle_consumer_is_deleted_after_its_threshold(run_remote):
    async def main(place):
        queue = await place.queue("forgotten")
        reader = await queue.add_consumer("reader", inactive_threshold=0.5)
        await queue.aenqueue("tea")
        assert (await reader.aread()).payload == "tea"
        await queue.aclose()
        queue = await place.queue("forgotten")
        async with asyncio.timeout(PATIENCE):
            while (await queue.stats()).consumer_count:
                await asyncio.sleep(0.05)
        assert (await queue.add_consumer("reader").aread()).payload == "tea"

    run_remote(main)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"inactive_threshold": 0}, ValueError),
        ({"inactive_threshold": "1"}, TypeError),
        ({"replicas": 0}, ValueError),
        ({"storage": "disk"}, ValueError),
        ({"create": 1}, TypeError),
        ({"create": False, "replicas": 1}, jetstream.OptionError),
    ],
)
def test_a_bad_option_of_a_consumer_is_named(run_remote, options, error):
    async def main(place):
        queue = await place.queue()
        for add in (queue.add_consumer, queue.add_group):
            with pytest.raises(error, match=list(options)[-1]):
                add("x", **options)
        assert queue.consumers == ()

    run_remote(main)


# --- acknowledgements ----------------------------------------------------------------------------------------------------


def test_an_acknowledgement_can_be_confirmed(run_remote):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("g", ack_wait=30)
        member = group.add_consumer()
        await queue.aenqueue_batch([1, 2, 3])
        for _ in range(2):
            message = await member.aread()
            await asyncio.wait_for(message.ack(confirm=True), PATIENCE)
            assert await group.pending_count == 0
            with pytest.raises(QueueError, match="settled before"):
                message.ack(confirm=True)
        message = await member.aread()
        message.ack(confirm=True)  # it is sent even if the result is not awaited
        async with asyncio.timeout(PATIENCE):
            while await group.pending_count:
                await asyncio.sleep(0.02)
        await queue.aenqueue(4)
        with pytest.raises(QueueError, match="nothing to settle"):
            (await queue.add_consumer().aread()).ack(confirm=True)

    run_remote(main)


@pytest.mark.parametrize("how", ["frozen for a moment", "dead"])
def test_a_confirmation_waits_for_the_server(directory, how):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "Orders", patience=1) as queue:
                group = queue.add_group("g", ack_wait=30)
                await queue.aenqueue("tea")
                message = await group.add_consumer().aread()
                if how == "dead":
                    server.kill()
                    with pytest.raises(jetstream.NotConfirmedError, match="may come again"):
                        await message.ack(confirm=True)
                    return
                server.pause()
                asyncio.get_running_loop().call_later(0.3, server.resume)
                await message.ack(confirm=True)
                assert await group.pending_count == 0

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


# --- limits that an operator changes --------------------------------------------------------------------------------------


def test_open_handles_see_raised_limits(run_remote):
    async def main(place):
        queue = await place.queue(max_bytes=5000, max_items=2, ttl=60)
        with pytest.raises(MemoryLimitError):
            await queue.aenqueue("x" * 6000)
        with pytest.raises(ItemLimitError):
            await queue.aenqueue_batch([1, 2, 3])
        with pytest.raises(jetstream.OptionError):
            await queue.aenqueue(1, ttl=90)
        await update(queue, max_bytes=50_000, max_msgs=7, max_age=120 * 10**9)
        assert await queue.aenqueue("x" * 6000) == 0
        assert list(await queue.aenqueue_batch([1, 2, 3])) == [1, 2, 3]
        assert await queue.aenqueue(1, ttl=90) == 4
        stats = await queue.stats()
        assert (stats.max_bytes, stats.max_items, stats.ttl) == (50_000, 7, 120.0)
        await queue.aenqueue_batch([1, 2])
        with pytest.raises(ItemLimitError) as caught:
            await queue.aenqueue(1, timeout=0)
        assert (caught.value.current, caught.value.max) == (7, 7)

    run_remote(main)


def test_a_raised_limit_wakes_a_waiting_producer(run_remote):
    async def main(place):
        queue = await place.queue(max_items=1)
        await queue.aenqueue(1)
        waiting = asyncio.create_task(queue.aenqueue(2))
        await update(queue, max_msgs=2)
        assert await asyncio.wait_for(waiting, PATIENCE) == 1

    run_remote(main)


@pytest.mark.parametrize("read", ["aread", "aread now", "peek", "closed"])
def test_a_raised_ttl_applies_to_prefetched_messages(run_remote, read):
    async def main(place):
        queue, operator = await place.queue("raised", ttl=1.5), await place.queue("raised", ttl=1.5)
        reader = queue.add_consumer(on_missed="raise")
        await queue.aenqueue_batch(["tea", "milk"])
        assert (await reader.peek()).payload == "tea"
        await update(operator, max_age=60 * 10**9)
        first = await reader.peek()
        async with asyncio.timeout(PATIENCE):
            while queue._server.now_ns() < first.created_ns + 1.6e9:
                await asyncio.sleep(0.05)
        if read == "peek":
            assert (await reader.peek()).payload == "tea"
        elif read == "closed":
            queue.close()
        message = await reader.aread(timeout=0 if read == "aread now" else 5)
        assert (message.payload, message.missed) == ("tea", 0)
        assert (await reader.aread(timeout=0)).payload == "milk"
        assert reader.missed_count == 0
        await operator.delete()

    run_remote(main)


def test_prefetched_messages_that_expire_are_missed(run_remote):
    async def main(place):
        queue = await place.queue(ttl=1.2)
        reader = queue.add_consumer()
        await queue.aenqueue_batch(["tea", "milk"])
        first = await reader.peek()
        async with asyncio.timeout(PATIENCE):
            while queue._server.now_ns() < first.created_ns + 1.3e9:
                await asyncio.sleep(0.05)
        waiting = asyncio.create_task(reader.aread())
        assert await reader.atake_missed(timeout=PATIENCE) == 2
        await queue.aenqueue("new")
        message = await asyncio.wait_for(waiting, PATIENCE)
        assert (message.payload, message.missed, reader.missed_count) == ("new", 2, 2)

    run_remote(main)


# --- two readers of one name ----------------------------------------------------------------------------------------------


def warned(caplog):
    return [record for record in caplog.records if "another process" in record.getMessage()]


def test_a_second_reader_of_a_name_is_warned_once(run_remote, caplog):
    async def main(place):
        queue, other = await place.queue("shared-name"), await place.queue("shared-name")
        first = await queue.add_consumer("reader")
        waiting = asyncio.create_task(first.aread())
        async with asyncio.timeout(PATIENCE):
            while not (await queue._server.insist("CONSUMER.INFO.shared-name.reader"))["num_waiting"]:
                await asyncio.sleep(0.02)
        second = await other.add_consumer("reader")
        assert await second.aread(timeout=0.5) is None
        [warning] = warned(caplog)
        assert "consumer reader of queue shared-name" in warning.getMessage()
        waiting.cancel()
        await asyncio.wait([waiting])

    with caplog.at_level(logging.WARNING, "mpmc_queue.jetstream"):
        run_remote(main)


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_the_next_reader_of_a_name_is_not_warned(nats, caplog, ending):
    name = f"handed-on-{ending}"
    program = f"""
import asyncio, os, signal
from mpmc_queue import jetstream

async def main():
    async with await jetstream.connect({nats.url!r}, {name!r}) as queue:
        reader = queue.add_consumer("reader")
        await queue.aenqueue("tea")
        await reader.aread()
        await reader.aread(timeout=0)
        if {ending == "killed"}:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=ending == "closed", timeout=PATIENCE)

    async def main():
        async with await jetstream.connect(nats.url, name) as queue:
            reader = await queue.add_consumer("reader")
            await queue.aenqueue("milk")
            async with asyncio.timeout(PATIENCE):
                async for message in reader:
                    if message.payload == "milk":
                        break

    with caplog.at_level(logging.WARNING, "mpmc_queue.jetstream"):
        asyncio.run(main())
    assert warned(caplog) == []
