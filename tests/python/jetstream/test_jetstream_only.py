"""What exists only over JetStream: a server's limits, ids, codecs, and other clients of the same stream."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from helpers import PATIENCE
from mpmc_queue import ConsumerClosedError, MemoryLimitError, QueueClosedError, QueueError

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


# making a queue


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizer": len}, "sizer"),
        ({"audit": True}, "audit"),
        ({"ttl": 0.05}, "ttl must be at least"),
        ({"ttl": timedelta(milliseconds=99)}, "ttl must be at least"),
        ({"ttl": 5, "dedupe": 6}, "dedupe"),
        ({"codec": "pickle"}, "can take that process over"),
    ],
)
def test_options_that_a_stream_cannot_have_are_refused_before_it_is_made(nats, options, words):
    async def main():
        with pytest.raises(jetstream.OptionError, match=words):
            await jetstream.connect(nats.url, "refused", **options)
        queue = await jetstream.connect(nats.url, "witness")
        with pytest.raises(jetstream.ServerError, match="stream not found"):
            await queue._server.ask("STREAM.INFO.refused")
        await queue.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "a.b"}, ValueError),
        ({"name": ""}, ValueError),
        ({"name": "a b"}, ValueError),
        ({"subject": "a.*"}, ValueError),
        ({"subject": 1}, TypeError),
        ({"codec": "xml"}, ValueError),
        ({"codec": object()}, TypeError),
        ({"replicas": 0}, ValueError),
        ({"prefetch": 0}, ValueError),
        ({"patience": 0}, ValueError),
        ({"patience": None}, ValueError),
        ({"storage": "tape"}, ValueError),
        ({"dedupe": 0.01}, ValueError),
    ],
)
def test_a_bad_argument_of_connect_is_named(nats, options, error):
    async def main():
        with pytest.raises(error, match=next(iter(options))):
            await jetstream.connect(nats.url, **{"name": "refused", **options})

    asyncio.run(main())


def test_an_existing_queue_is_joined_or_refused(run_remote):
    async def main(place):
        one = await place.queue("shared", ttl=60, max_items=10)
        two = await place.queue("shared", ttl=60, max_items=10)
        consumer = two.add_consumer()
        await one.aenqueue("x")
        assert await consumer.aget() == "x"
        with pytest.raises(jetstream.OptionError, match="max_msgs is 10, not 11"):
            await place.queue("shared", ttl=60, max_items=11)

    run_remote(main)


def test_a_ttl_the_server_cannot_keep_is_refused(run_remote):
    async def main(place):
        queue = await place.queue(ttl=10)
        for bad, words in ((0.5, "whole number"), (1.5, "whole number"), (11, "not longer")):
            with pytest.raises(jetstream.OptionError, match=words):
                await queue.aenqueue("x", ttl=bad)
            with pytest.raises(jetstream.OptionError, match=words):
                await queue.aenqueue_batch(["x"], ttl=bad)
        assert (await queue.stats()).total_items == 0

    run_remote(main)


def test_a_missing_server_is_an_error_in_time():
    async def main():
        with pytest.raises(Exception, match=r"no servers|Connect call failed"):
            await jetstream.connect(
                "nats://127.0.0.1:1", "x", connection={"max_reconnect_attempts": 1, "connect_timeout": 1}
            )

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


# ids


def test_an_id_is_stored_once(run_remote):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        id = uuid4()
        assert await queue.aenqueue("x", id=id) == 0
        assert await queue.aenqueue("y") == 1
        assert await queue.aenqueue("x", id=id) == 0
        messages = await consumer.aread_batch(10)
        assert [m.payload for m in messages] == ["x", "y"]
        assert messages[0].id == id
        with pytest.raises(TypeError, match="id"):
            await queue.aenqueue("x", id="1")

    run_remote(main)


def test_ids_are_unique_versioned_and_the_same_for_all(run_remote):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue_batch(range(500))
        await asyncio.gather(*(queue.aenqueue(n) for n in range(500)))
        await queue.aenqueue_batch(range(100), atomic=False)
        first = [m.id for m in await queue.add_consumer().aread_batch(2000)]
        second = [m.id for m in await queue.add_consumer().aread_batch(2000)]
        assert first == second
        assert len(set(first)) == len(first) == 1100
        assert {id.version for id in first} == {7}

    run_remote(main)


def test_a_batch_whose_confirmation_was_lost_is_stored_once(run_remote):
    """The same batch is sent again, as after a disconnect before its confirmation."""

    async def main(place):
        queue = await place.queue()
        publisher = queue._publisher
        messages = [publisher.outgoing(None, (str(n).encode(), None), None, {}) for n in range(5)]
        messages[-1].headers["Nats-Msg-Id"] = str(uuid4())
        assert await publisher._try_many(messages) == range(1, 6)
        await queue.aenqueue("between")
        assert await publisher._try_many(messages) == range(1, 6)
        assert (await queue.stats()).total_items == 6

    run_remote(main)


# batches


def test_a_batch_above_the_servers_limit_is_refused_unless_atomic_is_false(run_remote):
    async def main(place):
        queue = await place.queue(max_bytes=10_000_000)
        with pytest.raises(jetstream.NotAtomicError, match="1,000"):
            await queue.aenqueue_batch(range(1001))
        assert (await queue.stats()).total_items == 0
        assert list(await queue.aenqueue_batch(range(1001), atomic=False)) == list(range(1001))
        assert [m.payload for m in await queue.add_consumer().aread_batch(2000)] == list(range(1001))

    run_remote(main)


def test_a_stream_without_atomic_batches_says_so(run_remote):
    """Like a stream made by an older server or another tool."""

    async def main(place):
        maker = await place.queue()
        config = {"name": "plain", "subjects": ["plain"], "max_bytes": 1_048_576, "max_age": 600 * 10**9}
        await maker._server.ask("STREAM.CREATE.plain", **config, discard="new", duplicate_window=120 * 10**9)
        queue = await place.queue("plain", subject="plain")
        with pytest.raises(jetstream.NotAtomicError, match="atomic=False"):
            await queue.aenqueue_batch("ab")
        assert list(await queue.aenqueue_batch("ab", atomic=False)) == [0, 1]
        with pytest.raises(jetstream.OptionError, match="ttl"):
            await queue.aenqueue("x", ttl=5)

    run_remote(main)


def test_a_payload_above_the_servers_limit_is_refused(run_remote):
    async def main(place):
        queue = await place.queue(max_bytes=10_000_000)
        with pytest.raises(jetstream.ServerError, match="max_payload"):
            await queue.aenqueue(b"x" * 2_000_000)
        small = await place.queue(max_bytes=1000)
        with pytest.raises(MemoryLimitError, match="never fit"):
            await small.aenqueue(b"x" * 2000)

    run_remote(main)


# codecs


class Money:
    def __init__(self, cents):
        self.cents = cents


class MoneyCodec:
    def encode(self, payload):
        return str(payload.cents).encode(), "text/x-money"

    def decode(self, data, content_type):
        assert content_type == "text/x-money"
        return Money(int(data))


@pytest.mark.parametrize(
    ("codec", "payloads"),
    [
        ("auto", [b"\x00\xff", b"", "text", "", "ünï", None, True, 1.5, -3, [1, "a", None], {"a": {"b": [1]}}]),
        ("bytes", [b"", b"abc"]),
        ("str", ["", "ünï"]),
        ("json", ["text", None, [1, 2], {"a": 1}]),
        ("stdlib", ["text", None, [1, 2], {"a": 1}, 2**70]),
        ("pickle", [{1, 2}, (1, "a"), 3 + 4j]),
    ],
)
def test_payloads_arrive_unchanged(run_remote, codec, payloads):
    async def main(place):
        given = {
            "pickle": lambda: jetstream.PickleCodec(i_trust_everyone_who_can_publish=True),
            "stdlib": lambda: jetstream.JsonCodec("json"),
        }.get(codec, lambda: codec)()
        queue = await place.queue(codec=given)
        consumer = queue.add_consumer()
        for payload in payloads:
            await queue.aenqueue(payload)
        await queue.aenqueue_batch(payloads)
        arrived = [m.payload for m in await consumer.aread_batch(100)]
        assert arrived == payloads * 2
        assert [type(a) for a in arrived] == [type(p) for p in payloads] * 2

    run_remote(main)


@pytest.mark.parametrize("library", ["msgspec", "orjson", "json"])
def test_every_json_library_reads_what_the_others_write(library):
    if library != "json":
        pytest.importorskip(library)
    payload = {"text": "ünï", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    data, content_type = jetstream.JsonCodec(library).encode(payload)
    assert content_type == "application/json"
    assert json.loads(data) == payload
    assert jetstream.JsonCodec("json").decode(data, content_type) == payload
    assert jetstream.JsonCodec(library).decode(jetstream.JsonCodec("json").encode(payload)[0], None) == payload


def test_a_custom_codec_is_used(run_remote):
    async def main(place):
        queue = await place.queue(codec=MoneyCodec())
        await queue.aenqueue(Money(250))
        assert (await queue.add_consumer().aget()).cents == 250

    run_remote(main)


def test_a_payload_that_cannot_be_encoded_is_refused_and_nothing_is_sent(run_remote):
    async def main(place):
        for codec, payload in (("auto", object()), ("bytes", "text"), ("str", b"bytes"), ("json", {1, 2, object()})):
            queue = await place.queue(codec=codec)
            with pytest.raises(jetstream.CodecError) as caught:
                await queue.aenqueue(payload)
            assert caught.value.seq is None
            assert caught.value.__cause__ is not None
            with pytest.raises(jetstream.CodecError):
                await queue.aenqueue_batch([b"a" if codec == "bytes" else "a", payload])
            assert (await queue.stats()).total_items == 0

    run_remote(main)


@pytest.mark.parametrize("content_type", ["text/plain\r\nNats-TTL: 1s", "a\nb", "", 7])
def test_a_content_type_that_is_not_one_line_is_refused(run_remote, content_type):
    class Injecting:
        def encode(self, payload):
            return payload, content_type

        def decode(self, data, content_type):
            return data

    async def main(place):
        queue = await place.queue(codec=Injecting())
        for publish in (queue.aenqueue(b"a"), queue.aenqueue_batch([b"a", b"b"])):
            if content_type == "":
                await publish
                continue
            with pytest.raises(jetstream.CodecError, match="is not a content type"):
                await publish
        assert (await queue.stats()).total_items == (3 if content_type == "" else 0)

    run_remote(main)


def test_pickle_needs_explicit_consent():
    for arguments in ({}, {"i_trust_everyone_who_can_publish": False}, {"i_trust_everyone_who_can_publish": 1}):
        with pytest.raises(jetstream.OptionError, match="run any code"):
            jetstream.PickleCodec(**arguments)


def test_a_pickle_codec_reads_only_messages_marked_as_pickled(run_remote):
    async def main(place):
        queue = await place.queue(codec=jetstream.PickleCodec(i_trust_everyone_who_can_publish=True))
        await queue._server.publish(queue._options.subject, b"cos\nsystem\n(S'false'\ntR.")
        consumer = queue.add_consumer()
        with pytest.raises(jetstream.CodecError, match="not a pickled message"):
            await consumer.aread()

    run_remote(main)


def test_a_message_that_cannot_be_decoded_is_reported_and_skipped(run_remote):
    async def main(place):
        queue = await place.queue(codec="json")
        consumer = queue.add_consumer()
        await queue.aenqueue(1)
        await queue._server.request(queue._options.subject, b"{not json")
        await queue.aenqueue(3)
        assert [m.payload for m in await consumer.aread_batch(10)] == [1]
        with pytest.raises(jetstream.CodecError) as caught:
            await consumer.aread()
        assert caught.value.seq == 1
        assert await consumer.aget() == 3

    run_remote(main)


# other clients


def test_messages_of_other_clients_are_read_too(run_remote):
    async def main(place):
        queue = await place.queue()
        await queue._server.client.jetstream().publish(queue._options.subject, b"from elsewhere")
        one, two = await queue.add_consumer().aread(), await queue.add_consumer().aread()
        assert one.payload == b"from elsewhere"
        assert one.id == two.id
        assert isinstance(one.id, UUID)

    run_remote(main)


def test_gaps_in_the_stream_are_missed_exactly(run_remote):
    """An operator deletes messages in the middle: some before the consumer's position, and some it has not fetched yet."""

    async def main(place):
        queue = await place.queue(prefetch=4)
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(100))
        assert [m.payload for m in await consumer.aread_batch(2)] == [0, 1]
        for seq in (50, 51, 60, 99):
            await queue._server.ask(f"STREAM.MSG.DELETE.{queue.name}", seq=seq + 1)
        assert await consumer.unread_count == 94
        messages = await consumer.aread_batch(200)
        assert [m.payload for m in messages] == [n for n in range(2, 99) if n not in (50, 51, 60)]
        assert {m.seq: m.missed for m in messages if m.missed} == {52: 2, 61: 1}
        await queue.aenqueue(100)
        assert (await consumer.aread()).missed == 1
        assert consumer.missed_count == 4

    run_remote(main)


