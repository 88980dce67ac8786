"""The dashboard for a client that is not a browser: what it reports, and what it costs."""

import doctest
import gc
import json
import socket
import threading
import weakref
from typing import Any

import pytest

from dashboards import Snapshot, ask, first, request, snapshots, unfolded, until
from harness import acking_group, eventually
from helpers import PATIENCE, expire_all
from mpmc_queue import Queue, QueueFullError
from mpmc_queue.dashboard import _asgi, _sample, _server, serve

FAST = 0.05  # seconds between samples


# --- contents --------------------------------------------------------------------------------------------------------


def test_a_snapshot_has_the_queues_own_figures(make_queue, dashboard):
    queue = make_queue(max_items=5, overflow="drop_oldest", max_bytes=5000)
    reader = queue.add_consumer("reader")
    unnamed = queue.add_consumer()
    for n in range(7):
        queue.enqueue(n)
    with pytest.raises(QueueFullError):
        queue.enqueue("x" * 10_000)
    reader.read_batch(3)
    with snapshots(dashboard(queue)) as stream:
        # In the first half of a millisecond the lag is 0.
        snapshot = until(stream, lambda snapshot: snapshot["queues"][0]["lag"] > 0)
    (row,) = snapshot["queues"]
    assert (row["name"], row["items"], row["max_items"], row["consumers"]) == ("test", 5, 5, 2)
    assert (row["enqueued"], row["dropped"], row["rejected"], row["expired"]) == (7, 2, 1, 0)
    assert (row["bytes"], row["max_bytes"]) == (queue.memory_usage, 5000)
    assert (row["retention"], row["overflow"], row["drops_oldest"]) == ("limits", "drop_oldest", True)
    readers = {reader["id"]: reader for reader in snapshot["readers"]}
    assert readers.keys() == {str(reader.id), str(unnamed.id)}
    told = readers[str(reader.id)]
    assert (told["name"], told["read"], told["missed"], told["unread"]) == ("reader", 3, 2, 2)
    assert told["lag"] > 0
    assert told["idle"] is not None
    assert readers[str(unnamed.id)]["idle"] is None
    assert readers[str(unnamed.id)]["name"] is None


def test_groups_are_listed_with_their_members(dashboard):
    group = acking_group("a", "b", "c")
    member = group.add_consumer("one")
    member.read()
    again = member.read()
    again.nack()
    member.read()
    readers = first(dashboard(group.queue))["readers"]
    (told,) = [reader for reader in readers if reader["is_group"]]
    assert (told["name"], told["pending"], told["redelivered"], told["dead_lettered"]) == ("g", 2, 1, 0)
    assert told["unread"] == 1
    (told,) = [reader for reader in readers if not reader["is_group"]]
    assert (told["name"], told["group"], told["pending"]) == ("one", "g", None)


def test_readers_show_their_filters_and_filtered_counts(make_queue, dashboard):
    queue = make_queue()
    orders = queue.add_consumer("orders", topics=["orders.>", "alarms"])
    queue.add_consumer("all")
    queue.add_consumer("many", topics=(f"t.{n}" for n in range(1000)))
    queue.add_consumer("long", topics=["x" * 250, "y" * 250])
    group = queue.add_group("workers", topics="jobs.*")
    group.add_consumer("one").read()
    queue.enqueue_batch("ab", topic="news")
    queue.enqueue("c", topic="orders.eu")
    orders.read()
    told = {reader["name"]: reader for reader in first(dashboard(queue))["readers"]}
    assert (told["orders"]["topics"], told["orders"]["filtered"], told["orders"]["read"]) == ("orders.> alarms", 2, 1)
    assert (told["all"]["topics"], told["all"]["filtered"], told["all"]["unread"]) == (None, None, 3)
    assert (told["workers"]["topics"], told["workers"]["unread"]) == ("jobs.*", 0)
    assert (told["one"]["topics"], told["one"]["filtered"]) == (None, None)  # those of its group, and told there
    assert told["many"]["topics"] == " ".join(f"t.{n}" for n in range(20)) + " …"
    assert told["long"]["topics"] == f"{'x' * 250} {'y' * 49} …"


def test_rates_are_those_between_two_samples(make_queue, dashboard):
    queue = make_queue()
    reader = queue.add_consumer("reader")
    with snapshots(dashboard(queue)) as stream:
        next(stream)
        queue.enqueue_batch(range(100))
        reader.read_batch(50)
        fast = until(stream, lambda snapshot: snapshot["readers"][0]["read_rate"] > 0)
        assert fast["queues"][0]["delivered_rate"] > 0
        # Per second, and not per sample.
        assert fast["readers"][0]["read_rate"] > 50
        calm = until(stream, lambda snapshot: snapshot["queues"][0]["enqueued_rate"] == 0)
        assert calm["readers"][0]["read_rate"] == 0


