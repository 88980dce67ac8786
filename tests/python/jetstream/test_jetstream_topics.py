"""Topics: they become subjects below the queue's subject, and consumers and groups read matching messages."""

import asyncio

import pytest

import mpmc_queue
import servers
from helpers import PATIENCE
from mpmc_queue import MessagesMissedError
from mpmc_queue.protocols import answer
from topic_examples import MATCHES, TOPICS

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


async def contents(consumer, limit=10_000):
    return [message.payload for message in await consumer.aread_batch(limit, timeout=0)]


# --- in this process and over JetStream ----------------------------------------------------------------------------------


def test_a_consumer_reads_matching_messages_in_order(run):
    async def main(place):
        queue = await place.queue()
        orders, named = queue.add_consumer(topics="orders.>"), queue.add_consumer("named", topics=["orders.*.new"])
        everything = queue.add_consumer()
        await queue.aenqueue(0, topic="orders.eu.new")
        await queue.aenqueue(1, topic="news")
        await queue.aenqueue(2)
        assert list(await queue.aenqueue_batch([3, 4], topic="orders.us")) == [3, 4]
        assert await contents(orders) == [0, 3, 4]
        assert await contents(named) == [0]
        read = await everything.aread_batch(10, timeout=0)
        assert [message.payload for message in read] == [0, 1, 2, 3, 4]
        assert [message.topic for message in read] == ["orders.eu.new", "news", None, "orders.us", "orders.us"]
        assert (orders.topics, named.topics, everything.topics) == (("orders.>",), ("orders.*.new",), None)

    run(main)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        *MATCHES,
        (["a.*", "a.b", "b", "a.*"], ["a.b", "a.c", "b"]),
        (["a.b", "a.>", "a"], ["a", "a.b", "a.c", "a.b.c"]),
    ],
)
def test_wildcards_match_tokens(run, filters, expected):
    async def main(place):
        queue = await place.queue()
        reader, member = queue.add_consumer(topics=filters), queue.add_group("g", topics=filters).add_consumer()
        for topic in TOPICS:
            await queue.aenqueue(topic, topic=topic)
        assert await contents(reader) == expected
        assert await contents(member) == expected
        assert reader.topics == member.topics == ((filters,) if isinstance(filters, str) else tuple(filters))

    run(main)


@pytest.mark.parametrize(
    "topic", ["", ".", "a.", ".a", "a..b", "a b", "a.\u00a0", "a\x1c", "a.*", "a>", "ä" * 128, "\ud800", 1, b"a", ["a"]]
)
def test_a_bad_topic_is_refused_with_the_same_message(run_remote, topic):
    async def main(place):
        queue = await place.queue()
        for call in (lambda q: q.aenqueue(1, topic=topic), lambda q: q.aenqueue_batch([1], topic=topic)):
            with pytest.raises((ValueError, TypeError)) as there:
                await call(queue)
            with pytest.raises((ValueError, TypeError)) as here:
                await call(mpmc_queue.Queue("here"))
            assert (there.type, str(there.value)) == (here.type, str(here.value))
        assert (await queue.stats()).next_seq == 0

    run_remote(main)


@pytest.mark.parametrize(
    "topics", ["", (), "a*", ">.a", "a.b>", "**", "a.", ["x", "a b"], "\ud800", "ä" * 128, 1, b"a", [1], [b"a"]]
)
def test_a_bad_filter_is_refused_with_the_same_message(run_remote, topics):
    async def main(place):
        queue = await place.queue()
        for call in (lambda q: q.add_consumer(topics=topics), lambda q: q.add_group("g", topics=topics)):
            with pytest.raises((ValueError, TypeError)) as there:
                call(queue)
            with pytest.raises((ValueError, TypeError)) as here:
                call(mpmc_queue.Queue("here"))
            assert (there.type, str(there.value)) == (here.type, str(here.value))
        assert (await queue.stats()).consumer_count == 0

    run_remote(main)


@pytest.mark.parametrize("topic", ["a" * 255, "ä.ß", "a-b.c_d", "$JS.API", "\u200b", "a\x01"])
def test_any_valid_topic_arrives_unchanged(run, topic):
    async def main(place):
        queue = await place.queue()
        reader, other = queue.add_consumer(topics=topic), queue.add_consumer(topics="other")
        await queue.aenqueue(1, topic=topic)
        assert (await asyncio.wait_for(reader.aread(), PATIENCE)).topic == topic
        assert await other.aread(timeout=0) is None

    run(main)


