"""The dashboard as a client sees it that is no browser: what it says, whom it lets in, what it costs."""

import doctest
import errno
import gc
import http.client
import json
import socket
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import acking_group, eventually
from helpers import PATIENCE
from mpmc_queue import Queue, QueueFullError
from mpmc_queue.dashboard import Server, _asgi, _server, serve
from mpmc_queue.dashboard._access import is_for_loopback, is_loopback

FAST = 0.05  # seconds between samples
TOKEN = "a-token-of-the-tests"
MARKUP = "<img src=x onerror=alert(1)>"

Snapshot = dict[str, Any]


@pytest.fixture
def dashboard() -> Iterator[Callable[..., Server]]:
    """dashboard(queues, **arguments of serve) -> Server"""
    servers: list[Server] = []

    def start(queues: Any, **arguments: Any) -> Server:
        servers.append(serve(queues, **({"interval": FAST} | arguments)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def request(server: Server, path: str = "", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    try:
        connection.request(method, f"/{path}", headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def ask(server: Server, path: str, **headers: str) -> Any:
    status, _, body = request(server, path, **headers)
    assert status == 200, body
    return json.loads(body)


@contextmanager
def snapshots(server: Server, **headers: str) -> Iterator[Iterator[Snapshot]]:
    """The stream's snapshots, with rows as dicts."""
    asked = urllib.request.Request(f"{server.url}api/events", headers=headers)
    with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        yield (unfolded(json.loads(line[6:])) for line in response if line.startswith(b"data: "))


def unfolded(snapshot: Snapshot) -> Snapshot:
    for kind in ("queue", "reader"):
        fields = snapshot[f"{kind}_fields"]
        snapshot[f"{kind}s"] = [dict(zip(fields, row, strict=True)) for row in snapshot[f"{kind}s"]]
    return snapshot


def first(server: Server) -> Snapshot:
    """The first snapshot of a sample that was taken after this call."""
    called = time.time()
    with snapshots(server) as stream:
        return until(stream, lambda snapshot: snapshot["time"] >= called)


def until(stream: Iterator[Snapshot], condition: Callable[[Snapshot], Any]) -> Snapshot:
    """The first snapshot of which it is true."""
    for _, snapshot in zip(range(200), stream, strict=False):
        if condition(snapshot):
            return snapshot
    raise AssertionError("it never came true")


# --- what it says ----------------------------------------------------------------------------------------------------


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
        # In the first half of a millisecond lag is none.
        snapshot = until(stream, lambda snapshot: snapshot["queues"][0]["lag"] > 0)
    (row,) = snapshot["queues"]
    assert (row["name"], row["items"], row["max_items"], row["consumers"]) == ("test", 5, 5, 2)
    assert (row["enqueued"], row["dropped"], row["rejected"], row["expired"]) == (7, 2, 1, 0)
    assert (row["bytes"], row["max_bytes"]) == (queue.memory_usage, 5000)
    readers = {reader["id"]: reader for reader in snapshot["readers"]}
    assert readers.keys() == {str(reader.id), str(unnamed.id)}
    told = readers[str(reader.id)]
    assert (told["name"], told["read"], told["missed"], told["unread"]) == ("reader", 3, 2, 2)
    assert told["lag"] > 0
    assert told["idle"] is not None
    assert readers[str(unnamed.id)]["idle"] is None
    assert readers[str(unnamed.id)]["name"] is None


def test_groups_stand_beside_their_members(dashboard):
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


def test_rates_are_those_between_two_samples(make_queue, dashboard):
    queue = make_queue()
    reader = queue.add_consumer("reader")
    with snapshots(dashboard(queue)) as stream:
        next(stream)
        queue.enqueue_batch(range(100))
        reader.read_batch(50)
        fast = until(stream, lambda snapshot: snapshot["readers"][0]["read_rate"] > 0)
        assert fast["queues"][0]["delivered_rate"] > 0
        # Of a second, and not of a sample.
        assert fast["readers"][0]["read_rate"] > 50
        calm = until(stream, lambda snapshot: snapshot["queues"][0]["enqueued_rate"] == 0)
        assert calm["readers"][0]["read_rate"] == 0


def test_a_reader_that_leaves_makes_no_rate_negative(make_queue, dashboard):
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
        # Of what came since, only the next sample knows over how many seconds it came.
        assert (snapshot["queues"][0]["enqueued"], snapshot["queues"][0]["enqueued_rate"]) == (0, 0)
        eventually(lambda: server._feed.viewers == 0)
    assert len(server._feed.history(0)["points"]) == 1


def test_snapshots_and_the_history_go_by_one_clock(make_queue, dashboard):
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


def test_queues_come_and_go(make_queue, dashboard):
    one, other = make_queue("one"), Queue[Any]("other")
    server = dashboard([one])
    with snapshots(server) as stream:
        assert [queue["name"] for queue in next(stream)["queues"]] == ["one"]
        server.add(other)
        until(stream, lambda snapshot: [queue["name"] for queue in snapshot["queues"]] == ["one", "other"])
        server.discard(one)
        until(stream, lambda snapshot: [queue["name"] for queue in snapshot["queues"]] == ["other"])
        del other  # nobody else holds it
        until(stream, lambda snapshot: not snapshot["queues"])


def test_a_closed_queue_is_told_apart(make_queue, dashboard):
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


def test_payloads_are_not_shown_unless_asked_for(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue(Secretive())
    server = dashboard(queue)
    answer = ask(server, "api/messages?queue=0")
    (message,) = answer["messages"]
    assert message.keys() == {"seq", "age", "size", "type"}
    assert (message["seq"], message["type"]) == (0, f"{__name__}.Secretive")
    assert message["size"] > 0
    assert b"secret" not in request(server, "api/messages?queue=0")[2]
    assert b"secret" not in request(server, "api/message?queue=0&seq=0")[2]


def test_payloads_are_shown_as_text_cut_short(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue_batch([Secretive(), Failing(), "x" * 100_000, list(range(10_000)), 10**5000])
    answer = ask(dashboard(queue, show_payloads=True), "api/messages?queue=0")
    texts = [message["payload"] for message in answer["messages"]]
    assert texts[0] == "<b>secret</b>"
    assert texts[1].startswith("<Failing instance")
    assert all(len(text) <= 1000 for text in texts)


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


def test_a_long_trail_is_cut_short(make_queue, dashboard):
    queue = make_queue()
    queue.enqueue("a")
    for _ in range(250):
        queue.add_consumer().read()
    answer = ask(dashboard(queue), "api/message?queue=0&seq=0")
    assert (len(answer["events"]), answer["left_out"]) == (201, 50)


@pytest.mark.parametrize("retention", ["limits", "interest"])
def test_looking_leaves_no_trace(make_queue, dashboard, retention):
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


# --- who may look -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["api/events", "api/history?queue=0", "api/messages?queue=0", "api/message?queue=0&seq=0"]
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong-token-of-the-tests"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "},
     {"Authorization": f"Bearer {TOKEN}é"}, {"Authorization": f"Basic {TOKEN}"}],
)  # fmt: skip
def test_without_the_token_nothing_is_told(make_queue, dashboard, path, headers):
    server = dashboard(make_queue("a name"), token=TOKEN)
    status, answer, body = request(server, path, **headers)
    assert (status, body) == (401, b"It takes a token")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_token_in_the_query_is_not_taken(make_queue, dashboard):
    # It would stand in logs.
    assert request(dashboard(make_queue(), token=TOKEN), f"api/history?queue=0&token={TOKEN}")[0] == 401


def test_with_the_token_everything_is_told(make_queue, dashboard):
    server = dashboard(make_queue(), token=TOKEN)
    assert ask(server, "api/messages?queue=0", Authorization=f"Bearer {TOKEN}")["messages"] == []
    with snapshots(server, Authorization=f"bearer {TOKEN}") as stream:
        assert next(stream)["queues"]


def test_an_address_that_others_reach_gets_a_token(make_queue, dashboard):
    server = dashboard(make_queue(), host="0.0.0.0")
    assert server.token is not None
    assert len(server.token) >= 32
    assert server.url == f"http://127.0.0.1:{server.port}/"
    assert server.login_url == f"{server.url}#token={server.token}"
    assert request(server, "api/messages?queue=0")[0] == 401
    assert dashboard(make_queue(), host="0.0.0.0").token != server.token


def test_a_token_is_neither_in_the_repr_nor_in_the_address(make_queue, dashboard):
    server = dashboard(make_queue(), token=TOKEN)
    assert TOKEN not in repr(server)
    assert TOKEN not in server.url


def test_nothing_is_printed(make_queue, dashboard, capfd):
    server = dashboard(make_queue(), token=TOKEN)
    request(server, f"?token={TOKEN}")
    request(server, "nowhere", Authorization=f"Bearer {TOKEN}")
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        while raw.recv(4096):
            pass
    server.close()
    assert capfd.readouterr() == ("", "")


def test_a_foreign_name_that_points_here_is_refused(make_queue, dashboard):
    server = dashboard(make_queue())
    for path in ("", "api/messages?queue=0"):
        assert request(server, path, Host="evil.example")[0] == 421
        assert request(server, path, Host="127.0.0.1.evil.example:80")[0] == 421
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:80"):
        assert request(server, "", Host=host)[0] == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "Forwarded"])
def test_a_proxy_on_this_machine_is_not_this_machine(make_queue, dashboard, header):
    assert request(dashboard(make_queue()), "", **{header: "127.0.0.1"})[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_only_looks(make_queue, dashboard, method):
    status, headers, _ = request(dashboard(make_queue()), "api/messages?queue=0", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_no_body(make_queue, dashboard):
    server = dashboard(make_queue())
    for path in ("", "api/events", "api/messages?queue=0"):
        status, _, body = request(server, path, "HEAD")
        assert (status, body) == (200, b"")


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "nowhere", "api/messages?queue=0", "api/nowhere"])
def test_every_answer_has_the_policy(make_queue, dashboard, path):
    _, headers, _ = request(dashboard(make_queue()), path)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] is None


