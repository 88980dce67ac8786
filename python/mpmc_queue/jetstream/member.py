"""A member of a group. It requests only what is being read, so that it does not hold messages back from other members."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final, NoReturn, TypeVar, final

from mpmc_queue._errors import ConsumerClosedError, QueueError
from mpmc_queue._types import Start
from mpmc_queue.jetstream.codec import decoded
from mpmc_queue.jetstream.errors import CodecError, NotConfirmedError, NotPermittedError
from mpmc_queue.jetstream.headers import CONTENT_TYPE
from mpmc_queue.jetstream.inbox import DEAF, Inbox
from mpmc_queue.jetstream.message import Delivery, Message, Settling
from mpmc_queue.jetstream.parts import Whole, WholeGroup
from mpmc_queue.jetstream.pulls import COMPLETE, TOO_LARGE
from mpmc_queue.jetstream.reading import Reader, Receipt, deadline_in
from mpmc_queue.jetstream.server import NoAnswer, NobodyThere, log, pause
from mpmc_queue.protocols import AsyncGroup

_T = TypeVar("_T")

EXPIRES: Final = 5.0
"""Seconds that one pull request waits. This limits how long an abandoned request can hold a message back."""


LATE: Final = 0.1
"""Extra seconds after a timeout for the server's answer, so that a message that arrives at that moment is not lost."""


