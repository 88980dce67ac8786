"""What consumers and members of groups have in common: the ways to read."""

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
    """Whether messages have reached who reads them: another thread can tell only after they have been taken.

    The reader says what is to be done then, and whoever waits in that thread's name does one of the two, soon.
    """

    __slots__ = ("give_back", "keep", "reader")

    def __init__(self) -> None:
        self.reader: object = None
        """Who has read them."""
        self.keep: Callable[[], None] | None = None
        """They have: the server may hear of it."""
        self.give_back: Callable[[], None] | None = None
        """They have not, and are the next to be read."""


class Reader(ABC, Generic[_T]):
    """The ways to read, by means of one."""

    def __init__(self, name: str | None) -> None:
        self._id = uuid4()
        self._name = name
        self._drained = False
        """Whether it has read all that there was when its queue was closed."""

    @property
    def id(self) -> UUID:
        """An id of its own, in this process."""
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
        """Waits for the first, then takes what is there, or comes within linger, up to limit and max_bytes.

        receipt     where it is not certain that they reach who reads them.
        """

    @abstractmethod
    async def _read_latest(self, timeout: float | None, receipt: Receipt | None = None) -> Message[_T] | None:
        """The newest, once there is one."""

    def _take(self) -> Message[_T] | None:
        """What is here already; None when that takes more than a look."""
        return None

    async def aread(self, *, timeout: float | timedelta | None = None) -> Message[_T] | None:
        """The next message, or None when there is none in time.

        timeout     seconds (or a timedelta) to wait for one; 0: what is there now, which takes a question to the server when nothing
                    has been fetched ahead; None: for ever (the default).

        Raises QueueClosedError when the queue is closed and drained, ConsumerClosedError when this consumer is closed.
        Cancelling it never loses a message.
        """
        wait = arguments.seconds(timeout, "timeout")
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
        """Waits for the first message as `aread` does, then takes what is there, up to `limit`; [] when there is none.

        linger      seconds that the batch may wait to fill once its first message is there. A full batch, a closed queue,
                    and a gap that has to be told first end it.
        max_bytes   payload bytes (their `size`) of the batch at the most, but always one message; None: no limit. In a
                    group the server counts, and counts headers, too.
        """
        return await self._read(
            arguments.count_of(limit, "limit"),
            arguments.seconds(timeout, "timeout"),
            arguments.linger_of(linger),
            arguments.bytes_of(max_bytes),
        )

    async def aread_latest(self, *, timeout: float | timedelta | None = None) -> Message[_T] | None:
        """The newest message there is, or None when there is none in time; what is older is passed over.

        What was missed before it comes with this message. QueueError for a member of a group, which has no position.
        """
        return await self._read_latest(arguments.seconds(timeout, "timeout"))

    async def aget(self, *, timeout: float | timedelta | None = None) -> _T:
        """The next payload: waits for it. Raises `queue.Empty` when there is none in time."""
        wait = arguments.seconds(timeout, "timeout")
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
            message = self._take()
            if message is None:
                (message,) = await self._read(1, None)
        except QueueClosedError:
            raise StopAsyncIteration from None
        return message

    @abstractmethod
    def _wake(self) -> None:
        """Whoever waits looks for themselves."""

    @abstractmethod
    def close(self) -> None:
        """Ends reading."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


def deadline_in(timeout: float | None) -> float | None:
    """The loop's time when it is over."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
