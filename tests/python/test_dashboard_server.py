"""The dashboard's own server and clients that misbehave. Each test uses a raw socket."""

import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from harness import eventually
from helpers import PATIENCE, stopwatch
from mpmc_queue.dashboard import Server, _connections, _reprs, serve

HOST = b"Host: localhost\r\n"
ASK = b"GET /api/messages?queue=0 HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture
def server(make_queue: Any) -> Iterator[Server]:
    queue = make_queue("orders")
    queue.enqueue("a")
    with serve(queue, interval=0.05) as served:
        yield served


class Raw:
    """A client that sends the given bytes."""

    def __init__(self, server: Server, data: bytes = b"") -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        self.socket.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()
        self.socket.close()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        version, status, _ = self.file.readline().decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        while (line := self.file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            assert name.lower() not in headers
            headers[name.lower()] = value
        return int(status), headers, self.file.read(int(headers.get("content-length", 0)))

    def rest(self) -> bytes:
        """Everything else that the server sends until it ends the connection."""
        return self.file.read()


def refusal(server: Server, data: bytes) -> tuple[int, str]:
    """Status and text of the error response, after which the connection ends."""
    with Raw(server, data) as raw:
        status, headers, body = raw.answer()
        assert raw.rest() == b""
        check_headers(headers)
        assert headers["connection"] == "close"
        assert headers["content-type"] == "text/plain; charset=utf-8"
        return status, body.decode()


def check_headers(headers: dict[str, str]) -> None:
    """A response has the security headers, and does not tell a version."""
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers
    assert "python" not in str(headers).lower()


def is_alive(server: Server) -> bool:
    with Raw(server, ASK) as raw:
        return raw.answer()[0] == 200


# --- requests in bodies -----------------------------------------------------------------------------------------------


SMUGGLED = b"GET /api/message?queue=0&seq=0 HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize(
    "announced",
    [b"Content-Length: %d\r\n" % len(SMUGGLED), b"content-length:%d\r\n" % len(SMUGGLED),
     b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), b"Content-Length: 0, 5\r\n",
     b"Content-Length: +0\r\n", b"Content-Length: 00\r\n", b"Content-Length: x\r\n", b"Content-Length:\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding:\r\n",
     b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_a_request_in_a_body_is_not_answered(server, announced, method):
    with Raw(server, method + b" /nowhere HTTP/1.1\r\n" + HOST + announced + b"\r\n" + SMUGGLED) as raw:
        data = raw.rest()
    assert data.startswith(b"HTTP/1.1 405 " if method == b"POST" else b"HTTP/1.1 404 ")
    assert data.count(b"HTTP/1.1") == 1
    assert b"\r\nConnection: close\r\n" in data
    assert b"events" not in data


@pytest.mark.parametrize(
    "header",
    [b"Content-Length : 70", b" Content-Length: 70", b"X: y\r\n Content-Length: 70", b"X: y\nContent-Length: 70",
     b"X: y\rContent-Length: 70", b"Transfer-Encoding\x0b: chunked", b"X: \x00", b"no colon", b": no name", b"X y: z"],
)  # fmt: skip
def test_a_header_that_others_could_read_differently_is_refused(server, header):
    request = b"GET / HTTP/1.1\r\n" + HOST + header + b"\r\n\r\n" + SMUGGLED
    assert refusal(server, request) == (400, "A header of the request is malformed")


def test_a_response_arrives_although_the_body_of_its_request_is_not_read(server):
    body = b"x" * 1_000_000  # more than there is room for on the way
    with Raw(server, b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)) as raw:
        raw.socket.sendall(body)
        status, headers, page = raw.answer()
    assert (status, len(page)) == (200, int(headers["content-length"]))


def test_requests_without_a_body_follow_each_other_on_one_connection(server):
    with Raw(server, ASK + ASK) as raw:
        for _ in range(2):
            assert raw.answer()[0] == 200
        raw.socket.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        assert raw.answer()[1]["connection"] == "close"
        assert raw.rest() == b""


