"""What the metrics and the dashboard are told of a queue: the stream's figures, and those of its consumers.

A round of questions is STREAM.INFO, and CONSUMER.LIST for each 256 consumers.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from mpmc_queue._asking import NO_ANSWER, Asked, NotKnown
from mpmc_queue._errors import QueueError
from mpmc_queue._figures import Departed, Figures, PartOfConsumer, PartOfGroup, PartOfQueue
from mpmc_queue.jetstream.binding import look
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.errors import ConnectionLostError, DeletedError, NotPermittedError
from mpmc_queue.jetstream.feed import Feed
from mpmc_queue.jetstream.inbox import Inbox
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.server import NoAnswer, Server, nanoseconds
from mpmc_queue.jetstream.topics import filters_in, topic_in

_Info = Mapping[str, Any]

LIST: Final = 1.0
"""Seconds that listing the consumers may take: a cluster waits longer for one that has no leader at the moment."""


class Watch(Asked):
    """Asks for the figures of one queue."""

    def __init__(
        self,
        server: Server,
        options: Options,
        created_at: datetime,
        consumers: Sequence[Consumer[Any]],
        is_closed: Callable[[], bool],
    ) -> None:
        """consumers: those of the handle, as they come and go."""
        super().__init__(
            Figures(
                queue=PartOfQueue(name=options.name, created_at=created_at),
                oldest=None,
                consumers=(),
                groups=(),
                departed=(),
                closed=False,
                ttl=None,
                lifetime=None,
                taken=0.0,
                kind="jetstream",
            )
        )
        self._server = server
        self._options = options
        self._created_at = created_at
        self._consumers = consumers
        self._is_closed = is_closed
        self._refused: dict[str, NotPermittedError] = {}
        """Questions that the server does not allow: they are not put again before there is another connection."""
        self._missed: WeakKeyDictionary[Consumer[Any], int] = WeakKeyDictionary()
        """What consumers have been said to have missed: no figure takes that back."""
        self._read_before = self._missed_before = 0
        """By consumers without a name that were closed."""
        server.on_back.append(self._refused.clear)

    @property
    def closed(self) -> bool:
        """Whether the handle is closed."""
        return self._is_closed()

    def left(self, consumer: Consumer[Any]) -> None:
        """A consumer has been closed."""
        if consumer.name is None:
            self._read_before += consumer._count
            self._missed_before += max(consumer._feed.lost, self._missed.get(consumer, 0))

    async def ask(self) -> Figures:
        """One round."""
        try:
            if self._server.lost is not None:
                self._server.check()
            if not self._server.client.is_connected:
                raise NotKnown("there is no connection to the server")
            return await self._ask()
        except (NoAnswer, QueueError) as error:
            _explain(error)

    async def _ask(self) -> Figures:
        options = self._options
        info = await self._allowed("STREAM.INFO", lambda: look(self._server, options, patient=False))
        inboxes = {consumer: consumer._feed._inbox for consumer in self._consumers}
        listed = await self._listed()
        state = info["state"]
        last, held = int(state["last_seq"]), int(state["messages"])
        consumers = [
            self._own(each, listed.pop(each._feed._placing.name, None), int(state["first_seq"]), inboxes.get(each))
            for each in self._consumers
        ]
        groups, departed = self._others(listed, consumers)
        if self._read_before or self._missed_before:
            departed.append(Departed(None, None, self._read_before, self._missed_before))
        return Figures(
            queue=PartOfQueue(
                name=options.name,
                created_at=self._created_at,
                total_items=held,
                memory_usage=int(state["bytes"]),
                max_bytes=options.max_bytes,
                max_items=options.max_items,
                consumer_count=int(state["consumer_count"]),
                enqueued=last,
                first_seq=int(state["first_seq"]) - 1 if held else last,
                next_seq=last,
            ),
            oldest=self._age(nanoseconds(state["first_ts"])) if held else 0.0,
            consumers=consumers,
            groups=groups,
            departed=departed,
            closed=False,
            ttl=options.ttl,
            lifetime=options.ttl,
            taken=time.monotonic(),
            kind="jetstream",
            up=True,
            retention=info["config"]["retention"],
            overflow="drop_oldest" if info["config"]["discard"] == "old" else "reject",
        )

    async def _listed(self) -> dict[str, _Info]:
        """What the server says of each consumer, by name; nothing where it does not say: there is what this side knows."""
        try:
            async with asyncio.timeout(LIST):
                return {info["name"]: info for info in await self._allowed("CONSUMER.LIST", self._list)}
        except (NotPermittedError, NoAnswer, TimeoutError):
            return {}

    async def _allowed(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer; a question that the server does not allow is not put twice, for it would be in its log each time."""
        if question in self._refused:
            raise self._refused[question].again()
        try:
            return await ask()
        except NotPermittedError as error:
            self._refused[question] = error
            raise

    async def _list(self) -> list[_Info]:
        found: list[_Info] = []
        while True:
            page = await self._server.ask(f"CONSUMER.LIST.{self._options.name}", offset=len(found))
            found += page["consumers"] or ()
            if not page["consumers"] or len(found) >= int(page["total"]):
                return found

    def _age(self, nanoseconds: int) -> float:
        return max(0.0, (self._server.now_ns() - nanoseconds) / 1e9)

    def _own(self, consumer: Consumer[Any], info: _Info | None, first: int, inbox: Inbox | None) -> PartOfConsumer:
        """A consumer of this handle: the server knows what it has not sent yet, and this side the rest.

        first       the stream's sequence of the oldest message held.
        inbox       where its messages came when the server was asked.
        """
        feed = consumer._feed
        # Nothing is taken or counted here: that is for who reads.
        here = [each for each in feed.buffer if each.stream_seq >= feed.position and not feed._expiry.over(each)]
        if info is None:
            unread = None
        elif inbox is feed._inbox and not feed._stale:
            under_way = int(info["delivered"]["consumer_seq"]) + 1 - feed._expected
            unread = max(0, int(info["num_pending"]) + under_way + len(here))
        else:
            unread = _unread(info)
        missed = max(feed.lost + self._leaving(feed, len(here), first), self._missed.get(consumer, 0))
        self._missed[consumer] = missed
        if unread == 0:
            lag: float | None = 0.0
        else:
            lag = self._age(here[0].created_ns) if here else None
        return PartOfConsumer(
            id=consumer.id,
            name=consumer.name,
            topics=consumer.topics,
            total_items_read=consumer._count,
            unread_items=unread,
            missed_items=missed,
            lag=lag,
        )

    def _leaving(self, feed: Feed, here: int, first: int) -> int:
        """What a consumer has missed and will count when it gets there.

        here        how many of the messages that have arrived it will deliver.
        """
        if feed._stale or not feed.position:
            return 0
        if feed._placing.filters:  # what of the rest would have matched, nobody can tell
            return sum(1 for each in feed.buffer if each.stream_seq >= feed.position) - here
        end = max(feed.position, feed.buffer[-1].stream_seq + 1) if feed.buffer else feed.position
        return end - feed.position - here + max(0, first - end)

    def _others(
        self, listed: Mapping[str, _Info], consumers: list[PartOfConsumer]
    ) -> tuple[list[PartOfGroup], list[Departed]]:
        """The groups, and what their members were sent; consumers of other processes are put to those of this handle."""
        groups: list[PartOfGroup] = []
        sent: list[Departed] = []
        for name, info in listed.items():
            config = info["config"]
            if config.get("durable_name") is None:
                continue  # without a name: it is told where it reads
            if config["ack_policy"] == "explicit":
                groups.append(
                    PartOfGroup(
                        name=name,
                        topics=self._topics(config),
                        unread_items=int(info["num_pending"]),
                        pending_items=int(info["num_ack_pending"]),
                    )
                )
                sent.append(Departed(name, None, int(info["delivered"]["consumer_seq"]), 0))
            else:
                topics = self._topics(config)
                consumers.append(PartOfConsumer(id=None, name=name, topics=topics, unread_items=_unread(info)))
        return groups, sent

    def _topics(self, config: dict[str, Any]) -> tuple[str, ...] | None:
        subjects = filters_in(config)
        if not subjects or subjects == set(self._options.filters):
            return None
        return tuple(str(topic_in(self._options.subject, each)) for each in sorted(subjects))


def _unread(info: _Info) -> int:
    """What the server has not sent, and what it has sent without word that it has been read."""
    return int(info["num_pending"]) + int(info["num_ack_pending"])


def _explain(error: Exception) -> NoReturn:
    """Raises why there are no figures. (The words of an error may name addresses, and the page may be anyone's.)"""
    for kind, words in (
        (ConnectionLostError, "the connection to the server is gone for good"),
        (DeletedError, "the stream has been deleted"),
        (NotPermittedError, "the server does not allow to ask"),
    ):
        if isinstance(error, kind):
            raise NotKnown(words) from None
    raise NotKnown(NO_ANSWER) from None
