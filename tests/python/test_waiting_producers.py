"""Producers that wait for room: in the metrics, in samples of the dashboard, and on its page."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from browsing import expect
from dashboards import first, snapshots, until
from harness import eventually
from mpmc_queue import Consumer, Queue
from mpmc_queue.metrics import QueueCollector


class Full(NamedTuple):
    """A full queue for which a producer waits, and the reader that it waits for."""

    queue: Queue[Any]
    reader: Consumer[Any]
    producer: Any


@pytest.fixture
def make_full(make_queue: Any, run_thread: Any) -> Callable[[], Full]:
    def make() -> Full:
        queue = make_queue("full", max_items=1, retention="interest")
        reader = queue.add_consumer("reader")
        queue.enqueue("a")
        producer = run_thread(queue.enqueue, "b", timeout=None)
        eventually(lambda: waiting(queue) == 1)
        return Full(queue, reader, producer)

    return make


def waiting(queue: Queue[Any]) -> float | None:
    """The metric, as it is scraped."""
    registry = CollectorRegistry()
    QueueCollector(queue, registry=registry)
    return registry.get_sample_value("mpmc_waiting_producers", {"queue": queue.name})


def test_the_metric_counts_a_blocked_producer_until_it_goes_on(make_full):
    full = make_full()
    assert full.reader.get() == "a"
    assert full.producer.result() == 1
    assert waiting(full.queue) == 0


def test_the_metric_counts_no_producer_of_a_closed_queue(make_full):
    full = make_full()
    full.queue.close(immediate=True)
    eventually(lambda: waiting(full.queue) == 0)


def test_a_sample_counts_blocked_producers(make_full, make_queue, dashboard):
    full = make_full()
    with snapshots(dashboard([full.queue, make_queue("empty")])) as stream:
        rows = next(stream)["queues"]
        assert [row["waiting_producers"] for row in rows] == [1, 0]
        full.reader.get()
        until(stream, lambda snapshot: snapshot["queues"][0]["waiting_producers"] == 0)


def test_a_sample_tells_retention_and_overflow(make_full, make_queue, dashboard):
    full = make_full()
    drops = make_queue("drops", overflow="drop_oldest")
    rows = first(dashboard([full.queue, drops]))["queues"]
    assert [(row["retention"], row["overflow"]) for row in rows] == [("interest", "reject"), ("limits", "drop_oldest")]


@pytest.mark.thread_unsafe
def test_the_page_counts_queues_with_waiting_producers(make_full, make_queue, dashboard, tab):
    full = make_full()
    shown = tab().open(dashboard([make_queue("empty"), full.queue]).url)
    button = shown.page.locator("#summary button[data-kind=waiting]")
    expect(button).to_have_text("1 with waiting producers")
    assert button.get_attribute("data-level") == "warn"
    shown.is_told("[data-setting=waiting]", "0")
    button.click()
    expect(shown.page.locator("#queues tbody tr")).to_have_count(1)
    row = shown.page.locator("#queues tbody tr")
    expect(row.locator(".tag.warn")).to_have_text(["full", "producers wait"])
    row.click()
    shown.is_told("[data-setting=waiting]", "1")
    expect(shown.page.locator("[data-setting=waiting]")).to_have_class(re.compile(r"\bwarn\b"))
    button.click()
    full.reader.get()
    full.reader.get(timeout=None)
    expect(button).to_be_hidden()
    shown.is_told("[data-setting=waiting]", "0")
    expect(shown.page.locator("#queues tbody tr")).to_have_count(2)
