"""`create=False`: streams and consumers made by other tools are used as they are."""

import asyncio
from itertools import count

import pytest

from helpers import PATIENCE
from mpmc_queue import ItemLimitError, MemoryLimitError, QueueError

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

numbers = count(1)


async def stream(place, *subjects, **config):
    """Makes a stream as an operator would, with the NATS client; returns its name and the client's context."""
    import nats

    client = await nats.connect(place.url)
    place._open.push_async_callback(client.close)
    name = f"theirs-{next(numbers)}"
    await client.jetstream().add_stream(name=name, subjects=[each.format(name) for each in subjects], **config)
    return name, client.jetstream()


async def contents(consumer, limit=100):
    return [message.payload for message in await consumer.aread_batch(limit, timeout=0)]


def test_an_existing_stream_is_used_as_it_is(run_remote):
    async def main(place):
        name, context = await stream(place, "{}", max_age=1234, max_msgs=3, max_bytes=5000, discard="new")
        queue = await place.queue(name, create=False)
        stats = await queue.stats()
        assert (stats.ttl, stats.max_bytes, stats.max_items) == (1234.0, 5000, 3)
        reader = queue.add_consumer()
        await context.publish(name, b"theirs")
        assert await queue.aenqueue("ours") == 1
        assert await contents(reader) == [b"theirs", "ours"]
        with pytest.raises(MemoryLimitError) as caught:
            await queue.aenqueue("x" * 5001)
        assert caught.value.max == 5000
        await queue.aenqueue("third")
        with pytest.raises(ItemLimitError) as caught:
            await queue.aenqueue("fourth", timeout=0)
        assert caught.value.max == 3

    run_remote(main)


def test_a_stream_without_limits_has_none(run_remote):
    async def main(place):
        name, _ = await stream(place, "{}")
        queue = await place.queue(name, create=False)
        assert await queue.aenqueue("x" * 500_000) == 0
        stats = await queue.stats()
        assert (stats.ttl, stats.max_bytes, stats.max_items, stats.memory_percent) == (None, None, None, 0.0)

    run_remote(main)


def test_topics_of_a_stream_with_several_subjects_are_whole_subjects(run_remote):
    async def main(place):
        name, context = await stream(place, "{}.orders.>", "{}.returns", "{}.audit.*")
        queue = await place.queue(name, create=False)
        reader, returns = queue.add_consumer(), queue.add_consumer("returns", topics=f"{name}.returns")
        await context.publish(f"{name}.orders.eu", b"1")
        await queue.aenqueue("2", topic=f"{name}.returns")
        await queue.aenqueue_batch(["3", "4"], topic=f"{name}.audit.x", atomic=False)
        messages = await reader.aread_batch(4)
        assert [(message.payload, message.topic) for message in messages] == [
            (b"1", f"{name}.orders.eu"),
            ("2", f"{name}.returns"),
            ("3", f"{name}.audit.x"),
            ("4", f"{name}.audit.x"),
        ]
        assert await contents(returns) == ["2"]
        with pytest.raises(jetstream.OptionError, match="topic="):
            await queue.aenqueue("5")
        with pytest.raises(jetstream.OptionError, match=rf"'elsewhere'.*{name}\.returns"):
            await asyncio.wait_for(queue.aenqueue("6", topic="elsewhere"), PATIENCE)

    run_remote(main)


def test_a_queue_can_use_one_of_several_subjects(run_remote):
    async def main(place):
        name, context = await stream(place, "{}.>")
        queue = await place.queue(name, subject=f"{name}.orders", create=False)
        reader, member = queue.add_consumer(), queue.add_group("g").add_consumer()
        await context.publish(f"{name}.returns", b"not ours")
        await queue.aenqueue("1")
        await queue.aenqueue("2", topic="eu.new")
        for consumer in (reader, member):
            read = await consumer.aread_batch(3, timeout=1)
            assert [(message.payload, message.topic) for message in read] == [("1", None), ("2", "eu.new")]
        assert reader.missed_count == 0
        with pytest.raises(jetstream.OptionError, match="has other subjects"):
            await place.queue(name, subject="elsewhere", create=False)

    run_remote(main)


