"""Prometheus metrics of a queue: read from its own counters when they are scraped, so that messages cost nothing more.

Needs prometheus_client: pip install "mpmc-queue[prometheus]"
"""

import urllib.request

from prometheus_client import CollectorRegistry, start_http_server

from mpmc_queue import Queue, QueueFullError
from mpmc_queue.metrics import QueueCollector


def main() -> None:
    orders = Queue[str]("orders", max_items=3)
    billing = orders.add_consumer("billing")
    orders.add_consumer("shipping")

    registry = CollectorRegistry()
    QueueCollector([orders], registry=registry)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    orders.enqueue_batch(["tea", "cups", "milk"])
    try:
        orders.enqueue("spoons")
    except QueueFullError:
        billing.get()

    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as response:
        page: str = response.read().decode()
    shown = ("mpmc_enqueued", "mpmc_rejected", "mpmc_consumer_lag_messages")
    print("\n".join(line for line in page.splitlines() if line.startswith(shown)))
    print("bytes held, as scraped:", f"{float(orders.memory_usage)}" in page)
    server.shutdown()
    thread.join()
    server.server_close()


if __name__ == "__main__":
    main()
