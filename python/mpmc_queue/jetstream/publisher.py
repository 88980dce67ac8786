"""Publishing: a message or an atomic batch is sent again with the same id until the server has confirmed it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from mpmc_queue._errors import ItemLimitError, MemoryLimitError, QueueClosedError, QueueError, QueueFullError
from mpmc_queue.jetstream.binding import look
from mpmc_queue.jetstream.errors import NotAtomicError, NotConfirmedError, OptionError, ServerError
from mpmc_queue.jetstream.frames import PART, client_takes_frames, frames, parts
from mpmc_queue.jetstream.headers import CONTENT_TYPE, EXPECTED_STREAM, FRAME, MSG_ID, OWN_TTL, header_bytes
from mpmc_queue.jetstream.ids import Ids
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.outgoing import Outgoing, batch_headers
from mpmc_queue.jetstream.server import NOT_NOW, NoAnswer, NobodyThere, Server, log, pause
from mpmc_queue.jetstream.topics import covers, subject_of

_R = TypeVar("_R")

MAX_BATCH: Final = 1000
"""Maximum messages of an atomic batch on the server."""
WINDOW: Final = 256
"""Messages of a batch with atomic=False that are published concurrently."""
MOMENT: Final = 0.001
"""The least remaining timeout in seconds. (It must not become 0, which means: do not wait for space at all.)"""
LAST_TRY: Final = 0.05
"""Seconds before the end of a timeout at which there is a last attempt."""
FIGURES: Final = 0.2
"""Seconds that a call waits after its timeout for the figures of its error."""
HEARD: Final = 0.05
"""Seconds after which the server's consumers surely count a stored message."""

STORE_FAILED: Final = 10077
BATCH_DISABLED: Final = 10174
AGAIN: Final = (10158, 10175, 10176, 10210, 10211)
"""Error codes of a message that is being stored already, and of a batch that arrived incomplete or has to wait."""
BATCH_HEADER: Final = 10177
"""The error code of the first servers with batches. They accept no ids in a batch, so a repeated one could be stored twice."""
BATCH_TOO_LARGE: Final = 10199
BATCH_DUPLICATE: Final = 10201