def test_a_topic_that_belongs_to_another_stream_is_refused(run_remote):
    async def main(place):
        name, _ = await stream(place, "{}.a", "{}.b")
        other, _ = await stream(place, "{}.c")
        queue = await place.queue(name, create=False)
        info = await queue._server.insist(f"STREAM.INFO.{name}")
        await queue._server.insist(f"STREAM.UPDATE.{name}", **info["config"] | {"allow_atomic": True})
        await queue.aclose()
        queue = await place.queue(name, create=False)
        with pytest.raises(jetstream.ServerError, match="expected stream does not match"):
            await queue.aenqueue(1, topic=f"{other}.c")
        with pytest.raises(QueueError):
            await asyncio.wait_for(queue.aenqueue_batch([1, 2], topic=f"{other}.c"), PATIENCE)
        assert list(await queue.aenqueue_batch([1, 2], topic=f"{name}.a")) == [0, 1]
        there = await place.queue(other, create=False)
        assert (await there.stats()).next_seq == 0

    run_remote(main)


def test_a_mirror_can_be_read_but_not_written(run_remote):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue("tea", topic="eu")
        name = f"{queue.name}-copy"
        await queue._server.insist(f"STREAM.CREATE.{name}", name=name, mirror={"name": queue.name})
        mirror = await place.queue(name, create=False)
        message = await asyncio.wait_for(mirror.add_consumer().aread(), PATIENCE)
        assert (message.payload, message.topic) == ("tea", f"mpmc_queue.{queue.name}.eu")
        with pytest.raises(jetstream.ServerError, match="expected stream does not match"):
            await mirror.aenqueue("milk", topic=f"mpmc_queue.{queue.name}.eu")

    run_remote(main)


def test_a_missing_stream_or_consumer_is_not_made(run_remote):
    async def main(place):
        with pytest.raises(jetstream.ServerError, match=r"no stream 'nowhere'.*none is made") as caught:
            await place.queue("nowhere", create=False)
        assert not isinstance(caught.value, jetstream.DeletedError)
        queue = await place.queue()
        for reader in (queue.add_consumer("a", create=False), queue.add_group("b", create=False)):
            with pytest.raises(jetstream.ServerError, match=r"no consumer '[ab]'.*none is made"):
                await reader
        assert (await queue.stats()).consumer_count == 0
        with pytest.raises(jetstream.ServerError, match="no stream"):
            await place.queue("nowhere", create=False)

    run_remote(main)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 60},
        {"ttl": None},
        {"max_bytes": 1},
        {"max_items": 1},
        {"retention": "interest"},
        {"overflow": "drop_oldest"},
        {"dedupe": 1},
        {"replicas": 3},
        {"storage": "memory"},
    ],
)
def test_options_for_an_existing_stream_are_refused(nats, options):
    async def main():
        [argument] = options
        with pytest.raises(jetstream.OptionError, match=f"its own {argument}: leave it out"):
            await jetstream.connect(nats.url, "x", create=False, **options)

    asyncio.run(main())


# --- work queues ---------------------------------------------------------------------------------------------------------


def test_groups_of_a_work_queue_stream_remove_what_they_settle(run_remote):
    async def main(place):
        name, _ = await stream(place, "{}.>", retention="workqueue")
        queue = await place.queue(name, create=False, subject=name)
        workers = queue.add_group("workers", ack_wait=30, topics="a.*")
        others = queue.add_group("others", topics="b")
        await queue.aenqueue(1, topic="a.x")
        await queue.aenqueue(2, topic="b")
        await queue.aenqueue(3, topic="a.y")
        member = workers.add_consumer()
        for expected in (1, 3):
            message = await member.aread()
            assert message.payload == expected
            await asyncio.wait_for(message.ack(confirm=True), PATIENCE)
        assert (await queue.stats()).total_items == 1
        assert await contents(others.add_consumer()) == [2]
        with pytest.raises(jetstream.OptionError, match="groups only"):
            queue.add_consumer()
        with pytest.raises(jetstream.OptionError, match="earliest"):
            queue.add_group("late", start="latest")
        with pytest.raises(jetstream.ServerError, match="unique"):
            await queue.add_group("third", topics="a.x")

    run_remote(main)


# --- consumers -----------------------------------------------------------------------------------------------------------


