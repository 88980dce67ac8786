"""What a sample says of a queue and of those who read it, and the rates between two samples."""

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mpmc_queue import Queue
from mpmc_queue._watching import Figures, figures
from mpmc_queue.dashboard._history import Point

MOST_READERS: Final = 2000
"""Readers in one sample, those who lag most; beyond that a page is of no use to a person."""


class QueueRow(NamedTuple):
    """A queue, as the page gets it. Rates are messages per second, sizes bytes, times seconds."""

    id: int
    name: str
    closed: bool
    items: int
    bytes: int
    max_bytes: int
    audit_bytes: int
    audit_complete: bool
    max_items: int | None
    ttl: float | None
    next_seq: int
    oldest: float
    consumers: int
    enqueued: int
    expired: int
    dropped: int
    rejected: int
    enqueued_rate: float
    delivered_rate: float
    expired_rate: float
    dropped_rate: float
    rejected_rate: float
    lag: float


class ReaderRow(NamedTuple):
    """A consumer, or a group, which its members share."""

    id: str
    queue: int
    name: str | None
    group: str | None
    is_group: bool
    lag: float
    unread: int
    unread_bytes: int
    missed: int
    pending: int | None
    redelivered: int | None
    dead_lettered: int | None
    read: int | None
    read_rate: float | None
    idle: float | None


class Sample:
    """The figures of a queue at one moment, and since the sample before."""

    def __init__(self, number: int, queue: Queue[Any], before: "Sample | None") -> None:
        self.taken = time.monotonic()
        self.time = time.time()
        self.number = number
        self.closed = queue.closed
        self.figures: Figures = figures(queue)
        consumers, departed = self.figures.consumers, self.figures.departed
        self.read = sum(each.total_items_read for each in consumers) + sum(each.read for each in departed)
        self.lag = max((*(each.lag for each in consumers), *(each.lag for each in self.figures.groups)), default=0.0)
        self._before = before
        self._seconds = self.taken - before.taken if before else 0.0
        self._read_by: dict[str, int] | None = None
        if before:
            before._before = None  # it needs no more than its own figures from here on

    def rate(self, now: int, before: int) -> float:
        """What a count grew by, per second; where it shrank, because a reader left, nothing."""
        return max(0, now - before) / self._seconds if self._seconds > 0 else 0.0

    def point(self) -> Point:
        now, before = self.figures.queue, self._before.figures.queue if self._before else self.figures.queue
        return Point(
            self.time,
            self.rate(now.enqueued, before.enqueued),
            self.rate(self.read, self._before.read if self._before else self.read),
            now.memory_usage,
            self.lag,
            self.rate(now.expired, before.expired),
            self.rate(now.dropped, before.dropped),
            self.rate(now.rejected, before.rejected),
        )

    def queue_row(self) -> QueueRow:
        stats, point = self.figures.queue, self.point()
        return QueueRow(
            id=self.number,
            name=stats.name,
            closed=self.closed,
            items=stats.total_items,
            bytes=stats.memory_usage,
            max_bytes=stats.max_bytes,
            audit_bytes=stats.audit_bytes,
            audit_complete=stats.audit_complete,
            max_items=stats.max_items,
            ttl=stats.ttl,
            next_seq=stats.next_seq,
            oldest=round(self.figures.oldest, 3),
            consumers=stats.consumer_count,
            enqueued=stats.enqueued,
            expired=stats.expired,
            dropped=stats.dropped,
            rejected=stats.rejected,
            enqueued_rate=round(point.enqueued, 2),
            delivered_rate=round(point.delivered, 2),
            expired_rate=round(point.expired, 2),
            dropped_rate=round(point.dropped, 2),
            rejected_rate=round(point.rejected, 2),
            lag=round(self.lag, 3),
        )

    def reader_rows(self) -> Iterator[ReaderRow]:
        """The groups, and the consumers; of a member only what is its own."""
        before = self._before.read_by if self._before else {}
        read_by = self.read_by
        for group in self.figures.groups:
            yield ReaderRow(
                id=f"{self.number}/{group.name}",
                queue=self.number,
                name=group.name,
                group=None,
                is_group=True,
                lag=round(group.lag, 3),
                unread=group.unread_items,
                unread_bytes=group.unread_bytes,
                missed=group.missed_items,
                pending=group.pending_items,
                redelivered=group.redelivered_items,
                dead_lettered=group.dead_lettered_items,
                read=None,
                read_rate=None,
                idle=None,
            )
        for id, consumer in zip(read_by, self.figures.consumers, strict=True):
            read, last = consumer.total_items_read, consumer.last_read_time
            yield ReaderRow(
                id=id,
                queue=self.number,
                name=consumer.name,
                group=consumer.group,
                is_group=False,
                lag=round(consumer.lag, 3),
                unread=consumer.unread_items,
                unread_bytes=consumer.unread_bytes,
                missed=consumer.missed_items,
                pending=None,
                redelivered=None,
                dead_lettered=None,
                read=read,
                read_rate=round(self.rate(read, before.get(id, read)), 2),
                idle=None if last is None else round(max(0.0, self.time - last.timestamp()), 1),
            )

    @property
    def read_by(self) -> dict[str, int]:
        """What every consumer has read, by id. Made when asked for: ids are dear."""
        if self._read_by is None:
            self._read_by = {str(each.id): each.total_items_read for each in self.figures.consumers}
        return self._read_by