def test_the_page_needs_nothing_from_elsewhere(make_queue, dashboard):
    server = dashboard(make_queue())
    for path in ("", "page.css", "page.js", "charts.js", "elements.js", "words.js"):
        text = request(server, path)[2].decode()
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    ("path", "status"),
    [("nowhere", 404), ("../page.js", 404), ("page/page.js", 404), ("api/", 404), ("api/messages", 404),
     ("api/messages?queue=7", 404), ("api/message?queue=0&seq=9", 404), ("api/messages?queue=x", 400),
     ("api/messages?queue=-1", 400), ("api/messages?queue=0&start=9223372036854775808", 400),
     ("api/messages?queue=" + "9" * 5000, 400), ("api/messages?" + "a=1&" * 50, 400),
     ("api/messages?queue=%D9%A1", 400)],
)  # fmt: skip
def test_bad_requests_are_refused(make_queue, dashboard, path, status):
    assert request(dashboard(make_queue()), path)[0] == status


def test_names_travel_as_they_are(make_queue, dashboard):
    queue = make_queue(MARKUP)
    queue.add_consumer("</script>\u2028\n\n")
    snapshot = first(dashboard(queue))
    assert snapshot["queues"][0]["name"] == MARKUP
    assert snapshot["readers"][0]["name"] == "</script>\u2028\n\n"


