"""Groups: readers in one or more processes that share a position. Each message goes to one of them until it is settled."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, Self, TypeVar, cast, final
from uuid import NAMESPACE_URL, uuid5

from mpmc_queue._errors import QueueError
from mpmc_queue._types import Start
from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.binding import WORK_QUEUE, existing, look
from mpmc_queue.jetstream.errors import (
    DeletedError,
    NotConfirmedError,
    NotPermittedError,
    OptionError,
    ServerError,
)
from mpmc_queue.jetstream.headers import CONTENT_TYPE, MSG_ID, own_headers
from mpmc_queue.jetstream.making import Making
from mpmc_queue.jetstream.member import Member
from mpmc_queue.jetstream.message import Delivery, denied_ack
from mpmc_queue.jetstream.parts import Whole
from mpmc_queue.jetstream.server import NoAnswer, log, pause
from mpmc_queue.jetstream.settling import Settling
from mpmc_queue.jetstream.starts import KIND, NO_CONSUMER, create, find, resolve
from mpmc_queue.jetstream.topics import filter_settings, filter_subjects, filters_in, topic_in
from mpmc_queue.protocols import AsyncQueue

_T = TypeVar("_T")


@final
@dataclass(frozen=True, slots=True)
class GroupStats:
    """A group's figures, for all processes that share it. `Group.stats` returns them."""

    name: str
    member_count: int
    """Members in this process."""
    unread_items: int
    """Messages that have not been delivered to any member."""
    pending_items: int
    """Messages delivered but not settled."""
    redelivered_items: int
    """Of those, how many have been delivered more than once."""


UNTIL_READ: Final = 30.0
"""In a group without `ack_wait`: seconds until a message that was requested but not read is redelivered."""