def test_a_snapshot_shows_what_readers_missed_and_when(make_queue, dashboard):
    queue = make_queue()
    leaver, stayer = queue.add_consumer(), queue.add_consumer()
    group = queue.add_group("g")
    group.add_consumer("member")
    with snapshots(dashboard(queue)) as stream:
        row = next(stream)["queues"][0]
        assert (row["missed"], row["missed_ago"]) == (0, None)
        queue.enqueue_batch("ab")
        leaver.get()
        expire_all(queue)
        # Of two messages the first consumer misses one; the second and the group miss both. The group counts what its
        # members miss.
        missed = until(stream, lambda snapshot: snapshot["queues"][0]["missed"] == 5)["queues"][0]
        assert (missed["missed_ago"], missed["missed_rate"] > 0) == (0, True)
        leaver.close()
        later = until(stream, lambda snapshot: snapshot["queues"][0]["missed_ago"] > 0)["queues"][0]
        assert (later["missed"], later["missed_rate"]) == (5, 0)
    assert stayer.missed_count == group.missed_count == 2


def test_the_history_charts_what_was_missed(make_queue, dashboard):
    queue = make_queue()
    queue.add_consumer()
    server = dashboard(queue)
    eventually(lambda: ask(server, "api/history?queue=0")["points"])
    queue.enqueue_batch("abc")
    expire_all(queue)

    def missed() -> list[float]:
        answer = ask(server, "api/history?queue=0")
        at = answer["fields"].index("missed")
        return [point[at] for point in answer["points"]]

    eventually(lambda: any(missed()))
    assert max(missed()) > 3 / 10  # per second


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_reader_is_stalled_when_it_has_something_to_read_and_does_not(make_queue, dashboard, monkeypatch, is_closed):
    monkeypatch.setattr(_sample, "STALLED", 0.2)
    queue = make_queue()
    stalled, reading = queue.add_consumer("stalled"), queue.add_consumer("reading")
    member = queue.add_group("group").add_consumer("member")
    queue.enqueue_batch("abc")
    if is_closed:
        queue.close()
    with snapshots(dashboard(queue)) as stream:

        def names(snapshot: Snapshot) -> set[str]:
            return {reader["name"] for reader in snapshot["readers"] if reader["stalled"]}

        assert names(next(stream)) == set()
        found = until(stream, lambda snapshot: names(snapshot) == {"stalled", "reading", "group"})
        assert found["queues"][0]["stalled"] == 3
        reading.read()  # the message is not done, but in progress
        member.read()
        until(stream, lambda snapshot: names(snapshot) == {"stalled"})
        stalled.read_batch(3)
        reading.read_batch(3)
        member.read_batch(3)
        until(stream, lambda snapshot: names(snapshot) == set())
        until(stream, lambda snapshot: snapshot["readers"][1]["idle"] > 0.2)
        assert names(next(stream)) == set()


def test_removing_a_reader_makes_no_rate_negative(make_queue, dashboard):
    queue = make_queue()
    reader = queue.add_consumer("reader")
    queue.enqueue_batch(range(100))
    reader.read_batch(100)
    with snapshots(dashboard(queue)) as stream:
        next(stream)
        reader.close()
        gone = until(stream, lambda snapshot: not snapshot["readers"])
        assert gone["queues"][0]["delivered_rate"] == 0


def test_the_history_grows_without_viewers(make_queue, dashboard):
    queue = make_queue()
    server = dashboard(queue)
    queue.enqueue_batch(range(10))
    eventually(lambda: len(ask(server, "api/history?queue=0")["points"]) > 5)
    answer = ask(server, "api/history?queue=0")
    points = [dict(zip(answer["fields"], point, strict=True)) for point in answer["points"]]
    assert points == sorted(points, key=lambda point: point["time"])
    assert points[-1]["bytes"] == queue.memory_usage


def test_a_new_viewer_gets_the_last_sample_and_causes_none(make_queue, dashboard):
    queue = make_queue()
    server = dashboard(queue, interval=60)
    eventually(lambda: len(server._feed.history(0)["points"]) == 1)
    queue.enqueue_batch(range(1000))
    for _ in range(3):
        with snapshots(server) as stream:
            snapshot = next(stream)
        # Only the next sample knows over how many seconds the later messages came.
        assert (snapshot["queues"][0]["enqueued"], snapshot["queues"][0]["enqueued_rate"]) == (0, 0)
        eventually(lambda: server._feed.viewers == 0)
    assert len(server._feed.history(0)["points"]) == 1