@pytest.mark.parametrize(
    ("address", "is_here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False),
     ("10.0.0.1", False), ("::", False), ("localhost.example", False)],
)  # fmt: skip
def test_which_addresses_are_this_machine(address, is_here):
    assert is_loopback(address) == is_here
    assert is_for_loopback(f"[{address}]:80" if ":" in address else f"{address}:80") == is_here


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [({"queues": 3}, TypeError, "queues"), ({"queues": [3]}, TypeError, "queue"), ({"host": 3}, TypeError, "host"),
     ({"port": "80"}, TypeError, "port"), ({"port": True}, TypeError, "port"), ({"port": 65536}, ValueError, "port"),
     ({"token": b"x" * 20}, TypeError, "token"), ({"token": "short"}, ValueError, "token"),
     ({"token": "x" * 20 + "\n"}, ValueError, "token"), ({"interval": 0}, ValueError, "interval"),
     ({"interval": float("nan")}, ValueError, "interval"), ({"interval": True}, TypeError, "interval")],
)  # fmt: skip
def test_bad_arguments_are_refused(arguments, error, name):
    with pytest.raises(error, match=f"^{name} must be"):
        serve(**({"queues": []} | arguments))


def test_an_error_about_a_token_does_not_tell_it():
    with pytest.raises(ValueError, match="token must be") as caught:
        serve([], token="hush")
    assert "hush" not in str(caught.value)


def test_a_port_in_use_is_an_error(make_queue, dashboard):
    port = dashboard(make_queue()).port
    with pytest.raises(OSError, match=rf"cannot listen at 127\.0\.0\.1:{port}: .* in use") as caught:
        serve([], port=port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_that_is_not_ours_is_an_error():
    with pytest.raises(OSError, match=r"the dashboard cannot listen at 192\.0\.2\.1:0: "):
        serve([], host="192.0.2.1")


# --- what it costs --------------------------------------------------------------------------------------------------------


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


def test_a_browser_that_reads_nothing_delays_no_other_and_costs_nothing(make_queue, dashboard):
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
            for _ in range(20):  # far more than a socket takes, had they been kept for it
                queue.enqueue("a")
                snapshot = next(stream)
                assert len(feed._snapshots) <= 1
            assert len(snapshot["readers"]) == 1500
        size = feed._snapshots.stats().memory_usage
        assert size < 1_000_000
        # When it takes something again, it is up to date after what was on its way.
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


def test_readers_beyond_count_are_left_out_those_who_lag_least_first(make_queue, dashboard):
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
        for _ in stream:  # it ends
            pass
        eventually(lambda: set(threading.enumerate()) <= before)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=PATIENCE)


def test_it_can_be_served_again_at_the_same_port(make_queue, dashboard):
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
