"""Scrapes of queues over a server, as the tests of the metrics make them."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from helpers import PATIENCE
from mpmc_queue._asking import PAUSE
from mpmc_queue.metrics import QueueCollector

DOWN = {("mpmc_closed",): 0, ("mpmc_up",): 0}
"""All there is of a queue whose server does not answer."""


class Scraper:
    """A registry with a collector; called, it is scraped."""

    def __init__(self, *queues):
        self.registry = CollectorRegistry()
        self.collector = QueueCollector(queues, registry=self.registry)

    def __call__(self):
        return {
            (sample.name, *(label for label in (sample.labels.get("consumer"), sample.labels.get("group")) if label)):
            sample.value
            for family in self.registry.collect() for sample in family.samples
        }  # fmt: skip

    def fresh(self):
        """A scrape for which servers are asked, however soon it comes after the one before."""
        for queue in self.collector._watched:
            queue._watch._begun -= PAUSE
        return self()


def collect(reader):
    data = reader.get_metrics_data()
    return {
        (metric.name, *(point.attributes[label] for label in ("consumer", "group") if label in point.attributes)):
        point.value
        for resource in data.resource_metrics for scope in resource.scope_metrics
        for metric in scope.metrics for point in metric.data.data_points
    }  # fmt: skip


async def in_thread(call):
    """As a server of metrics calls it: in a thread that has no event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, call)


async def questions(queue):
    """How many the server has been asked in all: the one for this is counted, too."""
    return (await queue._server.ask("INFO"))["api"]["total"]


async def eventually(call, condition):
    async with asyncio.timeout(PATIENCE):
        while not condition(found := await in_thread(call)):
            pass
    return found


async def busy(place, **options):
    queue = await place.queue(ttl=1000, max_items=10, **options)
    billing, unnamed = await queue.add_consumer("billing"), await queue.add_consumer()
    eu = await queue.add_consumer("eu", topics="eu.>")
    group = await queue.add_group("workers", ack_wait=1000)
    await queue.aenqueue_batch(range(6))
    await queue.aenqueue(6, topic="eu.new")
    for _ in range(3):
        await billing.aread()
    await unnamed.aread()
    worker = group.add_consumer("one")
    await (await worker.aread()).ack(confirm=True)
    await worker.aread()
    return queue, [billing, unnamed, eu], group


def settled(found):
    """Whether the server has heard of everything that was read: it does so a moment later."""
    return [found.get(("mpmc_consumer_lag_messages", name)) for name in ("workers", "billing")] == [5, 4]


def timed(call):
    began = time.monotonic()
    return call(), time.monotonic() - began
