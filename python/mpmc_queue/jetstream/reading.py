"""What consumers and members of groups have in common: the ways to read."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar
from uuid import UUID, uuid4

from mpmc_queue._errors import QueueClosedError
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.message import Message

_T = TypeVar("_T")


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
    async def _read(self, limit: int, timeout: float | None) -> list[Message[_T]]:
        """Waits for the first, then takes what is there, up to limit."""

    def _take(self) -> Message[_T] | None:
        """What is here already; None when that takes more than a look."""
        return None

    async def aread(self, *, timeout: float | None = None) -> Message[_T] | None:
        """The next message, or None when there is none in time.

        timeout     seconds to wait for one; 0: what is there now, which takes a question to the server when nothing
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

    async def aread_batch(self, limit: int, *, timeout: float | None = None) -> list[Message[_T]]:
        """Waits for the first message as `aread` does, then takes what is there, up to `limit`; [] when there is none."""
        return await self._read(arguments.count_of(limit, "limit"), arguments.seconds(timeout, "timeout"))

    async def aget(self) -> _T:
        """The next payload: waits for it."""
        message = self._take()
        if message is None:
            (message,) = await self._read(1, None)
        return message.payload

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
