"""Consumers and members of groups, for threads."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from datetime import timedelta
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, final
from uuid import UUID

from mpmc_queue._errors import QueueClosedError, QueueError
from mpmc_queue._types import Start
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.member import Member
from mpmc_queue.jetstream.message import Delivery, Message, Settling
from mpmc_queue.jetstream.reading import Reader, Receipt
from mpmc_queue.jetstream.stats import ConsumerStats
from mpmc_queue.jetstream.sync_loop import Loop
from mpmc_queue.jetstream.waiting import await_any, check
from mpmc_queue.protocols import SyncQueue

_T = TypeVar("_T")


class Missed(Exception):
    """Carries a count to the reading thread, which calls the application's `on_missed`. Internal: users never see it."""

    def __init__(self, count: int) -> None:
        self.count = count


def tell_reader(count: int) -> None:
    """The `on_missed` inside the loop, if the application has set one."""
    raise Missed(count)


class Handing(Settling):
    """Settles a thread's messages in the loop."""

    def __init__(self, loop: Loop, member: Member[Any]) -> None:
        self._loop = loop
        self._member = member

    def settle(self, delivery: Delivery, how: str, delay: float = 0.0) -> None:
        self._loop.do(lambda: self._member.settle(delivery, how, delay))

    def confirm(self, delivery: Delivery) -> Awaitable[None]:
        """Returns once the server has confirmed; the result need not be awaited."""

        async def confirmed() -> None:
            await self._member.confirm(delivery)

        self._loop.run(lambda _: confirmed())
        return Done()


class Done:
    """An awaitable that is done."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class SyncReader(Generic[_T]):
    """The synchronous ways to read, as in `mpmc_queue.Consumer`. Safe to share between threads.

    Ctrl-C interrupts a waiting call; messages that had arrived for it are the next to be read.
    """

    def __init__(
        self,
        loop: Loop,
        queue: SyncQueue[_T],
        reader: Reader[_T],
        on_missed: Callable[[int], None] | None = None,
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._reader = reader
        self._on_missed = on_missed

    @property
    def id(self) -> UUID:
        """Its id, unique in this process."""
        return self._reader.id

    @property
    def name(self) -> str | None:
        """The name it was given, if any."""
        return self._reader.name

    @property
    def queue(self) -> SyncQueue[_T]:
        """The queue it reads."""
        return self._queue

    # messages

    def read(self, *, timeout: float | timedelta | None = 0.0) -> Message[_T] | None:
        """The next message, or None if there is none in time.

        timeout     seconds (or a timedelta) to wait for one; 0: only a message that is present (the default), and the server
                    is asked if none has been prefetched; None: no limit.

        Raises QueueClosedError when the queue is closed and drained, ConsumerClosedError when this consumer is closed and,
        depending on `on_missed`, MessagesMissedError or what the callback raised.
        """
        found = self._read(1, arguments.seconds(timeout, "timeout"))
        return found[0] if found else None

    def read_batch(
        self,
        limit: int,
        *,
        timeout: float | timedelta | None = 0.0,
        linger: float | timedelta = 0.0,
        max_bytes: int | None = None,
    ) -> list[Message[_T]]:
        """Waits for the first message as `read` does, then takes all present ones, up to `limit`; [] if there is none.

        linger      seconds that the batch may wait for more messages after its first one.
        max_bytes   maximum payload bytes of the batch, which always has at least one message; None: no limit.
        """
        return self._read(
            arguments.count_of(limit, "limit"),
            arguments.seconds(timeout, "timeout"),
            arguments.linger_of(linger),
            arguments.bytes_of(max_bytes),
        )

    def read_latest(self, *, timeout: float | timedelta | None = 0.0) -> Message[_T] | None:
        """The newest message, or None if there is none in time; older ones are skipped."""
        wait = arguments.seconds(timeout, "timeout")
        return self._telling(
            wait, lambda left: self._loop.run(lambda receipt: self._reader._read_latest(left, receipt))
        )

    def get(self, block: bool = True, timeout: float | timedelta | None = None) -> _T:
        """The next payload, with the signature of `queue.Queue.get`: waits by default. Raises `queue.Empty`."""
        message = self.read(timeout=timeout if block else 0)
        if message is None:
            raise Empty
        return message.payload

    def get_nowait(self) -> _T:
        """`get` without waiting."""
        return self.get(block=False)

    def get_batch(
        self,
        limit: int,
        *,
        timeout: float | timedelta | None = 0.0,
        linger: float | timedelta = 0.0,
        max_bytes: int | None = None,
    ) -> list[_T]:
        """`read_batch` for payloads."""
        found = self.read_batch(limit, timeout=timeout, linger=linger, max_bytes=max_bytes)
        return [message.payload for message in found]

    def __iter__(self) -> Iterator[Message[_T]]:
        """Iterating waits for the next message, and ends when the queue is closed and drained."""
        return self

    def __next__(self) -> Message[_T]:
        try:
            found = self._read(1, None)
        except QueueClosedError:
            raise StopIteration from None
        return found[0]

    def _read(
        self, limit: int, timeout: float | None, linger: float = 0.0, max_bytes: int | None = None
    ) -> list[Message[_T]]:
        reader = self._reader
        at_once: Callable[[Receipt], list[Message[_T]] | None] | None = None
        if limit == 1 and isinstance(reader, Consumer):
            at_once = lambda receipt: reader._take_all(1, None, receipt) or None  # noqa: E731
        if self._on_missed is None:
            return self._loop.run(lambda receipt: reader._read(limit, timeout, linger, max_bytes, receipt), at_once)
        return self._telling(
            timeout,
            lambda left: self._loop.run(lambda receipt: reader._read(limit, left, linger, max_bytes, receipt), at_once),
        )

    def _telling(self, timeout: float | None, read: "Callable[[float | None], _R]") -> "_R":
        """Reads. If messages were missed, calls the application's `on_missed` in this thread, then reads on."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            try:
                return read(timeout)
            except Missed as missed:
                count = missed.count
            assert self._on_missed is not None
            self._on_missed(count)
            timeout = None if deadline is None else max(0.0, deadline - monotonic())

    @property
    def unread_count(self) -> int:
        """Messages that can be read now. Asks the server."""
        reader = self._reader
        assert isinstance(reader, Consumer | Member)
        return self._loop.run(lambda _: _count(reader))

    def close(self) -> None:
        """Ends reading. Calls that wait in other threads raise ConsumerClosedError."""
        self._loop.do(self._close)

    def _close(self) -> None:
        self._loop.settle()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._reader!r}>"


