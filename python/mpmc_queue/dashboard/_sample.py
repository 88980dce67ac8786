"""A sample of a queue and its readers, and the rates between two samples.

None stands for a figure that is not known or does not apply.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from uuid import UUID

from mpmc_queue._figures import ConsumerFigures, Figures, GroupFigures
from mpmc_queue.dashboard._history import Point

MOST_READERS: Final = 2000
"""Maximum number of readers in one sample: those with the longest lag. More would make the page unusable."""
STALLED: Final = 10.0
"""Seconds after which a reader that has unread messages but reads nothing is called stalled."""
MOST_FILTERS: Final = 20
"""Maximum number of a reader's filters that are shown."""
MOST_FILTER_TEXT: Final = 300
"""Maximum characters of the filters shown."""


class Trouble(NamedTuple):
    """Counts of messages that were lost or not settled at the first delivery."""

    missed: int | None
    redelivered: int | None
    dead_lettered: int | None


class QueueRow(NamedTuple):
    """A queue, in the form sent to the page. Rates are messages per second, sizes bytes, times seconds."""

    id: int
    name: str
    kind: str  # "process", or "jetstream"
    problem: str | None  # why its figures are not available, as text
    closed: bool
    created: float
    items: int | None
    max_items: int | None
    bytes: int | None
    max_bytes: int | None
    ttl: float | None
    expires: bool
    retention: str | None  # "limits", "interest", or "workqueue" (only over JetStream)
    overflow: str | None  # "reject", or "drop_oldest"
    drops_oldest: bool | None
    audit_bytes: int | None
    audit_complete: bool | None
    first_seq: int | None
    next_seq: int | None
    oldest: float | None
    consumers: int | None
    groups: int
    enqueued: int | None
    expired: int | None
    dropped: int | None
    rejected: int | None
    waiting_producers: int | None  # producers that wait for room
    missed: int | None
    redelivered: int | None
    dead_lettered: int | None
    enqueued_rate: float | None
    delivered_rate: float | None
    dropped_rate: float | None
    rejected_rate: float | None
    missed_rate: float | None
    redelivered_rate: float | None
    dead_lettered_rate: float | None
    missed_ago: float | None  # seconds since a sample first showed the latest missed messages
    lag: float | None
    loss: float | None  # seconds until the reader furthest behind misses messages; None: it will not, at present
    stalled: int  # number of stalled readers


class ReaderRow(NamedTuple):
    """A consumer or a group."""

    id: str
    queue: int
    name: str | None
    group: str | None
    is_group: bool
    members: int | None  # of a group
    after: tuple[str, ...]  # the readers that it follows, by id
    topics: str | None  # its filters, cut if they are many; None for a member: see its group
    filtered: int | None
    lag: float | None
    loss: float | None
    unread: int | None
    unread_bytes: int | None
    missed: int | None
    pending: int | None
    redelivered: int | None
    dead_lettered: int | None
    read: int | None
    read_rate: float | None
    idle: float | None
    stalled: bool