def test_figures_count_matching_messages(run):
    async def main(place):
        queue = await place.queue()
        reader, group = queue.add_consumer(topics="a.>"), queue.add_group("g", ack_wait=30, topics="a.>")
        for number in range(20):
            await queue.aenqueue(number, topic="a.x" if number % 2 else "b")
        for read in range(10):
            assert await answer(reader.unread_count) == 10 - read
            message = await reader.aread()
            assert (message.payload, message.missed) == (2 * read + 1, 0)
        assert await answer(reader.unread_count) == reader.missed_count == 0
        assert await answer(group.unread_count) == 10
        message = await group.add_consumer().aread()
        assert (await answer(group.unread_count), await answer(group.pending_count)) == (9, 1)
        message.ack()
        reader.seek(5)
        assert await answer(reader.unread_count) == 8
        assert await contents(reader) == [5, 7, 9, 11, 13, 15, 17, 19]

    run(main)


@pytest.mark.parametrize("name", [None, "reader"])
def test_unread_count_is_exact_whatever_was_prefetched(run_remote, name):
    async def main(place):
        queue = await place.queue(prefetch=3)
        reader, context = queue.add_consumer(name, topics=["a", "c"]), queue._server.client.jetstream()
        for number in range(60):
            await queue.aenqueue(number, topic="abc"[number % 3])
        for read in range(10):
            assert await reader.unread_count == (await reader.stats()).unread_items == 40 - read
            await reader.aread()
        for seq in range(40, 55):  # an operator deletes messages that are not prefetched: 10 that match, 5 that do not
            await context.delete_msg(queue.name, seq)
        assert await reader.unread_count == 20
        assert len(await reader.aread_batch(100, timeout=0)) == 20
        assert await reader.unread_count == 0

    run_remote(main)


@pytest.mark.parametrize(("start", "expected"), [("latest", [6]), (2, [2, 4, 6]), ("earliest", [0, 2, 4, 6])])
def test_a_start_seq_counts_messages_that_do_not_match(run, start, expected):
    async def main(place):
        queue = await place.queue()
        for number in range(6):
            await queue.aenqueue(number, topic="b" if number % 2 else "a")
        reader, member = queue.add_consumer(start=start, topics="a"), queue.add_group("g", start=start, topics="a")
        await queue.aenqueue(6, topic="a")
        assert await answer(reader.unread_count) == await answer(member.unread_count) == len(expected)
        assert await contents(reader) == await contents(member.add_consumer()) == expected

    run(main)


def test_a_closed_queue_is_drained_when_no_match_is_left(run):
    async def main(place):
        queue = await place.queue()
        reader, member = queue.add_consumer(topics="a"), queue.add_group("g", topics="a").add_consumer()
        for topic in ("b", "a", "b", "a", "b"):
            await queue.aenqueue(topic, topic=topic)
        closing = queue.close()
        assert [message.topic async for message in reader] == ["a", "a"]
        assert [message.topic async for message in member] == ["a", "a"]
        if closing is not None:
            await closing

    run(main)


def test_interest_keeps_what_any_consumer_wants(run):
    async def main(place):
        queue = await place.queue(retention="interest")
        wants, group = queue.add_consumer("wants", topics="a"), queue.add_group("g", ack_wait=30, topics="b")
        for number, topic in enumerate(("a", "b", "c", None)):
            assert await queue.aenqueue(topic, topic=topic) == number
        assert (await answer(queue.stats())).total_items == 2
        assert (await wants.aread()).payload == "a"
        (await group.add_consumer().aread()).ack()
        async with asyncio.timeout(PATIENCE):
            while (await answer(queue.stats())).total_items:
                await asyncio.sleep(0.02)

    run(main)


def test_a_dead_letter_keeps_its_topic(run):
    async def main(place):
        queue, graves = await place.queue(), await place.queue()
        member = queue.add_group("g", ack_wait=30, dead_letter=graves, topics="a.>").add_consumer()
        await queue.aenqueue("tea", topic="a.b")
        (await member.aread()).term()
        letter = await asyncio.wait_for(graves.add_consumer(topics="a.b").aread(), PATIENCE)
        assert (letter.payload, letter.topic) == ("tea", "a.b")

    run(main)


def test_a_large_batch_of_one_topic_is_read_among_others(run):
    async def main(place):
        queue = await place.queue()
        reader = queue.add_consumer("reader", topics="a")
        for start in range(0, 1500, 3):
            await queue.aenqueue_batch([start, start + 1], topic="b")
            await queue.aenqueue(start + 2, topic="a")
        found = []
        while batch := await reader.aread_batch(333, timeout=0):
            found += [message.payload for message in batch]
        assert found == list(range(2, 1500, 3))
        assert reader.missed_count == 0

    run(main)


# --- only over JetStream -------------------------------------------------------------------------------------------------


def test_a_message_of_another_client_has_the_topic_of_its_subject(run_remote):
    async def main(place):
        queue = await place.queue(subject="shop.orders")
        reader = queue.add_consumer(topics="eu.*")
        client = queue._server.client.jetstream()
        await client.publish("shop.orders.eu.new", b"1")
        await client.publish("shop.orders", b"2")
        message = await reader.aread()
        assert (message.payload, message.topic) == (b"1", "eu.new")
        assert await reader.aread(timeout=0) is None

    run_remote(main)


