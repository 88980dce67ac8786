"""The metrics of queues over a server: what it knows, what this side knows, and what nobody does."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from helpers import PATIENCE
from mpmc_queue import jetstream
from mpmc_queue.metrics import METRICS, instrument
from mpmc_queue.protocols import answer
from scraping import Scraper, busy, collect, eventually, in_thread, settled

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

EXPECTED = {
    ("enqueued_messages",): 7,
    ("retained_messages",): 7,
    ("limit_messages",): 10,
    ("limit",): 1_048_576,
    ("ttl",): 1000,
    ("closed",): 0,
    ("consumers",): 4,
    ("up",): 1,
    ("drops_oldest",): 0,
    ("delivered_messages", "billing"): 3,
    ("delivered_messages",): 1,
    ("delivered_messages", "eu"): 0,
    ("delivered_messages", "workers"): 2,
    ("missed_messages", "billing"): 0,
    ("missed_messages",): 0,
    ("missed_messages", "eu"): 0,
    ("consumer_lag_messages", "billing"): 4,
    ("consumer_lag_messages",): 6,
    ("consumer_lag_messages", "eu"): 1,
    ("consumer_lag_messages", "workers"): 5,
    ("ack_pending_messages", "workers"): 1,
}
"""What is known of the busy queue, and is the same each time."""
UNKNOWN = {
    "settled_messages", "expired_messages", "dropped_messages", "rejected_messages", "redelivered_messages",
    "dead_lettered_messages", "refused_dead_letters", "audit", "audit_complete", "unread", "waiting_producers",
    "missed_by_reason_messages",
}  # fmt: skip
"""What a server does not know: there is no sample of it."""


def assert_expected(samples, names):
    found = {(names[key[0]], *key[1:]): value for key, value in samples.items()}
    assert EXPECTED.items() <= found.items()
    assert not UNKNOWN & {key[0] for key in found}
    assert {key[0] for key in found} | UNKNOWN == {metric.name for metric in METRICS}
    assert found[("retained",)] > 7 * 50
    assert 0 < found["consumer_lag", "billing"] <= found[("oldest_message_age",)] < PATIENCE
    # Of a group it is not known how long its oldest message waits.
    assert {key[1:] for key in found if key[0] == "consumer_lag"} == {("billing",), (), ("eu",)}


def test_prometheus_has_the_figures_that_are_known(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        scrape = Scraper(queue)
        await eventually(scrape.fresh, settled)
        names = {metric.prometheus: metric.name for metric in METRICS}
        assert_expected(await in_thread(scrape), names)

    run_remote(test)


def test_opentelemetry_has_the_same(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        await eventually(Scraper(queue).fresh, settled)
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        instrument(queue, meter_provider=provider)
        samples = await in_thread(lambda: collect(reader))
        provider.shutdown()
        assert_expected(samples, {metric.otel: metric.name for metric in METRICS})

    run_remote(test)


def test_a_synchronous_queue_has_them_too(nats):
    with jetstream.connect_sync(nats.url, "metrics-sync") as queue:
        reader = queue.add_consumer("reader")
        queue.enqueue_batch("abc")
        reader.get()
        found = Scraper(queue)()
        assert (found["mpmc_enqueued_messages_total",], found["mpmc_up",]) == (3, 1)
        assert found["mpmc_consumer_lag_messages", "reader"] == 2
        assert found["mpmc_delivered_messages_total", "reader"] == 1
        queue.delete()


def test_the_figures_agree_with_stats(run_remote):
    async def test(place):
        queue, readers, _ = await busy(place)
        scrape = Scraper(queue)
        found = await eventually(scrape.fresh, settled)
        for reader in readers:
            stats, label = await answer(reader.stats()), [reader.name] if reader.name else []
            assert found["mpmc_delivered_messages_total", *label] == stats.total_items_read
            assert found["mpmc_missed_messages_total", *label] == stats.missed_items
            assert found["mpmc_consumer_lag_messages", *label] == stats.unread_items

    run_remote(test)


def test_named_consumers_and_groups_of_other_processes_are_told(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        async with await jetstream.connect(place.url, queue.name, ttl=1000, max_items=10) as other:
            await other.add_consumer("theirs")
            await other.add_consumer()
            found = await eventually(Scraper(other).fresh, settled)
        assert found["mpmc_consumer_lag_messages", "billing"] == 4
        assert found["mpmc_consumer_lag_messages", "eu"] == 1
        assert found["mpmc_delivered_messages_total", "workers"] == 2
        # What it has read, and how far it is behind in time, only its own process knows; so it is without a name.
        assert ("mpmc_delivered_messages_total", "billing") not in found
        assert ("mpmc_consumer_lag_seconds", "billing") not in found
        assert found["mpmc_consumer_lag_messages",] == 7

    run_remote(test)


def test_deliveries_to_a_group_are_counted_with_redeliveries(run_remote):
    async def test(place):
        queue = await place.queue()
        worker = (await queue.add_group("workers", ack_wait=1000)).add_consumer()
        await queue.aenqueue("a")
        (await worker.aread()).nack()
        await worker.aread()
        found = await in_thread(Scraper(queue))
        names = ("delivered_messages_total", "ack_pending_messages", "consumer_lag_messages")
        assert [found[f"mpmc_{name}", "workers"] for name in names] == [2, 1, 0]

    run_remote(test)


def test_missed_messages_are_counted_and_not_taken_back(run_remote):
    async def test(place):
        queue = await place.queue(max_items=5, overflow="drop_oldest", prefetch=1)
        named, unnamed = await queue.add_consumer("slow"), await queue.add_consumer()
        scrape = Scraper(queue)
        for _ in range(5):
            await queue.aenqueue_batch(range(5))
        keys = [("mpmc_missed_messages_total", "slow"), ("mpmc_missed_messages_total",)]
        first = await in_thread(scrape.fresh)
        assert all(first[key] > 10 for key in keys)
        while await named.aread(timeout=0):
            pass
        while await unnamed.aread(timeout=0):
            pass
        last = await in_thread(scrape.fresh)
        assert [last[key] for key in keys] == [named.missed_count, unnamed.missed_count]
        assert all(last[key] >= first[key] for key in keys)
        assert last["mpmc_drops_oldest",] == 1
        # What one without a name has read and missed stays in the sum when it is closed.
        unnamed.close()
        gone = await in_thread(scrape.fresh)
        for name in ("mpmc_missed_messages_total", "mpmc_delivered_messages_total"):
            assert gone[name,] == last[name,]
            assert (name, "slow") in gone
        named.close()
        gone = await in_thread(scrape.fresh)
        assert ("mpmc_missed_messages_total", "slow") not in gone

    run_remote(test)


def test_what_expires_is_missed_before_anybody_reads_on_and_a_scrape_counts_nothing(run_remote):
    async def test(place):
        queue = await place.queue(ttl=1)
        reader, eu = await queue.add_consumer("reader"), await queue.add_consumer("eu", topics="eu.>")
        scrape = Scraper(queue)
        await queue.aenqueue_batch(range(3))
        await queue.aenqueue("here", topic="eu.new")
        await eventually(scrape.fresh, lambda found: found["mpmc_missed_messages_total", "reader"] == 4)
        found = await in_thread(scrape.fresh)
        assert found["mpmc_missed_messages_total", "eu"] == 1
        for name in ("reader", "eu"):
            assert found["mpmc_consumer_lag_messages", name] == found["mpmc_consumer_lag_seconds", name] == 0
        assert (reader.missed_count, eu.missed_count, reader.position) == (0, 0, 0)
        await queue.aenqueue("next")
        assert (await reader.aread()).missed == 4
        found = await in_thread(scrape.fresh)
        assert (found["mpmc_missed_messages_total", "reader"], reader.missed_count) == (4, 4)

    run_remote(test)