class Sample:
    """The figures of a queue at one moment, and their change since the previous sample."""

    def __init__(self, number: int, figures: Figures, before: "Sample | None") -> None:
        self.taken = figures.taken
        self.time = time.time()
        self.number = number
        self.figures = figures
        consumers, groups, departed = figures.consumers, figures.groups, figures.departed
        self.read: int | None = None
        self.lag: float | None = None
        self.trouble = Trouble(None, None, None)
        if figures.problem is None:
            self.read = _sum([*(each.total_items_read for each in consumers), *(each.read for each in departed)])
            self.lag = _longest([*(each.lag for each in consumers), *(each.lag for each in groups)])
            self.trouble = Trouble(
                # Messages missed by a member are counted for its group.
                _sum(
                    [
                        *(each.missed_items for each in consumers if each.group is None),
                        *(each.missed for each in departed if each.group is None),
                        *(each.missed_items for each in groups),
                    ]
                ),
                _sum([each.redelivered_items for each in groups]),
                _sum([each.dead_lettered_items for each in groups]),
            )
        self.missed_at: float | None = before.missed_at if before else None
        """When a reader last missed messages; None: not since the sampler was started."""
        missed, missed_before = self.trouble.missed, before.trouble.missed if before else None
        if missed is not None and missed_before is not None and missed > missed_before:
            self.missed_at = self.taken
        self._before = before
        self._seconds = self.taken - before.taken if before else 0.0
        self._read_by: dict[str, int | None] | None = None
        self._rows: list[ReaderRow] | None = None
        if before:
            before._before = None  # the previous sample does not need the one before it any more

    def rate(self, now: int | None, before: int | None) -> float | None:
        """The growth of a count per second; 0 if it shrank, because a reader was removed. None: not known."""
        if now is None or before is None:
            return None
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
        figures = self.figures
        return QueueRow(
            id=self.number,
            name=stats.name,
            kind=figures.kind,
            problem=figures.problem,
            closed=figures.closed,
            created=stats.created_at.timestamp(),
            items=stats.total_items,
            max_items=stats.max_items,
            bytes=stats.memory_usage,
            max_bytes=stats.max_bytes,
            ttl=figures.ttl,
            expires=figures.lifetime is not None,
            retention=figures.retention,
            overflow=figures.overflow,
            drops_oldest=figures.drops_oldest,
            audit_bytes=stats.audit_bytes,
            audit_complete=stats.audit_complete,
            first_seq=stats.first_seq,
            next_seq=stats.next_seq,
            oldest=_rounded(figures.oldest, 3),
            consumers=stats.consumer_count,
            groups=len(figures.groups),
            enqueued=stats.enqueued,
            expired=stats.expired,
            dropped=stats.dropped,
            rejected=stats.rejected,
            waiting_producers=figures.waiting_producers,
            **self.trouble._asdict(),
            enqueued_rate=_rounded(point.enqueued, 2),
            delivered_rate=_rounded(point.delivered, 2),
            dropped_rate=_rounded(self.rate(stats.dropped, before.dropped), 2),
            rejected_rate=_rounded(self.rate(stats.rejected, before.rejected), 2),
            missed_rate=_rounded(point.missed, 2),
            redelivered_rate=_rounded(point.redelivered, 2),
            dead_lettered_rate=_rounded(point.dead_lettered, 2),
            missed_ago=None if self.missed_at is None else round(self.taken - self.missed_at, 1),
            lag=_rounded(self.lag, 3),
            loss=self._loss(self.lag),
            stalled=sum(row.stalled for row in self.reader_rows()),
        )

    def reader_rows(self) -> list[ReaderRow]:
        """The groups and the consumers; a member has only the figures that it does not share with its group."""
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
        members = Counter(consumer.group for consumer in self.figures.consumers)
        after: dict[str, list[str]] = {}
        for follower, predecessor in self.figures.order:
            after.setdefault(self._id(follower), []).append(self._id(predecessor))
        for group in self.figures.groups:
            id = self._id(group.name)
            yield ReaderRow(
                id=id,
                queue=self.number,
                name=group.name,
                group=None,
                is_group=True,
                members=members[group.name],
                after=tuple(after.get(id, ())),
                topics=_filters(group.topics),
                filtered=None if group.topics is None else group.filtered_items,
                lag=_rounded(group.lag, 3),
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
                members=None,
                after=tuple(after.get(id, ())),
                topics=None if is_member else _filters(consumer.topics),
                filtered=None if is_member or consumer.topics is None else consumer.filtered_items,
                lag=_rounded(consumer.lag, 3),
                loss=self._loss(consumer.lag),
                unread=consumer.unread_items,
                unread_bytes=consumer.unread_bytes,
                missed=consumer.missed_items,
                pending=None,
                redelivered=None,
                dead_lettered=None,
                read=read,
                read_rate=_rounded(self.rate(read, before.get(id, read)), 2),
                idle=seconds,
                stalled=not is_member and _is_stalled(consumer, seconds),
            )

    def _id(self, reader: UUID | str) -> str:
        """The page's id of a consumer (given by its id) or of a group (given by its name)."""
        return str(reader) if isinstance(reader, UUID) else f"{self.number}/{reader}"

    def _loss(self, lag: float | None) -> float | None:
        """Seconds until the oldest unread message expires."""
        lifetime = self.figures.lifetime
        return None if lifetime is None or not lag else round(max(0.0, lifetime - lag), 3)

    def _idle(self, consumer: ConsumerFigures) -> float | None:
        """Seconds since the consumer last read; None: never."""
        last = consumer.last_read_time
        return None if last is None else round(max(0.0, self.time - last.timestamp()), 1)

    @property
    def read_by(self) -> dict[str, int | None]:
        """How many messages each consumer has read, by id. Computed on demand, because making ids is expensive."""
        if self._read_by is None:
            # (On a server, names are unique and have no slash.)
            self._read_by = {
                str(each.id) if each.id is not None else f"{self.number}//{each.name}": each.total_items_read
                for each in self.figures.consumers
            }
        return self._read_by


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum of the known values; None: there are values, but none is known."""
    values = list(values)
    known = [value for value in values if value is not None]
    return sum(known) if known or not values else None


def _longest(lags: list[float | None]) -> float | None:
    """The longest known lag; None: there are readers, but no lag is known."""
    return max((lag for lag in lags if lag is not None), default=None if lags else 0.0)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _filters(topics: tuple[str, ...] | None) -> str | None:
    """Filters joined with spaces, which they cannot contain."""
    if topics is None:
        return None
    text = " ".join(topics[:MOST_FILTERS])
    is_whole = len(topics) <= MOST_FILTERS and len(text) <= MOST_FILTER_TEXT
    return text if is_whole else f"{text[:MOST_FILTER_TEXT]} …"


def _is_stalled(reader: ConsumerFigures | GroupFigures, idle: float | None) -> bool:
    """Whether a message has been unread for a while, and the reader has read nothing for as long."""
    return bool(reader.unread_items) and (reader.lag or 0.0) >= STALLED and (idle is None or idle >= STALLED)
