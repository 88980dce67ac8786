"""Figures of queues and consumers."""

from dataclasses import dataclass
from datetime import datetime
from typing import final
from uuid import UUID


@final
@dataclass(frozen=True, slots=True)
class QueueStats:
    """A queue's figures, as the server has them: for all processes that use it."""

    name: str
    total_items: int
    """Messages held."""
    memory_usage: int
    """Bytes held: payloads, headers, and what the server's store adds."""
    memory_percent: float
    """`memory_usage` in percent of `max_bytes`; 0.0 where there is no such limit."""
    max_bytes: int | None
    max_items: int | None
    consumer_count: int
    """Consumers and groups."""
    created_at: datetime
    """When the stream was made."""
    ttl: float | None
    enqueued: int
    """Messages enqueued since creation."""
    first_seq: int
    """The oldest message held; `next_seq` when there is none."""
    next_seq: int
    """What the next enqueue returns."""


@final
@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """A consumer's figures. `Consumer.stats` asks for them."""

    id: UUID
    name: str | None
    total_items_read: int
    unread_items: int
    missed_items: int
    lag: float
    """Seconds since the oldest unread message was enqueued, once it has arrived here; else 0.0."""
