"""A message that cannot be decoded raises once for each delivery, and does not hold up other messages."""

import asyncio

import pytest

from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

POISON = b"{not json"


async def poison(queue):
    await queue._server.request(queue._options.subject, POISON)


def test_it_is_redelivered_after_ack_wait_and_not_before(run_remote):
    async def main(place):
        queue = await place.queue(codec="json")
        member = (await queue.add_group("workers", ack_wait=0.5)).add_consumer()
        await poison(queue)
        loop = asyncio.get_running_loop()
        told = []
        while len(told) < 3:
            with pytest.raises(jetstream.CodecError) as caught:
                await asyncio.wait_for(member.aread(), PATIENCE)
            assert caught.value.seq == 0
            told.append(loop.time())
        assert told[2] - told[0] > 0.9

    run_remote(main)


def test_without_ack_wait_it_is_not_redelivered(run_remote):
    async def main(place):
        queue = await place.queue(codec="json")
        group = await queue.add_group("workers")
        members = [group.add_consumer() for _ in range(2)]
        await poison(queue)
        with pytest.raises(jetstream.CodecError):
            await members[0].aread()
        async with asyncio.timeout(PATIENCE):
            while await group.pending_count:  # the acknowledgement is in transit
                pass
        await queue.aenqueue("tea")
        assert (await members[0].aread()).payload == "tea"
        assert await members[1].aread(timeout=0) is None

    run_remote(main)


@pytest.mark.parametrize("ack_wait", [None, 30])
def test_the_rest_of_its_batch_is_delivered_and_the_next_read_raises(run_remote, ack_wait):
    async def main(place):
        queue = await place.queue(codec="json")
        member = (await queue.add_group("workers", ack_wait=ack_wait)).add_consumer()
        await queue.aenqueue(1)
        await poison(queue)
        await queue.aenqueue(2)
        await poison(queue)
        seen = []
        while len(seen) < 2:
            seen += [message.payload for message in await member.aread_batch(10, timeout=PATIENCE)]
        assert seen == [1, 2]
        for seq in (1, 3):
            with pytest.raises(jetstream.CodecError) as caught:
                await member.aread(timeout=PATIENCE)
            assert caught.value.seq == seq
        assert await member.aread(timeout=0.2) is None

    run_remote(main)


def test_its_bytes_reach_the_dead_letter_queue_unchanged(run_remote):
    async def main(place):
        dead, queue = await place.queue(codec="bytes"), await place.queue(codec="json")
        group = await queue.add_group("workers", ack_wait=0.3, max_deliver=2, dead_letter=dead)
        member = group.add_consumer()
        await poison(queue)
        for _ in range(2):
            with pytest.raises(jetstream.CodecError):
                await member.aread(timeout=PATIENCE)
        assert await asyncio.wait_for(dead.add_consumer().aget(), PATIENCE) == POISON
        assert await member.aread(timeout=0.5) is None
        assert await group.pending_count == 0

    run_remote(main)


@pytest.mark.parametrize(
    ("codec", "content_type", "data", "payload"),
    [
        ("auto", "application/json; charset=utf-8", b"[1]", [1]),
        ("auto", "Application/JSON", b"[1]", [1]),
        ("auto", "text/plain", "ünï".encode(), "ünï"),
        ("auto", "TEXT/plain;charset=UTF-8", "ünï".encode(), "ünï"),
        ("auto", "text/plain; charset=iso-8859-1; format=flowed", "ünï".encode("latin1"), "ünï"),
        ("json", "text/whatever", b"[1]", [1]),
        ("pickle", "application/x-python-pickle; v=5", b"I1\n.", 1),
    ],
)
def test_content_types_of_other_clients_are_understood(run_remote, codec, content_type, data, payload):
    async def main(place):
        if codec == "pickle":
            queue = await place.queue(codec=jetstream.PickleCodec(i_trust_everyone_who_can_publish=True))
        else:
            queue = await place.queue(codec=codec)
        await queue._server.request(queue._options.subject, data, {"Content-Type": content_type})
        assert await queue.add_consumer().aget() == payload

    run_remote(main)


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "text/plain; charset=nonsense"])
def test_a_content_type_unknown_to_the_codec_is_an_error(run_remote, content_type):
    async def main(place):
        queue = await place.queue()
        await queue._server.request(queue._options.subject, b"x", {"Content-Type": content_type})
        with pytest.raises(jetstream.CodecError):
            await queue.add_consumer().aread()

    run_remote(main)
