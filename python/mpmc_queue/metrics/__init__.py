"""Metrics of queues, for Prometheus and OpenTelemetry.

A scrape reads the counters that the queues keep anyway. Metrics add no cost per message, and none at all while nothing
scrapes them.

    from prometheus_client import REGISTRY
    from mpmc_queue.metrics import QueueCollector    # pip install "mpmc-queue[prometheus]"

    QueueCollector([orders, invoices], registry=REGISTRY)

    from mpmc_queue.metrics import instrument        # pip install "mpmc-queue[otel]"

    instrument([orders, invoices])

Every metric has the label `queue`. The label `consumer` is the consumer's name. All consumers without a name are summed
under `consumer=""`, so that short-lived connections do not create a new series each. Metrics of a group have the label
`group`. `delivered` is counted for each member of a group; all other metrics are those of the whole group, because its
members share one position.

Counters never go backwards as long as their series exists. When an unnamed consumer is removed, its counts stay in the sum,
exactly, even if it was added and removed between two scrapes. The series of a name ends when the last consumer of that
name is removed; if the name is used again, it starts at zero, as after a restart. So name long-lived consumers, and leave
short-lived ones unnamed.

`delivered` counts deliveries, including each redelivery by an acknowledging group. Messages that a consumer passes over
(`read_latest`, `read_where`, a seek forward) count as delivered. `settled` counts messages that a group is done with, each
once.

The Prometheus names are those that OpenTelemetry's Prometheus exporter derives from the OpenTelemetry names: `mpmc.limit`,
in bytes, becomes `mpmc_limit_bytes`. (The exception is `mpmc_consumer_lag_bytes`, for `mpmc.unread`: it is older than that
rule.) So Grafana dashboards and alert rules work with either library.

Queues over JetStream (`mpmc_queue.jetstream`) are accepted, too, also together with other queues. Their server is asked at
most once a second, in the event loop that the queue belongs to. A value that the server does not know has no sample. While
the server does not answer, `mpmc_up` is 0, and `mpmc_closed` is the only other series of the queue. A scrape in the thread
of an event loop does not wait for the server: it reports the previous answer.

Queues are referred to weakly: one that nothing else refers to disappears. Names must be unique, but a queue may replace a
closed one of the same name.

`METRICS` is the table of all metrics: names, kinds, units, meanings.
"""

from typing import TYPE_CHECKING

from mpmc_queue.metrics._table import METRICS, Kind, Metric

if TYPE_CHECKING:
    from mpmc_queue.metrics._otel import instrument
    from mpmc_queue.metrics._prometheus import QueueCollector
else:
    _EXTRAS = {
        "QueueCollector": ("_prometheus", "prometheus_client", "prometheus"),
        "instrument": ("_otel", "opentelemetry", "otel"),
    }

    def __getattr__(name):
        """Imports a metrics library only when it is used, because a program normally needs one of them."""
        if name not in _EXTRAS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module, library, extra = _EXTRAS[name]
        try:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != library:
                raise
            message = f'{name} needs {error.name}: pip install "mpmc-queue[{extra}]"'
            raise ModuleNotFoundError(message, name=error.name) from error


__all__ = ["METRICS", "Kind", "Metric", "QueueCollector", "instrument"]
