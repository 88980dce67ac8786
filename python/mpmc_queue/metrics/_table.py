"""The table of all metrics, and how each value is computed."""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from mpmc_queue._figures import Figures, GroupFigures, QueueFigures
from mpmc_queue._watching import Watchable, figures_of

PREFIX: Final = "mpmc"
"""The prefix of every name, in both libraries."""
_SUFFIXES: Final = {"By": "_bytes", "s": "_seconds"}
"""The suffix of Prometheus names for each unit."""
_OLDER: Final = {"unread": "consumer_lag"}
"""Prometheus names older than the OpenTelemetry names. (In OpenTelemetry, `consumer_lag` is the metric in seconds.)"""


class Kind(Enum):
    """How values of a metric change, and whether they can be summed."""

    COUNTER = "counter"  # only ever grows
    AMOUNT = "amount"  # goes up and down, and can be added up over queues and consumers
    LEVEL = "level"  # goes up and down; a sum of it means nothing


class Reader(NamedTuple):
    """The sums over all readers with the same labels: one name, all without a name, or a group."""

    consumer: str
    group: str
    delivered: int | None  # here and below, None: not applicable or not known
    missed: int | None
    dropped: int | None
    undeliverable: int | None
    unread: int | None
    unread_bytes: int | None
    lag: float | None


class Reading(NamedTuple):
    """The input of the metrics: a queue's figures, and its readers grouped by labels."""

    figures: Figures
    readers: list[Reader]


def read(queues: Iterable[Watchable]) -> list[tuple[str, Reading]]:
    """Reads queues: the name and the reading of each."""
    return [(figures.queue.name, _reading(figures)) for figures in figures_of(list(queues))]


def _reading(now: Figures) -> Reading:
    delivered: dict[tuple[str, str], int | None] = {}
    positions: dict[tuple[str, str], Reader] = {}
    for consumer in now.consumers:
        key = (consumer.name or "", consumer.group or "")
        delivered[key] = _sum(delivered.get(key), consumer.total_items_read)
        if consumer.group is None:
            sums = positions.get(key, _nothing(key))
            positions[key] = sums._replace(
                missed=_sum(sums.missed, consumer.missed_items),
                dropped=_sum(sums.dropped, consumer.dropped_items),
                unread=_sum(sums.unread, consumer.unread_items),
                unread_bytes=_sum(sums.unread_bytes, consumer.unread_bytes),
                # The lag of several consumers is that of the one furthest behind.
                lag=max((lag for lag in (sums.lag, consumer.lag) if lag is not None), default=None),
            )
    for departed in now.departed:
        key = (departed.name or "", departed.group or "")
        delivered[key] = _sum(delivered.get(key), departed.read)
        if departed.group is None:
            sums = positions.get(key, _nothing(key)._replace(missed=0, unread=0, unread_bytes=0, lag=0.0))
            missed, dropped = _sum(sums.missed, departed.missed), _sum(sums.dropped, departed.dropped)
            positions[key] = sums._replace(missed=missed, dropped=dropped)
    for group in now.groups:
        positions["", group.name] = Reader(
            consumer="",
            group=group.name,
            delivered=None,
            missed=group.missed_items,
            dropped=group.dropped_items,
            undeliverable=group.undeliverable_items,
            unread=group.unread_items,
            unread_bytes=group.unread_bytes,
            lag=group.lag,
        )
    readers: list[Reader] = []
    for key in delivered | positions:
        reader = positions.get(key, _nothing(key))
        readers.append(reader._replace(delivered=delivered.get(key)))
    return Reading(now, readers)


def _nothing(key: tuple[str, str]) -> Reader:
    """A reader, by its labels, of which nothing is known."""
    return Reader(*key, *[None] * 7)


def _sum(one: int | None, other: int | None) -> int | None:
    """The sum of the known values; None: neither is known."""
    return other if one is None else one if other is None else one + other


class Metric(NamedTuple):
    """One metric.

    Its Prometheus name is the one that OpenTelemetry's Prometheus exporter derives from its OpenTelemetry name and unit, so
    that dashboards and alert rules work with either library. One name is older than that rule: `mpmc_consumer_lag_bytes`.

    >>> for metric in METRICS[0], METRIC["limit"]:
    ...     print(metric.otel, metric.unit, metric.prometheus)
    mpmc.enqueued_messages {message} mpmc_enqueued_messages_total
    mpmc.limit By mpmc_limit_bytes
    """

    name: str
    """Without prefix and unit."""
    kind: Kind
    unit: str
    """As OpenTelemetry writes it: {message}, By, s; empty for flags."""
    help: str
    labels: tuple[str, ...]
    """The labels in addition to `queue`."""
    values: Callable[[Reading], Iterator[tuple[tuple[str, ...], float]]]
    """The values of a queue, each with its label values, in the order of `labels`."""

    @property
    def prometheus(self) -> str:
        """Its Prometheus name."""
        return f"{self.family}{'_total' if self.kind is Kind.COUNTER else ''}"

    @property
    def family(self) -> str:
        """The name to pass to prometheus_client, which appends `_total` to counters itself."""
        return f"{PREFIX}_{_OLDER.get(self.name, self.name)}{_SUFFIXES.get(self.unit, '')}"

    @property
    def otel(self) -> str:
        """Its OpenTelemetry name."""
        return f"{PREFIX}.{self.name}"


def _of_queue(name: str, kind: Kind, unit: str, text: str, value: Callable[[QueueFigures], float | None]) -> Metric:
    return _of_reading(name, kind, unit, text, lambda of: value(of.figures.queue))


