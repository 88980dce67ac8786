"""The handle of a queue that lives on a server."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, Self, TypeVar, final
from uuid import UUID

from mpmc_queue._defaults import QUEUE_TTL
from mpmc_queue._errors import QueueClosedError, QueueFullError
from mpmc_queue._mpmc_queue import _check_filters, _check_topic
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
from mpmc_queue.jetstream.outgoing import Outgoing
from mpmc_queue.jetstream.publisher import MOMENT, Publisher
from mpmc_queue.jetstream.server import NoAnswer, Server, log
from mpmc_queue.jetstream.stats import QueueStats
from mpmc_queue.jetstream.topics import subject_of
from mpmc_queue.jetstream.watching import Watch

_T = TypeVar("_T")


@final
class Queue(Generic[_T]):
    """A queue on a NATS JetStream stream: the asynchronous half of `mpmc_queue.Queue`. `connect` makes one.

    It belongs to the event loop that it was made in. `async with` closes it and its connection on exit.
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
        """Consumers and groups that the server may not have yet. Enqueuing waits for them: they have to get the message."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving: dict[str, asyncio.Task[Any]] = {}
        """Tasks of named consumers that have closed and may still be sending their final position."""
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
        """Whether `close` has been called on this handle. (Other processes have their own handles. A lost connection is
        reported by ConnectionLostError instead.)"""
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

        topic       what it is about, "orders.eu.new": its subject is the queue's subject, ".", and the topic.
        headers     text to send with it, such as {"tenant": "acme"}: see `Message.headers`. The current trace context of
                    OpenTelemetry is sent, too.
        ttl         seconds (or a timedelta) that this message lives, instead of the queue's ttl: a whole number, not
                    longer than the queue's; None: forever.
        timeout     seconds to wait for space, or for a server that does not answer; None: no limit (the default).
                    0: do not wait for space; the server still has `connect(patience=)` to answer.
        id          the id to publish it under. Within the dedupe window the server stores only one message with an id;
                    for a second one this returns the seq of the first.

        Raises what `mpmc_queue.Queue.aenqueue` raises, and NotConfirmedError if the server does not answer in time.
        """
        wait = arguments.seconds(timeout, "timeout")
        topic, given = _check_topic(topic), headers_of(headers)
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
        """Adds all payloads next to each other, or none; returns their seqs.

        topic, headers
                    for every message of the batch.
        atomic      False: single messages, published concurrently. Other messages may come between them, and an error may
                    leave some of them in the queue. For batches above 1,000 messages, and servers before 2.12.

        Raises what `aenqueue` raises, and NotAtomicError if the server cannot store the batch atomically.
        """
        wait = arguments.seconds(timeout, "timeout")
        topic, given = _check_topic(topic), headers_of(headers)
        own = None if ttl is QUEUE_TTL else await self._own_ttl(ttl)
        if self._closed:
            raise QueueClosedError(f"queue {self.name!r} is closed")
        messages: list[Outgoing] = []
        size = 0
        outgoing, check_fit = self._publisher.for_batch(topic, own, given, atomic), self._publisher.check_fit
        for payload in payloads:
            messages.append(message := outgoing(encoded(self._options.codec, payload)))
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
        """Waits until the server has every consumer that was added before; returns the remaining timeout."""
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
        """Waits until the server has it or refuses it; at most for `patience` while there is a connection."""
        while not unsettled.settled.is_set():
            try:
                async with asyncio.timeout(self._server.patience):
                    await unsettled.settled.wait()
            except TimeoutError:
                if self._server.client.is_connected:
                    log.warning("queue %s: the server has not made a consumer or group yet: producers go on", self.name)
                    return

    async def _bury(self, topic: str | None, data: bytes, headers: dict[str, str]) -> None:
        """Stores a dead letter, without a time limit; with its topic, unless the stream does not accept topics."""
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

        name        makes it durable: a later consumer of the same name continues at its position. None: it is temporary.
        start       "earliest", "latest", a seq or an aware datetime; an existing durable one continues instead.
        on_missed   what happens when messages have left unread, as `mpmc_queue.Queue.add_consumer`.
        topics      filters, "orders.eu.*" or "orders.>": messages that match one of them are read; None: everything. The
                    server accepts no filters that overlap partly, such as "a.*" and "*.b". Only some of the missed messages
                    are counted: see `Consumer.missed_count`.
        create      False: use the existing consumer of this name, with its own filters. Any tool may have made it, as a
                    durable pull consumer with the ack policy "all". Needs nats-server 2.14.
        inactive_threshold
                    seconds without reads after which the server deletes it with its position; None: never, or 300 without
                    a name.
        replicas, storage
                    the number of servers that have its position, and where; by default as the stream.

        If the server refuses it (a seq beyond the next, a name that a group has), awaiting it raises the error, or the
        first read does.
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
        consumer = Consumer(self, name, arguments.start_of(start), on_missed, _check_filters(topics), how)
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
        """Makes a group, or joins the existing one of this name.

        The options are those of `mpmc_queue.Queue.add_group`; dead_letter is a queue from `connect`.

        create      False: use the existing consumer of this name, with its own options. Any tool may have made it, as a
                    durable pull consumer with the ack policy "explicit". Its messages have to be settled. A message that the
                    server gives up after its own max_deliver reaches dead_letter only if the last delivery is settled by
                    nack or term.
        inactive_threshold, replicas, storage
                    as in `add_consumer`.
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
            topics=_check_filters(topics),
            making=making(create, inactive_threshold, replicas, storage),
        )
        self._groups.append(group)
        self._settling.add(group)
        return group

    def remove_consumer(self, consumer: Consumer[_T]) -> bool:
        """Closes a consumer and deletes it with its position on the server; False: it is not of this handle."""
        if consumer not in self._consumers:
            return False
        consumer._close(remove=True)
        return True

    async def remove_group(self, group: Group[_T]) -> bool:
        """Closes a group and deletes it on the server, for all processes; False: it is not of this handle."""
        if group not in self._groups:
            return False
        await group.known()
        group.close()
        await self._server.insist(f"CONSUMER.DELETE.{self.name}.{group.name}")
        return True

    # figures

    async def stats(self) -> QueueStats:
        """The queue's figures, from the server."""
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
        """Closes this handle: from now on producers fail, and all waiting calls wake up. May be called again.

        Its consumers can still read what the stream holds now, unless `immediate`. When they have done so, or are closed,
        the connection is closed: await the result of this call, or `wait_closed`, to wait for that. The stream stays, and
        other processes are not affected.
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
        """Waits, after `close`, until every consumer has drained or is closed, and the connection is closed."""
        if self._closing is None:
            raise QueueClosedError(f"queue {self.name!r} has not been closed")
        await asyncio.shield(self._closing)

    async def aclose(self) -> None:
        """Calls `close(immediate=True)`, and waits until the connection is closed. All messages stay in the stream.

        Does not raise if the connection is lost. The last acknowledgements are then lost, and their messages are
        redelivered.
        """
        self.close(immediate=True)
        await self.wait_closed()

    async def delete(self) -> None:
        """Deletes the stream with all its messages, for all processes, then closes this handle."""
        await self._server.insist(f"STREAM.DELETE.{self.name}")
        await self.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _finish(self) -> None:
        """Closes consumers, groups and the connection. Never raises, because the connection may be lost already."""
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
        """Runs work in a task that only closing waits for."""
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
