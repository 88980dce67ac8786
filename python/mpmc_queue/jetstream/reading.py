"""The ways to read, which consumers and members of groups have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from queue import Empty
from typing import Generic, Self, TypeVar
from uuid import UUID, uuid4

from mpmc_queue._errors import QueueClosedError
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.message import Message

_T = TypeVar("_T")


class Receipt:
    """Tracks whether taken messages reach their caller, if that is in another thread and is known only later.

    The reader sets `keep` and `give_back`; the call that waits for the other thread runs one of them soon.
    """

    __slots__ = ("give_back", "keep", "reader")

    def __init__(self) -> None:
        self.reader: object = None
        """The reader that has taken them."""
        self.keep: Callable[[], None] | None = None
        """To run if the messages have reached the caller: tells the server."""
        self.give_back: Callable[[], None] | None = None
        """To run if they have not: they are the next to be read."""


class Reader(ABC, Generic[_T]):
    """The ways to read, all based on `_read` and `_read_latest`."""

    def __init__(self, name: str | None) -> None:
        self._id = uuid4()
        self._name = name
        self._drained = False
        """Whether it has read everything that was in the queue when it was closed."""

    @property
    def id(self) -> UUID:
        """Its id, unique in this process."""
        return self._id

    @property
    def name(self) -> str | None:
        """The name it was given, if any."""
        return self._name

    @abstractmethod
    async def _read(
        self,
        limit: int,
        timeout: float | None,
        linger: float = 0.0,
        max_bytes: int | None = None,
        receipt: Receipt | None = None,
    ) -> list[Message[_T]]:
        """Waits for the first message, then takes more that are present or arrive within linger, up to limit and max_bytes.

        receipt     given if it is not certain that they reach the caller.
        """

    @abstractmethod
    async def _read_latest(self, timeout: float | None, receipt: Receipt | None = None) -> Message[_T] | None:
        """Waits for a message, and returns the newest."""

    def _take(self) -> Message[_T] | None:
        """Takes a message that is in the buffer; None if that takes more."""
        return None

    def _requesting(self) -> bool:
        """Whether it is about to request more messages, as soon as the loop has a turn."""
        return False

    async def aread(self, *, timeout: float | timedelta | None = None) -> Message[_T] | None:
        """The next message, or None if there is none in time.

        timeout     seconds (or a timedelta) to wait for one; 0: only a message that is present, and the server is asked
                    if none has been prefetched; None: no limit (the default).

        Raises QueueClosedError when the queue is closed and drained, ConsumerClosedError when this consumer is closed.
        Cancelling it never loses a message.
        """
        wait = arguments.seconds(timeout, "timeout")
        if self._requesting():
            await _let_it_be_sent()
        message = self._take()
        if message is not None:
            return message
        found = await self._read(1, wait)
        return found[0] if found else None

    async def aread_batch(
        self,
        limit: int,
        *,
        timeout: float | timedelta | None = None,
        linger: float | timedelta = 0.0,
        max_bytes: int | None = None,
    ) -> list[Message[_T]]:
        """Waits for the first message as `aread` does, then takes all present ones, up to `limit`; [] if there is none.

        linger      seconds that the batch may wait for more messages after its first one. The wait ends early if the batch
                    is full, the queue is closed, or a gap has to be reported first.
        max_bytes   maximum payload bytes (`size`) of the batch, which always has at least one message; None: no limit. In
                    a group the server counts, and includes headers.
        """
        return await self._read(
            arguments.count_of(limit, "limit"),
            arguments.seconds(timeout, "timeout"),
            arguments.linger_of(linger),
            arguments.bytes_of(max_bytes),
        )

    async def aread_latest(self, *, timeout: float | timedelta | None = None) -> Message[_T] | None:
        """The newest message, or None if there is none in time; older ones are skipped.

        Its `missed` counts the messages missed before it. QueueError for a member of a group, which has no position.
        """
        return await self._read_latest(arguments.seconds(timeout, "timeout"))

    async def aget(self, *, timeout: float | timedelta | None = None) -> _T:
        """Waits for the next payload. Raises `queue.Empty` if there is none in time."""
        wait = arguments.seconds(timeout, "timeout")
        if self._requesting():
            await _let_it_be_sent()
        message = self._take()
        if message is None:
            found = await self._read(1, wait)
            if not found:
                raise Empty
            message = found[0]
        return message.payload

    async def aget_batch(
        self,
        limit: int,
        *,
        timeout: float | timedelta | None = None,
        linger: float | timedelta = 0.0,
        max_bytes: int | None = None,
    ) -> list[_T]:
        """`aread_batch` for payloads."""
        found = await self.aread_batch(limit, timeout=timeout, linger=linger, max_bytes=max_bytes)
        return [message.payload for message in found]

    def __aiter__(self) -> AsyncIterator[Message[_T]]:
        """`async for` waits for the next message, and ends when the queue is closed and drained."""
        return self

    async def __anext__(self) -> Message[_T]:
        try:
            if self._requesting():
                await _let_it_be_sent()
            message = self._take()
            if message is None:
                (message,) = await self._read(1, None)
        except QueueClosedError:
            raise StopAsyncIteration from None
        return message

    @abstractmethod
    def _wake(self) -> None:
        """Wakes all waiting calls, which then check again."""

    @abstractmethod
    def close(self) -> None:
        """Ends reading."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


async def _let_it_be_sent() -> None:
    """Lets a request for more messages be sent: a loop that only takes from the buffer would keep it until that is empty.

    In one turn the request is made, in the next the client sends it. No message has been taken yet.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def deadline_in(timeout: float | None) -> float | None:
    """The loop's time at the end of a timeout."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
