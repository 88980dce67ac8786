"""What a sample says of a queue and of those who read it, and the rates between two samples."""

import math
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mpmc_queue import ConsumerStats, GroupStats, Queue
from mpmc_queue._watching import Figures, figures, lifetime
from mpmc_queue.dashboard._history import Point

MOST_READERS: Final = 2000
"""Readers in one sample, those who lag most; beyond that a page is of no use to a person."""
STALLED: Final = 10.0
"""Seconds after which a reader that has something to read, and reads nothing, is called stalled."""
MOST_FILTERS: Final = 20
"""Filters of a reader that are told."""
MOST_FILTER_TEXT: Final = 300
"""Characters of them."""


class Trouble(NamedTuple):
    """What has been counted of messages that were not read as they should be."""

    missed: int
    redelivered: int
    dead_lettered: int


class QueueRow(NamedTuple):
    """A queue, as the page gets it. Rates are messages per second, sizes bytes, times seconds."""

    id: int
    name: str
    closed: bool
    created: float
    items: int
    max_items: int | None
    bytes: int
    max_bytes: int
    ttl: float | None
    expires: bool
    audit_bytes: int
    audit_complete: bool
    first_seq: int
    next_seq: int
    oldest: float
    consumers: int
    groups: int
    enqueued: int
    expired: int
    dropped: int
    rejected: int
    missed: int
    redelivered: int
    dead_lettered: int
    enqueued_rate: float
    delivered_rate: float
    dropped_rate: float
    rejected_rate: float
    missed_rate: float
    redelivered_rate: float
    dead_lettered_rate: float
    missed_ago: float | None  # since a reader last missed some, as far as samples tell
    lag: float
    loss: float | None  # until the reader furthest behind begins to miss messages; None: it does not, as things are
    stalled: int  # readers


class ReaderRow(NamedTuple):
    """A consumer, or a group, which its members share."""

    id: str
    queue: int
    name: str | None
    group: str | None
    is_group: bool
    topics: str | None  # its filters, cut short where they are many; of a member, told of its group
    filtered: int | None
    lag: float
    loss: float | None
    unread: int
    unread_bytes: int
    missed: int
    pending: int | None
    redelivered: int | None
    dead_lettered: int | None
    read: int | None
    read_rate: float | None
    idle: float | None
    stalled: bool


