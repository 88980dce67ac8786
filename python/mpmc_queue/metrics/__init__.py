"""Metrics of queues, for Prometheus and OpenTelemetry.

They are read from the queues' own counters when they are scraped: what is not scraped costs nothing, and nothing is
added to what a message costs.

    from prometheus_client import REGISTRY
    from mpmc_queue.metrics import QueueCollector    # pip install "mpmc-queue[prometheus]"

    QueueCollector([orders, invoices], registry=REGISTRY)

    from mpmc_queue.metrics import instrument        # pip install "mpmc-queue[otel]"

    instrument([orders, invoices])

Every metric has the label `queue`. Consumers that have a name have a label `consumer` each; all those without a name
are summed under `consumer=""`, whoever comes and goes, so that they never grow into a label for each connection. What
belongs to a group has the label `group`: members are counted in `delivered` one by one, everything else of a group is
its own, for its members share it.

Counters never go backwards while what they count is there. What unnamed consumers contributed stays in their sum when
they are removed, exactly, also when they came and went between two scrapes. The series of a name ends when the last
consumer of that name is removed; should the name come back, it begins at zero, as after a restart. So give names to
consumers that stay, and none to those that come and go.

`delivered` counts deliveries: of an acknowledging group, each redelivery, too. What a consumer passes over without
looking (`read_latest`, `read_where`, a seek forward) counts as delivered. `settled` counts messages that a group is done
with, each once.

The names in Prometheus are those that OpenTelemetry's exporter for Prometheus makes of the names there: `mpmc.limit`, in
bytes, is `mpmc_limit_bytes`. (`mpmc_consumer_lag_bytes`, which is `mpmc.unread`, is older than that rule.) Grafana boards and alert rules work with either.

Queues over JetStream (`mpmc_queue.jetstream`) are taken, too, and may stand in one list with others. Their server is asked
at most once a second, in the event loop that they belong to. What it does not know has no sample. While it does not
answer, `mpmc_up` is 0, and of the queue's other series only `mpmc_closed` is left. In the thread of an event loop nobody waits
for the answer: there a scrape has the one before.

Queues are held weakly: one that nobody else holds any more disappears. Names must differ, except that a queue may take
the place of a closed one.

`METRICS` is the table of them all: names, kinds, units, what they mean.
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
        """Either library is imported when it is asked for: nobody needs both."""
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