def test_http_1_0_gets_a_response_and_the_connection_closes(server):
    with Raw(server, b"GET / HTTP/1.0\r\n" + HOST + b"\r\n" + ASK) as raw:
        assert raw.answer()[0] == 200
        assert raw.rest() == b""


# --- malformed requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"GET http://[/ HTTP/1.1\r\n" + HOST, 400), (b"GET http://localhost/ HTTP/1.1\r\n" + HOST, 400),
     (b"GET * HTTP/1.1\r\n" + HOST, 400), (b"GET  / HTTP/1.1\r\n" + HOST, 400), (b"GET / HTTP/2.0\r\n" + HOST, 505),
     (b"GET / HTTP/1.1 \r\n" + HOST, 400), (b"GET /\xff HTTP/1.1\r\n" + HOST, 400), (b"nonsense\r\n", 400),
     (b"\r\n", 400), (b"\x16\x03\x01\r\n", 400), (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + HOST, 431),
     (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 10_000, 431), (b"GET / HTTP/1.1\r\n", 400),
     (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
     (b"GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n", 400),
     (b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: a\r\nAuthorization: b\r\n", 400)],
)  # fmt: skip
@pytest.mark.thread_unsafe(reason="captures what the process prints")
def test_an_invalid_request_gets_an_error_and_no_traceback(server, capfd, data, status):
    assert refusal(server, data + b"\r\n")[0] == status
    assert is_alive(server)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "status"),
    [("", 200), ("nowhere", 404), ("api/messages?queue=x", 400), ("//evil.example/", 404), ("[", 404), ("api/", 404)],
)
def test_every_response_has_the_security_headers_and_no_version(server, path, status):
    with Raw(server, f"GET /{path} HTTP/1.1\r\n".encode() + HOST + b"\r\n") as raw:
        found, headers, _ = raw.answer()
    assert found == status
    check_headers(headers)


# --- slow clients and many clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_first", [True, False])
def test_a_request_that_arrives_too_slowly_is_ended(server, monkeypatch, is_first):
    monkeypatch.setattr(_connections, "DEADLINE", 0.3)
    with Raw(server) as raw, stopwatch() as taken:
        if not is_first:
            raw.socket.sendall(ASK)
            assert raw.answer()[0] == 200
        raw.socket.settimeout(0.02)
        for _ in range(1000):  # each byte in time, but all of them too late
            raw.socket.sendall(b"G")
            try:
                first = raw.socket.recv(1 << 16)
            except TimeoutError:
                continue
            break
    assert first.startswith(b"HTTP/1.1 408 ")
    assert taken.seconds >= 0.3


def test_an_idle_connection_is_closed_without_a_response(server, monkeypatch):
    monkeypatch.setattr(_connections, "DEADLINE", 0.1)
    with Raw(server) as raw:
        assert raw.rest() == b""


@pytest.mark.thread_unsafe(reason="takes all connections of the server")
def test_idle_connections_do_not_keep_others_out(server):
    waiting = [Raw(server, b"GET / HTTP/1.1\r\nX: ") for _ in range(300)]
    try:
        with Raw(server, ASK) as raw:
            assert raw.answer()[0] == 200
        assert len(server._http._connections) <= _connections.MOST_CONNECTIONS
    finally:
        for each in waiting:
            each.__exit__()


@pytest.mark.thread_unsafe(reason="takes all connections of the server")
def test_the_longest_idle_connection_is_closed_for_a_new_one(server):
    with Raw(server, ASK) as first:
        assert first.answer()[0] == 200  # the connection is kept, and waits from now on
        others = [Raw(server, ASK) for _ in range(_connections.MOST_CONNECTIONS)]
        try:
            assert first.rest() == b""
            assert all(each.answer()[0] == 200 for each in others)
        finally:
            for each in others:
                each.__exit__()


