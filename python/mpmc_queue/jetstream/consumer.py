"""An independent reader of a queue."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Literal, Self, TypeAlias, TypeVar, final

from mpmc_queue._errors import ConsumerClosedError, MessagesMissedError, QueueError
from mpmc_queue._types import Start
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.codec import decoded
from mpmc_queue.jetstream.errors import CodecError, NotConfirmedError
from mpmc_queue.jetstream.feed import Feed
from mpmc_queue.jetstream.headers import CONTENT_TYPE
from mpmc_queue.jetstream.losses import lost_beyond
from mpmc_queue.jetstream.making import Making
from mpmc_queue.jetstream.message import Delivery, Message
from mpmc_queue.jetstream.parts import Whole
from mpmc_queue.jetstream.placing import Placing
from mpmc_queue.jetstream.reading import Reader, Receipt, deadline_in
from mpmc_queue.jetstream.server import log
from mpmc_queue.jetstream.stats import ConsumerStats
from mpmc_queue.jetstream.topics import topic_in
from mpmc_queue.jetstream.waiters import Waiters
from mpmc_queue.protocols import AsyncQueue

_T = TypeVar("_T")
OnMissed: TypeAlias = Literal["skip", "raise"] | Callable[[int], None]

FILL: float = 0.5  # seconds between checks whether a batch still has reason to wait for more


@final
class Consumer(Reader[_T]):
    """An independent reader with its own position, as `mpmc_queue.Consumer`; `Queue.add_consumer` makes one.

    With a name it is a durable consumer of the stream: another process that adds it later continues at its position.
    Only one process at a time may use a name: two would take each other's messages, and the second one logs a warning.
    Use a group for several readers. Without a name the consumer belongs to this process only.

    You need not await it. If you do, it waits until the server has the consumer, and raises at once what the first read
    would raise.
    """

    def __init__(
        self,
        queue: Whole[_T],
        name: str | None,
        start: Start,
        on_missed: OnMissed,
        topics: tuple[str, ...] | None,
        making: Making,
    ) -> None:
        super().__init__(name)
        self._queue = queue
        self._topics = topics
        self._on_missed = on_missed
        self._waiters = Waiters()
        self._losses = Waiters()
        self._closed = False
        self._over = False
        self._owed: Exception | None = None
        self._told_in_message = 0
        self._told_by_on_missed = 0
        self._taken = 0
        self._count = 0
        self._feed = Feed(
            queue._server,
            queue._options,
            Placing(queue._server, queue._options, name, topics, making),
            start,
            changed=self._waiters.wake_one,
            failed=self._wake,
            stored=lambda: queue._publisher.last,
            heard=queue._publisher.heard,
            after=None if name is None else queue._leaving.get(name),
        )

    @property
    def queue(self) -> AsyncQueue[_T]:
        """The queue it reads."""
        return self._queue

    @property
    def topics(self) -> tuple[str, ...] | None:
        """Its filters; None: everything. With create=False they are known once the server has answered."""
        placing = self._feed._placing
        if placing.bound and placing.filters:
            return tuple(str(topic_in(self._queue._options.subject, each)) for each in placing.filters)
        return self._topics

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._feed.known().__await__()
        return self

    # messages

    def _look(self) -> Delivery | None:
        """The next message to deliver, which stays in the buffer; raises any error that is due before it."""
        if self._closed:
            raise ConsumerClosedError(f"consumer {self.name or self.id} has been closed", queue=self.queue.name)
        queue, feed = self._queue, self._feed
        if queue._server.lost is not None:
            queue._server.check()
        if queue._discarded or self._over:
            raise queue._nothing_left()
        if feed.error is not None or feed.denied is not None:
            feed.check()
        if self._owed is not None:
            owed, self._owed = self._owed, None
            raise owed
        delivery = feed.pop()
        if feed.lost > self._told_by_on_missed:
            self._tell_missed()
        end = queue._end
        if delivery is not None and end is not None and delivery.stream_seq > end:
            return None  # enqueued by another handle after this one was closed
        return delivery

    def _take(self) -> Message[_T] | None:
        """Takes the next message from the buffer, and marks it as read."""
        message = self._next()
        if message is not None:
            self._feed.read(message._delivery)
        return message

    def _requesting(self) -> bool:
        return self._feed._ask.is_set()

    def _next(self) -> Message[_T] | None:
        """Takes the next message from the buffer, without telling the server."""
        delivery = self._look()
        if delivery is None:
            return None
        options = self._queue._options
        try:
            payload = self._decoded(delivery)
        except CodecError:
            self._pass()
            self._feed.read(delivery)
            raise
        return Message(options, delivery, payload, self._pass())

    def _pass(self) -> int:
        """Counts the next message as read, even if it cannot be decoded; returns how many were missed before it."""
        feed = self._feed
        feed.take()
        self._count += 1
        missed, self._told_in_message = feed.lost - self._told_in_message, feed.lost
        return missed

    def _tell_missed(self) -> None:
        count = self._feed.lost - self._told_by_on_missed
        self._told_by_on_missed = self._feed.lost
        self._losses.wake_all()
        if self._on_missed == "raise":
            raise MessagesMissedError(count, queue=self.queue.name)
        if callable(self._on_missed):
            self._on_missed(count)

    async def _read(
        self,
        limit: int,
        timeout: float | None,
        linger: float = 0.0,
        max_bytes: int | None = None,
        receipt: Receipt | None = None,
    ) -> list[Message[_T]]:
        # No message is taken before the waiting is over: a call that is cancelled leaves all messages in the buffer.
        deadline = deadline_in(self._queue._server.patience if timeout == 0 else timeout)
        while True:
            over = await self._wait(self._gather(limit, max_bytes, now=timeout == 0), deadline)
            if linger and self._feed.buffer:
                await self._wait(self._fill(limit, max_bytes), deadline_in(linger))
            found = self._take_all(limit, max_bytes, receipt)
            if not found and timeout == 0 and over:
                raise NotConfirmedError(f"no answer from the server in {self._queue._server.patience:g} s")
            if found or over or timeout == 0:
                return found

    async def _wait(self, work: Coroutine[Any, Any, None], deadline: float | None) -> bool:
        """Awaits the work until the deadline; returns whether the deadline came first."""
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                await work
        except TimeoutError:
            if not scope.expired():
                raise
        except BaseException:
            self._waiters.wake_all()  # other readers can take what has arrived
            raise
        return scope.expired()

    async def _gather(self, limit: int, max_bytes: int | None = None, *, now: bool) -> None:
        """Waits for the first message, then fetches all present ones, up to limit. now: does not wait for the first."""
        while True:
            while self._look() is None:
                if self._queue.closed:
                    await self._drain()
                    if self._look() is None:
                        raise self._queue._nothing_left()
                elif now:
                    await self._feed.fetch()
                    if self._look() is None:
                        return
                else:
                    await self._waiters.wait(None)
            await self._gather_more(limit, max_bytes)
            if self._look() is not None:  # else another reader has taken it meanwhile
                return

    async def _gather_more(self, limit: int, max_bytes: int | None = None) -> None:
        """Fetches present messages that have not arrived yet, in pieces of `prefetch`."""
        feed, ahead = self._feed, self._queue._options.prefetch
        while (here := len(feed.buffer)) and here < limit and feed.more() and not self._is_full(max_bytes):
            try:
                await feed.fetch(min(limit, here + ahead), coming=feed.buffer[-1].pending > 0)
            except QueueError as error:
                log.debug("what has arrived is delivered without what was to come: %s", error)
                return
            if len(feed.buffer) <= here:
                return

    def _is_full(self, max_bytes: int | None) -> bool:
        """Whether the arrived messages have as many bytes as a batch may have."""
        return max_bytes is not None and sum(len(delivery.data) for delivery in self._feed.buffer) >= max_bytes

    async def _fill(self, limit: int, max_bytes: int | None) -> None:
        """Waits until a batch is full, or has to end early."""
        feed, ahead = self._feed, self._queue._options.prefetch
        while 0 < (here := len(feed.buffer)) < limit and not self._queue.closed and not self._is_full(max_bytes):
            if self._on_missed != "skip" and feed.buffer[-1].stream_seq - feed.buffer[0].stream_seq >= here:
                return  # there is a gap, which has to be reported before the messages after it
            await feed.arrive(min(limit, here + ahead), FILL)
            self._look()

    def _take_all(self, limit: int, max_bytes: int | None = None, receipt: Receipt | None = None) -> list[Message[_T]]:
        """Takes the arrived messages, up to limit and max_bytes."""
        found: list[Message[_T]] = []
        lost, told, size = self._feed.lost, self._told_in_message, 0
        try:
            while len(found) < limit:
                if max_bytes is not None and (delivery := self._look()) is not None:
                    size += len(delivery.data)
                    if found and size > max_bytes:
                        break
                if (message := self._next()) is None:
                    break
                found.append(message)
        except Exception as error:
            if not found:
                raise
            self._owed = error  # deliver what has been read; the next read raises the error
        except BaseException:
            if found:
                self._feed.put_back([message._delivery for message in found], lost)
                self._told_in_message = told
                self._count -= len(found)
            raise
        if found:
            taken = [message._delivery for message in (found if receipt else found[-1:])]
            self._taken_now(taken, len(found), lost, told, receipt)
        return found

    async def _read_latest(self, timeout: float | None, receipt: Receipt | None = None) -> Message[_T] | None:
        now = timeout == 0
        deadline = deadline_in(self._queue._server.patience if now else timeout)
        while True:
            over = await self._wait(self._gather_latest(now), deadline)
            message = self._take_latest(receipt)
            if message is not None or over or now:
                return message

    async def _gather_latest(self, now: bool) -> None:
        """Waits for a message, then for the newest one; skips messages that the server need not send at all."""
        feed = self._feed
        await self._gather(1, now=now)
        if not feed.buffer:
            return
        newest = int((await feed.state())["last_seq"])
        if newest - feed.position > self._queue._options.prefetch:
            await feed.count_lost()
            self._count += max(0, newest - feed.position)
            feed.seek(newest - 1)
        while feed.more() and (not feed.buffer or feed.buffer[-1].stream_seq < newest):
            here = len(feed.buffer)
            await feed.fetch(here + max(1, newest + 1 - feed.position - here))
            if len(feed.buffer) <= here:
                return

    def _take_latest(self, receipt: Receipt | None) -> Message[_T] | None:
        """Takes all arrived messages, and returns the last."""
        feed, lost, told = self._feed, self._feed.lost, self._told_in_message
        passed: list[Delivery] = []
        while self._look() is not None:
            passed.append(feed.take())
            self._count += 1
        if not passed:
            return None
        last = passed[-1]
        missed, self._told_in_message = feed.lost - told, feed.lost
        self._taken_now(passed if receipt else [last], len(passed), lost, told, receipt)
        return Message(self._queue._options, last, self._decoded(last), missed)

    def _decoded(self, delivery: Delivery) -> _T:
        kind = (delivery.headers or {}).get(CONTENT_TYPE)
        payload: _T = decoded(self._queue._options.codec, delivery.data, kind, delivery.stream_seq - 1)
        return payload

    def _taken_now(self, taken: list[Delivery], count: int, lost: int, told: int, receipt: Receipt | None) -> None:
        """Tells the server that messages have been taken: now or, with a receipt, once they have reached the caller.

        lost, told      the counts of losses before they were taken.
        """
        if receipt is None:
            self._feed.read(taken[-1], count)
            return
        moves = self._feed.moves
        receipt.reader = self
        receipt.keep = lambda: self._feed.read(taken[-1], count) if self._feed.moves == moves else None
        receipt.give_back = lambda: self._untake(taken, lost, told, moves)

    def _untake(self, taken: list[Delivery], lost: int, told: int, moves: int) -> None:
        """Undoes a take: the messages are the next to be read."""
        feed = self._feed
        self._count -= len(taken)
        if self._closed or self._over or feed.moves != moves:
            return  # the reader has been closed or moved since
        if feed.position == taken[-1].stream_seq + 1:
            feed.put_back(taken, lost)
            self._told_in_message = told
            self._waiters.wake_all()
        else:
            self.seek(taken[0].stream_seq - 1)  # others have read on: they read again, so that this is not lost

    async def _drain(self) -> None:
        """Fetches what was in the queue when it was closed, and tells the queue once all of it has been read."""
        await self._queue._ended.wait()
        await self._feed.sure()
        if not self._queue._discarded and not self._feed.buffer:
            await self._feed.fetch()
        delivery = self._feed.pop()
        end = self._queue._end
        if self._queue._discarded or delivery is None or (end is not None and delivery.stream_seq > end):
            self._drained = True
            self._queue._changed.set()

    async def peek(self) -> Message[_T] | None:
        """The message that `aread` would return now, without taking it; None if there is none."""
        if self._closed:
            raise ConsumerClosedError(f"consumer {self.name or self.id} has been closed", queue=self.queue.name)
        self._queue._server.check()
        await self._feed.sure()
        if not self._feed.buffer:
            await self._feed.fetch()
        delivery = self._feed.pop()
        if delivery is None:
            return None
        return Message(self._queue._options, delivery, self._decoded(delivery), self._feed.lost - self._told_in_message)

    # position

    @property
    def position(self) -> int:
        """The seq of the next message to read; 0 while the server has not told the position yet."""
        return max(0, self._feed.position - 1)

    @property
    async def unread_count(self) -> int:
        """Messages that can be read now. Await it: the server is asked."""
        return await self._feed.unread()

    def seek(self, to: Start) -> None:
        """Moves the position, as `mpmc_queue.Consumer.seek`; if the seq is beyond the next, the next read raises ValueError."""
        if self._closed:
            raise ConsumerClosedError(f"consumer {self.name or self.id} has been closed", queue=self.queue.name)
        self._feed.seek(arguments.start_of(to, "to"))
        self._queue._settling.add(self._feed)

    # missed messages

    @property
    def missed_count(self) -> int:
        """Messages that left before this consumer read them, counted up to its position.

        With `topics` only messages that were fetched ahead and then expired are counted. For messages that leave the
        stream earlier, only a gap in the seqs is visible, and nobody knows which of them would have matched.
        """
        return self._feed.lost

    async def atake_missed(self, *, timeout: float | None = None) -> int:
        """How many were missed since the last call; waits for the first one, and returns 0 if there was none in time.

        The wait polls the stream, because the server does not report when messages leave.
        """
        wait = arguments.seconds(timeout, "timeout")
        deadline = deadline_in(wait)
        scope = asyncio.timeout_at(deadline if wait else None)
        try:
            async with scope:
                await lost_beyond(self._taken, self._feed, self._losses, deadline, self._may_lose)
        except TimeoutError:
            if not scope.expired():
                raise
        missed, self._taken = self._feed.lost - self._taken, self._feed.lost
        return missed

    def _may_lose(self) -> bool:
        if self._closed:
            raise ConsumerClosedError(f"consumer {self.name or self.id} has been closed", queue=self.queue.name)
        self._queue._server.check()
        return not self._queue.closed

    async def stats(self) -> ConsumerStats:
        """The consumer's figures, all at the same moment. total_items_read + missed_items + unread_items is the number
        of messages enqueued since its start, unless it seeks, or messages are deleted in the middle of the stream."""
        unread, missed = await self._feed.figures()
        waiting = self._feed.buffer[0] if self._feed.buffer else None
        lag = 0.0 if waiting is None else (self._queue._server.now_ns() - waiting.created_ns) / 1e9
        return ConsumerStats(self.id, self.name, self._count, unread, missed, max(0.0, lag))

    # ending

    def close(self) -> None:
        """Ends reading. The server keeps the position of a named consumer until `Queue.remove_consumer` is called."""
        self._close(remove=False)

    def _close(self, *, remove: bool, over: bool = False) -> None:
        """over: closed because its queue has ended."""
        if self._closed:
            return
        if self._over:
            self._closed = True
            return
        self._over = over
        self._closed = not over
        self._wake()
        self._queue._forget(self)
        leaving = self._queue._later(self._feed.close(remove=remove))
        if self.name is not None:
            self._queue._leaving[self.name] = leaving

    def _wake(self) -> None:
        self._waiters.wake_all()
        self._losses.wake_all()
        self._feed.arrivals.stir()

    def __repr__(self) -> str:
        return f"<Consumer {self.name or self.id} of {self._queue.name!r}, at {self.position}>"
