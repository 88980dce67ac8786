"""The metrics: their names, and that they agree with the queues' own counters, scraped with the real libraries."""

import doctest
import gc
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from harness import output_of
from helpers import expire_all
from mpmc_queue import Queue, QueueFullError
from mpmc_queue.metrics import METRICS, QueueCollector, _otel, _prometheus, _table, instrument

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

COUNTERS = {
    "mpmc_enqueued_messages_total": (),
    "mpmc_delivered_messages_total": ("consumer", "group"),
    "mpmc_settled_messages_total": ("group",),
    "mpmc_expired_messages_total": (),
    "mpmc_dropped_messages_total": (),
    "mpmc_rejected_messages_total": (),
    "mpmc_missed_messages_total": ("consumer", "group"),
    "mpmc_missed_by_reason_messages_total": ("consumer", "group", "reason"),
    "mpmc_redelivered_messages_total": ("group",),
    "mpmc_dead_lettered_messages_total": ("group",),
    "mpmc_refused_dead_letters_total": ("group",),
}
GAUGES = {
    "mpmc_retained_messages": (),
    "mpmc_retained_bytes": (),
    "mpmc_limit_messages": (),
    "mpmc_limit_bytes": (),
    "mpmc_ttl_seconds": (),
    "mpmc_closed": (),
    "mpmc_drops_oldest": (),
    "mpmc_waiting_producers": (),
    "mpmc_audit_bytes": (),
    "mpmc_audit_complete": (),
    "mpmc_oldest_message_age_seconds": (),
    "mpmc_consumers": (),
    "mpmc_consumer_lag_messages": ("consumer", "group"),
    "mpmc_consumer_lag_bytes": ("consumer", "group"),
    "mpmc_consumer_lag_seconds": ("consumer", "group"),
    "mpmc_ack_pending_messages": ("group",),
}
OVER_JETSTREAM = {"mpmc_up": ()}
"""Gauges that a queue in the process has no samples of."""
WITHOUT_OTEL_OR_PROMETHEUS = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prometheus_client", "opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import mpmc_queue.metrics as metrics
for name in ("QueueCollector", "instrument"):
    try:
        getattr(metrics, name)
    except ModuleNotFoundError as error:
        print(error)
