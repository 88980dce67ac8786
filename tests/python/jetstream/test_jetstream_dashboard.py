"""The dashboard of queues over a server: what is known is shown, what is not is said to be so, and nothing waits."""

import json
import re
import time
from itertools import pairwise

import pytest

import servers
from browsing import Tab, expect
from dashboards import ask, request, snapshots, unfolded, until
from helpers import PATIENCE
from mpmc_queue import Queue, jetstream
from mpmc_queue._asking import PAUSE, ROUND
from mpmc_queue.dashboard import app

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

WIDE = {"width": 1700, "height": 1000}
UNKNOWN = {
    "audit_bytes", "audit_complete", "expired", "dropped", "rejected", "dropped_rate", "rejected_rate", "redelivered",
    "redelivered_rate", "dead_lettered", "dead_lettered_rate",
}  # fmt: skip


def row_of(snapshot, name):
    (row,) = [row for row in snapshot["queues"] if row["name"] == name]
    return row


def answered(name):
    return lambda snapshot: row_of(snapshot, name)["problem"] is None


@pytest.fixture
def orders(nats):
    """A queue with a consumer, a group, and a consumer of another process's."""
    with jetstream.connect_sync(nats.url, "orders", ttl=1000, max_items=10) as queue:
        reader = queue.add_consumer("billing")
        group = queue.add_group("workers", ack_wait=1000)
        with jetstream.connect_sync(nats.url, "orders", ttl=1000, max_items=10) as other:
            other.add_consumer("theirs")
            other.add_consumer()  # nobody's but that process's
            queue.enqueue_batch(range(5))
            reader.get_batch(2)
            group.add_consumer().read(timeout=PATIENCE)
            yield queue
            queue.delete()


def test_a_row_has_what_is_known(orders, dashboard):
    server = dashboard([Queue("here"), orders])
    with snapshots(server) as stream:
        snapshot = until(stream, answered("orders"))
    here, row = row_of(snapshot, "here"), row_of(snapshot, "orders")
    assert (here["kind"], here["problem"], here["drops_oldest"]) == ("process", None, False)
    assert row["kind"] == "jetstream"
    known = {key: row[key] for key in ("items", "max_items", "max_bytes", "ttl", "first_seq", "next_seq", "enqueued")}
    assert known == {
        "items": 5, "max_items": 10, "max_bytes": 1_048_576, "ttl": 1000, "first_seq": 0, "next_seq": 5, "enqueued": 5,
    }  # fmt: skip
    assert (row["closed"], row["drops_oldest"], row["groups"], row["missed"]) == (False, False, 1, 0)
    assert (row["retention"], row["overflow"], row["waiting_producers"]) == ("limits", "reject", None)
    assert 0 < row["oldest"] < PATIENCE
    assert 0 < row["lag"] < PATIENCE
    assert row["loss"] == pytest.approx(1000 - row["lag"], abs=1)
    assert {key for key in UNKNOWN if row[key] is not None} == set()


def test_readers_are_those_of_this_process_and_what_the_server_has_names_of(orders, dashboard):
    with snapshots(dashboard(orders)) as stream:
        until(stream, answered("orders"))
        # The server hears a moment later what has been read.
        snapshot = until(stream, lambda snapshot: row_of(snapshot, "orders")["consumers"] == 4)
    readers = {reader["name"]: reader for reader in snapshot["readers"]}
    assert readers.keys() == {"billing", "theirs", "workers"}
    billing, theirs, workers = readers["billing"], readers["theirs"], readers["workers"]
    assert (billing["read"], billing["unread"], billing["missed"], workers["pending"]) == (2, 3, 0, 1)
    assert (theirs["unread"], workers["unread"], workers["is_group"]) == (5, 4, True)
    assert (theirs["read"], theirs["missed"], theirs["lag"], theirs["id"]) == (None, None, None, "0//theirs")
    assert [workers[key] for key in ("lag", "missed", "redelivered", "dead_lettered")] == [None] * 4


def test_rates_and_the_history_are_of_the_time_between_two_answers(orders, dashboard, monkeypatch):
    server = dashboard(orders)
    with snapshots(server) as stream:
        until(stream, answered("orders"))
        orders.enqueue_batch(range(5))
        row = row_of(until(stream, lambda snapshot: row_of(snapshot, "orders")["enqueued_rate"]), "orders")
    assert 0 < row["enqueued_rate"] <= 5 / PAUSE
    history = ask(server, f"api/history?queue={row['id']}")
    points = [dict(zip(history["fields"], point, strict=True)) for point in history["points"]]
    assert [point["redelivered"] for point in points if point["bytes"] is not None][-1] is None
    times = [point["time"] for point in points if point["bytes"] is not None]
    assert all(later - earlier > PAUSE / 2 for earlier, later in pairwise(times))


def test_a_server_is_asked_at_most_once_a_second(orders, dashboard):
    def questions():
        return orders._loop.run(lambda _: orders._queue._server.ask("INFO"))["api"]["total"]

    server = dashboard(orders, interval=0.02)
    before, began, number = questions(), time.monotonic(), 0
    with snapshots(server) as stream:
        while time.monotonic() - began < 2 * PAUSE:
            next(stream)
            number += 1
    took = time.monotonic() - began
    assert number > 20
    assert questions() - before - 1 <= 2 * (took / PAUSE + 1)


def test_messages_are_not_shown(orders, dashboard):
    server = dashboard(orders)
    for path in ("api/messages?queue=0", "api/message?queue=0&seq=0"):
        status, _, body = request(server, path)
        assert (status, body) == (404, b"The dashboard does not show the messages of a queue over JetStream.")