def test_a_consumer_with_explicit_acks_is_a_group(run_remote):
    async def main(place):
        name, context = await stream(place, "{}", "{}.>")
        config = {"ack_policy": "explicit", "ack_wait": 0.5, "max_deliver": 2, "filter_subject": f"{name}.a.*"}
        await context.add_consumer(name, durable_name="workers", **config)
        queue, graves = await place.queue(name, create=False), await place.queue()
        group = await queue.add_group("workers", dead_letter=graves, create=False)
        member = group.add_consumer()
        assert group.topics == member.topics == ("a.*",)
        for number in range(3):
            await queue.aenqueue(number, topic="a.x" if number != 1 else "b")
        first, second = await member.aread_batch(2)
        assert [first.payload, second.payload] == [0, 2]
        first.ack()
        again = await asyncio.wait_for(member.aread(), PATIENCE)  # nobody settled it within their ack_wait
        assert (again.payload, again.deliveries) == (2, 2)
        again.nack()
        letter = await asyncio.wait_for(graves.add_consumer().aread(), PATIENCE)
        assert (letter.payload, letter.topic) == (2, "a.x")
        async with asyncio.timeout(PATIENCE):
            while await group.pending_count:
                await asyncio.sleep(0.02)
        assert await group.unread_count == 0
        with pytest.raises(jetstream.OptionError, match=r"ack policy 'explicit'.*add_group"):
            await queue.add_consumer("workers", create=False)

    run_remote(main)


def test_a_consumer_with_ack_policy_all_continues_at_its_position(run_remote):
    async def main(place):
        name, context = await stream(place, "{}", "{}.>")
        await context.add_consumer(name, durable_name="billing", ack_policy="all", filter_subject=f"{name}.a")
        for round_ in range(2):
            queue = await place.queue(name, create=False)
            reader = await queue.add_consumer("billing", create=False)
            assert reader.topics == ("a",)
            for number in range(3):
                await queue.aenqueue(10 * round_ + number, topic="b" if number == 1 else "a")
            assert [(await reader.aread()).payload for _ in range(2)] == [10 * round_, 10 * round_ + 2]
            await queue.aclose()
        info = await context.consumer_info(name, "billing")
        assert (info.config.filter_subject, info.num_pending) == (f"{name}.a", 0)
        queue = await place.queue(name, create=False)
        with pytest.raises(jetstream.OptionError, match=r"ack policy 'all'.*add_consumer"):
            await queue.add_group("billing", create=False)

    run_remote(main)


def test_a_name_used_by_others_is_not_taken_over(run_remote):
    async def main(place):
        name, context = await stream(place, "{}")
        await context.add_consumer(name, durable_name="theirs", ack_policy="explicit")
        queue = await place.queue(name, create=False)
        for reader in (queue.add_consumer("theirs"), queue.add_group("theirs", ack_wait=30)):
            with pytest.raises(jetstream.OptionError, match="made elsewhere: create=False reads it"):
                await reader

    run_remote(main)


def test_a_push_consumer_is_refused(run_remote):
    async def main(place):
        name, context = await stream(place, "{}")
        await context.add_consumer(name, durable_name="pushed", deliver_subject="x", ack_policy="explicit")
        queue = await place.queue(name, create=False)
        with pytest.raises(jetstream.OptionError, match="pushes to"):
            await queue.add_group("pushed", create=False)

    run_remote(main)


def test_options_for_an_existing_consumer_are_refused(run_remote):
    async def main(place):
        queue = await place.queue()
        for options in ({"start": 0}, {"topics": "a"}):
            with pytest.raises(jetstream.OptionError, match="create=False"):
                queue.add_consumer("x", create=False, **options)
        with pytest.raises(jetstream.OptionError, match="takes a name"):
            queue.add_consumer(create=False)
        for options in ({"start": "latest"}, {"ack_wait": 1}, {"max_deliver": 1}, {"backoff": [1]}, {"topics": "a"}):
            with pytest.raises(jetstream.OptionError, match="no options but dead_letter"):
                queue.add_group("x", create=False, **options)
        assert queue.consumers == ()

    run_remote(main)


def test_a_deleted_consumer_is_reported_and_not_made_again(run_remote):
    async def main(place):
        name, context = await stream(place, "{}")
        await context.add_consumer(name, durable_name="billing", ack_policy="all")
        queue = await place.queue(name, create=False)
        reader = await queue.add_consumer("billing", create=False)
        waiting = asyncio.create_task(reader.aread())
        await context.delete_consumer(name, "billing")
        with pytest.raises(jetstream.ServerError, match="no consumer 'billing'"):
            await asyncio.wait_for(waiting, PATIENCE)
        assert (await queue.stats()).consumer_count == 0

    run_remote(main)
