"""Batches as bytes: what nats-py would send, in parts, and one message at a time if nats-py works otherwise."""

import asyncio

import pytest

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

import nats.aio.client  # noqa: E402
from nats.aio.client import Client  # noqa: E402

from mpmc_queue.jetstream import frames, publisher  # noqa: E402
from mpmc_queue.jetstream.outgoing import Outgoing, batch_headers  # noqa: E402

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

one_line = pytest.mark.skipif(
    not hasattr(nats.aio.client, "_HEADER_VALUE_NEWLINES"), reason="this nats-py sends values of several lines"
)

HEADERS = [
    {},
    {"tenant": "acme", "X-Note": "über 5 €: a=b; c", "empty": ""},
    {"Content-Type": "text/plain; charset=utf-8", "Nats-TTL": "5"},
    pytest.param({"Content-Type": " text/odd\r\nNats-TTL: 1s\n\nHPUB x 1 1 ", "after": "\t1"}, marks=one_line),
]


class Recorder(Client):
    """Keeps what it would send."""

    is_connected = True
    sent = b""

    async def _send_command(self, cmd, priority=False):
        self.sent += cmd


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("headers", HEADERS)
def test_frames_are_what_the_client_sends(headers, shared):
    async def main():
        messages = [
            Outgoing("orders.eü", bytes(size), headers if shared else {**headers, "n": str(size)}) for size in range(12)
        ]
        client = Recorder()
        for number, (subject, data, its) in enumerate(messages, 98):
            await client.publish(subject, data, "", batch_headers("id", number) | its)
        assert frames.frames(messages, "id", 98) == client.sent

    asyncio.run(main())


def test_parts_hold_every_message_once_in_order():
    messages = [Outgoing("a", bytes(size), {}) for size in (0, 900, 10, 5000, 0, 0, 900, 900)]
    parts = list(frames.parts(messages, 1200))
    assert [message for part in parts for message in part] == messages
    assert [len(part) for part in parts] == [2, 1, 1, 2, 1, 1]
    assert [len(part) for part in frames.parts(messages, 0)] == [1] * 8


def test_this_client_takes_frames():
    assert frames.client_takes_frames.__wrapped__()


class Other(Exception):
    pass


async def sends_otherwise(self, subject, reply, payload, payload_size, headers):
    self._pending.append(b"")


async def sends_other_bytes(self, subject, reply, payload, payload_size, headers):
    await self._send_command(b"PUB")


async def waits(self, *message):
    await asyncio.sleep(0)


async def fails(self, *message):
    raise Other


@pytest.mark.parametrize("method", [sends_otherwise, sends_other_bytes, waits, fails, None])
def test_a_client_that_sends_otherwise_takes_no_frames(monkeypatch, method):
    monkeypatch.setattr(Client, "_send_publish", method)
    assert not frames.client_takes_frames.__wrapped__()


def test_a_client_that_counts_otherwise_takes_no_frames(monkeypatch):
    async def keeps(self, cmd, priority=False):
        pass

    monkeypatch.setattr(Client, "_send_command", keeps)
    assert not frames.client_takes_frames.__wrapped__()


class Odd:
    """A codec whose content types differ from message to message."""

    def encode(self, payload):
        return b"%d" % payload, None if payload == 0 else f"odd/{payload % 3}"

    def decode(self, data, content_type):
        return int(data), content_type


@pytest.mark.parametrize("together", [True, False])
def test_a_batch_arrives_as_it_was_enqueued(run_remote, monkeypatch, together):
    """With a client that takes frames, and with another."""
    monkeypatch.setattr(publisher, "client_takes_frames", lambda: together)
    monkeypatch.setattr(publisher, "PART", 1000)

    async def main(place):
        queue = await place.queue(codec=Odd())
        sent = list(range(30))
        assert list(await queue.aenqueue_batch(sent, topic="a.b", headers={"tenant": "acme"}, ttl=50)) == sent
        read = await queue.add_consumer().aread_batch(50)
        assert [message.payload for message in read] == [(n, f"odd/{n % 3}" if n else None) for n in sent]
        assert {(message.topic, *message.headers.items()) for message in read} == {("a.b", ("tenant", "acme"))}
        its_headers = [message._delivery.headers for message in read]
        assert [headers["Nats-Batch-Sequence"] for headers in its_headers] == [str(n + 1) for n in sent]
        assert {headers["Nats-TTL"] for headers in its_headers} == {"50s"}
        assert ["Nats-Msg-Id" in headers for headers in its_headers] == [False] * 29 + [True]
        assert len({message.id for message in read}) == 30

    run_remote(main)


def test_a_message_above_the_size_of_a_part_is_in_a_batch_too(run_remote):
    async def main(place):
        queue = await place.queue(codec="bytes", max_bytes=10_000_000)
        sent = [b"a", b"b" * (frames.PART + 1), b"c", b"d" * frames.PART, *[b"e" * 1000] * 100, b"f"]
        await queue.aenqueue_batch(sent)
        assert [message.payload for message in await queue.add_consumer().aread_batch(len(sent), linger=30)] == sent

    run_remote(main)


def test_a_large_batch_is_not_buffered_as_a_whole(run_remote):
    async def main(place):
        queue = await place.queue(codec="bytes", max_bytes=10**9, connection={"pending_size": 200_000})
        client, most = queue._server.client, 0
        publish = client.publish

        async def publish_and_look(*message):
            nonlocal most
            most = max(most, client.pending_data_size)
            await publish(*message)

        client.publish = publish_and_look
        await queue.aenqueue_batch([b"x" * 10_000] * 900)
        assert most <= 200_000 + frames.PART

    run_remote(main)


def test_a_batch_that_is_cancelled_halfway_is_dropped_by_the_server(run_remote):
    """It has room for 50 incomplete batches, which it would keep for 10 seconds."""

    async def main(place):
        queue = await place.queue(codec="bytes", max_bytes=10**9)
        halfway = 0
        for turns in range(1, 4):
            for _ in range(60):
                task = asyncio.create_task(queue.aenqueue_batch([b"x" * 1000] * 400))
                for _ in range(turns):
                    await asyncio.sleep(0)
                halfway += not task.done()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert halfway == 180
        async with asyncio.timeout(5):
            await queue.aenqueue_batch([b"y"] * 400)
        assert (await queue.stats()).total_items == 400

    run_remote(main)
