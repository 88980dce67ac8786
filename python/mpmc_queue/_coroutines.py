"""The asynchronous methods as coroutine functions, from CPython 3.12 on.

Up to CPython 3.11, `await` takes a result from an object of ours as it is. From 3.12 on it takes it so only from a
coroutine of Python; any other object has to put it into a `StopIteration`, which takes longer than the read itself. So
from 3.12 on the methods are the functions of this module. Most of them make an attempt first, and await only if they have to wait. Besides, `inspect.iscoroutinefunction` is true for them: frameworks decide by it whether to await what a function
returns.
"""

from __future__ import annotations

from mpmc_queue._defaults import QUEUE_TTL
from mpmc_queue._mpmc_queue import _NOT_NOW, Consumer, Queue

TYPE_CHECKING = False  # importing `typing` only for this constant would slow the import down
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from typing import Any

    from mpmc_queue._mpmc_queue import Message

# The methods of the extension. (`[object]` is for type checkers.)
_aenqueue = Queue[object].aenqueue
_aenqueue_batch = Queue[object].aenqueue_batch
_ajoin = Queue[object].ajoin
_aread = Consumer[object].aread
_aread_batch = Consumer[object].aread_batch
_aread_latest = Consumer[object].aread_latest
_aget = Consumer[object].aget
_aget_batch = Consumer[object].aget_batch
_atake_missed = Consumer[object].atake_missed

_NO_LINGER = 0.0


async def aenqueue(
    self: Queue[Any],
    payload: Any,
    *,
    topic: str | None = None,
    ttl: float | timedelta | None = QUEUE_TTL,
    timeout: float | None = None,
) -> int:
    if topic is None and ttl is QUEUE_TTL and timeout is None and (seq := self._enqueue_in_turn(payload)) is not None:
        return seq
    return await _aenqueue(self, payload, topic=topic, ttl=ttl, timeout=timeout)


async def aenqueue_batch(
    self: Queue[Any],
    payloads: Iterable[Any],
    *,
    topic: str | None = None,
    ttl: float | timedelta | None = QUEUE_TTL,
    timeout: float | None = None,
) -> range:
    return await _aenqueue_batch(self, payloads, topic=topic, ttl=ttl, timeout=timeout)


async def ajoin(self: Queue[Any], timeout: float | None = None) -> bool:
    return await _ajoin(self, timeout)


async def aread(self: Consumer[Any], *, timeout: float | None = None) -> Message[Any] | None:
    if timeout is None and (message := self._read_in_turn()) is not None:
        return message
    return await _aread(self, timeout=timeout)


async def aread_batch(
    self: Consumer[Any],
    limit: int,
    *,
    timeout: float | None = None,
    linger: float = _NO_LINGER,
    max_bytes: int | None = None,
) -> list[Message[Any]]:
    if timeout is None and linger is _NO_LINGER and (batch := self._read_batch_in_turn(limit, max_bytes)) is not None:
        return batch
    return await _aread_batch(self, limit, timeout=timeout, linger=linger, max_bytes=max_bytes)


async def aread_latest(self: Consumer[Any], *, timeout: float | None = None) -> Message[Any] | None:
    return await _aread_latest(self, timeout=timeout)


async def aget(self: Consumer[Any], *, timeout: float | None = None) -> Any:
    if timeout is None and (payload := self._get_in_turn()) is not _NOT_NOW:
        return payload
    return await _aget(self, timeout=timeout)


async def aget_batch(
    self: Consumer[Any],
    limit: int,
    *,
    timeout: float | None = None,
    linger: float = _NO_LINGER,
    max_bytes: int | None = None,
) -> list[Any]:
    if timeout is None and linger is _NO_LINGER and (batch := self._get_batch_in_turn(limit, max_bytes)) is not None:
        return batch
    return await _aget_batch(self, limit, timeout=timeout, linger=linger, max_bytes=max_bytes)


async def atake_missed(self: Consumer[Any], *, timeout: float | None = None) -> int:
    return await _atake_missed(self, timeout=timeout)


def install() -> None:
    """Puts the functions in the place of the methods of the extension, with their documentation."""
    for cls, functions in (
        (Queue, (aenqueue, aenqueue_batch, ajoin)),
        (Consumer, (aread, aread_batch, aread_latest, aget, aget_batch, atake_missed)),
    ):
        for function in functions:
            method = getattr(cls, function.__name__)
            if isinstance(method, type(function)):
                return  # by an earlier import of the package
            function.__doc__, function.__module__ = method.__doc__, cls.__module__
            function.__qualname__ = f"{cls.__name__}.{function.__name__}"
            function.__annotations__ = {}  # as the other methods have none; their types are in the stub
            setattr(cls, function.__name__, function)
