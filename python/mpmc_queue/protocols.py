"""The asynchronous half of the interface, as types: what an application needs to know of a queue, wherever it lives.

`mpmc_queue.Queue` satisfies `AsyncQueue`, and so does what `mpmc_queue.jetstream.connect` returns. An application that
is typed against these names moves from one to the other by the line that makes the queue:

>>> import asyncio
>>> from mpmc_queue import Queue
>>> from mpmc_queue.protocols import AsyncQueue, answer
>>> async def work(queue: AsyncQueue[str]) -> str:
...     reader = queue.add_consumer("reader")
...     await queue.aenqueue("hello")
...     assert await answer(reader.unread_count) == 1
...     return await reader.aget()
>>> asyncio.run(work(Queue("orders")))
'hello'

What a queue in this process knows at once, one on a server has to ask for. Those few values are `T | Awaitable[T]`
here, so that the type checker notices where one was taken for an answer: `await answer(...)` serves both.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from inspect import isawaitable
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from mpmc_queue._types import Start

__all__ = [
    "AsyncConsumer",
    "AsyncGroup",
    "AsyncMessage",
    "AsyncQueue",
    "AsyncQueueStats",
    "answer",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


async def answer(value: _T | Awaitable[_T]) -> _T:
    """The value itself, or what a server answers: for what only some queues know at once.

    >>> import asyncio
    >>> asyncio.run(answer(1))
    1
    """
    if isawaitable(value):
        result: _T = await value
        return result
    return value


class AsyncMessage(Protocol[_T_co]):
    """One delivery: a payload and what is known about it. See `mpmc_queue.Message`."""

    @property
    def id(self) -> UUID: ...
    @property
    def seq(self) -> int: ...
    @property
    def payload(self) -> _T_co: ...
    @property
    def size(self) -> int: ...
    @property
    def created(self) -> datetime: ...
    @property
    def created_ns(self) -> int: ...
    @property
    def missed(self) -> int: ...
    @property
    def deliveries(self) -> int: ...
    def ack(self) -> object: ...
    def nack(self, delay: float = 0.0) -> object: ...
    def term(self) -> object: ...
    def in_progress(self) -> object: ...


class AsyncConsumer(Protocol[_T_co]):
    """An independent reader, or a member of a group. See `mpmc_queue.Consumer`."""

    @property
    def id(self) -> UUID: ...
    @property
    def name(self) -> str | None: ...
    async def aread(self, *, timeout: float | None = None) -> AsyncMessage[_T_co] | None: ...
    async def aread_batch(
        self, limit: int, *, timeout: float | None = None, linger: float = 0.0, max_bytes: int | None = None
    ) -> Sequence[AsyncMessage[_T_co]]: ...
    async def aread_latest(self, *, timeout: float | None = None) -> AsyncMessage[_T_co] | None: ...
    async def aget(self, *, timeout: float | None = None) -> _T_co: ...
    async def aget_batch(
        self, limit: int, *, timeout: float | None = None, linger: float = 0.0, max_bytes: int | None = None
    ) -> Sequence[_T_co]: ...
    def __aiter__(self) -> AsyncIterator[AsyncMessage[_T_co]]: ...
    async def __anext__(self) -> AsyncMessage[_T_co]: ...
    def peek(self) -> AsyncMessage[_T_co] | Awaitable[AsyncMessage[_T_co] | None] | None: ...
    def seek(self, to: Start) -> None: ...
    @property
    def position(self) -> int: ...
    @property
    def unread_count(self) -> int | Awaitable[int]: ...
    @property
    def missed_count(self) -> int: ...
    async def atake_missed(self, *, timeout: float | None = None) -> int: ...
    def close(self) -> None: ...


class AsyncGroup(Protocol[_T_co]):
    """Members share one position: each message goes to one of them. See `mpmc_queue.ConsumerGroup`."""

    @property
    def name(self) -> str: ...
    @property
    def members(self) -> Sequence[AsyncConsumer[_T_co]]: ...
    @property
    def pending_count(self) -> int | Awaitable[int]: ...
    @property
    def unread_count(self) -> int | Awaitable[int]: ...
    def add_consumer(self, name: str | None = None) -> AsyncConsumer[_T_co]: ...
    def close(self) -> None: ...


class AsyncQueueStats(Protocol):
    """A queue's figures, as far as every queue has them. See `mpmc_queue.QueueStats`."""

    @property
    def name(self) -> str: ...
    @property
    def total_items(self) -> int: ...
    @property
    def memory_usage(self) -> int: ...
    @property
    def memory_percent(self) -> float: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def max_items(self) -> int | None: ...
    @property
    def consumer_count(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def ttl(self) -> float | None: ...
    @property
    def enqueued(self) -> int: ...
    @property
    def first_seq(self) -> int: ...
    @property
    def next_seq(self) -> int: ...


class AsyncQueue(Protocol[_T]):
    """A named log with limits: every consumer reads every message, at its own pace. See `mpmc_queue.Queue`."""

    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    async def aenqueue(
        self, payload: _T, *, ttl: float | timedelta | None = ..., timeout: float | None = None
    ) -> int: ...
    async def aenqueue_batch(
        self, payloads: Iterable[_T], *, ttl: float | timedelta | None = ..., timeout: float | None = None
    ) -> Sequence[int]: ...
    def add_consumer(
        self,
        name: str | None = None,
        *,
        start: Start = "earliest",
        on_missed: Literal["skip", "raise"] | Callable[[int], None] = "skip",
    ) -> AsyncConsumer[_T]: ...
    def add_group(
        self,
        name: str,
        *,
        start: Start = "earliest",
        ack_wait: float | timedelta | None = None,
        max_deliver: int | None = None,
        backoff: Sequence[float] | None = None,
        max_ack_pending: int | None = None,
        dead_letter: Any = None,  # a queue of the same kind
    ) -> AsyncGroup[_T]: ...
    def stats(self) -> AsyncQueueStats | Awaitable[AsyncQueueStats]: ...
    def close(self, *, immediate: bool = False) -> Awaitable[None] | None: ...