"""


def flat(families: Any) -> Samples:
    """Every sample, by name and labels. No two may be the same."""
    samples: Samples = {}
    for family in families:
        for sample in family.samples:
            # To Prometheus, an empty label and a missing label are the same.
            key = sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if value))
            assert key not in samples, key
            samples[key] = sample.value
    return samples


class Prometheus:
    """A registry with a collector, scraped as text."""

    def __init__(self, *queues: Queue[Any]) -> None:
        self.registry = CollectorRegistry()
        self.collector = QueueCollector(queues)
        self.registry.register(self.collector)

    def scrape(self) -> Samples:
        return flat(parse(generate_latest(self.registry).decode()))

    def value(self, name: str, **labels: str) -> float | None:
        return self.scrape().get((name, tuple(sorted(({"queue": "test"} | labels).items()))))


class Otel:
    """A provider of the SDK whose reader is read explicitly."""

    def __init__(self, *queues: Queue[Any]) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        self.instruments = instrument(queues, meter_provider=self.provider)

    def collect(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {metric.name: metric for resource in data.resource_metrics for scope in resource.scope_metrics
                for metric in scope.metrics}  # fmt: skip

    def scrape(self) -> Samples:
        return {
            (name, tuple(sorted(point.attributes.items()))): point.value
            for name, metric in self.collect().items()
            for point in metric.data.data_points
        }


@pytest.fixture
def otel() -> Iterator[Any]:
    made: list[Otel] = []

    def make(*queues: Queue[Any]) -> Otel:
        made.append(Otel(*queues))
        return made[-1]

    yield make
    for each in made:
        each.provider.shutdown()


@pytest.fixture
def busy(make_queue: Any) -> Queue[Any]:
    """A queue in which everything has happened that a metric counts."""
    dead = Queue[Any]("dead", ttl=None)
    queue = make_queue(ttl=1000, max_items=10, overflow="drop_oldest", max_bytes=5_000)
    named = queue.add_consumer("billing")
    for _ in range(2):
        queue.add_consumer()
    group = queue.add_group("workers", ack_wait=1000, max_deliver=2, dead_letter=dead)
    worker = group.add_consumer("one")
    queue.enqueue_batch(range(5))
    expire_all(queue)
    queue.enqueue_batch(range(10))
    queue.enqueue_batch(range(2))  # drops 2
    with pytest.raises(QueueFullError):
        queue.enqueue("x" * 100_000)
    named.read_batch(4)
    for consumer in queue.consumers[1:3]:
        consumer.read_batch(3)
    acked, poison = worker.read_batch(2)
    acked.ack()
    poison.nack()
    worker.read().nack()  # its second delivery: the group gives it up
    worker.read()
    return queue


EXPECTED: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
    ("enqueued_messages", ()): 17,
    ("expired_messages", ()): 5,
    ("dropped_messages", ()): 2,
    ("rejected_messages", ()): 1,
    ("retained_messages", ()): 10,
    ("limit", ()): 5_000,
    ("limit_messages", ()): 10,
    ("ttl", ()): 1000,
    ("closed", ()): 0,
    ("audit_complete", ()): 1,
    ("consumers", ()): 4,
    ("delivered_messages", (("consumer", "billing"),)): 4,
    ("delivered_messages", ()): 6,
    ("delivered_messages", (("consumer", "one"), ("group", "workers"))): 4,  # including redeliveries
    ("settled_messages", (("group", "workers"),)): 1,
    ("missed_messages", (("consumer", "billing"),)): 7,
    ("missed_messages", ()): 14,
    ("missed_messages", (("group", "workers"),)): 7,
    ("missed_by_reason_messages", (("consumer", "billing"), ("reason", "expired"))): 5,
    ("missed_by_reason_messages", (("consumer", "billing"), ("reason", "dropped"))): 2,
    ("missed_by_reason_messages", (("reason", "expired"),)): 10,
    ("missed_by_reason_messages", (("reason", "dropped"),)): 4,
    ("missed_by_reason_messages", (("group", "workers"), ("reason", "expired"))): 5,
    ("missed_by_reason_messages", (("group", "workers"), ("reason", "dropped"))): 2,
    ("missed_by_reason_messages", (("group", "workers"), ("reason", "undeliverable"))): 0,
    ("redelivered_messages", (("group", "workers"),)): 1,
    ("dead_lettered_messages", (("group", "workers"),)): 1,
    ("refused_dead_letters", (("group", "workers"),)): 0,
    ("ack_pending_messages", (("group", "workers"),)): 1,
    ("consumer_lag_messages", (("consumer", "billing"),)): 6,
    ("consumer_lag_messages", ()): 14,
    ("consumer_lag_messages", (("group", "workers"),)): 7,
}


def expected(names: dict[str, str]) -> Samples:
    """The expected samples of the busy queue, with the names of one library."""
    return {(names[name], tuple(sorted([("queue", "test"), *labels]))): value
            for (name, labels), value in EXPECTED.items()}  # fmt: skip


def test_the_names_are_these():
    assert {metric.unit for metric in METRICS} == {"{message}", "{consumer}", "{producer}", "By", "s", ""}
    assert {metric.prometheus: metric.labels for metric in METRICS} == COUNTERS | GAUGES | OVER_JETSTREAM


def test_names_in_opentelemetry_have_a_prefix_and_no_unit():
    names = [metric.otel for metric in METRICS]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"mpmc\.[a-z]+(_[a-z]+)*", name)
        assert not re.search(r"bytes|seconds|ratio|total", name)


def test_opentelemetrys_exporter_makes_the_same_names_for_prometheus(busy):
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    reader = exporter.PrometheusMetricReader()
    provider = MeterProvider([reader])
    instrument(busy, meter_provider=provider)
    try:
        exported = {
            (
                {"mpmc_unread_bytes": "mpmc_consumer_lag_bytes"}.get(sample.name, sample.name),  # the older name
                tuple(sorted(item for item in sample.labels.items() if not item[0].startswith("otel_") and item[1])),
            )
            for family in reader._collector.collect()
            for sample in family.samples
            if sample.name != "target_info"
        }
    finally:
        provider.shutdown()
    assert {name for name, _ in exported} == COUNTERS.keys() | GAUGES.keys()
    assert exported == Prometheus(busy).scrape().keys()


def test_a_metric_that_does_not_apply_has_no_sample(make_queue):
    queue = make_queue(ttl=None)
    scraped = Prometheus(queue)
    assert (scraped.value("mpmc_ttl_seconds"), scraped.value("mpmc_limit_messages")) == (None, None)
    queue.ttl, queue.max_items = 5, 7
    assert (scraped.value("mpmc_ttl_seconds"), scraped.value("mpmc_limit_messages")) == (5, 7)
    queue.disable_expiration()
    assert scraped.value("mpmc_ttl_seconds") is None


def test_a_closed_queue_is_reported(make_queue):
    queue = make_queue()
    scraped = Prometheus(queue)
    assert scraped.value("mpmc_closed") == 0
    queue.close()
    assert scraped.value("mpmc_closed") == 1


@pytest.mark.parametrize("ack_wait", [None, 1000])
def test_delivered_counts_deliveries_and_settled_counts_messages(make_queue, ack_wait):
    queue = make_queue()
    group = queue.add_group("workers", ack_wait=ack_wait)
    worker = group.add_consumer("one")
    queue.enqueue_batch("ab")
    scraped = Prometheus(queue)

    def counters() -> tuple[float | None, float | None]:
        return (
            scraped.value("mpmc_delivered_messages_total", consumer="one", group="workers"),
            scraped.value("mpmc_settled_messages_total", group="workers"),
        )

    message = worker.read()
    assert counters() == (1, 0 if ack_wait else 1)
    if ack_wait:
        message.nack()
        worker.read().ack()
        assert counters() == (2, 1)


def test_missed_messages_are_counted_by_reason_when_their_readers_have_gone_too(make_queue):
    queue = make_queue(ttl=1000, max_items=4, overflow="drop_oldest")
    group = queue.add_group("workers", ack_wait=1000, max_deliver=1)
    kept, gone = queue.add_consumer("billing"), queue.add_consumer("billing")
    worker = group.add_consumer()
    queue.enqueue_batch(range(3))
    worker.read().nack()  # it has no dead letter queue
    expire_all(queue)
    queue.enqueue_batch(range(4))
    queue.enqueue_batch(range(2))  # drops 2
    scraped = Prometheus(queue)

    def missed(**labels: str) -> list[float | None]:
        reasons = ("expired", "dropped", "undeliverable")
        return [scraped.value("mpmc_missed_by_reason_messages_total", reason=reason, **labels) for reason in reasons]

    assert (gone.stats().missed_items, gone.stats().dropped_items) == (5, 2)
    assert (group.stats().dropped_items, group.stats().undeliverable_items) == (2, 1)
    gone.close()
    kept.seek("latest")
    kept.seek("earliest")
    queue.enqueue(6)  # drops one more
    assert missed(consumer="billing") == [6, 5, None]
    assert missed(group="workers") == [2, 3, 1]


def test_prometheus_reads_the_queues_own_figures(busy):
    samples = Prometheus(busy).scrape()
    wanted = expected({metric.name: metric.prometheus for metric in METRICS})
    assert {key: samples.get(key) for key in wanted} == wanted
    (billing,) = [stats for stats in busy.consumer_stats() if stats.name == "billing"]
    labels = (("consumer", "billing"), ("queue", "test"))
    assert samples["mpmc_consumer_lag_bytes", labels] == billing.unread_bytes > 0
    assert 0 < samples["mpmc_consumer_lag_seconds", labels] <= billing.lag
    assert samples["mpmc_retained_bytes", (("queue", "test"),)] == busy.memory_usage
    assert samples["mpmc_oldest_message_age_seconds", (("queue", "test"),)] > 0


def test_otel_reads_the_queues_own_figures(busy, otel):
    samples = otel(busy).scrape()
    wanted = expected({metric.name: metric.otel for metric in METRICS})
    assert {key: samples.get(key) for key in wanted} == wanted


def test_otel_instruments_have_their_units_and_kinds(busy, otel):
    metrics = otel(busy).collect()
    sampled = [metric for metric in METRICS if metric.prometheus not in OVER_JETSTREAM]
    assert metrics.keys() == {metric.otel for metric in sampled}
    for metric in sampled:
        found = metrics[metric.otel]
        assert (found.unit, found.description) == (metric.unit, metric.help)
        kind = getattr(found.data, "is_monotonic", None)
        assert kind is {"counter": True, "amount": False, "level": None}[metric.kind.value]
        assert (kind is True) == (metric.prometheus in COUNTERS)


def test_otel_reads_each_queue_once_a_collection(make_queue, otel):
    queue = make_queue()
    consumer = queue.add_consumer("reader")
    metrics = otel(queue)
    for count in range(1, 4):  # at shorter intervals than a reading stays valid
        queue.enqueue("a")
        samples = metrics.scrape()
        assert samples["mpmc.enqueued_messages", (("queue", "test"),)] == count
        labels = (("consumer", "reader"), ("queue", "test"))
        assert samples["mpmc.consumer_lag_messages", labels] == count
    assert consumer.unread_count == 3


def test_each_metric_has_its_type_and_help(busy):
    families = {family.name: family for family in parse(generate_latest(Prometheus(busy).registry).decode())}
    for name in COUNTERS:
        assert families[name.removesuffix("_total")].type == "counter"
    for name in GAUGES:
        assert families[name].type == "gauge"
    assert all(family.documentation for family in families.values())


def test_openmetrics_format_can_be_scraped_too(busy):
    registry = Prometheus(busy).registry
    parsed = flat(parse_openmetrics(generate_openmetrics(registry).decode()))
    assert parsed.keys() == Prometheus(busy).scrape().keys()


def test_a_real_scrape_over_http(busy):
    server, thread = start_http_server(0, addr="127.0.0.1", registry=Prometheus(busy).registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=20) as response:
            samples = flat(parse(response.read().decode()))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert samples["mpmc_enqueued_messages_total", (("queue", "test"),)] == 17


def test_topics_are_not_labels_and_filtered_readers_count_matches(make_queue):
    queue = make_queue()
    queue.add_consumer("orders", topics="orders.>").read()
    queue.add_group("workers", topics="jobs.*")
    for number in range(5):
        queue.enqueue(number, topic=f"orders.{number}")
    queue.enqueue("job", topic="jobs.new")
    scraped = Prometheus(queue)
    assert scraped.value("mpmc_enqueued_messages_total") == 6
    assert scraped.value("mpmc_consumer_lag_messages", consumer="orders") == 5
    assert scraped.value("mpmc_consumer_lag_messages", group="workers") == 1
    assert {name for _, labels in scraped.scrape() for name, _ in labels} == {"queue", "consumer", "group", "reason"}


def test_names_with_every_kind_of_character_survive_the_text_format(make_queue):
    name = 'a"b\\c\nd{e}=é,🚀'
    queue = make_queue(name)
    queue.add_consumer(name).close()
    queue.add_consumer(name)
    samples = Prometheus(queue).scrape()
    assert samples["mpmc_delivered_messages_total", (("consumer", name), ("queue", name))] == 0


@pytest.mark.parametrize("library", [Prometheus, Otel])
def test_queues_are_held_weakly(library):
    queue = Queue[Any]("test")
    watching = library(queue)
    assert watching.scrape()
    del queue
    gc.collect()
    assert watching.scrape() == {}


def test_queues_can_be_added_and_removed(make_queue, otel):
    first, second = make_queue("first"), make_queue("second")
    prometheus, instruments = Prometheus(first), otel(first)

    def queues() -> list[set[str]]:
        return [{dict(key[1])["queue"] for key in each.scrape()} for each in (prometheus, instruments)]

    for watching in (prometheus.collector, instruments.instruments):
        watching.add(second)
        watching.add(second)
    assert queues() == [{"first", "second"}] * 2
    for watching in (prometheus.collector, instruments.instruments):
        watching.discard(first)
        watching.discard(first)
    assert queues() == [{"second"}] * 2


@pytest.mark.parametrize("make", [QueueCollector, instrument])
def test_two_queues_with_the_same_name_are_refused(make):
    one, other = Queue[Any]("orders"), Queue[Any]("orders")
    with pytest.raises(ValueError, match="'orders' is watched already"):
        make([one, other])


def test_a_queue_takes_the_place_of_a_closed_one(make_queue):
    old, new = make_queue(), make_queue()
    scraped = Prometheus(old)
    old.enqueue_batch("ab")
    old.close()
    scraped.collector.add(new)
    new.enqueue("a")
    assert scraped.value("mpmc_enqueued_messages_total") == 1


@pytest.mark.parametrize("make", [QueueCollector, instrument])
@pytest.mark.parametrize(("queues", "name"), [(None, "queues"), (3, "queues"), (["q"], "queue"), ("q", "queue")])
def test_an_object_that_is_not_a_queue_is_refused(make, queues, name):
    with pytest.raises(TypeError, match=f"^{name} must be a Queue"):
        make(queues)


def test_a_second_collector_in_a_registry_is_refused_in_one_line(busy):
    scraped = Prometheus(busy)
    message = "the registry has metrics of mpmc_queue already: add the queues to the QueueCollector registered there"
    with pytest.raises(ValueError, match=f"^{message}$"):
        QueueCollector([], registry=scraped.registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):  # the text of prometheus_client
        scraped.registry.register(QueueCollector([]))
    other = CollectorRegistry()
    QueueCollector(busy, registry=other)
    assert other.get_sample_value("mpmc_consumers", {"queue": "test"}) == 4


def test_instruments_are_made_once_for_a_provider(busy, otel, caplog):
    first = otel(busy)
    message = "the meter provider has metrics of mpmc_queue already: add the queues to what instrument() returned"
    with pytest.raises(ValueError, match=re.escape(message)):
        instrument([], meter_provider=first.provider)
    assert caplog.records == []
    assert otel(busy).scrape().keys() == first.scrape().keys()


@pytest.mark.thread_unsafe
def test_without_the_libraries_it_says_what_to_install():
    assert output_of(WITHOUT_OTEL_OR_PROMETHEUS).splitlines() == [
        'QueueCollector needs prometheus_client: pip install "mpmc-queue[prometheus]"',
        'instrument needs opentelemetry: pip install "mpmc-queue[otel]"',
    ]


@pytest.mark.thread_unsafe
def test_the_package_imports_none_of_it():
    source = "import sys, mpmc_queue; print([name for name in sys.modules if name.startswith(('prometheus_client',"
    source += " 'opentelemetry', 'starlette', 'http.server', 'mpmc_queue.metrics', 'mpmc_queue.dashboard'))])"
    assert output_of(source) == "[]\n"


def test_a_scrape_reads_and_removes_nothing(make_queue):
    queue = make_queue(retention="interest")
    reader = queue.add_consumer()
    queue.enqueue_batch("ab")
    Prometheus(queue).scrape()
    assert (len(queue), reader.unread_count, len(queue.consumers)) == (2, 2, 1)
    assert len(reader.peek().events) == 1


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("module", [_prometheus, _otel, _table])
def test_the_examples_in_the_docstrings_run(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