def test_snapshots_and_the_history_use_the_same_clock(make_queue, dashboard):
    server = dashboard(make_queue())
    snapshot = first(server)
    times = [point[0] for point in ask(server, "api/history?queue=0")["points"]]
    assert round(snapshot["time"], 3) in times


def test_the_history_is_five_minutes_long():
    from mpmc_queue.dashboard._history import SPAN, History, Point

    history = History(300)
    for second in range(1000):
        history.add(Point(second, *(0.0,) * 7))
    times = [point[0] for point in history.points()]
    assert times == list(range(700, 1000))
    assert SPAN == 300


def test_queues_can_be_added_and_removed(make_queue, dashboard):
    one, other = make_queue("one"), Queue[Any]("other")
    server = dashboard([one])
    with snapshots(server) as stream:
        assert [queue["name"] for queue in next(stream)["queues"]] == ["one"]
        server.add(other)
        until(stream, lambda snapshot: [queue["name"] for queue in snapshot["queues"]] == ["one", "other"])
        server.discard(one)
        until(stream, lambda snapshot: [queue["name"] for queue in snapshot["queues"]] == ["other"])
        del other  # nothing else holds it
        until(stream, lambda snapshot: not snapshot["queues"])


def test_a_closed_queue_is_marked(make_queue, dashboard):
    queue = make_queue()
    queue.close()
    assert first(dashboard(queue))["queues"][0]["closed"] is True


# --- messages ---------------------------------------------------------------------------------------------------------


class Secretive:
    def __repr__(self) -> str:
        return "<b>secret</b>"


