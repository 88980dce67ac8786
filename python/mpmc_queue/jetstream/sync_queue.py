"""The handle of a queue that lives on a server, for threads."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, final
from uuid import UUID

from mpmc_queue._defaults import QUEUE_TTL
from mpmc_queue._mpmc_queue import _check_filters
from mpmc_queue._types import Start
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.codec import encoded
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.errors import OptionError
from mpmc_queue.jetstream.queue import Queue
from mpmc_queue.jetstream.stats import QueueStats
from mpmc_queue.jetstream.sync_group import SyncGroup
from mpmc_queue.jetstream.sync_loop import Loop
from mpmc_queue.jetstream.sync_reader import SyncConsumer, tell_reader
from mpmc_queue.jetstream.watching import Watch

_T = TypeVar("_T")


class ReaderOptions(TypedDict, total=False):
    """Options of the server's consumer, as for `Queue.add_consumer` and `Queue.add_group`."""

    create: bool
    inactive_threshold: float | timedelta | None
    replicas: int | None
    storage: Literal["file", "memory"] | None


@final
class SyncQueue(Generic[_T]):
    """A queue on a NATS JetStream stream: the synchronous half of `mpmc_queue.Queue`. `connect_sync` makes one.

    Safe to share between threads, but not with a forked child, which has to connect again. All synchronous queues of a process
    share one event loop in a daemon thread. `with` closes the queue and its connection on exit; so does the end of the program.
    """

    def __init__(self, loop: Loop, queue: Queue[_T]) -> None:
        """Must run in the loop's thread."""
        self._loop = loop
        self._queue = queue
        self._consumers: list[SyncConsumer[_T]] = []
        loop.closers.add(queue.aclose)

    @property
    def name(self) -> str:
        """The name of the queue, and of the stream."""
        return self._queue.name

    @property
    def closed(self) -> bool:
        """Whether `close` has been called on this handle."""
        return self._queue.closed

    @property
    def created_at(self) -> datetime:
        """When the stream was made."""
        return self._queue.created_at

    @property
    def _watch(self) -> Watch:
        """What the metrics and the dashboard ask."""
        return self._queue._watch

    # producing

    def enqueue(
        self,
        payload: _T,
        *,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | timedelta | None = QUEUE_TTL,
        timeout: float | timedelta | None = 0.0,
        id: UUID | None = None,
    ) -> int:
        """Adds a message and returns its seq, once the server has stored it.

        topic, headers, ttl
                    as for `Queue.aenqueue`.
        timeout     seconds (or a timedelta) to wait for space, or for a server that does not answer; None: no limit. 0: do not
                    wait for space (the default); the server still has `connect_sync(patience=)` to answer.
        id          the id to publish it under.

        If Ctrl-C interrupts it, the server may have stored the message already. Raises what `Queue.aenqueue` raises.
        """
        wait: Any = arguments.seconds(timeout, "timeout")
        return self._loop.run(
            lambda _: self._queue.aenqueue(payload, topic=topic, headers=headers, ttl=ttl, timeout=wait, id=id)
        )

    def enqueue_batch(
        self,
        payloads: Iterable[_T],
        *,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | timedelta | None = QUEUE_TTL,
        timeout: float | timedelta | None = 0.0,
        atomic: bool = True,
    ) -> Sequence[int]:
        """Adds all payloads next to each other, or none; returns their seqs. Otherwise as `Queue.aenqueue_batch`."""
        wait: Any = arguments.seconds(timeout, "timeout")
        listed = payloads if isinstance(payloads, list | tuple) else self._listed(payloads)
        return self._loop.run(
            lambda _: self._queue.aenqueue_batch(
                listed, topic=topic, headers=headers, ttl=ttl, timeout=wait, atomic=atomic
            )
        )

    def _listed(self, payloads: Iterable[_T]) -> list[_T]:
        """Lists the payloads in this thread: the iterable is the application's code, and may be endless."""
        listed: list[_T] = []
        size = 0
        for payload in payloads:
            listed.append(payload)
            size += len(encoded(self._queue._options.codec, payload)[0])
            self._queue._publisher.check_fit(len(listed), size)
        return listed

    def put(self, item: _T, block: bool = True, timeout: float | timedelta | None = None) -> None:
        """`enqueue` with the signature of `queue.Queue.put`: waits for space by default.

        Its errors for a full queue are also `queue.Full`.
        """
        self.enqueue(item, timeout=timeout if block else 0)

    def put_nowait(self, item: _T) -> None:
        """`put` without waiting for space."""
        self.enqueue(item, timeout=0)

    # consumers

    def add_consumer(
        self,
        name: str | None = None,
        *,
        start: Start = "earliest",
        on_missed: Literal["skip", "raise"] | Callable[[int], None] = "skip",
        topics: str | Iterable[str] | None = None,
        **options: Unpack[ReaderOptions],
    ) -> SyncConsumer[_T]:
        """Adds an independent reader, with the options of `Queue.add_consumer`. When this returns, the server has it.

        on_missed   a callable is called in the thread that reads.
        """
        tell = on_missed if callable(on_missed) else None
        chosen = _check_filters(topics)  # run the application's iterable in this thread

        def make() -> Consumer[_T]:
            told = on_missed if tell is None else tell_reader
            return self._queue.add_consumer(name, start=start, on_missed=told, topics=chosen, **options)

        return self._loop.run(lambda _: self._add_consumer(make, tell))

    async def _add_consumer(
        self, make: Callable[[], Consumer[_T]], tell: Callable[[int], None] | None
    ) -> SyncConsumer[_T]:
        consumer = make()
        try:
            await consumer
        except BaseException:
            consumer.close()
            raise
        added = SyncConsumer(self._loop, self, consumer, tell)
        self._consumers.append(added)
        return added

    def add_group(
        self,
        name: str,
        *,
        start: Start = "earliest",
        ack_wait: float | timedelta | None = None,
        max_deliver: int | None = None,
        backoff: Sequence[float] | None = None,
        max_ack_pending: int | None = None,
        dead_letter: "SyncQueue[Any] | None" = None,
        topics: str | Iterable[str] | None = None,
        **options: Unpack[ReaderOptions],
    ) -> SyncGroup[_T]:
        """Makes a group, or joins the existing one of this name. When this returns, the server has it.

        The options are those of `Queue.add_group`; dead_letter is a queue from `connect_sync`.
        """
        if dead_letter is not None and not isinstance(dead_letter, SyncQueue):
            raise OptionError("dead_letter must be a queue that jetstream.connect_sync has made, or None")
        grave = None if dead_letter is None else dead_letter._queue
        chosen = _check_filters(topics)

        async def add() -> SyncGroup[_T]:
            group = self._queue.add_group(
                name,
                start=start,
                ack_wait=ack_wait,
                max_deliver=max_deliver,
                backoff=backoff,
                max_ack_pending=max_ack_pending,
                dead_letter=grave,
                topics=chosen,
                **options,
            )
            try:
                await group
            except BaseException:
                group.close()
                raise
            return SyncGroup(self._loop, self, group)

        return self._loop.run(lambda _: add())

    @property
    def consumers(self) -> tuple[SyncConsumer[_T], ...]:
        """The consumers of this handle."""
        return self._loop.do(self._open_consumers)

    def _open_consumers(self) -> tuple[SyncConsumer[_T], ...]:
        there = self._queue.consumers
        self._consumers = [consumer for consumer in self._consumers if consumer._reader in there]
        return tuple(self._consumers)

    def remove_consumer(self, consumer: SyncConsumer[_T]) -> bool:
        """Closes a consumer and deletes it with its position on the server; False: it is not of this handle."""
        return self._loop.do(lambda: self._queue.remove_consumer(consumer._reader))

    def remove_group(self, group: SyncGroup[_T]) -> bool:
        """Closes a group and deletes it on the server, for all processes; False: it is not of this handle."""
        return self._loop.run(lambda _: self._queue.remove_group(group._group))

    # figures

    def stats(self) -> QueueStats:
        """The queue's figures, from the server."""
        return self._loop.run(lambda _: self._queue.stats())

    # ending

    def close(self, *, immediate: bool = False) -> None:
        """Closes this handle: from now on producers fail, and all waiting calls wake up. May be called again.

        Its consumers can still read what the stream holds now. With `immediate` they cannot, and this waits until the
        connection is closed. The stream stays, and other processes are not affected.
        """
        self._loop.run(lambda _: self._close(immediate))

    async def _close(self, immediate: bool) -> None:
        self._loop.settle()
        closing = self._queue.close(immediate=immediate)
        self._loop.closers.discard(self._queue.aclose)
        if immediate:
            await closing
            return
        self._loop.closers.add(self._queue.aclose)
        asyncio.ensure_future(self._queue.wait_closed()).add_done_callback(
            lambda _: self._loop.closers.discard(self._queue.aclose)
        )
        try:
            async with asyncio.timeout(self._queue._server.patience):
                await self._queue._ended.wait()
        except TimeoutError:
            pass  # without a connection, the last seq is requested after the reconnect

    def shutdown(self, immediate: bool = False) -> None:
        """The standard library's name for `close`."""
        self.close(immediate=bool(immediate))

    def wait_closed(self) -> None:
        """Waits, after `close`, until every consumer has drained or is closed, and the connection is closed."""
        self._loop.run(lambda _: self._queue.wait_closed())

    def delete(self) -> None:
        """Deletes the stream with all its messages, for all processes, then closes this handle."""
        self._loop.run(lambda _: self._queue.delete())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(immediate=True)

    def __repr__(self) -> str:
        return f"<SyncQueue {self.name!r} over JetStream{', closed' if self.closed else ''}>"