def test_a_purged_stream_is_missed(run_remote):
    async def main(place):
        queue = await place.queue()
        consumer = await queue.add_consumer()
        assert await consumer.aread(timeout=0) is None
        slow = await queue.add_consumer("slow")
        await queue.aenqueue_batch(range(1000))
        await queue._server.ask(f"STREAM.PURGE.{queue.name}")
        fetched = len(await slow.aread_batch(1000, timeout=0))
        assert fetched <= queue._options.prefetch
        assert await slow.atake_missed(timeout=0) == 1000 - fetched
        assert await slow.unread_count == 0

    run_remote(main)


@pytest.mark.parametrize("for_good", [False, True])
def test_making_a_consumer_is_retried_after_a_temporary_failure(run_remote, nats, for_good):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue("tea")
        # A file in place of the directory of consumers causes a failure as short as one while the server removes a consumer.
        in_the_way = nats.directory / "store" / "jetstream" / "$G" / "streams" / queue.name / "obs"
        if in_the_way.exists():
            in_the_way.rmdir()
        in_the_way.touch()
        if not for_good:
            asyncio.get_running_loop().call_later(0.1, in_the_way.unlink)
        consumer = queue.add_consumer("reader")
        if for_good:
            with pytest.raises(jetstream.ServerError, match="the server refused"):
                await consumer.aget()
        else:
            assert await consumer.aget() == "tea"

    run_remote(main)


