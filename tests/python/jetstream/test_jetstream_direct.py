"""Messages reach their function at once, or through the client's queue if nats-py works otherwise."""

import asyncio

import pytest

from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

from nats.aio.client import Client  # noqa: E402
from nats.protocol.parser import Parser  # noqa: E402

from mpmc_queue.jetstream import connection, direct  # noqa: E402
from mpmc_queue.jetstream.parsing import NAMES, quicker  # noqa: E402

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

parser = getattr(Client, "_parse_header_lines", None)
with_parser = pytest.mark.skipif(parser is None, reason="this nats-py parses headers otherwise")

BLOCKS = [
    b"",
    b"\r\n",
    b"Name: value\r\n\r\n",
    b"Name:value\r\nname:\tvalue \r\n\r\n",
    b"Name: 1\r\nName: 2\r\n\r\n",
    b"Name\r\nOther: 1\r\n\r\n",
    b"Name:\r\n: nameless\r\n\r\n",
    b" Name : 1\r\nTwo Words: 2\r\n\r\n",
    b"Name: a:b: c\r\n\r\n",
    "Name: über €\r\nNämé: 1\r\n\r\n".encode(),
    b"Name: \xff\xfe\r\nOther: 1\r\n\r\n",
    b"Name: one\rtwo\nthree\r\n\r\n",
]


@with_parser
@pytest.mark.parametrize("first", BLOCKS)
def test_headers_are_parsed_as_by_the_client(first):
    parse = quicker(parser)
    for block in (first, *BLOCKS, first, *BLOCKS):
        assert parse(block) == parser(block)
        assert list(parse(block)) == list(parser(block))


@with_parser
def test_only_so_many_names_are_remembered():
    parse = quicker(parser)
    for number in range(2 * NAMES):
        assert parse(b"Name-%d: 1\r\n\r\n" % number) == {f"Name-{number}": "1"}
    cells = dict(zip(parse.__code__.co_freevars, (cell.cell_contents for cell in parse.__closure__), strict=True))
    assert len(cells["names"]) == NAMES


def fails(raw):
    raise LookupError


@pytest.mark.parametrize("other", [None, lambda raw: None, lambda raw: {}, dict, fails])
def test_a_parser_of_another_kind_is_left_alone(other):
    assert quicker(other) is None


def test_this_client_hands_messages_over():
    assert direct.hands_over.__wrapped__()
    assert isinstance(direct.new_client(), direct.DirectClient)


class OtherMethod(Parser):
    async def parse(self, data=b""):
        self.nc._subs[7]._pending_queue.put_nowait(None)


class OtherArguments(Parser):
    async def parse(self, data=b""):
        await self.nc._process_msg(7, b"one", b"two", b"data")


class OtherHeaders(Parser):
    async def parse(self, data=b""):
        await self.nc._process_msg(7, b"one", b"two", b"data", {"A": "1"})


class Waits(Parser):
    async def parse(self, data=b""):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", [OtherMethod, OtherArguments, OtherHeaders, Waits])
def test_a_client_with_another_parser_keeps_its_queues(monkeypatch, kind):
    monkeypatch.setattr(direct, "Parser", kind)
    monkeypatch.setattr(direct, "hands_over", direct.hands_over.__wrapped__)
    assert type(direct.new_client()) is direct.QueuedClient


def test_a_client_that_reads_a_status_otherwise_keeps_its_queues(monkeypatch):
    monkeypatch.delattr(Client, "_process_headers")
    assert not direct.hands_over.__wrapped__()


def test_headers_are_read_without_the_quicker_parser(monkeypatch):
    monkeypatch.setattr(direct, "_parse", None)
    assert direct.hands_over.__wrapped__()


def test_a_queue_works_with_the_client_as_it_is(run_remote, monkeypatch):
    monkeypatch.setattr(connection, "new_client", direct.QueuedClient)

    async def main(place):
        queue = await place.queue()
        assert type(queue._server.client) is direct.QueuedClient
        reader, member = queue.add_consumer(), queue.add_group("g", ack_wait=30).add_consumer()
        assert await queue.aenqueue("a", headers={"n": "1"}) == 0
        await queue.aenqueue_batch(list(range(300)))
        for consumer in (reader, member):
            read = []
            while len(read) < 301:
                read += await consumer.aread_batch(301, timeout=PATIENCE)
            assert [message.payload for message in read] == ["a", *range(300)]
            assert read[0].headers == {"n": "1"}

    run_remote(main)


def test_nothing_is_kept_for_a_closed_consumer(run_remote):
    async def main(place):
        queue = await place.queue()
        group = await queue.add_group("g")
        calls = queue._server.client._calls
        before = len(calls)
        for _ in range(3):
            async with queue.add_consumer() as consumer:
                await consumer.aread(timeout=0)
            async with group.add_consumer() as member:
                await member.aread(timeout=0)
        async with asyncio.timeout(PATIENCE):
            while len(calls) > before:
                await asyncio.sleep(0.01)

    run_remote(main)


def test_an_error_in_the_function_does_not_end_the_connection(run_remote, caplog):
    async def main(place):
        queue = await place.queue()

        def fail(*message):
            raise LookupError("of a test")

        subscription = await queue._server.subscribe("odd", fail)
        await queue._server.publish("odd", b"")
        assert await queue.aenqueue("a") == 0
        assert "of a test" in caplog.text
        queue._server.client.forget(subscription)
        await subscription.unsubscribe()

    run_remote(main)


def test_more_messages_are_requested_while_those_in_the_buffer_are_read(run_remote):
    """Even by a loop that never waits."""

    async def main(place):
        queue = await place.queue(prefetch=16)
        await queue.aenqueue_batch(range(100))
        reads = [lambda consumer: consumer.aread(), lambda consumer: consumer.aget(), lambda consumer: anext(consumer)]
        for read in reads:
            consumer = await queue.add_consumer()
            async with asyncio.timeout(PATIENCE):
                while len(consumer._feed.buffer) < 16:
                    await asyncio.sleep(0.01)
            for _ in range(12):
                await read(consumer)
            assert len(consumer._feed.buffer) == 4
            assert consumer._feed._pulls.messages > 0

    run_remote(main)