@final
class Group(Settling, Generic[_T]):
    """Members share one position, as `mpmc_queue.ConsumerGroup`; `Queue.add_group` makes one, or joins it.

    It is a durable consumer of the stream. All processes that use the name share it, and must use the same options. You
    need not await it. If you do, it waits until the server has the group, and raises if the server refuses it.
    """

    def __init__(
        self,
        queue: Whole[_T],
        name: str,
        *,
        start: Start,
        ack_wait: float | timedelta | None,
        max_deliver: int | None,
        backoff: Sequence[float] | None,
        max_ack_pending: int | None,
        dead_letter: Whole[Any] | None,
        topics: tuple[str, ...] | None,
        making: Making,
    ) -> None:
        super().__init__(queue._server)
        self._queue = queue
        self._name = arguments.name_of(name, "name")
        self._start: Start = arguments.start_of(start)
        self._ack_wait = arguments.seconds(ack_wait, "ack_wait")
        if not making.create:
            if (start, ack_wait, max_deliver, backoff, max_ack_pending, topics) != ("earliest", *[None] * 5):
                raise OptionError(
                    "with create=False a group takes no options but dead_letter: the consumer has its own"
                )
        elif ack_wait is None and (max_deliver, backoff, max_ack_pending, dead_letter) != (None,) * 4:
            raise ValueError("max_deliver, backoff, max_ack_pending and dead_letter need ack_wait")
        if self._ack_wait == 0:
            raise ValueError("ack_wait must be positive, or None for no acknowledgements")
        if self._start != "earliest" and queue._options.retention == WORK_QUEUE:
            raise OptionError("a group of a work-queue stream starts with the earliest message")
        self._acking = ack_wait is not None or not making.create
        self._max_deliver = None if max_deliver is None else arguments.count_of(max_deliver, "max_deliver")
        self._backoff = _backoff(backoff)
        limit = None if max_ack_pending is None else arguments.count_of(max_ack_pending, "max_ack_pending")
        if dead_letter is not None and not hasattr(dead_letter, "_bury"):
            raise OptionError("dead_letter must be a queue that jetstream.connect has made, or None")
        self._dead_letter = dead_letter
        self._topics = topics
        self._filters = filter_subjects(queue._options.subject, topics, queue._options.filters)
        self._making = making
        self._members: list[Member[_T]] = []
        self._closed = False
        self._created: str | None = None
        """When the stream of this group was made."""
        wait = round(min(UNTIL_READ if self._ack_wait is None else self._ack_wait, arguments.LONGEST / 2) * 1e9)
        self._settings: dict[str, Any] = {
            "durable_name": self._name,
            "ack_policy": "explicit",
            "ack_wait": wait,
            "max_ack_pending": -1 if limit is None else limit,
            "metadata": {KIND: "group"},
            **filter_settings(self._filters),
            **making.settings,
        }
        if self._backoff:
            # The server's backoff is the whole time until the nth redelivery: our ack_wait plus our backoff.
            self._settings["backoff"] = [wait + round(pause * 1e9) for pause in self._backoff]
            self._settings["ack_wait"] = self._settings["backoff"][0]
        queue._server.on_denied.append(self._on_denied)
        self._opening: asyncio.Task[None]
        self._restart()

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def topics(self) -> tuple[str, ...] | None:
        """Its filters; None: everything."""
        return self._topics

    @property
    def queue(self) -> AsyncQueue[_T]:
        """The queue it reads."""
        return self._queue

    @property
    def members(self) -> tuple[Member[_T], ...]:
        """The members in this process."""
        return tuple(self._members)

    @property
    async def pending_count(self) -> int:
        """Messages delivered but not settled, in all processes. Await it: the server is asked."""
        return int((await self._info())["num_ack_pending"])

    @property
    async def unread_count(self) -> int:
        """Messages that match its topics and have not been delivered to any member. Await it: the server is asked."""
        await self._queue._publisher.heard()
        return int((await self._info())["num_pending"])

    async def stats(self) -> GroupStats:
        """The group's figures, all at the same moment."""
        info = await self._info()
        return GroupStats(
            name=self._name,
            member_count=len(self._members),
            unread_items=int(info["num_pending"]),
            pending_items=int(info["num_ack_pending"]),
            redelivered_items=int(info["num_redelivered"]),
        )

    def add_consumer(self, name: str | None = None) -> Member[_T]:
        """Adds a member in this process."""
        if self._closed:
            raise QueueError(f"group {self._name!r} has been closed", queue=self.queue.name)
        member = Member(self, None if name is None else arguments.name_of(name, "name"))
        self._members.append(member)
        return member

    def _forget(self, member: Member[_T]) -> None:
        self._members.remove(member)

    def close(self) -> None:
        """Closes the members in this process; their pending messages are redelivered to others. The server keeps the
        group and its position until `Queue.remove_group` is called."""
        self._close()

    def _close(self, *, over: bool = False) -> None:
        if self._closed:
            return
        self._closed = True
        for member in self.members:
            member._close(over=over)
        self._opening.cancel()
        self._queue._server.on_denied.remove(self._on_denied)
        self._queue._forget_group(self)

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self.known().__await__()
        return self

    def _restart(self) -> None:
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def confirm(self) -> None:
        """Raises if the group has been deleted. If the stream has been made again, makes the group again, too."""
        server, stream = self._queue._server, self._queue._options.name
        try:
            await server.ask(f"CONSUMER.INFO.{stream}.{self._name}")
        except ServerError as error:
            if error.code != NO_CONSUMER:
                raise
            if (await look(server, self._queue._options, patient=False))["created"] == self._created:
                raise DeletedError(error.code, f"group {self._name!r} has been deleted", queue=stream) from None
            self._start = "earliest"
            await self._make()

    def _on_denied(self, error: NotPermittedError) -> None:
        if (denied := denied_ack(error, self._queue._options.name, self._name)) is not None:
            self.denied = denied
            for member in self._members:
                member._end(NoAnswer("an acknowledgement was refused"))  # the reading member then raises it

    async def _open(self) -> None:
        tries = 0
        while True:
            try:
                await self._make()
            except NoAnswer:
                await asyncio.sleep(pause(tries))
                tries += 1
                continue
            except Exception as error:
                self.error = error
            self.settled.set()
            return

    async def _make(self) -> None:
        """Makes the group on the server, unless it exists."""
        server, stream = self._queue._server, self._queue._options.name
        self._created = (await look(server, self._queue._options, patient=False))["created"]
        if not self._making.create:
            self._adopt((await existing(server, stream, self._name, "explicit"))["config"])
            return
        found = await find(server, stream, self._name, "group")
        if found is None and self._queue._options.retention == WORK_QUEUE:
            await create(server, stream, self._name, {**self._settings, "deliver_policy": "all"})
        elif found is None:
            first = await resolve(server, stream, self._start)
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": first}
            await create(server, stream, self._name, {**self._settings, **start})
        else:
            self._compare(found["config"])

    def _adopt(self, config: dict[str, Any]) -> None:
        """Takes over the options of the existing consumer."""
        most = int(config.get("max_deliver", -1))
        self._max_deliver = most if most > 0 else None
        filters = sorted(filters_in(config))
        self._topics = tuple(str(topic_in(self._queue._options.subject, each)) for each in filters) or None

    def _compare(self, found: dict[str, Any]) -> None:
        """Raises if the existing group has other options."""
        self._making.compare(self._name, found)
        for key in ("ack_wait", "max_ack_pending", "backoff"):
            asked, there = self._settings.get(key), found.get(key)
            if asked != there:
                raise OptionError(f"group {self._name!r} exists with other options: its {key} is {there}, not {asked}")
        if (filters := filters_in(found)) != set(self._filters):
            there, asked = sorted(filters) or "everything", sorted(self._filters) or "everything"
            raise OptionError(f"group {self._name!r} exists with other options: it reads {there}, not {asked}")

    async def _info(self) -> dict[str, Any]:
        await self.known()
        return await self._queue._server.insist(f"CONSUMER.INFO.{self._queue._options.name}.{self._name}")

    # settling

    def settle(self, delivery: Delivery, how: str, delay: float = 0.0) -> None:
        """Settles a message on the server. One that must not be redelivered goes to the dead letter queue first."""
        send = self._queue._server.send
        if how == "-NAK":
            if self._max_deliver is not None and delivery.deliveries >= self._max_deliver:
                self.bury(delivery)
                return
            if self._backoff:
                delay = max(delay, self._backoff[min(delivery.deliveries, len(self._backoff)) - 1])
            send(delivery.reply, f'-NAK {{"delay": {round(delay * 1e9)}}}'.encode() if delay else b"-NAK")
        elif how == "+TERM":
            self.bury(delivery)
        else:
            send(delivery.reply, how.encode())

    async def acknowledge(self, delivery: Delivery) -> None:
        """Sends an acknowledgement until the server answers. NotConfirmedError: it did not in time."""
        server = self._queue._server
        tries = 0
        scope = asyncio.timeout(server.patience)
        try:
            async with scope:
                while True:
                    try:
                        await server.request(delivery.reply, b"+ACK")
                        return
                    except NoAnswer as error:
                        log.debug("an acknowledgement is sent again: %s", error)
                    await asyncio.sleep(pause(tries))
                    tries += 1
        except TimeoutError:
            if not scope.expired():
                raise
        raise NotConfirmedError(
            f"the server did not confirm the acknowledgement in {server.patience:g} s: the message may come again",
            queue=self._queue.name,
        )

    def spent(self, delivery: Delivery) -> bool:
        """Whether this delivery is beyond `max_deliver`."""
        return self._max_deliver is not None and delivery.deliveries > self._max_deliver

    def reject(self, delivery: Delivery) -> None:
        """Handles a message that cannot be decoded. Without acknowledgements it is not redelivered. With them it is
        redelivered after `ack_wait`, perhaps to a reader that can decode it; the last delivery makes it a dead letter."""
        if not self._acking or (self._max_deliver is not None and delivery.deliveries >= self._max_deliver):
            self.bury(delivery)

    def bury(self, delivery: Delivery) -> None:
        """Ends the deliveries of a message; it goes to the dead letter queue, if there is one."""
        if self._dead_letter is None:
            self._queue._server.send(delivery.reply, b"+TERM")
        else:
            self._queue._later(self._bury(self._dead_letter, delivery))

    async def _bury(self, grave: Whole[Any], delivery: Delivery) -> None:
        # The id depends only on the message: so it is stored once, even if this process dies before the server confirms.
        place = f"mpmc_queue:{self._queue._options.name}:{self._name}:{delivery.stream_seq}:{delivery.created_ns}"
        headers = {**own_headers(delivery.headers), MSG_ID: str(uuid5(NAMESPACE_URL, place))}
        if delivery.headers and CONTENT_TYPE in delivery.headers:
            headers[CONTENT_TYPE] = delivery.headers[CONTENT_TYPE]
        topic = topic_in(self._queue._options.subject, delivery.subject)
        await grave._bury(topic, delivery.data, headers)
        self._queue._server.send(delivery.reply, b"+TERM")


def _backoff(value: object) -> tuple[float, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"backoff must be a sequence of seconds, not {type(value).__name__}")
    waits = [arguments.seconds(wait, "backoff") for wait in cast("Sequence[object]", value)]
    if not waits or None in waits:
        raise ValueError("backoff must be finite waits, at least one")
    return tuple(wait for wait in waits if wait is not None)