def test_a_consumer_that_an_operator_deletes_continues(run_remote):
    async def main(place):
        queue = await place.queue()
        consumer = await queue.add_consumer("reader")
        await queue.aenqueue_batch(range(3))
        assert [await consumer.aget() for _ in range(2)] == [0, 1]
        await queue._server.ask(f"CONSUMER.DELETE.{queue.name}.reader")
        await queue.aenqueue(3)
        assert [m.payload for m in (await consumer.aread(), await consumer.aread())] == [2, 3]
        assert consumer.missed_count == 0

    run_remote(main)


def test_producers_raise_when_the_stream_is_deleted(run_remote):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue(1)
        await queue._server.ask(f"STREAM.DELETE.{queue.name}")
        with pytest.raises(jetstream.ServerError, match="stream not found"):
            await asyncio.wait_for(queue.aenqueue(2), PATIENCE)

    run_remote(main)


# durable consumers and groups


def test_a_named_consumer_continues_at_its_position(run_remote):
    async def main(place):
        queue = await place.queue("durable")
        consumer = queue.add_consumer("reader")
        await queue.aenqueue_batch(range(10))
        assert [await consumer.aget() for _ in range(4)] == [0, 1, 2, 3]
        await queue.aclose()
        queue = await place.queue("durable")
        consumer = queue.add_consumer("reader", start="latest")  # the start is ignored, because the consumer exists
        assert [m.payload for m in await consumer.aread_batch(3)] == [4, 5, 6]
        consumer.close()
        consumer = queue.add_consumer("reader")
        assert await consumer.aget() == 7
        assert queue.remove_consumer(consumer)
        assert not queue.remove_consumer(consumer)
        consumer = queue.add_consumer("reader")
        assert await consumer.aget() == 0

    run_remote(main)


