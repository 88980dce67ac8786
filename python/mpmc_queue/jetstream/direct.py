"""A client that hands each message to the function of its subscription at once.

nats-py has a queue and a task for each subscription, which take longer than our functions: none of those waits.
"""

import logging
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, Final, TypeAlias

import nats.aio.client
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from mpmc_queue.jetstream.at_once import run_at_once
from mpmc_queue.jetstream.incoming import IncomingParser
from mpmc_queue.jetstream.parsing import quicker

log = logging.getLogger("mpmc_queue.jetstream")

_START: Final = b"NATS/1.0\r\n"
_others: Final = getattr(nats.aio.client, "parse_email", None)
"""The parser of another library, which the client uses if it is installed."""
_parse: Final = quicker(getattr(Client, "_parse_header_lines", None)) if _others is None else None

_SAMPLE: Final = (
    b"HMSG one 7 two 18 22\r\nNATS/1.0\r\nA: 1\r\n\r\ndata\r\nHMSG one 7 16 ",
    b"16\r\nNATS/1.0 503\r\n\r\n\r\n+OK\r\nMSG one 7 0\r\n\r\n",
)
"""What a server sends, in two parts."""

Call: TypeAlias = Callable[[str, str, bytes, dict[str, str] | None], None]
"""A function that gets a message: its subject, its reply subject, its data, and its headers."""


class QueuedClient(Client):
    """nats-py's client as it is."""

    async def call_with(self, subject: str, call: Call, **limits: Any) -> Subscription:
        """Subscribes to the subject; `call` gets each message."""

        async def queued(msg: Msg) -> None:
            call(msg.subject, msg.reply, msg.data, msg.headers)

        return await self.subscribe(subject, cb=queued, **limits)  # pyright: ignore[reportUnknownMemberType]: a future of the client's has no type

    def forget(self, subscription: Subscription) -> None:
        """Calls nothing any more for a subscription that has ended."""


class DirectClient(QueuedClient):
    """The client without queues. It replaces a method and a parser that are not public: only to be used if `hands_over`
    says so."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, Call] = {}
        self._ps = IncomingParser(self, self._deliver)

    async def call_with(self, subject: str, call: Call, **limits: Any) -> Subscription:
        subscription = await super().call_with(subject, call, **limits)
        self._calls[subscription._id] = call
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._calls.pop(subscription._id, None)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Called by nats-py's parser."""
        waits = self._deliver(sid, subject, reply, data, headers)
        if waits is not None:
            await waits

    def _deliver(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> Coroutine[Any, Any, None] | None:
        call = self._calls.get(sid)
        if call is None:
            return super()._process_msg(sid, subject, reply, data, headers or b"")
        parsed: dict[str, str] | None = None
        if headers:
            if _parse is None or not headers.startswith(_START):
                return self._deliver_status(call, subject, reply, data, headers)
            parsed = _parse(headers[len(_START) :]) or None
        _hand_over(call, subject, reply, data, parsed)
        return None

    async def _deliver_status(self, call: Call, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """For headers that begin with a status, which the client reads."""
        parsed: dict[str, str] | None = await self._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]: its argument has no type
        _hand_over(call, subject, reply, data, parsed)


def _hand_over(call: Call, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None) -> None:
    try:
        call(subject.decode(), reply.decode(), data, headers)
    except Exception:  # it would end the task that reads
        log.exception("a message could not be handled")


def new_client() -> QueuedClient:
    """A client without queues, if the installed nats-py allows that."""
    return DirectClient() if hands_over() else QueuedClient()


def _try_direct() -> bool:
    got: list[object] = []

    def note(*message: object) -> None:
        got.append(message)

    try:
        client = DirectClient()
        subscription = Subscription(client, 7, "one")
        client._subs[7] = subscription
        client._calls[subscription._id] = note
        expected = [("one", "two", b"data", {"A": "1"}), ("one", "", b"", {"Status": "503"}), ("one", "", b"", None)]
        for parser in (Parser(client), client._ps):
            got.clear()
            for part in _SAMPLE:
                run_at_once(parser.parse(part))
            if got != expected or parser.buf:
                return False
        return subscription.pending_msgs == 0 and type(Client()._ps) is Parser
    except Exception as error:
        log.debug("messages go through the queues of this nats-py: %s", error)
        return False


hands_over: Final = cache(_try_direct)
"""Whether messages that the client's parser has read reach the function, and no queue."""