class Sample:
    """The figures of a queue at one moment, and since the sample before."""

    def __init__(self, number: int, queue: Queue[Any], before: "Sample | None") -> None:
        self.taken = time.monotonic()
        self.time = time.time()
        self.number = number
        self.closed = queue.closed
        self.ttl = queue.ttl
        self.lifetime = lifetime(queue)
        self.figures: Figures = figures(queue)
        consumers, groups, departed = self.figures.consumers, self.figures.groups, self.figures.departed
        self.read = sum(each.total_items_read for each in consumers) + sum(each.read for each in departed)
        self.lag = max((*(each.lag for each in consumers), *(each.lag for each in groups)), default=0.0)
        self.trouble = Trouble(
            # What a member misses, its group misses.
            sum(each.missed_items for each in consumers if each.group is None)
            + sum(each.missed for each in departed if each.group is None)
            + sum(each.missed_items for each in groups),
            sum(each.redelivered_items for each in groups),
            sum(each.dead_lettered_items for each in groups),
        )
        self.missed_at: float | None = before.missed_at if before else None
        """When a reader last missed some; None: not since the sampler runs."""
        if before and self.trouble.missed > before.trouble.missed:
            self.missed_at = self.taken
        self._before = before
        self._seconds = self.taken - before.taken if before else 0.0
        self._read_by: dict[str, int] | None = None
        self._rows: list[ReaderRow] | None = None
        if before:
            before._before = None  # it needs no more than its own figures from here on

    def rate(self, now: int, before: int) -> float:
        """What a count grew by, per second; where it shrank, because a reader left, nothing."""
        return max(0, now - before) / self._seconds if self._seconds > 0 else 0.0

    def point(self) -> Point:
        before = self._before or self
        return Point(
            self.time,
            self.rate(self.figures.queue.enqueued, before.figures.queue.enqueued),
            self.rate(self.read, before.read),
            self.figures.queue.memory_usage,
            self.lag,
            *map(self.rate, self.trouble, before.trouble),
        )

    def queue_row(self) -> QueueRow:
        stats, point = self.figures.queue, self.point()
        before = (self._before or self).figures.queue
        return QueueRow(
            id=self.number,
            name=stats.name,
            closed=self.closed,
            created=stats.created_at.timestamp(),
            items=stats.total_items,
            max_items=stats.max_items,
            bytes=stats.memory_usage,
            max_bytes=stats.max_bytes,
            ttl=self.ttl,
            expires=self.lifetime is not None,
            audit_bytes=stats.audit_bytes,
            audit_complete=stats.audit_complete,
            first_seq=stats.first_seq,
            next_seq=stats.next_seq,
            oldest=round(self.figures.oldest, 3),
            consumers=stats.consumer_count,
            groups=len(self.figures.groups),
            enqueued=stats.enqueued,
            expired=stats.expired,
            dropped=stats.dropped,
            rejected=stats.rejected,
            **self.trouble._asdict(),
            enqueued_rate=round(point.enqueued, 2),
            delivered_rate=round(point.delivered, 2),
            dropped_rate=round(self.rate(stats.dropped, before.dropped), 2),
            rejected_rate=round(self.rate(stats.rejected, before.rejected), 2),
            missed_rate=round(point.missed, 2),
            redelivered_rate=round(point.redelivered, 2),
            dead_lettered_rate=round(point.dead_lettered, 2),
            missed_ago=None if self.missed_at is None else round(self.taken - self.missed_at, 1),
            lag=round(self.lag, 3),
            loss=self._loss(self.lag),
            stalled=sum(row.stalled for row in self.reader_rows()),
        )

    def reader_rows(self) -> list[ReaderRow]:
        """The groups, and the consumers; of a member only what is its own."""
        if self._rows is None:
            self._rows = list(self._make_rows())
        return self._rows

    def _make_rows(self) -> Iterator[ReaderRow]:
        before = self._before.read_by if self._before else {}
        read_by = self.read_by
        idle = [self._idle(consumer) for consumer in self.figures.consumers]
        idle_groups: dict[str, float] = {}
        for consumer, seconds in zip(self.figures.consumers, idle, strict=True):
            if consumer.group is not None and seconds is not None:
                idle_groups[consumer.group] = min(seconds, idle_groups.get(consumer.group, math.inf))
        for group in self.figures.groups:
            yield ReaderRow(
                id=f"{self.number}/{group.name}",
                queue=self.number,
                name=group.name,
                group=None,
                is_group=True,
                topics=_filters(group.topics),
                filtered=None if group.topics is None else group.filtered_items,
                lag=round(group.lag, 3),
                loss=self._loss(group.lag),
                unread=group.unread_items,
                unread_bytes=group.unread_bytes,
                missed=group.missed_items,
                pending=group.pending_items,
                redelivered=group.redelivered_items,
                dead_lettered=group.dead_lettered_items,
                read=None,
                read_rate=None,
                idle=idle_groups.get(group.name),
                stalled=_is_stalled(group, idle_groups.get(group.name)),
            )
        for id, consumer, seconds in zip(read_by, self.figures.consumers, idle, strict=True):
            read, is_member = consumer.total_items_read, consumer.group is not None
            yield ReaderRow(
                id=id,
                queue=self.number,
                name=consumer.name,
                group=consumer.group,
                is_group=False,
                topics=None if is_member else _filters(consumer.topics),
                filtered=None if is_member or consumer.topics is None else consumer.filtered_items,
                lag=round(consumer.lag, 3),
                loss=self._loss(consumer.lag),
                unread=consumer.unread_items,
                unread_bytes=consumer.unread_bytes,
                missed=consumer.missed_items,
                pending=None,
                redelivered=None,
                dead_lettered=None,
                read=read,
                read_rate=round(self.rate(read, before.get(id, read)), 2),
                idle=seconds,
                stalled=not is_member and _is_stalled(consumer, seconds),
            )

    def _loss(self, lag: float) -> float | None:
        """Seconds until the oldest message that is unread expires."""
        return None if self.lifetime is None or lag == 0 else round(max(0.0, self.lifetime - lag), 3)

    def _idle(self, consumer: ConsumerStats) -> float | None:
        """Seconds since it last read; None: never."""
        last = consumer.last_read_time
        return None if last is None else round(max(0.0, self.time - last.timestamp()), 1)

    @property
    def read_by(self) -> dict[str, int]:
        """What every consumer has read, by id. Made when asked for: ids are dear."""
        if self._read_by is None:
            self._read_by = {str(each.id): each.total_items_read for each in self.figures.consumers}
        return self._read_by


def _filters(topics: tuple[str, ...] | None) -> str | None:
    """Filters in a line; they hold no spaces."""
    if topics is None:
        return None
    text = " ".join(topics[:MOST_FILTERS])
    is_whole = len(topics) <= MOST_FILTERS and len(text) <= MOST_FILTER_TEXT
    return text if is_whole else f"{text[:MOST_FILTER_TEXT]} …"


def _is_stalled(reader: ConsumerStats | GroupStats, idle: float | None) -> bool:
    """Whether it has had something to read for a while, and has read nothing for as long."""
    return reader.unread_items > 0 and reader.lag >= STALLED and (idle is None or idle >= STALLED)