def test_a_name_has_one_reader_and_one_kind(run_remote):
    async def main(place):
        queue = await place.queue("kinds")
        await queue.add_consumer("a")
        await queue.add_group("b", ack_wait=1)
        with pytest.raises(ValueError, match="'a' is in use"):
            queue.add_consumer("a")
        with pytest.raises(ValueError, match="'b' is in use"):
            queue.add_group("b")
        other = await place.queue("kinds")
        with pytest.raises(jetstream.OptionError, match="taken by a group"):
            await other.add_consumer("b")
        with pytest.raises(jetstream.OptionError, match="taken by a consumer"):
            await other.add_group("a")
        with pytest.raises(jetstream.OptionError, match="ack_wait"):
            await (await place.queue("kinds")).add_group("b", ack_wait=2)

    run_remote(main)


def test_groups_are_shared_by_handles(run_remote):
    async def main(place):
        here, there = await place.queue("split"), await place.queue("split")
        one = (await here.add_group("workers", ack_wait=30)).add_consumer()
        two = (await there.add_group("workers", ack_wait=30)).add_consumer()
        await here.aenqueue_batch(range(20))
        seen = Counter()
        for _ in range(10):
            for member in (one, two):
                message = await member.aread(timeout=PATIENCE)
                seen[message.payload] += 1
                message.ack()
        assert seen == Counter(range(20))
        assert await here.remove_group(here._groups[0])
        assert not await there.remove_group(one._group)

    run_remote(main)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"ack_wait": 0}, ValueError, "ack_wait"),
        ({"ack_wait": -1}, ValueError, "ack_wait"),
        ({"max_deliver": 2}, ValueError, "ack_wait"),
        ({"ack_wait": 1, "max_deliver": 0}, ValueError, "max_deliver"),
        ({"ack_wait": 1, "backoff": []}, ValueError, "backoff"),
        ({"ack_wait": 1, "backoff": 5}, TypeError, "backoff"),
        ({"ack_wait": 1, "backoff": [-1]}, ValueError, "backoff"),
        ({"ack_wait": 1, "max_ack_pending": 0}, ValueError, "max_ack_pending"),
        ({"ack_wait": 1, "dead_letter": object()}, ValueError, "dead_letter"),
        ({"name": "a.b"}, ValueError, "name"),
    ],
)
def test_a_bad_argument_of_a_group_is_named(run_remote, options, error, word):
    async def main(place):
        queue = await place.queue()
        with pytest.raises(error, match=word):
            queue.add_group(**{"name": "workers", **options})

    run_remote(main)


