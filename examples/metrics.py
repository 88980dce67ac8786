"""Prometheus metrics of a queue: read from its own counters when they are scraped, so that messages cost nothing more.

Needs prometheus_client.
"""

import urllib.request
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mpmc_queue import Queue, QueueFullError


class QueueCollector(Collector):
    """The figures of some queues. Only consumers with a name get a label: others come and go without end."""

    def __init__(self, *queues: Queue[str]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        enqueued = CounterMetricFamily("mpmc_enqueued_messages", "Messages enqueued.", labels=["queue"])
        rejected = CounterMetricFamily("mpmc_rejected_messages", "Messages refused.", labels=["queue"])
        expired = CounterMetricFamily("mpmc_expired_messages", "Messages removed by their TTL.", labels=["queue"])
        held = GaugeMetricFamily("mpmc_retained_bytes", "Bytes held, payloads and overhead.", labels=["queue"])
        labels = ["queue", "consumer"]
        lag = GaugeMetricFamily("mpmc_consumer_lag_messages", "Messages a consumer has not read.", labels=labels)
        missed = CounterMetricFamily("mpmc_missed_messages", "Messages that left unread.", labels=labels)
        for queue in self._queues:
            stats = queue.stats()
            enqueued.add_metric([stats.name], stats.enqueued)
            rejected.add_metric([stats.name], stats.rejected)
            expired.add_metric([stats.name], stats.expired)
            held.add_metric([stats.name], stats.memory_usage)
            for consumer in queue.consumer_stats():
                if consumer.name is not None:
                    lag.add_metric([stats.name, consumer.name], consumer.unread_items)
                    missed.add_metric([stats.name, consumer.name], consumer.missed_items)
        yield from (enqueued, rejected, expired, held, lag, missed)


def main() -> None:
    orders = Queue[str]("orders", max_items=3)
    billing = orders.add_consumer("billing")
    orders.add_consumer("shipping")

    registry = CollectorRegistry()
    registry.register(QueueCollector(orders))
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    orders.enqueue_batch(["tea", "cups", "milk"])
    try:
        orders.enqueue("spoons")
    except QueueFullError:
        billing.get()

    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as response:
        page: str = response.read().decode()
    print("\n".join(line for line in page.splitlines() if line.startswith("mpmc_") and "_bytes" not in line))
    print("bytes held, as scraped:", f"{float(orders.memory_usage)}" in page)
    server.shutdown()
    thread.join()
    server.server_close()


if __name__ == "__main__":
    main()