@pytest.mark.thread_unsafe(reason="takes all connections of the server")
def test_streams_beyond_the_limit_get_an_error(server):
    stream = b"GET /api/events HTTP/1.1\r\n" + HOST + b"\r\n"
    streams = [Raw(server, stream) for _ in range(_connections.MOST_CONNECTIONS)]
    try:
        assert all(each.answer()[0] == 200 for each in streams)
        with Raw(server, ASK) as raw:
            status, headers, body = raw.answer()
            assert raw.rest() == b""
        assert (status, headers["retry-after"]) == (503, "1")
        assert body.decode() == _connections.TOO_MANY
        check_headers(headers)
        streams.pop().__exit__()
        # The server notices when it sends the next snapshot.
        eventually(lambda: len(server._http._connections) < _connections.MOST_CONNECTIONS)
        assert is_alive(server)
    finally:
        for each in streams:
            each.__exit__()


@pytest.mark.thread_unsafe(reason="measures how long requests take")
def test_requests_on_a_kept_connection_do_not_wait_for_each_other(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    connection.connect()
    taken: list[float] = []
    try:
        for _ in range(40):
            start = time.perf_counter()
            connection.request("GET", "/page.css")
            assert connection.getresponse().read()
            taken.append(time.perf_counter() - start)
        here = connection.sock.getsockname()
        (served,) = [stream for stream in server._http._connections if stream.getpeername() == here]
        assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    finally:
        connection.close()
    # A delayed acknowledgement costs 40 ms each.
    assert statistics.median(taken) < 0.03


def test_an_internal_error_is_reported_and_logged(server, monkeypatch, capfd):
    handle_error, handled = server._http.handle_error, threading.Event()

    def handle(*arguments):
        handle_error(*arguments)
        handled.set()

    monkeypatch.setattr(server._http, "site", None)
    monkeypatch.setattr(server._http, "handle_error", handle)
    status, text = refusal(server, ASK)
    assert (status, text) == (500, _connections.FAILED)
    assert handled.wait(PATIENCE)  # readouterr may lose what is written while it reads
    assert "AttributeError" in capfd.readouterr().err


# --- payloads ---------------------------------------------------------------------------------------------------------


class Exiting:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error(3)


class Deceiving:
    def __repr__(self) -> str:
        class Text(str):
            def __len__(self) -> int:
                raise SystemExit

            __getitem__ = __str__ = __len__  # type: ignore[assignment]

        return Text("x")


class Blocking:
    """Its repr returns when it is allowed to."""

    def __init__(self) -> None:
        self.may_return = threading.Event()

    def __repr__(self) -> str:
        self.may_return.wait()
        return "back"


def shown(server: Server) -> list[str]:
    with Raw(server, ASK) as raw:
        status, _, body = raw.answer()
        assert status == 200
        return [message["payload"] for message in json.loads(body)["messages"]]


@pytest.fixture
def showing(make_queue: Any) -> Iterator[Callable[..., Server]]:
    """showing(*payloads) -> a server that shows them"""
    servers: list[Server] = []

    def make(*payloads: object) -> Server:
        queue = make_queue()
        queue.enqueue_batch(payloads)
        servers.append(serve(queue, show_payloads=True, interval=0.05))
        return servers[-1]

    yield make
    for each in servers:
        each.close()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.thread_unsafe(reason="captures what the process prints")
def test_a_payload_whose_repr_exits_breaks_nothing(showing, capfd, error):
    server = showing("before", Exiting(error), Deceiving(), "after")
    before, exiting, deceiving, after = shown(server)
    assert (before, after) == ("'before'", "'after'")
    assert exiting == f"<its repr raised {error.__name__}>"
    assert deceiving in ("x", "<its repr raised SystemExit>")
    assert capfd.readouterr() == ("", "")


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_payload_whose_repr_blocks_occupies_few_threads_and_delays_nobody(showing, monkeypatch):
    monkeypatch.setattr(_reprs, "PATIENCE", 0.1)
    blocking = Blocking()
    server = showing("before", blocking, "after")
    try:
        for _ in range(2 * _reprs.MOST_THREADS):
            assert shown(server)[1:] == [_reprs.TOO_LONG] * 2
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("mpmc-dashboard-repr") == _reprs.MOST_THREADS
        assert shown(server) == [_reprs.TOO_LONG] * 3  # nothing is tried while all threads are occupied
    finally:
        blocking.may_return.set()
    eventually(lambda: shown(server) == ["'before'", "back", "'after'"])
