"""Reads a stream in order from a position: fetches ahead, resumes after an interruption, and counts every loss.

The position is kept here. Whenever it is uncertain what the server's consumer has delivered (a reconnect, a gap in the
consumer's sequence, a seek), that consumer is reset to this position. So a gap in the stream's sequence without a gap in the
consumer's sequence is exactly what had left the stream before it was read.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mpmc_queue._errors import QueueError
from mpmc_queue._types import Start
from mpmc_queue.jetstream.acks import Acks
from mpmc_queue.jetstream.arrivals import Arrivals
from mpmc_queue.jetstream.binding import look
from mpmc_queue.jetstream.errors import NotConfirmedError, NotPermittedError
from mpmc_queue.jetstream.expiry import Expiry
from mpmc_queue.jetstream.inbox import DEAF, Inbox
from mpmc_queue.jetstream.message import Delivery, denied_ack
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.placing import Placing
from mpmc_queue.jetstream.pulls import BESIDES, Pulls
from mpmc_queue.jetstream.server import NoAnswer, Server, log, pause
from mpmc_queue.jetstream.settling import Settling
from mpmc_queue.jetstream.starts import resolve

EXPIRES: Final = 30.0
"""Seconds that a pull request waits for messages."""
ALONE: Final = 5.0
"""Seconds that a request for one large message waits."""
UNDER_WAY: Final = 0.1
"""Seconds to wait for messages that the stream holds, before checking again whether it still holds them."""


class Feed(Settling):
    """Fetches messages for one consumer into a buffer."""

    def __init__(
        self,
        server: Server,
        options: Options,
        placing: Placing,
        start: Start,
        *,
        changed: Callable[[], None],
        failed: Callable[[], None],
        stored: Callable[[], int],
        heard: Callable[[], Awaitable[None]],
        after: asyncio.Task[Any] | None,
    ) -> None:
        """changed: called when a message has arrived. failed: called when none will. stored: returns a sequence that the
        stream has reached at least. heard: waits until the server's counts include it. after: the task that is still
        closing the previous consumer of this name."""
        super().__init__(server)
        self.buffer: deque[Delivery] = deque()
        """The arrived messages, in order; every gap is a loss."""
        self.position = 0
        """The stream's sequence of the next message to read; 0: not known yet."""
        self.lost = 0
        """Messages that left the stream before they were read; with filters, only those of them that had arrived here."""

        self._options = options
        self._placing = placing
        self._expiry = Expiry(server, options, failed)
        self._name = placing.name
        self._start: Start | None = start
        self._resuming = placing.named
        self._changed = changed
        self._failed = failed
        self._stored = stored
        self._heard = heard
        self._after = after
        self._inbox: Inbox | None = None
        self._expected = 1
        self._held = 0
        """Approximate bytes in the buffer."""
        self._pulls = Pulls(server.room, options.prefetch)
        server.room.readers += 1
        self._stale = True
        self._live = asyncio.Event()  # set while the server delivers from the position, or has refused
        self._ask = asyncio.Event()  # set when the task has something to do, usually to request more messages
        self.moves = 0
        """How many seeks there were."""
        self.arrivals = Arrivals()
        """Tasks that wait for arriving messages."""
        self._last: Delivery | None = None
        self._told = Acks(server, at_once=options.retention == "interest")
        self._ask.set()
        server.on_cut.append(self._on_cut)
        server.on_back.append(self._on_cut)
        server.on_denied.append(self._on_denied)
        self._created: str | None = None
        """When the stream of this position was made."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def seek(self, to: Start) -> None:
        """Moves the position."""
        if not self._stale:
            self._told.flush()
        self._start = to
        self.moves += 1
        self._resuming = False
        self.error = None
        self.settled.clear()
        self._restart()
        if isinstance(to, int):
            self.position = to + 1

    def pop(self) -> Delivery | None:
        """The next message to deliver, which stays in the buffer; None if none has arrived.

        Counts as lost the messages that left the stream before it, and those that expired in the buffer.
        """
        while self.buffer:
            delivery = self.buffer[0]
            if delivery.stream_seq < self.position:
                self._held -= len(self.buffer.popleft().data) + BESIDES  # was counted as lost before it arrived
                continue
            expired = self._expiry.over(delivery)
            if expired and not self._expiry.sure(delivery):
                return None
            if not self._placing.filters:  # with filters nobody knows which of the lost ones match
                self.lost += delivery.stream_seq - self.position
            if expired:
                self.lost += 1
                self.read(self.take())
                continue
            self.position = delivery.stream_seq
            return delivery
        return None

    def take(self) -> Delivery:
        """Takes the message that `pop` returned. There must be no `await` between this and `read` or `put_back`."""
        delivery = self.buffer.popleft()
        self._held -= len(delivery.data) + BESIDES
        self.position = delivery.stream_seq + 1
        pulls = self._pulls
        if (len(self.buffer) + pulls.messages) * 2 <= pulls.ahead and pulls.has_room(self._held):
            self._ask.set()
        return delivery

    def read(self, delivery: Delivery, count: int = 1) -> None:
        """Notes that so many taken messages have been read, and that this was the last: the server will be told."""
        if self._last is None or delivery.stream_seq > self._last.stream_seq:
            self._last = delivery
        if self._placing.acks:
            self._told.read(self._last, count)

    def put_back(self, deliveries: Sequence[Delivery], lost: int) -> None:
        """Undoes `take`. lost: the value of `self.lost` before the first of them."""
        self.buffer.extendleft(reversed(deliveries))
        self._held += sum(len(delivery.data) + BESIDES for delivery in deliveries)
        self.position, self.lost = deliveries[0].stream_seq, lost

    def more(self) -> bool:
        """Whether more messages will arrive, as far as is known without asking the server.

        The last delivery said how many were pending; what this handle has enqueued since counts, too.
        """
        last = self.buffer[-1] if self.buffer else self._last
        return last is None or last.pending > 0 or last.stream_seq < self._stored()

    async def fetch(self, count: int = 1, *, coming: bool = False) -> None:
        """Waits until so many messages have arrived, or all there are.

        coming      the server has said that there are more, and need not be asked.
        """
        await self.sure()
        while len(self.buffer) < count:
            if not coming and min(count, await self.unread()) <= len(self.buffer):
                return
            coming = False
            await self.arrive(count, UNDER_WAY)
            if not self.more():
                return

    async def sure(self) -> None:
        """Waits until it is certain whether the next message has expired."""
        self.pop()
        await self._expiry.known()
        self.pop()

    async def arrive(self, count: int, timeout: float) -> None:
        """Requests so many messages, and waits until they have arrived or it has to be checked again."""
        self._ask.set()
        await self.arrivals.wait(count, timeout)

    async def state(self) -> dict[str, Any]:
        """The stream's state now, with the messages that were deleted in its middle."""
        state: dict[str, Any] = (await look(self._server, self._options))["state"]
        if state.get("num_deleted"):
            state = (await look(self._server, self._options, deleted_details=True))["state"]
        return state

    async def unread(self) -> int:
        """Messages to deliver from the position on."""
        return (await self.figures())[0]

    async def figures(self) -> tuple[int, int]:
        """Unread and lost messages at the same moment. Messages that have not arrived yet count as one or the other."""
        await self.known()
        if self._placing.filters:
            return await self._matching(), self.lost
        state = await self.state()
        self.pop()
        held, end = int(state["first_seq"]), int(state["last_seq"]) + 1
        first = max(self.position, held)
        gone = sum(1 for seq in state.get("deleted") or () if seq >= first)
        kept = sum(1 for delivery in self.buffer if delivery.stream_seq < held)  # left after they were sent here
        after = self.buffer[-1].stream_seq + 1 if self.buffer else self.position
        return max(0, end - first - gone) + kept, self.lost + max(0, held - after)

    async def _matching(self) -> int:
        """Unread messages that match: still to be sent by the server, in transit, and arrived."""
        await self._heard()
        while True:
            await self._begun()
            inbox = self._inbox
            info = await self._placing.info()
            if inbox is self._inbox and not self._stale:
                break
        self.pop()
        under_way = int(info["delivered"]["consumer_seq"]) + 1 - self._expected
        return int(info["num_pending"]) + under_way + len(self.buffer)

    async def _begun(self) -> None:
        """Waits until the server's consumer delivers from the position."""
        await self._until(self._live)

    async def count_lost(self) -> None:
        """Counts messages that have left at the start of the stream since the last read."""
        await self.known()
        if self._placing.filters:
            return
        state = await self.state()
        if self.pop() is None and 0 < self.position < (first := int(state["first_seq"])):
            self.lost += first - self.position
            self.position = first

    async def close(self, *, remove: bool) -> None:
        """Ends reading. remove: the server deletes the consumer and its position."""
        last = None if self._stale or not self._placing.acks or remove else self._last
        self._told.forget()
        self._server.room.readers -= 1
        self._server.on_cut.remove(self._on_cut)
        self._server.on_back.remove(self._on_cut)
        self._server.on_denied.remove(self._on_denied)
        self._expiry.close()
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._inbox is not None:
            await self._inbox.close()
        if last is not None:
            try:
                await self._server.request(last.reply, b"+ACK")  # the final position; wait until the server has it
            except (NoAnswer, QueueError) as error:
                log.debug("consumer %s may come back to what it has read: %s", self._name, error)
        if self._placing.made and (remove or not self._placing.named):
            await self._placing.delete()

    # arriving

    def _on_message(self, delivery: Delivery) -> None:
        if self._stale:
            return
        pulls = self._pulls
        pulls.messages -= 1
        if pulls.messages <= 0 or pulls.too_large:
            pulls.came()
        if delivery.consumer_seq != self._expected:
            self._restart()  # a message was lost in transit
            return
        self._expected += 1
        self.buffer.append(delivery)
        self._held += len(delivery.data) + BESIDES
        self._changed()
        self.arrivals.arrived(len(self.buffer), last=not delivery.pending)

    def _on_end(self, number: int, status: str, words: str, left: int) -> None:
        if self._stale:
            return
        if self._pulls.ended(number, status, words, left):
            self._ask.set()
        else:
            self._restart()

    def _on_cut(self) -> None:
        self._restart()
        if self._server.lost is not None:
            self._fail(self._server.lost)

    def _on_denied(self, error: NotPermittedError) -> None:
        if (denied := denied_ack(error, self._options.name, self._name)) is not None:
            self.denied = denied
            self._failed()

    def _restart(self) -> None:
        """Discards everything in transit: the server's consumer has to be reset to the position."""
        self._stale = True
        self._live.clear()
        self._clear()
        self._told.forget()
        self._ask.set()

    def _clear(self) -> None:
        self.buffer.clear()
        self._held = 0
        self._pulls.forget()

    # requesting

    async def _run(self) -> None:
        if self._after is not None:
            await asyncio.wait([self._after])
        tries = 0
        while True:
            try:
                async with asyncio.timeout(DEAF):
                    await self._ask.wait()
            except TimeoutError:
                if self._pulls.messages > 0 and self._inbox is not None and not self._inbox.heard:
                    self._restart()
            self._ask.clear()
            if self._inbox is not None:
                self._inbox.heard = False
            if self.error is not None:
                continue
            try:
                if self._stale:
                    await self._begin()
                tries = 0
                await self._top_up()
            except (NoAnswer, NotConfirmedError) as error:
                log.debug("consumer %s starts again: %s", self._name, error)
                self._restart()
                await asyncio.sleep(pause(tries))
                tries += 1
            except Exception as error:
                self._fail(error)

    async def _top_up(self) -> None:
        """Requests more messages when half of the prefetched ones have been read, or when a task waits for more."""
        inbox = self._inbox
        if inbox is None:
            return
        most = self.arrivals.most
        if self._pulls.too_large:
            if most or not self.buffer:
                await self._pull_alone(inbox)
            return
        if (request := self._pulls.next(len(self.buffer), self._held, most)) is not None:
            number, messages, size = request
            await inbox.pull(number, messages, EXPIRES, size)

    async def _pull_alone(self, inbox: Inbox) -> None:
        """Requests one message that is larger than this consumer's share; only one consumer at a time does so."""
        async with self._server.room.large:
            if inbox is not self._inbox or self._stale:
                return
            await inbox.pull(*self._pulls.alone(), ALONE)
            try:
                async with asyncio.timeout(ALONE + DEAF):
                    await self._pulls.arrived.wait()
            except TimeoutError:
                raise NoAnswer from None
        self._pulls.too_large = False
        self._ask.set()

    def _warn(self, waiting: int) -> None:
        """Warns once if another process uses the name: requests are waiting, and this process has sent none yet."""
        if waiting and not self._placing.made:
            log.warning(
                "consumer %s of queue %s is being read by another process, it seems, and they take each other's messages: "
                "a group is for several readers",
                *(self._name, self._options.name),
            )

    def _fail(self, error: Exception) -> None:
        """Has every read raise the server's refusal."""
        self.error = error
        self._live.set()
        self.settled.set()
        self._failed()

    async def _begin(self) -> None:
        """Has the server's consumer deliver from the position, or from its start."""
        if self._inbox is not None:
            await self._inbox.close()
        inbox = self._inbox = Inbox(self._server, self._on_message, self._on_end, self._fail)
        wanted, moves = self._start, self.moves
        await inbox.open(self._options.name, self._name)
        self._clear()
        created: str = (await look(self._server, self._options, patient=False))["created"]
        if self._created not in (None, created) and wanted is None:
            # The stream has been deleted and made again: all its messages are new.
            self._start = wanted = "earliest"
            self._resuming = self._placing.named
        self._created = created
        found = await self._placing.find() if self._resuming or self._placing.bound else None
        if found is not None and self._resuming:
            self._warn(int(found.get("num_waiting", 0)))
            position = int(found["ack_floor"]["stream_seq"]) + 1
        elif wanted is not None:
            position = await resolve(self._server, self._options.name, wanted)
        else:
            position = self.position
        info = await self._placing.place(position, found=found is not None)
        if self.moves != moves:
            raise NoAnswer  # there was a seek meanwhile
        self._resuming = False
        self._start = None
        self._last = None
        self._expected = int(info["delivered"]["consumer_seq"]) + 1
        self.position = position
        self._stale = False
        self._live.set()
        self.settled.set()