def test_a_server_that_does_not_answer_is_said_to_be_and_holds_nobody_up(directory, dashboard):
    with (
        servers.NatsServer(directory / "nats") as nats,
        jetstream.connect_sync(nats.url, "orders", patience=2) as queue,
    ):
        queue.add_consumer("reader")
        queue.enqueue("a")
        server = dashboard([queue, Queue("here")])
        with snapshots(server) as stream:
            assert row_of(until(stream, answered("orders")), "orders")["items"] == 1
            nats.pause()
            snapshot = until(stream, lambda snapshot: not answered("orders")(snapshot))
            row = row_of(snapshot, "orders")
            assert row["problem"] == "the server does not answer"
            assert [row[key] for key in ("items", "lag", "missed", "delivered_rate", "max_bytes")] == [None] * 5
            assert snapshot["readers"] == []
            times = [snapshot["time"] for _, snapshot in zip(range(4), stream, strict=False)]
            assert max(later - earlier for earlier, later in pairwise(times)) < ROUND
            nats.resume()
            row = row_of(until(stream, answered("orders")), "orders")
            assert (row["items"], row["missed_ago"], row["delivered_rate"]) == (1, None, None)
        queue.close(immediate=True)
        with snapshots(server) as stream:
            row = row_of(until(stream, lambda snapshot: row_of(snapshot, "orders")["items"] is None), "orders")
        assert row["closed"]


def test_the_asgi_application_takes_them(orders):
    application = app([orders], interval=0.1)
    try:
        application.add(orders)
        with application._feed.view() as reader:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                message = reader.read(timeout=PATIENCE)
                row = row_of(unfolded(json.loads(message.payload)), "orders")
                if row["problem"] is None:
                    break
        assert row["items"] == 5
    finally:
        application.close()


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_marks_the_queue_and_says_what_is_not_known(orders, dashboard, tab):
    here = Queue("here")
    here.enqueue("x")
    shown: Tab = tab(viewport=WIDE).open(dashboard([here, orders]).url + "#queue=orders")
    row = shown.page.locator("#queues tbody tr").filter(has_text="orders")
    expect(shown.of(row, "items")).to_have_text("5 of 10")
    expect(row.locator(".tag")).to_have_text(["JetStream"])
    for key in ("redelivered", "dead_lettered", "rejected"):
        expect(shown.of(row, key)).to_have_text("-")
    expect(shown.page.locator("#chosen-title")).to_have_text("orders")
    expect(shown.page.locator("#problem")).to_be_hidden()
    settings = {"left": "-", "refused": "-", "audit": "-", "readers": "4 consumers and groups", "enqueued": "5", "waiting": "-",
                "retention": "kept until its TTL", "overflow": "refuses new messages when full"}  # fmt: skip
    for name, words in settings.items():
        expect(shown.page.locator(f"[data-setting={name}]")).to_have_text(words)
    for name, key, words in (
        ("billing", "read", "2"), ("billing", "unread", "3"), ("billing", "unread_bytes", "-"), ("billing", "pending", ""),
        ("theirs", "read", "-"), ("theirs", "lag", "-"), ("theirs", "idle", "-"), ("workers", "pending", "1"),
        ("workers", "redelivered", "-"),
    ):  # fmt: skip
        expect(shown.cell("readers", name, key)).to_have_text(words)
    expect(shown.page.locator("#no-messages")).to_have_text(
        "The messages of a queue over JetStream are not shown here."
    )
    expect(shown.page.locator("#messages-section .pager")).to_be_hidden()
    # The chart of what is not known says so.
    description = shown.page.locator("canvas[data-chart=trouble]")
    expect(description).to_have_attribute("aria-label", re.compile(r"redelivered: not known; dead letters: not known"))
    # Whatever it is sorted by, it stays.
    for button in shown.page.locator("thead button").locator("visible=true").all():
        button.click()
    assert shown.page.locator("#queues tbody tr").count() == 2
    # Another queue, and back.
    shown.page.locator("#queues tbody tr").filter(has_text="here").click()
    expect(shown.page.locator("#messages tbody tr")).to_have_count(1)
    expect(shown.page.locator("#messages-section .pager")).to_be_visible()
    shown.page.locator("#queues tbody tr").filter(has_text="orders").click()
    expect(shown.page.locator("#messages")).to_be_hidden()
    assert shown.page.evaluate("location.hash") == "#queue=orders"
    assert shown.errors == []


def test_the_page_says_that_a_queue_is_unreachable(directory, dashboard, tab):
    with servers.NatsServer(directory / "nats") as nats:
        queue = jetstream.connect_sync(nats.url, "orders", patience=2, max_bytes=None, overflow="drop_oldest")
        queue.enqueue("a")
        shown: Tab = tab().open(dashboard(queue).url)
        row = shown.page.locator("#queues tbody tr")
        expect(shown.of(row, "items")).to_have_text("1")
        expect(shown.page.locator("[data-setting=limits]")).to_have_text("any number of bytes, any number of messages")
        expect(shown.page.locator("#summary button[data-kind=full]")).to_have_text("0 full")
        nats.kill()
        expect(row.locator(".tag.bad")).to_have_text("unreachable")
        expect(shown.of(row, "items")).to_have_text("-")
        expect(shown.page.locator("#problem")).to_have_text(
            re.compile(r"^There are no figures: (there is no connection to the server|the server does not answer)\.$")
        )
        nats.start()
        expect(shown.of(row, "items")).to_have_text("1")
        expect(row.locator(".tag")).to_have_text(["JetStream"])
        queue.close(immediate=True)
        expect(row.locator(".tag")).to_have_text(["JetStream", "closed"])
        assert shown.errors == []
