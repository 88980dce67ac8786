"""The figures of a queue for the metrics and the dashboard: those of the stream and of its consumers.

A round of requests is one STREAM.INFO, and one CONSUMER.LIST for every 256 consumers.
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
"""Maximum seconds for listing the consumers: a cluster takes longer if a consumer has no leader at the moment."""


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
        """consumers: the open ones of this handle; the sequence changes as they are added and closed."""
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
        """Requests that the server does not permit: they are not repeated before the next connection."""
        self._missed: WeakKeyDictionary[Consumer[Any], int] = WeakKeyDictionary()
        """Messages reported as missed by each consumer: the number never goes down."""
        self._read_before = self._missed_before = 0
        """Messages read and missed by unnamed consumers that have been closed."""
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
        """Does one round of requests."""
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
        """The server's figures of each consumer, by name; empty if it gives none: then only this side's figures are known."""
        try:
            async with asyncio.timeout(LIST):
                return {info["name"]: info for info in await self._allowed("CONSUMER.LIST", self._list)}
        except (NotPermittedError, NoAnswer, TimeoutError):
            return {}

    async def _allowed(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer. A request that is not permitted is not repeated, because the server would log an error each time."""
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
        """A consumer of this handle: the server knows what it has not sent yet, this side knows the rest.

        first       the stream sequence of the oldest message held.
        inbox       the inbox that received its messages when the server was asked.
        """
        feed = consumer._feed
        # This changes nothing: only reads take messages and count them.
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
        """Messages that a consumer has missed, but will only count when its position reaches them.

        here        how many of the messages that have arrived it will deliver.
        """
        if feed._stale or not feed.position:
            return 0
        if feed._placing.filters:  # it cannot be known how many of the others would have matched
            return sum(1 for each in feed.buffer if each.stream_seq >= feed.position) - here
        end = max(feed.position, feed.buffer[-1].stream_seq + 1) if feed.buffer else feed.position
        return end - feed.position - here + max(0, first - end)

    def _others(
        self, listed: Mapping[str, _Info], consumers: list[PartOfConsumer]
    ) -> tuple[list[PartOfGroup], list[Departed]]:
        """The groups, and what was sent to their members; appends consumers of other processes to `consumers`."""
        groups: list[PartOfGroup] = []
        sent: list[Departed] = []
        for name, info in listed.items():
            config = info["config"]
            if config.get("durable_name") is None:
                continue  # without a name: only the process that reads with it reports it
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
    """Messages that the server has not sent, or has sent without an acknowledgement so far."""
    return int(info["num_pending"]) + int(info["num_ack_pending"])


def _explain(error: Exception) -> NoReturn:
    """Raises NotKnown with the reason, but not the error's text: it may contain addresses, and the page may be public."""
    for kind, words in (
        (ConnectionLostError, "the connection to the server is gone for good"),
        (DeletedError, "the stream has been deleted"),
        (NotPermittedError, "the server does not allow to ask"),
    ):
        if isinstance(error, kind):
            raise NotKnown(words) from None
    raise NotKnown(NO_ANSWER) from None