def test_methods_that_a_member_does_not_have_raise(run_remote):
    async def main(place):
        member = (await place.queue()).add_group("workers", ack_wait=1).add_consumer()
        for call in (lambda: member.seek(0), lambda: member.position, lambda: member.missed_count):
            with pytest.raises(QueueError, match="has no"):
                call()
        for call in (member.peek, member.atake_missed):
            with pytest.raises(QueueError, match="has no"):
                await call()
        member.close()
        with pytest.raises(ConsumerClosedError):
            await member.aread()

    run_remote(main)


# ending


def test_closing_ends_the_connection_when_all_have_drained(run_remote):
    async def main(place):
        queue = await place.queue()
        one, two = queue.add_consumer(), queue.add_consumer("two")
        await queue.aenqueue_batch(range(300))
        queue.close()
        assert [m.payload async for m in one] == list(range(300))
        assert not queue._server.client.is_closed
        assert [m.payload async for m in two] == list(range(300))
        await asyncio.wait_for(queue.wait_closed(), PATIENCE)
        assert queue._server.client.is_closed
        for consumer in (one, two):
            with pytest.raises(QueueClosedError):
                await consumer.aread()

    run_remote(main)


def test_a_closed_handle_does_not_read_what_others_add_later(run_remote):
    async def main(place):
        mine, others = await place.queue("ends"), await place.queue("ends")
        consumer = mine.add_consumer()
        await mine.aenqueue_batch(range(3))
        mine.close()
        await mine._ended.wait()
        await others.aenqueue("later")
        assert [m.payload async for m in consumer] == [0, 1, 2]
        assert not others.closed

    run_remote(main)


def test_members_drain_too(run_remote):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        members = [group.add_consumer() for _ in range(3)]
        await queue.aenqueue_batch(range(30))

        async def work(member):
            seen = []
            async for message in member:
                seen.append(message.payload)
                message.ack()
            return seen

        tasks = [asyncio.create_task(work(member)) for member in members]
        queue.close()
        seen = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        assert sorted(payload for own in seen for payload in own) == list(range(30))
        await asyncio.wait_for(queue.wait_closed(), PATIENCE)

    run_remote(main)


def test_delete_removes_the_stream(run_remote):
    async def main(place):
        queue = await place.queue("doomed")
        await queue.aenqueue(1)
        await queue.delete()
        assert (await (await place.queue("doomed")).stats()).next_seq == 0

    run_remote(main)


# importing


def test_importing_the_package_imports_no_client():
    code = "import sys, mpmc_queue, mpmc_queue.protocols; assert not {'nats', 'orjson', 'msgspec'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_client_the_error_says_what_to_install():
    code = "import sys; sys.modules['nats'] = None; import mpmc_queue.jetstream"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert 'pip install "mpmc-queue[jetstream]"' in result.stderr


def test_errors_can_be_pickled():
    import pickle

    errors = [
        jetstream.ServerError(10014, "consumer not found"),
        jetstream.NotConfirmedError("late", uuid4()),
        jetstream.ConnectionLostError("gone"),
        jetstream.NotPermittedError("a.b", "publish"),
        jetstream.DeletedError(10059, "stream not found"),
        jetstream.OptionError("no"),
        jetstream.NotAtomicError("no"),
        jetstream.CodecError("no", 3),
    ]
    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_exported_names_exist():
    for name in jetstream.__all__:
        assert getattr(jetstream, name) is not None
