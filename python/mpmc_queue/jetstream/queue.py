"""The handle of a queue that lives on a server."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, Self, TypeVar, final
from uuid import UUID

from mpmc_queue._defaults import QUEUE_TTL
from mpmc_queue._errors import QueueClosedError, QueueFullError
from mpmc_queue._types import Start
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.binding import WORK_QUEUE, look
from mpmc_queue.jetstream.codec import encoded
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.errors import NotConfirmedError, OptionError
from mpmc_queue.jetstream.feed import Feed
from mpmc_queue.jetstream.group import Group
from mpmc_queue.jetstream.headers import headers_of
from mpmc_queue.jetstream.making import making
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.publisher import MOMENT, Outgoing, Publisher
from mpmc_queue.jetstream.server import NoAnswer, Server, log
from mpmc_queue.jetstream.stats import QueueStats
from mpmc_queue.jetstream.topics import filters_of, subject_of, topic_of
from mpmc_queue.jetstream.watching import Watch

_T = TypeVar("_T")


@final
class Queue(Generic[_T]):
    """A queue on a NATS JetStream stream: the asynchronous half of `mpmc_queue.Queue`. `connect` makes one.

    It belongs to the event loop that it was made in. `async with` closes it, and its connection, on exit.
    """

    def __init__(self, server: Server, options: Options, created_at: datetime, *, own_ttls: bool, atomic: bool) -> None:
        self._server = server
        self._options = options
        self._created_at = created_at
        self._own_ttls = own_ttls
        self._publisher = Publisher(server, options, atomic, lambda: self._closed)
        self._consumers: list[Consumer[_T]] = []
        self._groups: list[Group[_T]] = []
        self._settling: set[Feed | Group[_T]] = set()
        """Consumers and groups that the server may not know of yet: what is enqueued next is for them too."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving: dict[str, asyncio.Task[Any]] = {}
        """Named consumers that have closed, and may have the last word on their position to say."""
        self._closed = False
        self._discarded = False
        self._end: int | None = None
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._watch = Watch(server, options, created_at, self._consumers, lambda: self._closed)

    @property
    def name(self) -> str:
        """The name of the queue, and of the stream."""
        return self._options.name

    @property
    def closed(self) -> bool:
        """Whether `close` has been called here. (Other processes have handles of their own, and a connection that is gone
        for good is a ConnectionLostError.)"""
        return self._closed

    @property
    def created_at(self) -> datetime:
        """When the stream was made."""
        return self._created_at

    @property
    def consumers(self) -> tuple[Consumer[_T], ...]:
        """The consumers of this handle."""
        return tuple(self._consumers)

    # producing

    async def aenqueue(
        self,
        payload: _T,
        *,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | timedelta | None = QUEUE_TTL,
        timeout: float | None = None,
        id: UUID | None = None,
    ) -> int:
        """Adds a message and returns its seq, once the server has stored it.

        topic       what it is about, "orders.eu.new": its subject is the queue's own, ".", and the topic.
        headers     text that goes with it, such as {"tenant": "acme"}: see `Message.headers`. The trace context that
                    OpenTelemetry has at this moment goes with it too.
        ttl         seconds (or a timedelta) that this message lives, instead of the queue's ttl: a whole number, not
                    longer than the queue's; None: for ever.
        timeout     seconds to wait for space, or for a server that does not answer; None: for ever (the default).
                    0: not for space; one answer of the server is waited for as long as `connect(patience=)` says.
        id          the id to publish it under. Within the dedupe window the server stores one message of an id; when it
                    has one, this returns its seq.

        Raises what `mpmc_queue.Queue.aenqueue` raises, and NotConfirmedError when the server did not answer in time.
        """
        wait = arguments.seconds(timeout, "timeout")
        topic, given = topic_of(topic), headers_of(headers)
        own = None if ttl is QUEUE_TTL else await self._own_ttl(ttl)
        message = self._publisher.outgoing(
            topic, encoded(self._options.codec, payload), own, given, self._message_id(id)
        )
        if self._settling:
            wait = await self._settled(wait)
        return await self._publisher.one(message, wait) - 1

    async def aenqueue_batch(
        self,
        payloads: Iterable[_T],
        *,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
        ttl: float | timedelta | None = QUEUE_TTL,
        timeout: float | None = None,
        atomic: bool = True,
    ) -> Sequence[int]:
        """Adds all of the payloads, next to each other, or none; returns their seqs.

        topic, headers
                    those of every message in it.
        atomic      False: one by one, many under way at once. They may then lie apart, and an error may leave some of
                    them in the queue. For batches above 1,000, and servers before 2.12.

        Raises what `aenqueue` raises, and NotAtomicError when the server cannot do it all or nothing.
        """
        wait = arguments.seconds(timeout, "timeout")
        topic, given = topic_of(topic), headers_of(headers)
        own = None if ttl is QUEUE_TTL else await self._own_ttl(ttl)
        if self._closed:
            raise QueueClosedError(f"queue {self.name!r} is closed")
        messages: list[Outgoing] = []
        size = 0
        check_fit = self._publisher.check_fit
        for payload in payloads:
            id = None if atomic else self._publisher.id()
            message = self._publisher.outgoing(topic, encoded(self._options.codec, payload), own, given, id)
            messages.append(message)
            size += len(message.data)
            if atomic:
                try:
                    check_fit(len(messages), size)
                except QueueFullError:
                    await self._publisher.sure(partial(check_fit, len(messages), size))
        if self._settling:
            wait = await self._settled(wait)
        if atomic:
            stored = await self._publisher.many(messages, wait)
            return range(stored.start - 1, stored.stop - 1)
        return [seq - 1 for seq in await self._publisher.each(messages, wait)]

    def _message_id(self, id: object) -> str:
        if id is None:
            return self._publisher.id()
        if not isinstance(id, UUID):
            raise TypeError(f"id must be a UUID, not {type(id).__name__}")
        return str(id)

    async def _own_ttl(self, ttl: float | timedelta | None) -> str:
        own = await self._publisher.sure(lambda: arguments.own_ttl(ttl, self._options.ttl))
        if not self._own_ttls:
            raise OptionError("ttl of one message takes nats-server 2.11, and a stream that allows it")
        return own

    async def _settled(self, timeout: float | None) -> float | None:
        """Waits until the server knows of every consumer that was added before; returns what is left of the time."""
        loop = asyncio.get_running_loop()
        limit = self._server.patience if timeout == 0 else timeout
        deadline = None if limit is None else loop.time() + limit
        try:
            async with asyncio.timeout_at(deadline):
                for unsettled in list(self._settling):
                    await self._settle(unsettled)
                    self._settling.discard(unsettled)
        except TimeoutError:
            raise NotConfirmedError("the server did not answer in time: nothing was sent") from None
        return timeout if not timeout or deadline is None else max(MOMENT, deadline - loop.time())

    async def _settle(self, unsettled: "Feed | Group[_T]") -> None:
        """Waits until the server knows of it or refuses it, but no longer than patience while the server is there."""
        while not unsettled.settled.is_set():
            try:
                async with asyncio.timeout(self._server.patience):
                    await unsettled.settled.wait()
            except TimeoutError:
                if self._server.client.is_connected:
                    log.warning("a consumer or group of queue %s cannot be made: producers go on", self.name)
                    return

    async def _bury(self, topic: str | None, data: bytes, headers: dict[str, str]) -> None:
        """Takes a dead letter, however long that takes; with its topic, unless the stream takes none."""
        subject = self._options.subject
        try:
            await self._publisher.one(Outgoing(subject_of(subject, topic), data, headers), None)
        except OptionError:
            if topic is None:
                raise
            await self._publisher.one(Outgoing(subject, data, headers), None)

    # consumers

    def add_consumer(
        self,
        name: str | None = None,
        *,
        start: Start = "earliest",
        on_missed: Literal["skip", "raise"] | Callable[[int], None] = "skip",
        topics: str | Iterable[str] | None = None,
        create: bool = True,
        inactive_threshold: float | timedelta | None = None,
        replicas: int | None = None,
        storage: Literal["file", "memory"] | None = None,
    ) -> Consumer[_T]:
        """An independent reader.

        name        makes it durable: the next one of the same name goes on where this one was. None: only for now.
        start       "earliest", "latest", a seq or an aware datetime; a durable one that exists goes on instead.
        on_missed   what happens when messages have left unread, as `mpmc_queue.Queue.add_consumer`.
        topics      filters, "orders.eu.*" or "orders.>": what matches one of them is read; None: everything. The server
                    takes no two that overlap in part, such as "a.*" and "*.b". What is missed is told as far as it is
                    known: see `Consumer.missed_count`.
        create      False: one of this name that is there, made by whatever tool as a durable pull consumer with the ack
                    policy "all", with its own filters. It takes nats-server 2.14.
        inactive_threshold
                    seconds after which the server forgets it, position and all, when no process reads it: None: never,
                    or 300 without a name.
        replicas, storage
                    servers that have its position, and where: as the stream unless given.

        What the server has against it (a seq beyond the next, a name that a group has) is raised when it is awaited,
        or by its first read.
        """
        if name is not None:
            name = arguments.name_of(name, "name")
            if any(consumer.name == name for consumer in self._consumers):
                raise ValueError(f"name {name!r} is in use: a durable consumer has one reader")
        how = making(create, inactive_threshold, replicas, storage)
        if self._options.retention == WORK_QUEUE:
            raise OptionError("a work-queue stream has groups only: a message leaves when one reader has settled it")
        if not create and (name is None or start != "earliest" or topics is not None):
            raise OptionError("create=False takes a name, and no start or topics: the consumer has its own")
        if on_missed not in ("skip", "raise") and not callable(on_missed):
            raise TypeError(f"on_missed must be 'skip', 'raise' or callable, not {on_missed!r}")
        consumer = Consumer(self, name, arguments.start_of(start), on_missed, filters_of(topics), how)
        self._consumers.append(consumer)
        self._settling.add(consumer._feed)
        return consumer

    def add_group(
        self,
        name: str,
        *,
        start: Start = "earliest",
        ack_wait: float | timedelta | None = None,
        max_deliver: int | None = None,
        backoff: Sequence[float] | None = None,
        max_ack_pending: int | None = None,
        dead_letter: "Queue[Any] | None" = None,
        topics: str | Iterable[str] | None = None,
        create: bool = True,
        inactive_threshold: float | timedelta | None = None,
        replicas: int | None = None,
        storage: Literal["file", "memory"] | None = None,
    ) -> Group[_T]:
        """Makes a group, or joins the one that other processes have under this name.

        The options are those of `mpmc_queue.Queue.add_group`; dead_letter is a queue that `connect` has made.

        create      False: a consumer of this name that is there, made by whatever tool as a durable pull consumer with the
                    ack policy "explicit", with its own options. Its messages have to be settled. What the server gives up
                    after its own max_deliver does not reach dead_letter, unless the last delivery is settled by nack or
                    term.
        inactive_threshold, replicas, storage
                    as `add_consumer` has them.
        """
        if any(group.name == name for group in self._groups):
            raise ValueError(f"name {name!r} is in use")
        group: Group[_T] = Group(
            self,
            name,
            start=start,
            ack_wait=ack_wait,
            max_deliver=max_deliver,
            backoff=backoff,
            max_ack_pending=max_ack_pending,
            dead_letter=dead_letter,
            topics=filters_of(topics),
            making=making(create, inactive_threshold, replicas, storage),
        )
        self._groups.append(group)
        self._settling.add(group)
        return group

    def remove_consumer(self, consumer: Consumer[_T]) -> bool:
        """Closes a consumer of this handle and has the server forget it and its position; False: it is none."""
        if consumer not in self._consumers:
            return False
        consumer._close(remove=True)
        return True

    async def remove_group(self, group: Group[_T]) -> bool:
        """Closes a group of this handle and has the server forget it, for all processes; False: it is none."""
        if group not in self._groups:
            return False
        await group.known()
        group.close()
        await self._server.insist(f"CONSUMER.DELETE.{self.name}.{group.name}")
        return True

    # looking

    async def stats(self) -> QueueStats:
        """The queue's figures, as the server has them."""
        options = self._options
        state = (await look(self._server, options))["state"]
        last = int(state["last_seq"])
        return QueueStats(
            name=self.name,
            total_items=state["messages"],
            memory_usage=state["bytes"],
            memory_percent=0.0 if options.max_bytes is None else 100 * state["bytes"] / options.max_bytes,
            max_bytes=options.max_bytes,
            max_items=options.max_items,
            consumer_count=state["consumer_count"],
            created_at=self._created_at,
            ttl=options.ttl,
            enqueued=last,
            first_seq=last if not state["messages"] else state["first_seq"] - 1,
            next_seq=last,
        )

    # ending

    def close(self, *, immediate: bool = False) -> Awaitable[None]:
        """Ends this handle: its producers fail from here on, and everyone who waits in it wakes. Once is enough.

        Its consumers may read what the stream holds by now, unless `immediate`. The connection ends when they have, or
        are closed: awaiting what this returns, or `wait_closed`, waits for that. The stream stays, and other processes
        go on.
        """
        self._discarded = self._discarded or immediate
        if not self._closed:
            self._closed = True
            self._closing = asyncio.get_running_loop().create_task(self._finish())
        if immediate:
            self._ended.set()
            self._changed.set()
        for reader in (*self._consumers, *(member for group in self._groups for member in group._members)):
            reader._wake()
        assert self._closing is not None
        return asyncio.shield(self._closing)

    async def wait_closed(self) -> None:
        """Waits, after `close`, until the connection is closed: every consumer has drained, or is closed."""
        if self._closing is None:
            raise QueueClosedError(f"queue {self.name!r} has not been closed")
        await asyncio.shield(self._closing)

    async def aclose(self) -> None:
        """`close(immediate=True)`, and waits until the connection is closed. Nothing is lost: the stream has it.

        Raises nothing when the connection is dead. The last acknowledgements are then lost, and what they were for
        comes again.
        """
        self.close(immediate=True)
        await self.wait_closed()

    async def delete(self) -> None:
        """Deletes the stream, for all processes, with all that it holds; then closes this handle."""
        await self._server.insist(f"STREAM.DELETE.{self.name}")
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _finish(self) -> None:
        """Ends everything. Never raises: there may be no connection any more."""
        while not self._ended.is_set():
            try:
                info = await self._server.ask(f"STREAM.INFO.{self.name}")
                self._end = int(info["state"]["last_seq"])
                break
            except NoAnswer:
                await asyncio.sleep(0.1)
            except Exception as error:
                log.debug("the stream has gone: %s", error)
                self._discarded = True
                break
        self._ended.set()
        self._server.on_cut.append(self._changed.set)
        while not self._discarded and not self._all_drained() and self._server.lost is None:
            self._changed.clear()
            await self._changed.wait()
        for group in list(self._groups):
            group._close(over=True)
        for consumer in list(self._consumers):
            consumer._close(remove=False, over=True)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._server.patience
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(list(self._tasks), timeout=left)
        for task in self._tasks:
            task.cancel()
        await self._server.close(deadline)

    def _nothing_left(self) -> QueueClosedError:
        return QueueClosedError(f"queue {self.name!r} is closed, and there is nothing left to read")

    def _all_drained(self) -> bool:
        members = (member for group in self._groups for member in group._members)
        return all(reader._drained for reader in (*self._consumers, *members))

    def _forget(self, consumer: Consumer[_T]) -> None:
        self._consumers.remove(consumer)
        self._watch.left(consumer)
        self._settling.discard(consumer._feed)
        self._changed.set()

    def _forget_group(self, group: Group[_T]) -> None:
        self._groups.remove(group)
        self._settling.discard(group)
        self._changed.set()

    def _later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Work that nobody waits for, but closing does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s: %s", type(error).__name__, error)

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} over JetStream{', closed' if self._closed else ''}>"
