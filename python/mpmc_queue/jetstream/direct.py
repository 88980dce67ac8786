"""A client that hands each message to the function of its subscription at once.

nats-py has a queue and a task for each subscription, which take longer than our functions: none of those waits.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

import nats.aio.client
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from mpmc_queue.jetstream.at_once import run_at_once
from mpmc_queue.jetstream.parsing import quicker

log = logging.getLogger("mpmc_queue.jetstream")

_START: Final = b"NATS/1.0\r\n"
_others: Final = getattr(nats.aio.client, "parse_email", None)
"""The parser of another library, which the client uses if it is installed."""
_parse: Final = quicker(getattr(Client, "_parse_header_lines", None)) if _others is None else None

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
    """The client without queues. It replaces a method that is not public: only to be used if `hands_over` says so."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, Call] = {}

    async def call_with(self, subject: str, call: Call, **limits: Any) -> Subscription:
        subscription = await super().call_with(subject, call, **limits)
        self._calls[subscription._id] = call
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._calls.pop(subscription._id, None)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Called by the client's parser."""
        call = self._calls.get(sid)
        if call is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        parsed: dict[str, str] | None = None
        if headers:
            if _parse is not None and headers.startswith(_START):
                parsed = _parse(headers[len(_START) :]) or None
            else:  # a status
                parsed = await self._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]: its argument has no type
        try:
            call(subject.decode(), reply.decode(), data, parsed)
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
        parser = Parser(client)
        run_at_once(parser.parse(b"HMSG one 7 two 18 22\r\nNATS/1.0\r\nA: 1\r\n\r\ndata\r\n"))
        run_at_once(parser.parse(b"HMSG one 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"))
        expected = [("one", "two", b"data", {"A": "1"}), ("one", "", b"", {"Status": "503"})]
        return got == expected and subscription.pending_msgs == 0
    except Exception as error:
        log.debug("messages go through the queues of this nats-py: %s", error)
        return False


hands_over: Final = cache(_try_direct)
"""Whether messages that the client's parser has read reach the function, and no queue."""
