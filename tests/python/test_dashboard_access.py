"""Who may use the dashboard, what it refuses, and that it tells nobody more than it should."""

import errno
import socket

import pytest

from dashboards import ask, first, request, snapshots
from helpers import PATIENCE
from mpmc_queue.dashboard import _site, serve
from mpmc_queue.dashboard._access import is_for_loopback, is_loopback
from mpmc_queue.dashboard._site import FILES

TOKEN = "a-token-of-the-tests"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "path", ["api/events", "api/history?queue=0", "api/messages?queue=0", "api/message?queue=0&seq=0"]
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong-token-of-the-tests"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "},
     {"Authorization": f"Bearer {TOKEN}é"}, {"Authorization": f"Basic {TOKEN}"}],
)  # fmt: skip
def test_without_the_token_nothing_is_shown(make_queue, dashboard, path, headers):
    server = dashboard(make_queue("a name"), token=TOKEN)
    status, answer, body = request(server, path, **headers)
    assert (status, body.decode()) == (401, _site.NO_TOKEN)
    assert TOKEN not in body.decode()
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_token_in_the_query_is_not_accepted(make_queue, dashboard):
    # A token in a URL would appear in logs.
    assert request(dashboard(make_queue(), token=TOKEN), f"api/history?queue=0&token={TOKEN}")[0] == 401


def test_with_the_token_everything_is_shown(make_queue, dashboard):
    server = dashboard(make_queue(), token=TOKEN)
    assert ask(server, "api/messages?queue=0", Authorization=f"Bearer {TOKEN}")["messages"] == []
    with snapshots(server, Authorization=f"bearer {TOKEN}") as stream:
        assert next(stream)["queues"]


def test_an_address_reachable_from_other_machines_gets_a_token(make_queue, dashboard):
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
        status, _, body = request(server, path, Host="evil.example")
        assert (status, body.decode()) == (421, _site.NOT_LOCALHOST)
        assert request(server, path, Host="127.0.0.1.evil.example:80")[0] == 421
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:80"):
        assert request(server, "", Host=host)[0] == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "Forwarded"])
def test_a_request_through_a_local_proxy_is_not_local(make_queue, dashboard, header):
    status, _, body = request(dashboard(make_queue()), "", **{header: "127.0.0.1"})
    assert (status, body.decode()) == (403, _site.NOT_LOCAL)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_that_could_change_something_are_refused(make_queue, dashboard, method):
    status, headers, body = request(dashboard(make_queue()), "api/messages?queue=0", method)
    assert (status, headers["Allow"], body.decode()) == (405, "GET, HEAD", _site.NO_SUCH_METHOD)


def test_head_has_no_body(make_queue, dashboard):
    server = dashboard(make_queue())
    for path in ("", "api/events", "api/messages?queue=0"):
        status, _, body = request(server, path, "HEAD")
        assert (status, body) == (200, b"")


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "nowhere", "api/messages?queue=0", "api/nowhere"])
def test_every_response_has_the_security_policy(make_queue, dashboard, path):
    _, headers, _ = request(dashboard(make_queue()), path)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] is None


def test_the_page_needs_nothing_from_elsewhere(make_queue, dashboard):
    server = dashboard(make_queue())
    assert len(FILES) > 10
    for path in FILES:
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


@pytest.mark.parametrize(
    ("path", "text"),
    [("nowhere", _site.NO_SUCH_PATH), ("api/nowhere", _site.NO_SUCH_PATH), ("api/history?queue=7", _site.NO_SUCH_QUEUE),
     ("api/messages?queue=x", "queue must be a whole number below 2**63")],
)  # fmt: skip
def test_an_error_says_what_to_do(make_queue, dashboard, path, text):
    assert request(dashboard(make_queue()), path)[2].decode() == text


def test_names_arrive_unchanged(make_queue, dashboard):
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
def test_addresses_of_this_machine_are_recognized(address, is_here):
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


def test_an_error_about_a_token_does_not_show_it():
    with pytest.raises(ValueError, match="token must be") as caught:
        serve([], token="hush")
    assert "hush" not in str(caught.value)


def test_a_port_in_use_is_an_error(make_queue, dashboard):
    port = dashboard(make_queue()).port
    with pytest.raises(OSError, match=rf"cannot listen at 127\.0\.0\.1:{port}: .* in use") as caught:
        serve([], port=port)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match=r"the dashboard cannot listen at 192\.0\.2\.1:0: "):
        serve([], host="192.0.2.1")
