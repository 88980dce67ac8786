"""What the parts of a queue use of the whole: consumers and groups use their queue, members use their group.

Only types. The queue imports the classes of its parts, so the parts refer to it by protocols, to avoid an import cycle.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from mpmc_queue._errors import QueueClosedError
from mpmc_queue.jetstream.message import Delivery
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.publisher import Publisher
from mpmc_queue.jetstream.server import Server
from mpmc_queue.protocols import AsyncGroup, AsyncQueue

_T = TypeVar("_T")


class Whole(AsyncQueue[_T], Protocol[_T]):
    """The queue, as its consumers and groups see it."""

    _server: Server
    _options: Options
    _publisher: Publisher
    _settling: set[Any]
    _leaving: dict[str, asyncio.Task[Any]]
    _discarded: bool
    _end: int | None
    _ended: asyncio.Event
    _changed: asyncio.Event

    def _nothing_left(self) -> QueueClosedError: ...
    def _later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...
    def _forget(self, consumer: Any) -> None: ...
    def _forget_group(self, group: Any) -> None: ...
    async def _bury(self, topic: str | None, data: bytes, headers: dict[str, str]) -> None: ...


class WholeGroup(AsyncGroup[_T], Protocol[_T]):
    """The group, as its members see it."""

    _queue: Whole[_T]
    _name: str
    _acking: bool
    settled: asyncio.Event

    @property
    def topics(self) -> tuple[str, ...] | None: ...
    @property
    def unread_count(self) -> Awaitable[int]: ...
    def _forget(self, member: Any) -> None: ...
    def spent(self, delivery: Delivery) -> bool: ...
    def bury(self, delivery: Delivery) -> None: ...
    def reject(self, delivery: Delivery) -> None: ...
    async def known(self) -> None: ...
    def check(self) -> None: ...
    async def confirm(self) -> None: ...
    async def acknowledge(self, delivery: Delivery) -> None: ...
    def settle(self, delivery: Delivery, how: str, delay: float = 0.0) -> None: ...