def _of_reading(name: str, kind: Kind, unit: str, text: str, value: Callable[[Reading], float | None]) -> Metric:
    def values(reading: Reading) -> Iterator[tuple[tuple[str, ...], float]]:
        if (found := value(reading)) is not None:
            yield (), found

    return Metric(name, kind, unit, text, (), values)


def _of_readers(name: str, kind: Kind, unit: str, text: str, value: Callable[[Reader], float | None]) -> Metric:
    def values(reading: Reading) -> Iterator[tuple[tuple[str, ...], float]]:
        for reader in reading.readers:
            if (found := value(reader)) is not None:
                yield (reader.consumer, reader.group), found

    return Metric(name, kind, unit, text, ("consumer", "group"), values)


def _missed_by_reason() -> Metric:
    def values(reading: Reading) -> Iterator[tuple[tuple[str, ...], float]]:
        for reader in reading.readers:
            if reader.missed is None or reader.dropped is None:
                continue
            expired = reader.missed - reader.dropped - (reader.undeliverable or 0)
            yield (reader.consumer, reader.group, "expired"), expired
            yield (reader.consumer, reader.group, "dropped"), reader.dropped
            if reader.undeliverable is not None:
                yield (reader.consumer, reader.group, "undeliverable"), reader.undeliverable

    text = "Messages that left before they were read, by what became of them."
    return Metric("missed_by_reason_messages", _COUNTER, "{message}", text, ("consumer", "group", "reason"), values)


def _of_groups(name: str, kind: Kind, text: str, value: Callable[[GroupFigures], int | None]) -> Metric:
    def values(reading: Reading) -> Iterator[tuple[tuple[str, ...], float]]:
        for group in reading.figures.groups:
            if (found := value(group)) is not None:
                yield (group.name,), float(found)

    return Metric(name, kind, "{message}", text, ("group",), values)


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


_COUNTER, _AMOUNT, _LEVEL = Kind.COUNTER, Kind.AMOUNT, Kind.LEVEL

METRICS: Final = (
    _of_queue("enqueued_messages", _COUNTER, "{message}", "Messages enqueued.", lambda of: of.enqueued),
    _of_readers("delivered_messages", _COUNTER, "{message}", "Deliveries to consumers, redeliveries and what they passed over included.", lambda of: of.delivered),
    _of_groups("settled_messages", _COUNTER, "Messages that a group is done with: acked, or delivered where it takes no acks.", lambda of: of.total_items_read),
    _of_queue("expired_messages", _COUNTER, "{message}", "Messages removed by their TTL.", lambda of: of.expired),
    _of_queue("dropped_messages", _COUNTER, "{message}", "Messages dropped to make room.", lambda of: of.dropped),
    _of_queue("rejected_messages", _COUNTER, "{message}", "Messages refused: queue full.", lambda of: of.rejected),
    _of_readers("missed_messages", _COUNTER, "{message}", "Messages that left before they were read.", lambda of: of.missed),
    _missed_by_reason(),
    _of_groups("redelivered_messages", _COUNTER, "Deliveries that were not the first of their message.", lambda of: of.redelivered_items),
    _of_groups("dead_lettered_messages", _COUNTER, "Messages moved to the dead letter queue.", lambda of: of.dead_lettered_items),
    _of_groups("refused_dead_letters", _COUNTER, "Messages that the dead letter queue is too small for; they were missed.", lambda of: of.refused_dead_letters),
    _of_queue("retained_messages", _AMOUNT, "{message}", "Messages held.", lambda of: of.total_items),
    _of_queue("retained", _AMOUNT, "By", "Bytes held, payloads and overhead.", lambda of: of.memory_usage),
    _of_queue("limit_messages", _AMOUNT, "{message}", "The limit on the messages held, where there is one.", lambda of: of.max_items),
    _of_queue("limit", _AMOUNT, "By", "The limit on the bytes held.", lambda of: of.max_bytes),
    _of_reading("ttl", _LEVEL, "s", "The time that messages live, where they expire.", lambda of: of.figures.lifetime),
    _of_reading("closed", _LEVEL, "", "1: the queue is closed; 0: it is open.", lambda of: int(of.figures.closed)),
    _of_queue("audit", _AMOUNT, "By", "Bytes of the read records.", lambda of: of.audit_bytes),
    _of_queue("audit_complete", _LEVEL, "", "1: every read of what is held is on record; 0: room was short.", lambda of: _flag(of.audit_complete)),
    _of_reading("waiting_producers", _AMOUNT, "{producer}", "Producers that wait for room.", lambda of: of.figures.waiting_producers),
    _of_reading("oldest_message_age", _LEVEL, "s", "Age of the oldest message held.", lambda of: of.figures.oldest),
    _of_queue("consumers", _AMOUNT, "{consumer}", "Consumers registered.", lambda of: of.consumer_count),
    _of_readers("consumer_lag_messages", _AMOUNT, "{message}", "Messages not read yet.", lambda of: of.unread),
    _of_readers("unread", _AMOUNT, "By", "Bytes not read yet.", lambda of: of.unread_bytes),
    _of_readers("consumer_lag", _LEVEL, "s", "Age of the oldest message not read yet.", lambda of: of.lag),
    _of_groups("ack_pending_messages", _AMOUNT, "Messages delivered, not settled, and not ready again.", lambda of: of.pending_items),
    _of_reading("up", _LEVEL, "", "1: the server answers; 0: it does not, and what it knows is left out. Of queues over JetStream.", lambda of: _flag(of.figures.up)),
    _of_reading("drops_oldest", _LEVEL, "", "1: when full it drops its oldest messages; 0: it refuses new ones.", lambda of: _flag(of.figures.drops_oldest)),
)  # fmt: skip
"""Every metric there is."""
METRIC: Final = {metric.name: metric for metric in METRICS}
"""The same by name."""