class Failing:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_payloads_are_not_shown_by_default(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue(Secretive())
    server = dashboard(queue)
    answer = ask(server, "api/messages?queue=0")
    (message,) = answer["messages"]
    assert message.keys() == {"seq", "age", "size", "topic", "type"}
    assert (message["seq"], message["type"]) == (0, f"{__name__}.Secretive")
    assert message["size"] > 0
    assert b"secret" not in request(server, "api/messages?queue=0")[2]
    assert b"secret" not in request(server, "api/message?queue=0&seq=0")[2]


def test_payloads_are_shown_as_shortened_text(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue_batch([Secretive(), Failing(), "x" * 100_000, list(range(10_000)), 10**5000])
    answer = ask(dashboard(queue, show_payloads=True), "api/messages?queue=0")
    texts = [message["payload"] for message in answer["messages"]]
    assert texts[0] == "<b>secret</b>"
    assert texts[1].startswith("<Failing instance")
    assert all(len(text) <= 1000 for text in texts)


def test_one_message_is_shown_with_its_whole_payload(make_queue, dashboard):
    queue = make_queue(max_bytes=1 << 24)
    payload = {"lines": [f"line {n}" for n in range(1000)]}
    queue.enqueue_batch([payload, Failing(), "x" * 200_000])
    server = dashboard(queue, show_payloads=True)
    assert ask(server, "api/message?queue=0&seq=0")["payload"] == repr(payload)
    assert ask(server, "api/message?queue=0&seq=1")["payload"] == "<its repr raised RuntimeError>"
    cut = ask(server, "api/message?queue=0&seq=2")["payload"]
    assert (len(cut), cut[:3], cut[-2:]) == (100_000, "'xx", "x…")


def test_messages_show_their_topics(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue("a", topic="orders.eu.new")
    queue.enqueue("b")
    server = dashboard(queue)
    assert [row["topic"] for row in ask(server, "api/messages?queue=0")["messages"]] == ["orders.eu.new", None]
    assert [ask(server, f"api/message?queue=0&seq={seq}")["topic"] for seq in (0, 1)] == ["orders.eu.new", None]


def test_pages_of_messages(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue_batch(range(120))
    server = dashboard(queue)

    def seqs(more: str) -> list[int]:
        return [message["seq"] for message in ask(server, f"api/messages?queue=0{more}")["messages"]]

    assert seqs("") == list(range(70, 120))
    assert seqs("&start=0") == list(range(50))
    assert seqs("&start=110") == list(range(110, 120))
    assert seqs("&start=9000000000000000000") == []


def test_the_audit_trail_names_the_readers(make_queue, dashboard):
    queue = make_queue()
    named, unnamed = queue.add_consumer("billing"), queue.add_consumer()
    member = queue.add_group("workers").add_consumer("one")
    queue.enqueue("a")
    for reader in (named, unnamed, member):
        reader.read()
    answer = ask(dashboard(queue), "api/message?queue=0&seq=0")
    kinds = [(event["kind"], event["consumer"], event["group"]) for event in answer["events"]]
    assert kinds == [
        ("enqueue", None, None),
        ("dequeue", "billing", None),
        ("dequeue", str(unnamed.id), None),
        ("dequeue", "one", "workers"),
    ]


def test_a_long_audit_trail_is_shortened(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue("a")
    for _ in range(250):
        queue.add_consumer().read()
    answer = ask(dashboard(queue), "api/message?queue=0&seq=0")
    assert (len(answer["events"]), answer["left_out"]) == (201, 50)


@pytest.mark.parametrize("retention", ["limits", "interest"])
def test_showing_messages_changes_nothing(make_queue, dashboard, retention):
    queue = make_queue(retention=retention)
    reader = queue.add_consumer()
    queue.enqueue_batch("ab")
    server = dashboard(queue)
    first(server)
    ask(server, "api/messages?queue=0")
    assert len(ask(server, "api/message?queue=0&seq=0")["events"]) == 1
    assert [consumer.id for consumer in queue.consumers] == [reader.id]
    assert (len(queue), reader.unread_count, reader.stats().last_read_time) == (2, 2, None)
    reader.read_batch(2)
    assert queue.join(timeout=0)
    assert len(queue) == (0 if retention == "interest" else 2)


# --- costs ----------------------------------------------------------------------------------------------------------------


def sampler_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mpmc-dashboard"]


@pytest.mark.thread_unsafe
def test_one_sampler_feeds_every_browser(make_queue, dashboard):
    server = dashboard(make_queue())
    before = len(sampler_threads())
    with snapshots(server) as one, snapshots(server) as two, snapshots(server) as three:
        for stream in (one, two, three):
            next(stream)
        assert len(sampler_threads()) == before


def test_a_browser_that_reads_nothing_costs_nothing_and_delays_no_other(make_queue, dashboard):
    queue = make_queue()
    for n in range(1500):
        queue.add_consumer(f"consumer {n} " + "x" * 100)
    server = dashboard(queue)
    feed = server._feed
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: feed.viewers == 1)
        with snapshots(server) as stream:
            for _ in range(20):  # far more than a socket buffers, if they had been kept for it
                queue.enqueue("a")
                snapshot = next(stream)
                assert len(feed._snapshots) <= 1
            assert len(snapshot["readers"]) == 1500
        size = feed._snapshots.stats().memory_usage
        assert size < 1_000_000
        # When the client reads again, it is up to date after the data that was already sent.
        queue.enqueue_batch(range(1000))
        with slow.makefile("rb") as lines:
            counts = (
                unfolded(json.loads(line[6:]))["queues"][0]["enqueued"] for line in lines if line.startswith(b"data: ")
            )
            seen = [count for _, count in zip(range(12), counts, strict=False)]
        assert 1020 in seen


def test_no_sample_is_made_without_viewers(make_queue, dashboard):
    server = dashboard(make_queue())
    eventually(lambda: len(ask(server, "api/history?queue=0")["points"]) > 5)
    assert server._feed._snapshots.stats().enqueued == 0


def test_readers_beyond_the_limit_with_the_least_lag_are_left_out(make_queue, dashboard):
    queue = make_queue(max_bytes=1 << 30)
    up_to_date = [queue.add_consumer(start="latest") for _ in range(1990)]
    behind = [queue.add_consumer(f"behind {n}") for n in range(20)]
    queue.enqueue("a")
    for consumer in up_to_date:
        consumer.read()
    snapshot = first(dashboard(queue))
    assert (len(snapshot["readers"]), snapshot["readers_in_all"]) == (2000, 2010)
    assert {consumer.name for consumer in behind} <= {reader["name"] for reader in snapshot["readers"]}


@pytest.mark.thread_unsafe
def test_closing_ends_everything(make_queue):
    before = set(threading.enumerate())
    queue = make_queue()
    with serve(queue, interval=FAST) as server, snapshots(server) as stream:
        next(stream)
        server.close()
        for _ in stream:  # the stream ends
            pass
        eventually(lambda: set(threading.enumerate()) <= before)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=PATIENCE)


def test_it_can_be_served_again_on_the_same_port(make_queue, dashboard):
    queue = make_queue()
    server = dashboard(queue)
    boot = first(server)["boot"]
    server.close()
    again = dashboard(queue, port=server.port)
    assert first(again)["boot"] != boot


def test_queues_are_held_weakly(dashboard):
    queue = Queue[Any]("gone")
    reference = weakref.ref(queue)
    server = dashboard(queue)
    first(server)
    ask(server, "api/messages?queue=0")
    del queue
    gc.collect()
    assert reference() is None


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("module", [_server, _asgi])
def test_the_examples_in_the_docstrings_run(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