@final
class Member(Reader[_T]):
    """A member of a group; `Group.add_consumer` makes one. When it closes, messages that it has read but not settled are
    redelivered to other members."""

    def __init__(self, group: WholeGroup[_T], name: str | None) -> None:
        super().__init__(name)
        self._group = group
        self._queue: Whole[_T] = group._queue
        self._inbox: Inbox | None = None
        self._sent = 0
        """Number of requests sent."""
        self._number = 0
        """The number of the request that a read waits for."""
        self._wanted = 0
        """Messages that this request may still bring."""
        self._waits: int | None = None
        """The number of the request that waits on the server for a message. The next read takes it over from a cancelled
        read: if the request were cancelled, a message that the server is just sending for it would be held back."""
        self._too_large = False
        """Whether the next message is larger than the request's byte limit."""
        self._until = 0.0
        """The loop's time when the waiting request expires."""
        self._arrived: deque[Delivery] = deque()
        self._held: dict[str, Delivery] = {}
        self._owed: deque[CodecError] = deque()
        """Errors for the next reads to raise."""
        self._turn = asyncio.Lock()
        self._pulled: asyncio.Future[None] | None = None
        self.settling: Settling = self
        """Settles its messages: itself, or an object that calls it from another thread."""
        self._closed = False
        self._over = False
        self._queue._server.room.readers += 1
        self._queue._server.on_cut.append(self._on_cut)
        self._queue._server.on_back.append(self._on_cut)

    @property
    def group(self) -> AsyncGroup[_T]:
        """The group it is a member of."""
        return self._group

    @property
    def topics(self) -> tuple[str, ...] | None:
        """The filters of its group; None: everything."""
        return self._group.topics

    # reading

    async def _read(
        self,
        limit: int,
        timeout: float | None,
        linger: float = 0.0,
        max_bytes: int | None = None,
        receipt: Receipt | None = None,
    ) -> list[Message[_T]]:
        self._check()
        if self._owed:
            raise self._owed.popleft()
        now = timeout == 0
        patience = self._queue._server.patience
        deadline = deadline_in(patience if now else timeout)
        try:
            # Only one task reads at a time, in the order in which they came; the wait counts towards the timeout.
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            return []
        try:
            while True:
                # No message is taken before the waiting is over: if the call is cancelled, all of them can be given back.
                scope = asyncio.timeout_at(None if deadline is None else deadline + (0.0 if now else LATE))
                try:
                    async with scope:
                        await self._gather(limit, now, deadline, max_bytes)
                except TimeoutError:
                    if not scope.expired():
                        raise
                if linger and self._arrived:
                    await self._fill(limit, linger, max_bytes)
                found = self._deliver(limit, receipt)
                if not found and now and scope.expired():
                    raise NotConfirmedError(f"no answer from the server in {patience:g} s")
                if found or now or _over(deadline):
                    self._give_back()  # messages beyond the limit
                    return found
        except BaseException:
            self._give_back()
            raise
        finally:
            self._turn.release()

    async def _read_latest(self, timeout: float | None, receipt: Receipt | None = None) -> Message[_T] | None:
        self._no("newest message: its group has a position")

    async def _gather(self, limit: int, now: bool, deadline: float | None, max_bytes: int | None) -> None:
        """Waits for the first message, then requests all present ones, up to limit. now: does not wait for the first."""
        tries = 0
        while not self._arrived:
            self._check()
            try:
                try:
                    await self._fetch(limit, now, deadline, max_bytes)
                except NobodyThere:
                    await self._group.confirm()
                    raise
            except NoAnswer as error:
                log.debug("a member of group %s asks again: %s", self._group.name, error)
                await asyncio.sleep(pause(tries))
                tries += 1
                continue
            tries = 0
            if not self._arrived and (now or _over(deadline)):
                return
        while (here := len(self._arrived)) < limit and self._arrived[-1].pending and self._room(max_bytes) != 0:
            try:
                await self._pull(limit - here, None, self._room(max_bytes))
            except NoAnswer as error:
                log.debug("what has arrived is delivered without what was to come: %s", error)
                return
            if len(self._arrived) == here:
                return

    async def _fill(self, limit: int, linger: float, max_bytes: int | None) -> None:
        """Waits until a batch is full, or has to end early."""
        loop = asyncio.get_running_loop()
        end = loop.time() + linger
        self._too_large = False
        while len(self._arrived) < limit and self._room(max_bytes) != 0 and not self._queue.closed:
            here, left = len(self._arrived), min(EXPIRES, end - loop.time())
            if left <= 0:
                return
            try:
                await self._pull(1, left, self._room(max_bytes))
            except NoAnswer as error:
                log.debug("a batch is delivered before it is full: %s", error)
                return
            if self._too_large or (len(self._arrived) == here and self._closed):
                return

    def _room(self, max_bytes: int | None) -> int | None:
        """Bytes that may still be added to a batch; None: no limit."""
        return None if max_bytes is None else max(0, max_bytes - sum(len(delivery.data) for delivery in self._arrived))

    async def _fetch(self, limit: int, now: bool, deadline: float | None, max_bytes: int | None) -> None:
        """One round: the present messages or, if there are none, the next one."""
        await self._group.settled.wait()
        self._group.check()
        if limit > 1 or now or self._queue.closed:
            await self._pull(limit, None, max_bytes)
            if self._too_large and not self._arrived:
                self._too_large = False
                async with self._queue._server.room.large:
                    await self._pull(1, None)
            if self._arrived or now:
                return
        if self._queue.closed:
            self._drained = True
            self._queue._changed.set()
            raise self._queue._nothing_left()
        left = EXPIRES if deadline is None else min(EXPIRES, deadline - asyncio.get_running_loop().time())
        if left > 0:
            await self._pull(1, left)

    async def _pull(self, batch: int, expires: float | None, room: int | None = None) -> None:
        """Requests messages; returns when they have arrived, or the request has ended.

        expires     seconds to wait for one; None: only messages that are present now.
        room        bytes that they may have; None: as many as the connection allows.
        """
        if self._inbox is None:
            inbox = self._inbox = Inbox(self._queue._server, self._on_message, self._on_end, self._on_denied)
            await inbox.open(self._queue._options.name, self._group._name)
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            self._waits = None
        self._pulled = loop.create_future()
        try:
            if expires is not None and self._waits is not None:
                # Take over the request of a cancelled read.
                self._number, expires = self._waits, self._until - loop.time()
                self._wanted = 1
            else:
                self._sent += 1
                self._number = self._sent
                self._wanted = batch if self._waits is None else batch + 1
                if expires is not None:
                    self._waits, self._until = self._number, loop.time() + expires
                size = self._queue._server.room.share // 2 if batch > 1 else 0
                if room is not None:
                    size = min(size or room, room)
                await self._inbox.pull(self._number, batch, expires, size)
            # `asyncio.wait` does not cancel the future when it times out.
            wait = (expires or 0.0) + min(DEAF, self._queue._server.patience)
            await asyncio.wait([self._pulled], timeout=wait)
            if not self._pulled.done():
                self._waits = None
                raise NoAnswer
            self._pulled.result()
        finally:
            if self._pulled.done():
                self._pulled.exception()  # mark the exception as retrieved, also for a read that is cancelled now
            self._pulled = None

    def _on_message(self, delivery: Delivery) -> None:
        self._waits = None  # the server serves the oldest request first
        if self._pulled is None or self._closed or self._over:
            self._queue._server.send(delivery.reply, b"-NAK")  # no read waits for it any more
            return
        self._arrived.append(delivery)
        self._wanted -= 1
        if self._wanted <= 0:
            self._end(None)

    def _on_end(self, number: int, status: str, words: str, left: int) -> None:
        if number == self._waits:
            self._waits = None
        if number == self._number:
            self._too_large = words == TOO_LARGE
            self._end(None if status in ("404", "408") or words in (TOO_LARGE, COMPLETE) else NobodyThere(words))

    def _on_denied(self, error: NotPermittedError) -> None:
        if self._inbox is not None:
            self._queue._later(self._inbox.drain())
            self._inbox = None
        self._waits = None
        self._end(error)

    def _on_cut(self) -> None:
        self._waits = None
        self._end(NoAnswer("the connection was lost"))

    def _end(self, error: Exception | None) -> None:
        if self._pulled is not None and not self._pulled.done():
            if error is None:
                self._pulled.set_result(None)
            else:
                self._pulled.set_exception(error)

    def _deliver(self, limit: int, receipt: Receipt | None) -> list[Message[_T]]:
        """Takes what has arrived, as messages; those delivered too often become dead letters instead.

        An undecodable message raises an error once: now or, if there are others to deliver, in the next read.
        """
        found: list[Message[_T]] = []
        group = self._group
        try:
            while self._arrived and len(found) < limit:
                delivery = self._arrived[0]
                if group.spent(delivery):
                    group.bury(self._arrived.popleft())
                    continue
                content_type = delivery.headers.get(CONTENT_TYPE) if delivery.headers else None
                try:
                    payload = decoded(self._queue._options.codec, delivery.data, content_type, delivery.stream_seq - 1)
                except CodecError as error:
                    self._owed.append(error)
                    group.reject(self._arrived.popleft())
                    continue
                settling = self.settling if group._acking else None
                found.append(Message(self._queue._options, delivery, payload, 0, settling))
                self._arrived.popleft()
        except BaseException:
            self._arrived.extendleft(message._delivery for message in reversed(found))
            raise
        # There is no `await` from here to the return, so every message that is acknowledged is also returned.
        taken = [message._delivery for message in found]
        if group._acking:
            self._held.update((delivery.reply, delivery) for delivery in taken)
        if receipt is not None and taken:
            receipt.reader = self
            receipt.keep = lambda: self._keep(taken)
            receipt.give_back = lambda: self._untake(taken)
        else:
            self._keep(taken)
        if not found and self._owed:
            raise self._owed.popleft()
        return found

    def _keep(self, taken: Sequence[Delivery]) -> None:
        """The messages have reached the caller."""
        if not self._group._acking:
            for delivery in taken:
                self._queue._server.send(delivery.reply, b"+ACK")

    def _untake(self, taken: Sequence[Delivery]) -> None:
        """The messages have not reached the caller, and are given back."""
        for delivery in taken:
            if not self._group._acking or self._held.pop(delivery.reply, None) is not None:
                self._queue._server.send(delivery.reply, b"-NAK")

    def settle(self, delivery: Delivery, how: str, delay: float = 0.0) -> None:
        """Settles one of its messages."""
        self._queue._server.check()
        if how != "+WPI":
            self._held.pop(delivery.reply, None)
        self._group.settle(delivery, how, delay)

    def confirm(self, delivery: Delivery) -> Awaitable[None]:
        """Acknowledges one of its messages, and waits for the server's confirmation."""
        self._queue._server.check()
        self._held.pop(delivery.reply, None)
        return self._queue._later(self._group.acknowledge(delivery))

    def _give_back(self) -> None:
        """Gives back what has arrived and is not returned."""
        while self._arrived:
            self._queue._server.send(self._arrived.popleft().reply, b"-NAK")

    def _check(self) -> None:
        if self._closed:
            raise ConsumerClosedError(f"consumer {self.name or self.id} has been closed", queue=self._queue.name)
        self._queue._server.check()
        if self._queue._discarded or self._over:
            raise self._queue._nothing_left()

    # what a member cannot do

    async def peek(self) -> Message[_T] | None:
        """Raises QueueError: over JetStream a message cannot be seen without being delivered."""
        self._no("peek")

    def seek(self, to: Start) -> None:
        """Raises QueueError: a member has no position of its own."""
        self._no("seek")

    @property
    def position(self) -> int:
        """Raises QueueError: a member has no position of its own."""
        self._no("position")

    @property
    async def unread_count(self) -> int:
        """Messages that have not been delivered to any member of its group. Await it: the server is asked."""
        return await self._group.unread_count

    @property
    def missed_count(self) -> int:
        """Raises QueueError: a member does not know."""
        self._no("missed_count")

    async def atake_missed(self, *, timeout: float | None = None) -> int:
        """Raises QueueError: a member does not know."""
        self._no("atake_missed")

    def _no(self, what: str) -> NoReturn:
        raise QueueError(f"a member of a group over JetStream has no {what}")

    # ending

    def close(self) -> None:
        """Ends reading; its pending messages are redelivered to others."""
        self._close()

    def _close(self, *, over: bool = False) -> None:
        """over: closed because its queue has ended."""
        if self._closed:
            return
        if self._over:
            self._closed = True
            return
        self._over = over
        self._closed = not over
        self._on_cut()
        self._queue._server.room.readers -= 1
        self._queue._server.on_cut.remove(self._on_cut)
        self._queue._server.on_back.remove(self._on_cut)
        for delivery in self._held.values():
            self._queue._server.send(delivery.reply, b"-NAK")
        self._held.clear()
        self._give_back()
        if self._inbox is not None:
            self._queue._later(self._inbox.drain())
        self._group._forget(self)
        self._queue._changed.set()

    def _wake(self) -> None:
        self._on_cut()


def _over(deadline: float | None) -> bool:
    return deadline is not None and asyncio.get_running_loop().time() >= deadline
