"""The figures of a queue, as the metrics and the dashboard have them; what is not known of it is None.

The figures of a queue in this process (`QueueStats`, `ConsumerStats`, `GroupStats`) are all known. The classes here are for
those of a queue on a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import UUID


class QueueFigures(Protocol):
    """A queue's own figures."""

    @property
    def name(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def total_items(self) -> int | None: ...
    @property
    def memory_usage(self) -> int | None: ...
    @property
    def max_bytes(self) -> int | None: ...
    @property
    def max_items(self) -> int | None: ...
    @property
    def audit_bytes(self) -> int | None: ...
    @property
    def audit_complete(self) -> bool | None: ...
    @property
    def consumer_count(self) -> int | None: ...
    @property
    def enqueued(self) -> int | None: ...
    @property
    def expired(self) -> int | None: ...
    @property
    def dropped(self) -> int | None: ...
    @property
    def rejected(self) -> int | None: ...
    @property
    def first_seq(self) -> int | None: ...
    @property
    def next_seq(self) -> int | None: ...


class ReaderFigures(Protocol):
    """What consumers and groups have in common."""

    @property
    def unread_items(self) -> int | None: ...
    @property
    def unread_bytes(self) -> int | None: ...
    @property
    def lag(self) -> float | None: ...
    @property
    def missed_items(self) -> int | None: ...
    @property
    def topics(self) -> tuple[str, ...] | None: ...
    @property
    def filtered_items(self) -> int | None: ...


class ConsumerFigures(ReaderFigures, Protocol):
    """Those of a consumer."""

    @property
    def id(self) -> UUID | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def total_items_read(self) -> int | None: ...
    @property
    def last_read_time(self) -> datetime | None: ...


class GroupFigures(ReaderFigures, Protocol):
    """Those of a group."""

    @property
    def name(self) -> str: ...
    @property
    def total_items_read(self) -> int | None: ...
    @property
    def pending_items(self) -> int | None: ...
    @property
    def redelivered_items(self) -> int | None: ...
    @property
    def dead_lettered_items(self) -> int | None: ...
    @property
    def refused_dead_letters(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfQueue:
    """What is known of a queue on a server."""

    name: str
    created_at: datetime
    total_items: int | None = None
    memory_usage: int | None = None
    max_bytes: int | None = None
    max_items: int | None = None
    audit_bytes: int | None = None
    audit_complete: bool | None = None
    consumer_count: int | None = None
    enqueued: int | None = None
    expired: int | None = None
    dropped: int | None = None
    rejected: int | None = None
    first_seq: int | None = None
    next_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfConsumer:
    """What is known of a consumer there."""

    id: UUID | None  # None: another process has it, or nobody has now
    name: str | None
    group: str | None = None
    topics: tuple[str, ...] | None = None
    total_items_read: int | None = None
    unread_items: int | None = None
    unread_bytes: int | None = None
    missed_items: int | None = None
    lag: float | None = None
    last_read_time: datetime | None = None
    filtered_items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfGroup:
    """What is known of a group there."""

    name: str
    topics: tuple[str, ...] | None = None
    total_items_read: int | None = None
    unread_items: int | None = None
    unread_bytes: int | None = None
    missed_items: int | None = None
    lag: float | None = None
    pending_items: int | None = None
    redelivered_items: int | None = None
    dead_lettered_items: int | None = None
    refused_dead_letters: int | None = None
    filtered_items: int | None = None


class Departed(NamedTuple):
    """What readers that are not told one by one have read and missed.

    Consumers that were removed: the unnamed ones, or namesakes of one that is there. Over a server, the members of a group.
    """

    group: str | None
    name: str | None
    read: int
    missed: int


class Follows(NamedTuple):
    """A reader that reads a message only after another is done with it. Consumers by their id, groups by their name."""

    follower: UUID | str
    predecessor: UUID | str


class Figures(NamedTuple):
    """All figures of a queue, of one moment."""

    queue: QueueFigures
    oldest: float | None  # seconds since the oldest message held was enqueued
    consumers: Sequence[ConsumerFigures]
    groups: Sequence[GroupFigures]
    departed: Sequence[Departed]
    closed: bool
    ttl: float | None
    lifetime: float | None  # seconds that messages live, unless told otherwise; None: they do not expire, or not now
    taken: float  # by the monotonic clock
    kind: Literal["process", "jetstream"] = "process"
    up: bool | None = None  # whether the server answers; None: there is none, nobody asks, or it has not been asked yet
    problem: str | None = None  # why it does not, in words
    retention: Literal["limits", "interest", "workqueue"] | None = None  # None, here and below: not known
    overflow: Literal["reject", "drop_oldest"] | None = None
    waiting_producers: int | None = None  # those that wait for room
    order: Sequence[Follows] = ()

    @property
    def drops_oldest(self) -> bool | None:
        """Whether a full queue drops its oldest messages."""
        return None if self.overflow is None else self.overflow == "drop_oldest"
