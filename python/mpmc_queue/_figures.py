"""A queue's statistics, in the form that the metrics and the dashboard read; a value that is not known is None.

For a queue in this process (`QueueStats`, `ConsumerStats`, `GroupStats`) all values are known. The `PartOf` classes are for
a queue on a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import UUID


class QueueFigures(Protocol):
    """Figures of the queue itself."""

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
    """Figures that consumers and groups have in common."""

    @property
    def unread_items(self) -> int | None: ...
    @property
    def unread_bytes(self) -> int | None: ...
    @property
    def lag(self) -> float | None: ...
    @property
    def missed_items(self) -> int | None: ...
    @property
    def dropped_items(self) -> int | None: ...
    @property
    def topics(self) -> tuple[str, ...] | None: ...
    @property
    def filtered_items(self) -> int | None: ...


class ConsumerFigures(ReaderFigures, Protocol):
    """Figures of a consumer."""

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
    """Figures of a group."""

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
    @property
    def undeliverable_items(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfQueue:
    """What is known about a queue on a server."""

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
    """What is known about a consumer on a server."""

    id: UUID | None  # None: another process uses it, or no process does
    name: str | None
    group: str | None = None
    topics: tuple[str, ...] | None = None
    total_items_read: int | None = None
    unread_items: int | None = None
    unread_bytes: int | None = None
    missed_items: int | None = None
    dropped_items: int | None = None
    lag: float | None = None
    last_read_time: datetime | None = None
    filtered_items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfGroup:
    """What is known about a group on a server."""

    name: str
    topics: tuple[str, ...] | None = None
    total_items_read: int | None = None
    unread_items: int | None = None
    unread_bytes: int | None = None
    missed_items: int | None = None
    dropped_items: int | None = None
    lag: float | None = None
    pending_items: int | None = None
    redelivered_items: int | None = None
    dead_lettered_items: int | None = None
    refused_dead_letters: int | None = None
    undeliverable_items: int | None = None
    filtered_items: int | None = None


class Departed(NamedTuple):
    """What readers that are not listed individually have read and missed.

    These are removed consumers: those without a name, and those with the name of a registered consumer. On a server, they are
    the members of a group.
    """

    group: str | None
    name: str | None
    read: int
    missed: int
    dropped: int | None = None


class Follows(NamedTuple):
    """A reader that gets a message only after its predecessor is done with it. Consumers by id, groups by name."""

    follower: UUID | str
    predecessor: UUID | str


class Figures(NamedTuple):
    """All figures of a queue, taken at one moment."""

    queue: QueueFigures
    oldest: float | None  # seconds since the oldest message held was enqueued
    consumers: Sequence[ConsumerFigures]
    groups: Sequence[GroupFigures]
    departed: Sequence[Departed]
    closed: bool
    ttl: float | None
    lifetime: float | None  # default TTL in seconds; None: messages do not expire, or expiration is disabled
    taken: float  # when, on the monotonic clock
    kind: Literal["process", "jetstream"] = "process"
    up: bool | None = None  # whether the server answers; None: no server, closed, or not asked yet
    problem: str | None = None  # why the server does not answer, as text
    retention: Literal["limits", "interest", "workqueue"] | None = None  # None, here and below: not known
    overflow: Literal["reject", "drop_oldest"] | None = None
    waiting_producers: int | None = None  # producers that wait for room
    order: Sequence[Follows] = ()

    @property
    def drops_oldest(self) -> bool | None:
        """Whether a full queue drops its oldest messages."""
        return None if self.overflow is None else self.overflow == "drop_oldest"
