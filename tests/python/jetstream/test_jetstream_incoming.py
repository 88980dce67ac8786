"""The quicker parser delivers what nats-py's own delivers, however the bytes arrive."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from mpmc_queue.jetstream.incoming import IncomingParser

pytestmark = pytest.mark.thread_unsafe(reason="hypothesis runs in one thread")

HEADERS = b"NATS/1.0\r\nA: 1\r\n\r\n"


class Recorder:
    """A client that notes what its parser calls. Each `waits`-th message makes the parser wait."""

    def __init__(self, waits=0):
        self.log = []
        self.waits = waits

    async def _process_msg(self, *message):
        await asyncio.sleep(0)
        self.log.append(message)

    def deliver(self, *message):
        if self.waits and len(self.log) % self.waits == 0:
            return self._process_msg(*message)
        self.log.append(message)
        return None

    async def _process_err(self, text):
        self.log.append(("error", text))

    async def _process_ping(self):
        await asyncio.sleep(0)
        self.log.append("ping")

    async def _process_pong(self):
        self.log.append("pong")

    async def _process_info(self, info):
        self.log.append(("info", info))


def plain(data, reply=b""):
    return b"MSG a.b 7 %s%d\r\n%s\r\n" % (reply and reply + b" ", len(data), data)


def with_headers(data, reply=b""):
    sizes = b"%d %d" % (len(HEADERS), len(HEADERS) + len(data))
    return b"HMSG a.b 7 %s%s\r\n%s%s\r\n" % (reply and reply + b" ", sizes, HEADERS, data)


DATA = st.one_of(st.binary(max_size=12), st.sampled_from([b"\r\n", b"MSG a 1 1\r\nx\r\n", b"PING\r\n", b"x" * 9000]))
LINES = [
    b"PING\r\n",
    b"PONG \r\n",
    b"+OK\r\n",
    b"-ERR 'Permissions Violation'\r\n",
    b'INFO {"max_payload": 7, "x": "%s"}\r\n' % (b"y" * 5000),
    b"MSG\ta.b 7  2\r\nab\r\n",
    b"MSG a.b 7 r\t2\r\nab\r\n",
    b"HMSG a.b 7 0 0\r\n\r\n",
]
BROKEN = [
    b"MSG a.b 7\r\n",
    b"MSG a.b seven 1\r\nx\r\n",
    b"MSG a.b 7 r s 1\r\nx\r\n",
    b"HMSG a 7 4\r\nabcd\r\n",
    b"WHAT\r\n",
]
PIECES = st.one_of(
    st.builds(plain, DATA),
    st.builds(plain, DATA, st.just(b"_INBOX.1")),
    st.builds(with_headers, DATA),
    st.builds(with_headers, DATA, st.just(b"_INBOX.1")),
    st.sampled_from(LINES),
)


async def feed(parser, parts):
    try:
        for part in parts:
            await parser.parse(part)
    except ProtocolError as error:
        return type(error)
    return bytes(parser.buf), parser.state


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=8), st.sampled_from([b"", *BROKEN]), st.lists(st.integers(0, 400)), st.integers(0, 3))
def test_it_delivers_the_same(pieces, last, cuts, waits):
    stream = b"".join(pieces) + last
    ends = sorted({cut for cut in cuts if cut < len(stream)})
    parts = [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]
    theirs, ours = Recorder(), Recorder(waits)

    async def main():
        expected = await feed(Parser(theirs), parts)
        got = await feed(IncomingParser(ours, ours.deliver), parts)
        return expected, got

    expected, got = asyncio.run(main())
    assert ours.log == theirs.log
    if not last:
        assert got == expected == (b"", 1)
    else:
        assert (got is ProtocolError) is (expected is ProtocolError)


@pytest.mark.parametrize("first", [plain(b"abc"), b"PING\r\n"])
def test_bytes_of_a_connection_that_was_given_up_are_dropped(first):
    client = Recorder(waits=1)
    parser = IncomingParser(client, client.deliver)

    async def connect_anew():
        client.log.append("anew")
        parser.reset()

    async def main():
        client._process_ping = connect_anew
        client._process_msg = lambda *message: connect_anew()
        await parser.parse(first + plain(b"of the old connection"))
        assert (client.log, parser.buf) == (["anew"], b"")
        client.waits = 0
        await parser.parse(plain(b"new"))
        assert client.log[1:] == [(7, b"a.b", b"", b"new", None)]

    asyncio.run(main())


def test_a_long_message_is_not_copied_with_each_part():
    parser = IncomingParser(None, lambda *message: got.append(message))
    got = []
    data = b"x" * 1_000_000
    stream = plain(data)

    async def main():
        for start in range(0, len(stream), 32_768):
            buffer = parser.buf
            await parser.parse(stream[start : start + 32_768])
            assert parser.buf is buffer
        assert got == [(7, b"a.b", b"", data, None)]

    asyncio.run(main())