class Publisher:
    """Publishes messages to the queue's subject."""

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
        """The message for an encoded payload."""
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
            headers[EXPECTED_STREAM] = self._options.name  # the subject may belong to another stream
        return Outgoing(subject_of(self._options.subject, topic), data, headers)

    def for_batch(
        self, topic: str | None, own_ttl: str | None, own_headers: Mapping[str, str], atomic: bool
    ) -> Callable[[tuple[bytes, str | None]], Outgoing]:
        """A function that makes the messages of a batch from encoded payloads.

        atomic      those with the same content type share their headers; False: each has an id of its own.
        """
        if not atomic:
            return lambda encoded: self.outgoing(topic, encoded, own_ttl, own_headers, self.id())
        alike: dict[str | None, Outgoing] = {}

        def message(encoded: tuple[bytes, str | None]) -> Outgoing:
            data, content_type = encoded
            if (first := alike.get(content_type)) is not None:
                return Outgoing(first.subject, data, first.headers)
            alike[content_type] = first = self.outgoing(topic, encoded, own_ttl, own_headers)
            return first

        return message

    def id(self) -> str:
        """A new id for a message."""
        return self._ids.next()

    async def one(self, message: Outgoing, timeout: float | None) -> int:
        """Publishes a message and returns its sequence in the stream."""
        if self._closed():
            raise QueueClosedError("it is closed", queue=self._options.name)
        try:
            self._check_payload(message)
        except QueueFullError:
            await self.sure(lambda: self._check_payload(message))
        if timeout is not None:
            return await self._persist(lambda: self._try_one(message), timeout, [message])
        try:
            # The usual case: the first attempt is confirmed.
            return self._stored(await self._server.request(*message))
        except (NoAnswer, QueueFullError, ServerError) as error:
            return await self._persist(lambda: self._try_one(message), None, [message], error)

    async def many(self, messages: Sequence[Outgoing], timeout: float | None) -> range:
        """Publishes all messages next to each other, or none; returns their sequences in the stream."""
        if self._closed():
            raise QueueClosedError("it is closed", queue=self._options.name)
        if not messages:
            return range(0)
        # One id is enough: the server refuses the whole batch if it knows any of its ids.
        subject, data, headers = messages[-1]
        messages = [*messages[:-1], Outgoing(subject, data, headers | {MSG_ID: self._ids.next()})]
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
        await self._check_payloads(messages)
        return await self._persist(lambda: self._try_many(messages), timeout, messages)

    async def each(self, messages: Sequence[Outgoing], timeout: float | None) -> list[int]:
        """Publishes single messages, many concurrently. The first error ends it; some may be stored then."""
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
        """One attempt. It has its own batch id, so that the server never mixes two attempts."""
        batch = self._ids.next()
        *before, (subject, data, headers) = messages
        await self._send_parts(before, batch)
        answer = await self._server.request(subject, data, batch_headers(batch, len(messages), last=True) | headers)
        try:
            stored = self._stored(answer)
        except ServerError as error:
            if error.code != BATCH_DUPLICATE:
                raise
            stored = await self._stored_before(messages[-1])
        return range(stored - len(messages) + 1, stored + 1)

    async def _send_parts(self, messages: Sequence[Outgoing], batch: str) -> None:
        """Sends all messages of a batch but the last."""
        together = client_takes_frames()
        number = 1
        try:
            for part in parts(messages, min(PART, self._server.client.max_payload) if together else 0):
                if together and number > 1:
                    await asyncio.sleep(0)  # the client sends a part while the next is made
                (subject, data, headers), *others = part
                more = frames(others, batch, number + 1)
                await self._server.publish(subject, data, "", batch_headers(batch, number) | headers, more)
                number += len(part)
        except asyncio.CancelledError:
            if number > 1:
                # Otherwise the server would wait for the rest. A number out of order makes it drop the batch.
                self._server.send(messages[0].subject, b"", batch_headers(batch, MAX_BATCH + 1))
            raise

    async def _stored_before(self, message: Outgoing) -> int:
        """The sequence of a message that an earlier attempt has stored, although its confirmation was lost.

        The server returns it when the same id is published again, as long as it remembers the id; a moment ago it did.
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
        """Tries until the messages are stored, the timeout is over, or another attempt is pointless.

        error       the error of the first attempt, if there was one.
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
                        error = None  # an attempt that the timeout interrupts may have been stored
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
        """Raises if another attempt is pointless."""
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
        """The sequence in the server's answer; raises if it is a refusal."""
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
        """Runs a check of limits. If it fails, updates the limits, which an operator may have raised, and runs it again."""
        try:
            return check()
        except (QueueFullError, OptionError):
            await look(self._server, self._options)
            return check()

    async def heard(self) -> None:
        """Waits until the server's consumers count what this handle has stored, which takes them a moment."""
        if (wait := self._last_at + HEARD - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def check_fit(self, items: int, size: int) -> None:
        """Raises if so many messages with this total size could never fit."""
        limit = self._options.max_items
        if limit is not None and items > limit:
            raise ItemLimitError(0, limit, items)
        if (most := self._options.max_bytes) is not None and size > most:
            raise MemoryLimitError(0, most, size)

    def _check_fit(self, messages: Sequence[Outgoing]) -> None:
        self.check_fit(len(messages), self._size(messages))

    def _check_payload(self, message: Outgoing, more: int = 0) -> None:
        """Raises for a message that is too large for the queue or the server. more: bytes of headers that will be added.

        The server counts headers towards max_payload and closes the connection if a message is larger; the client does
        not count them.
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

    async def _check_payloads(self, messages: Sequence[Outgoing]) -> None:
        """Does `_check_payload` for each message of a batch."""
        more = header_bytes(batch_headers(self._ids.next(), len(messages), last=True))
        headers = {id(message.headers): message.headers for message in messages}.values()
        largest = Outgoing("", max((message.data for message in messages), key=len), max(headers, key=header_bytes))
        try:
            self._check_payload(largest, more)
        except (QueueFullError, ServerError):
            for message in messages:
                await self.sure(partial(self._check_payload, message, more))

    async def _check_stream(self, messages: Sequence[Outgoing]) -> None:
        """Raises if there was no responder because the stream has been deleted, or does not have the subject."""
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
        """The same error with its figures. Without an answer in time, they are those of a queue at its limit."""
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
