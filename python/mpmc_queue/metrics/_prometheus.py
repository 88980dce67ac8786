"""The collector for prometheus_client."""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from mpmc_queue._watching import Watchable, Watched
from mpmc_queue.metrics._table import METRICS, Kind, Metric, read


class QueueCollector(Collector):
    """Reads queues whenever Prometheus scrapes.

    queues      a Queue or several, referred to weakly; also those of `mpmc_queue.jetstream`. `add` watches more.
    registry    where to register the collector; None: nowhere, call `registry.register(collector)` later.

    A registry takes one collector: `add` all queues of a program to it.

    Raises TypeError for an object that is not a Queue, and ValueError when two queues have the same name, or when the
    registry has a collector already.

    >>> from mpmc_queue import Queue
    >>> from prometheus_client import CollectorRegistry
    >>> queue, registry = Queue("orders"), CollectorRegistry()
    >>> collector = QueueCollector(queue, registry=registry)
    >>> collector.add(Queue("invoices"))
    >>> _ = queue.enqueue("order")
    >>> registry.get_sample_value("mpmc_enqueued_messages_total", {"queue": "orders"})
    1
    """

    def __init__(self, queues: Watchable | Iterable[Watchable], *, registry: CollectorRegistry | None = None) -> None:
        self._watched = Watched(queues, distinct_names=True)
        if registry is not None:
            try:
                registry.register(self)
            except ValueError:
                # The registry's own error lists all names.
                raise ValueError(
                    "the registry has metrics of mpmc_queue already: add the queues to the QueueCollector registered there"
                ) from None

    def add(self, queue: Watchable) -> None:
        """Watches one more queue; nothing happens if it is watched already."""
        self._watched.add(queue)

    def discard(self, queue: Watchable) -> None:
        """Stops watching a queue; nothing happens if it was not watched."""
        self._watched.discard(queue)

    def describe(self) -> Iterator[Family]:
        """The metrics without values; the registry uses them to detect duplicate names."""
        return (_family(metric) for metric in METRICS)

    def collect(self) -> Iterator[Family]:
        """The metrics with their current values."""
        readings = read(self._watched)
        for metric in METRICS:
            family = _family(metric)
            for name, reading in readings:
                for labels, value in metric.values(reading):
                    family.add_metric((name, *labels), value)
            yield family


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return family(metric.family, metric.help, labels=("queue", *metric.labels))
