"""The messages of an atomic batch as bytes for the server, many at once.

The client can only publish one message at a time, and makes all its headers anew. In a batch they are the same, except for
the number.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from nats.aio.client import Client

from mpmc_queue.jetstream.at_once import run_at_once
from mpmc_queue.jetstream.connection import log
from mpmc_queue.jetstream.headers import BATCH_ID, BATCH_SEQUENCE
from mpmc_queue.jetstream.outgoing import Outgoing, batch_headers

PART: Final = 32 * 1024
"""Bytes of messages that are handed to the client together: it sends one part while the next is made."""
_AROUND: Final = 120
"""Bytes around the data of a message, roughly."""
_LINES: Final = str.maketrans("\r\n", "  ")


def parts(messages: Sequence[Outgoing], most: int) -> Iterator[Sequence[Outgoing]]:
    """The messages in parts of about so many bytes. A message with more data is a part of its own."""
    start = size = 0
    for index, message in enumerate(messages):
        size += len(message.data) + _AROUND
        if size > most and index > start:
            yield messages[start:index]
            start, size = index, len(message.data) + _AROUND
    yield messages[start:]


def frames(messages: Sequence[Outgoing], batch: str, number: int) -> bytes:
    """What the client would send for these messages of a batch, the first of which has this number."""
    start = f"NATS/1.0\r\n{BATCH_ID}: {batch}\r\n{BATCH_SEQUENCE}: ".encode()
    ends: dict[int, bytes] = {}
    made: list[bytes] = []
    for at, (subject, data, headers) in enumerate(messages, number):
        if (end := ends.get(id(headers))) is None:
            end = ends[id(headers)] = b"\r\n%b\r\n" % _lines(headers)
        place = b"%d" % at
        size = len(start) + len(place) + len(end)
        made.append(
            b"HPUB %b  %d %d\r\n%b%b%b%b\r\n" % (subject.encode(), size, size + len(data), start, place, end, data)
        )
    return b"".join(made)


def _lines(headers: Mapping[str, str]) -> bytes:
    """Headers as the client writes them: a value has one line, and no white space around it."""
    return "".join(f"{key}: {value.strip().translate(_LINES)}\r\n" for key, value in headers.items()).encode()


def _try_frames() -> bool:
    message = Outgoing("a.b", b"data", {"key": "value"})
    expected = frames([message], "batch", 7)
    probe = _Probe()
    try:
        run_at_once(probe.publish(message.subject, message.data, "", batch_headers("batch", 7) | message.headers))
    except Exception as error:
        log.debug("this nats-py takes no messages that are made here: %s", error)
        return False
    return probe.sent == expected and probe.pending_data_size == len(expected)


client_takes_frames: Final = cache(_try_frames)
"""Whether the installed client sends messages by `_send_command`, which is not public, in the form made here.

Otherwise messages are published one at a time.
"""


class _Probe(Client):
    """A client without a connection, which keeps what it would send."""

    sent = b""

    @property
    def is_connected(self) -> bool:
        return True

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self.sent += cmd
        await super()._send_command(cmd)
