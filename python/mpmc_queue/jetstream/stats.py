"""Figures of queues and consumers."""

from dataclasses import dataclass
from datetime import datetime
from typing import final
from uuid import UUID


@final
@dataclass(frozen=True, slots=True)
class QueueStats:
    """A queue's figures from the server, for all processes that use it."""

    name: str
    total_items: int
    """Messages held."""
    memory_usage: int
    """Bytes held: payloads, headers, and the overhead of the server's store."""
    memory_percent: float
    """`memory_usage` in percent of `max_bytes`; 0.0 without such a limit."""
    max_bytes: int | None
    max_items: int | None
    consumer_count: int
    """Number of consumers and groups."""
    created_at: datetime
    """When the stream was made."""
    ttl: float | None
    enqueued: int
    """Messages enqueued since creation."""
    first_seq: int
    """The seq of the oldest message held; `next_seq` if there is none."""
    next_seq: int
    """The seq that the next enqueue returns."""


@final
@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """A consumer's figures. `Consumer.stats` returns them."""

    id: UUID
    name: str | None
    total_items_read: int
    unread_items: int
    missed_items: int
    lag: float
    """Seconds since the oldest unread message was enqueued, if it has arrived here; else 0.0."""
