"""Producing: one message, or a batch as a whole; repeated under the same id until the server has confirmed it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from mpmc_queue._errors import ItemLimitError, MemoryLimitError, QueueClosedError, QueueError, QueueFullError
from mpmc_queue.jetstream.binding import look
from mpmc_queue.jetstream.errors import NotAtomicError, NotConfirmedError, OptionError, ServerError
from mpmc_queue.jetstream.headers import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    CONTENT_TYPE,
    EXPECTED_STREAM,
    FRAME,
    MSG_ID,
    OWN_TTL,
    header_bytes,
)
from mpmc_queue.jetstream.ids import Ids
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.server import NOT_NOW, NoAnswer, NobodyThere, Server, log, pause
from mpmc_queue.jetstream.topics import covers, subject_of

_R = TypeVar("_R")

MAX_BATCH: Final = 1000
"""Messages that the server takes as one batch."""
WINDOW: Final = 256
"""Messages of a batch that is not atomic under way at once."""
MOMENT: Final = 0.001
"""Seconds: a timeout of which no more than this is left. (One of 0 is another thing: it is not waited for space at all.)"""
LAST_TRY: Final = 0.05
"""Seconds before a timeout ends at which there is a last try."""
FIGURES: Final = 0.2
"""Seconds that a call whose time is up waits for the figures of its error."""
HEARD: Final = 0.05
"""Seconds after which the server's consumers have heard of a message that is stored, with much to spare."""
OVERHEAD: Final = 30
"""Bytes that the server's store adds to a message."""

STORE_FAILED: Final = 10077
BATCH_DISABLED: Final = 10174
AGAIN: Final = (10158, 10175, 10176, 10210, 10211)
"""Error codes of a message that is on its way already, or of a batch that did not arrive whole, or has to wait."""
BATCH_HEADER: Final = 10177
"""The error code of the first servers with batches, which take no id in one: a repeated batch could be stored twice."""
BATCH_TOO_LARGE: Final = 10199
BATCH_DUPLICATE: Final = 10201


class Outgoing(NamedTuple):
    """A message on its way to the server."""

    subject: str
    data: bytes
    headers: dict[str, str]

    @property
    def size(self) -> int:
        """About what the server counts for it."""
        return len(self.subject.encode()) + len(self.data) + header_bytes(self.headers) + OVERHEAD


def batch_headers(batch: str, number: int, *, last: bool = False) -> dict[str, str]:
    """The headers that make a message one of an atomic batch."""
    headers = {BATCH_ID: batch, BATCH_SEQUENCE: str(number)}
    return headers | {BATCH_COMMIT: "1"} if last else headers