def test_a_queue_cannot_have_a_subject_below_anothers(run_remote):
    async def main(place):
        await place.queue(subject="town")
        with pytest.raises(jetstream.ServerError, match="overlap") as caught:
            await place.queue(subject="town.market")
        assert caught.value.code == 10065
        await place.queue(subject="towns")

    run_remote(main)


@pytest.mark.parametrize("topics", [["a.*", "*.b"], ["a.>", "*.b.c"]])
def test_filters_that_overlap_partly_are_refused(run_remote, topics):
    async def main(place):
        queue = await place.queue()
        for call in (lambda: queue.add_consumer(topics=topics), lambda: queue.add_group("g", topics=topics)):
            with pytest.raises(jetstream.OptionError, match=r"overlap in part.*'a\.[*>]' and '\*\.b"):
                call()

    run_remote(main)


def test_a_named_consumer_continues_only_with_the_same_topics(run_remote):
    async def main(place):
        queue = await place.queue("topics-resumed")
        reader = queue.add_consumer("reader", topics="a")
        queue.add_group("g", topics=["a", "b"])
        for number in range(6):
            await queue.aenqueue(number, topic="a" if number % 2 else "b")
        assert (await reader.aread()).payload == 1
        await queue.aclose()
        queue = await place.queue("topics-resumed")
        for topics in ("b", None, ["a", "c"]):
            with pytest.raises(jetstream.OptionError, match="exists with other options"):
                await queue.add_consumer("reader", topics=topics)
            queue.consumers[0].close()
            group = queue.add_group("g", topics=topics)
            with pytest.raises(jetstream.OptionError, match="exists with other options"):
                await group
            group.close()
        assert await contents(await queue.add_consumer("reader", topics="a")) == [3, 5]
        assert await contents((await queue.add_group("g", topics=["b", "a"])).add_consumer()) == [0, 1, 2, 3, 4, 5]

    run_remote(main)


def test_a_filtered_consumer_continues_after_the_server_was_killed(directory):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "orders", prefetch=4) as queue:
                named, own = queue.add_consumer("named", topics="a"), queue.add_consumer(topics="a")
                for number in range(20):
                    await queue.aenqueue(number, topic="a" if number % 2 else "b")
                for reader in (named, own):
                    assert [(await reader.aread()).payload for _ in range(3)] == [1, 3, 5]
                server.kill()
                server.start()
                for reader in (named, own):
                    assert [(await reader.aread()).payload for _ in range(7)] == [7, 9, 11, 13, 15, 17, 19]
                    assert (await reader.unread_count, reader.missed_count) == (0, 0)

    asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE))


def test_only_prefetched_messages_that_expire_are_missed(run_remote):
    async def main(place):
        queue = await place.queue(ttl=0.5)
        reader = queue.add_consumer(on_missed="raise", topics="a")
        for topic in ("a", "b", "a", "b"):
            await queue.aenqueue(topic, topic=topic)
        assert (await reader.peek()).topic == "a"
        async with asyncio.timeout(PATIENCE):
            while (await queue.stats()).total_items:
                await asyncio.sleep(0.02)
        with pytest.raises(MessagesMissedError) as caught:
            await reader.aread(timeout=1)
        assert caught.value.count == reader.missed_count == 2
        # Messages that left before they were fetched are not counted: nobody knows which of them would have matched.
        other = queue.add_consumer(on_missed="raise", topics="c", start=0)
        await queue.aenqueue("c", topic="c")
        message = await other.aread()
        assert (message.payload, message.missed, (await other.stats()).missed_items) == ("c", 0, 0)

    run_remote(main)


def test_a_stream_without_subjects_for_topics_raises(run_remote):
    async def main(place):
        queue = await place.queue()
        config = {"name": "old", "subjects": ["old"], "max_bytes": 1_048_576, "max_age": 600 * 10**9}
        config |= {"discard": "new", "allow_atomic": True}
        await queue._server.insist("STREAM.CREATE.old", **config)
        old = await place.queue("old", subject="old")
        assert await old.aenqueue(0) == 0
        for call in (lambda: old.aenqueue(1, topic="a"), lambda: old.aenqueue_batch([1, 2], topic="a")):
            with pytest.raises(jetstream.OptionError, match=r"'old\.a', only old"):
                await asyncio.wait_for(call(), PATIENCE)
        # A dead letter is stored without its topic.
        member = queue.add_group("g", ack_wait=30, dead_letter=old).add_consumer()
        await queue.aenqueue("tea", topic="a")
        (await member.aread()).term()
        letter = await asyncio.wait_for(old.add_consumer(start=1).aread(), PATIENCE)
        assert (letter.payload, letter.topic) == ("tea", None)

    run_remote(main)