if TYPE_CHECKING:
    _R = TypeVar("_R")


async def _count(reader: Consumer[Any] | Member[Any]) -> int:
    return await reader.unread_count


@final
class SyncConsumer(SyncReader[_T]):
    """An independent reader with its own position, for threads; `SyncQueue.add_consumer` makes one."""

    _reader: Consumer[_T]

    def peek(self) -> Message[_T] | None:
        """The message that `read` would return now, without taking it; None if there is none. May ask the server."""
        return self._loop.run(lambda _: self._reader.peek())

    @property
    def position(self) -> int:
        """The seq of the next message to read."""
        return self._loop.run(lambda _: self._position())

    async def _position(self) -> int:
        await self._reader._feed.known()
        return self._reader.position

    def seek(self, to: Start) -> None:
        """Moves the position, as `mpmc_queue.Consumer.seek`. The server checks it: a seq beyond the next raises ValueError,
        and the position does not change."""
        self._loop.run(lambda _: self._seek(to))

    async def _seek(self, to: Start) -> None:
        self._loop.settle()
        before = await self._position()
        self._reader.seek(to)
        try:
            await self._reader._feed.known()
        except ValueError:
            self._reader.seek(before)
            raise

    @property
    def missed_count(self) -> int:
        """Messages that left before this consumer read them, counted up to its position."""
        return self._reader.missed_count

    def take_missed(self, *, timeout: float | timedelta | None = 0.0) -> int:
        """How many were missed since the last call; waits for the first one, and returns 0 if there was none in time."""
        wait = arguments.seconds(timeout, "timeout")
        return self._loop.run(lambda _: self._reader.atake_missed(timeout=wait))

    def stats(self) -> ConsumerStats:
        """The consumer's figures, all at the same moment."""
        return self._loop.run(lambda _: self._reader.stats())


@final
class SyncMember(SyncReader[_T]):
    """A member of a group, for threads; `SyncGroup.add_consumer` makes one."""

    _reader: Member[_T]

    def peek(self) -> Message[_T] | None:
        """Raises QueueError: over JetStream a message cannot be seen without being delivered."""
        return self._loop.run(lambda _: self._reader.peek())

    @property
    def position(self) -> int:
        """Raises QueueError: a member has no position of its own."""
        return self._reader.position

    def seek(self, to: Start) -> None:
        """Raises QueueError: a member has no position of its own."""
        self._reader.seek(to)

    @property
    def missed_count(self) -> int:
        """Raises QueueError: a member does not know."""
        return self._reader.missed_count

    def take_missed(self, *, timeout: float | timedelta | None = 0.0) -> int:
        """Raises QueueError: a member does not know."""
        return self._loop.run(lambda _: self._reader.atake_missed())


def wait_any(
    consumers: Iterable[SyncConsumer[_T]], *, timeout: float | timedelta | None = None
) -> list[SyncConsumer[_T]]:
    """`await_any` for threads: waits until at least one consumer is readable; returns the readable ones, in the order given.

    Nothing is read. Returns [] if the timeout is over first. Ctrl-C interrupts it.
    """
    given = list(consumers)
    wait = arguments.seconds(timeout, "timeout")
    for consumer in given:
        if not isinstance(consumer, SyncReader):
            raise TypeError(f"consumers must be those of connect_sync's queues, not {type(consumer).__name__}")
        check(consumer._reader)
    if not given:
        raise ValueError("consumers must not be empty: nothing would ever be readable")
    loop = given[0]._loop
    if any(consumer._loop is not loop for consumer in given):
        raise QueueError("consumers of queues that were connected in another process: connect again in this one")
    ready = loop.run(lambda _: await_any([consumer._reader for consumer in given], timeout=wait))
    return [consumer for consumer in given if consumer._reader in ready]