class Publisher:
    """Sends messages to the queue's subject."""

    def __init__(self, server: Server, options: Options, atomic: bool, closed: Callable[[], bool]) -> None:
        self._server = server
        self._options = options
        self._atomic = atomic
        self._closed = closed
        self._ids = Ids()
        self.last = 0
        """The highest sequence that the server has confirmed to this handle."""
        self._last_at = 0.0

    def outgoing(
        self,
        topic: str | None,
        encoded: tuple[bytes, str | None],
        own_ttl: str | None,
        own_headers: Mapping[str, str],
        id: str | None = None,
    ) -> Outgoing:
        """The message that an encoded payload becomes."""
        if topic is None and not self._options.subject:
            raise OptionError(
                "the stream has no one subject: topic= says which to publish to", queue=self._options.name
            )
        data, content_type = encoded
        headers = {MSG_ID: id, **own_headers} if id is not None else {**own_headers}
        if content_type is not None:
            headers[CONTENT_TYPE] = content_type
        if own_ttl is not None:
            headers[OWN_TTL] = own_ttl
        if self._options.bound:
            headers[EXPECTED_STREAM] = self._options.name  # the subject may be another stream's
        return Outgoing(subject_of(self._options.subject, topic), data, headers)

    def id(self) -> str:
        """An id for a message."""
        return self._ids.next()

    async def one(self, message: Outgoing, timeout: float | None) -> int:
        """Publishes it and returns its sequence in the stream."""
        if self._closed():
            raise QueueClosedError("it is closed", queue=self._options.name)
        await self.sure(lambda: self._check_payload(message))
        if timeout is not None:
            return await self._persist(lambda: self._try_one(message), timeout, [message])
        try:
            # The usual case: stored and confirmed at the first attempt.
            return self._stored(await self._server.request(*message))
        except (NoAnswer, QueueFullError, ServerError) as error:
            return await self._persist(lambda: self._try_one(message), None, [message], error)

    async def many(self, messages: Sequence[Outgoing], timeout: float | None) -> range:
        """Publishes all of them next to each other, or none; returns their sequences in the stream."""
        if self._closed():
            raise QueueClosedError("it is closed", queue=self._options.name)
        if not messages:
            return range(0)
        # One id is enough: a batch is stored as a whole, and refused as a whole when any of its ids is known.
        messages[-1].headers[MSG_ID] = self._ids.next()
        if len(messages) == 1:
            seq = await self.one(messages[0], timeout)
            return range(seq, seq + 1)
        if not self._atomic:
            raise NotAtomicError(
                "this server or stream cannot store a batch all or nothing (that takes nats-server 2.12): "
                "atomic=False sends the messages one by one"
            )
        if len(messages) > MAX_BATCH:
            raise NotAtomicError(
                f"the server stores up to {MAX_BATCH:,} messages all or nothing, and this batch is {len(messages):,}: "
                "send smaller ones, or atomic=False"
            )
        more = header_bytes(batch_headers(self._ids.next(), len(messages), last=True))
        for message in messages:
            await self.sure(partial(self._check_payload, message, more))
        return await self._persist(lambda: self._try_many(messages), timeout, messages)

    async def each(self, messages: Sequence[Outgoing], timeout: float | None) -> list[int]:
        """Publishes them one by one, many under way at once; the first error ends it, some may be stored then."""
        sequences: list[int] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout or 0)
        for start in range(0, len(messages), WINDOW):
            left = max(MOMENT, deadline - loop.time()) if timeout else timeout
            tasks = [asyncio.ensure_future(self.one(message, left)) for message in messages[start : start + WINDOW]]
            try:
                sequences += await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        return sequences

    async def _try_one(self, message: Outgoing) -> int:
        return self._stored(await self._server.request(*message))

    async def _try_many(self, messages: Sequence[Outgoing]) -> range:
        """One attempt. It has an id of its own, so that the server never takes two attempts for one batch."""
        batch, publish = self._ids.next(), self._server.publish
        *before, (subject, data, headers) = messages
        for number, (its_subject, each, its) in enumerate(before, 1):
            await publish(its_subject, each, "", batch_headers(batch, number) | its)
        answer = await self._server.request(subject, data, batch_headers(batch, len(messages), last=True) | headers)
        try:
            stored = self._stored(answer)
        except ServerError as error:
            if error.code != BATCH_DUPLICATE:
                raise
            stored = await self._stored_before(messages[-1])
        return range(stored - len(messages) + 1, stored + 1)

    async def _stored_before(self, message: Outgoing) -> int:
        """The sequence of a message that an earlier attempt has stored after all, its confirmation lost.

        The server tells when it is sent that id once more, as long as it remembers it; which it did a moment ago.
        """
        answer = await self._server.request(*message)
        stored = self._stored(answer)
        if not json.loads(answer).get("duplicate"):
            await self._server.insist(f"STREAM.MSG.DELETE.{self._options.name}", seq=stored)
            raise NotConfirmedError("the batch has been stored, but so long ago that the server does not know where")
        return stored

    async def _persist(
        self,
        attempt: Callable[[], Awaitable[_R]],
        timeout: float | None,
        messages: Sequence[Outgoing],
        error: NoAnswer | QueueFullError | ServerError | None = None,
    ) -> _R:
        """Tries until it is stored, the time is up, or it is clear that it never will be.

        error       what the first attempt has met, where there has been one.
        """
        loop = asyncio.get_running_loop()
        limit = self._server.patience if timeout == 0 else timeout
        deadline = None if limit is None else loop.time() + limit
        tries = 0
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                while True:
                    if error is None or tries:
                        error = None  # while it is under way, it may have been stored
                        try:
                            return await attempt()
                        except (NoAnswer, QueueFullError, ServerError) as met:
                            error = met
                    await self._check_hope(error, messages)
                    if timeout == 0:
                        break
                    wait = pause(tries)
                    if deadline is not None and (left := deadline - loop.time() - LAST_TRY) > 0:
                        wait = min(wait, left)
                    await asyncio.sleep(wait)
                    tries += 1
        except TimeoutError:
            if not scope.expired():
                raise
        if isinstance(error, QueueFullError):
            raise await self._full(error, messages, FIGURES if timeout else self._server.patience) from None
        raise NotConfirmedError(
            f"the server did not confirm {'the message' if len(messages) == 1 else 'the batch'} in time: it may have "
            "stored it, or not",
            UUID(messages[0].headers[MSG_ID]) if len(messages) == 1 else None,
        ) from None

    async def _check_hope(self, error: NoAnswer | QueueFullError | ServerError, messages: Sequence[Outgoing]) -> None:
        """Raises when there is no point in another try."""
        if isinstance(error, ServerError) and error.code not in AGAIN:
            if error.code in (BATCH_DISABLED, BATCH_HEADER, BATCH_TOO_LARGE):
                raise NotAtomicError(error.message)
            raise error
        if isinstance(error, QueueFullError):
            await self.sure(lambda: self._check_fit(messages))
        if isinstance(error, NobodyThere):
            await self._check_stream(messages)
        if self._closed():
            raise QueueClosedError("it is closed", queue=self._options.name)

    def _stored(self, answer: bytes) -> int:
        """The sequence in the server's answer, or its refusal as an error."""
        result = json.loads(answer)
        error = result.get("error")
        if error is None:
            seq: int = result["seq"]
            self.last = max(self.last, seq)
            self._last_at = time.monotonic()
            return seq
        code, description = error.get("err_code", error.get("code", 0)), error.get("description", "")
        if code == STORE_FAILED and "maximum messages" in description:
            raise ItemLimitError(0, self._options.max_items or 0, 0, queue=self._options.name)
        if code == STORE_FAILED and "maximum bytes" in description:
            raise MemoryLimitError(0, self._options.max_bytes or 0, 0, queue=self._options.name)
        if code in NOT_NOW:
            raise NoAnswer(description)
        raise ServerError(code, description, queue=self._options.name)

    async def sure(self, check: Callable[[], _R]) -> _R:
        """Runs a check of limits; when it fails, again by those that the stream has now: an operator may raise them."""
        try:
            return check()
        except (QueueFullError, OptionError):
            await look(self._server, self._options)
            return check()

    async def heard(self) -> None:
        """Returns when the server's consumers count what this handle has stored: they hear of it a moment later."""
        if (wait := self._last_at + HEARD - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def check_fit(self, items: int, size: int) -> None:
        """Raises when so many messages of this size together could never fit."""
        limit = self._options.max_items
        if limit is not None and items > limit:
            raise ItemLimitError(0, limit, items)
        if (most := self._options.max_bytes) is not None and size > most:
            raise MemoryLimitError(0, most, size)

    def _check_fit(self, messages: Sequence[Outgoing]) -> None:
        self.check_fit(len(messages), self._size(messages))

    def _check_payload(self, message: Outgoing, more: int = 0) -> None:
        """Raises for a message that the queue, or the server, never takes. more: bytes of headers that it will have yet.

        The server ends the connection over a message above max_payload, and counts its headers; the client does not.
        """
        size = len(message.data)
        if (most := self._options.max_bytes) is not None and size > most:
            raise MemoryLimitError(0, most, message.size)
        headers = FRAME + header_bytes(message.headers) + more
        if size + headers > (limit := self._server.client.max_payload):
            raise ServerError(
                10054,
                f"a payload of {size:,} bytes with headers of {headers:,} is above {limit:,}, the server's max_payload",
                queue=self._options.name,
            )

    async def _check_stream(self, messages: Sequence[Outgoing]) -> None:
        """Raises when nobody is there because the stream has been deleted, or does not take what has this subject."""
        try:
            config = (await look(self._server, self._options, patient=False))["config"]
        except NoAnswer:
            return
        subjects: list[str] = config.get("subjects") or []
        for message in messages:
            if not any(covers(subject, message.subject) for subject in subjects):
                raise OptionError(
                    f"the stream takes no messages with the subject {message.subject!r}, only {', '.join(subjects) or 'none'}",
                    queue=self._options.name,
                )

    async def _full(self, error: QueueFullError, messages: Sequence[Outgoing], patience: float) -> QueueFullError:
        """The same error, with the figures; without an answer in time, it is taken for full to the brim."""
        state = {"messages": error.max, "bytes": error.max}
        try:
            async with asyncio.timeout(patience):
                state = (await look(self._server, self._options))["state"]
        except (TimeoutError, QueueError) as unknown:
            log.debug("how full queue %s is, is not known: %s", self._options.name, unknown)
        if isinstance(error, ItemLimitError):
            return ItemLimitError(state["messages"], self._options.max_items or error.max, len(messages))
        return MemoryLimitError(state["bytes"], self._options.max_bytes or error.max, self._size(messages))

    def _size(self, messages: Sequence[Outgoing]) -> int:
        return sum(message.size for message in messages)
