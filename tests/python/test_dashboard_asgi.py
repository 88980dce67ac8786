"""The dashboard as an ASGI application: mounted in Starlette, called directly, and served by uvicorn."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from harness import eventually
from helpers import PATIENCE
from mpmc_queue.dashboard import App, _asgi, _reprs, app

FAST = 0.05
TOKEN = "a-token-of-the-tests"


def around(dashboard: App) -> Starlette:
    """A web application that contains the dashboard."""
    return Starlette(routes=[Route("/", lambda _: PlainTextResponse("home")), Mount("/ops/queues", dashboard)])


@pytest.fixture
def mounted(make_queue: Any) -> Iterator[Any]:
    """mounted(**arguments of app) -> a client of an application that has a queue's dashboard at /ops/queues"""
    made: list[App] = []

    def make(client: tuple[str, int] = ("127.0.0.1", 1), **arguments: Any) -> TestClient:
        queue = make_queue("orders")
        queue.enqueue("a")
        made.append(app(queue, interval=FAST, **arguments))
        return TestClient(around(made[-1]), base_url="http://localhost", client=client)

    yield make
    for each in made:
        each.close()


@contextmanager
def served(application: Any) -> Iterator[str]:
    """The application in a real server. Yields its address."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    started = threading.Event()

    async def run() -> None:
        task = asyncio.ensure_future(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        started.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server does not end"


def test_the_page_and_what_it_asks_for_are_below_the_mount(mounted):
    client = mounted()
    assert client.get("/").text == "home"
    page = client.get("/ops/queues/")
    assert page.status_code == 200
    assert "<title>mpmc_queue</title>" in page.text
    for path in ("page.js", "charts.js", "page.css", "icon.svg", "api/history?queue=0"):
        assert client.get(f"/ops/queues/{path}").status_code == 200
    assert client.get("/ops/queues/nowhere").status_code == 404
    (message,) = client.get("/ops/queues/api/messages?queue=0").json()["messages"]
    assert message["type"] == "str"


def test_without_the_slash_it_is_found_too(mounted):
    assert mounted().get("/ops/queues").url.path == "/ops/queues/"


@pytest.mark.parametrize("root_path", ["", "/ops"])
def test_a_request_without_a_slash_is_redirected(make_queue, root_path):
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": root_path, "root_path": root_path, "query_string": b"",
             "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}  # fmt: skip
    asyncio.run(app(make_queue())(scope, receive, send))
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], headers[b"location"]) == (307, b"ops/" if root_path else b"./")


def test_a_remote_browser_needs_the_token(mounted):
    client = mounted(client=("10.1.2.3", 1))
    for path in ("", "api/messages?queue=0"):
        assert client.get(f"/ops/queues/{path}").status_code == 403
    assert mounted().get("/ops/queues/", headers={"Host": "evil.example"}).status_code == 421


def test_the_token_gives_access(mounted):
    client = mounted(client=("10.1.2.3", 1), token=TOKEN)
    assert client.get("/ops/queues/").status_code == 200
    assert client.get("/ops/queues/api/messages?queue=0").status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/ops/queues/api/messages?queue=0", headers=headers).status_code == 200


def test_a_guarded_dashboard_leaves_access_to_the_application(mounted):
    client = mounted(client=("10.1.2.3", 1), guarded=True)
    headers = {"Host": "shop.example", "X-Forwarded-For": "10.9.9.9"}
    assert client.get("/ops/queues/api/messages?queue=0", headers=headers).status_code == 200


def test_methods_that_could_change_something_are_refused(mounted):
    assert mounted().post("/ops/queues/api/messages?queue=0").status_code == 405


def test_head_has_no_body(mounted):
    answer = mounted().head("/ops/queues/api/events")
    assert (answer.status_code, answer.content) == (200, b"")


def test_events_flow_through_a_real_server(make_queue):
    queue = make_queue("orders")
    dashboard = app(queue, interval=FAST)
    with served(around(dashboard)) as address, urllib.request.urlopen(
        f"{address}ops/queues/api/events", timeout=PATIENCE
    ) as stream:  # fmt: skip
        lines = (json.loads(line[6:]) for line in stream if line.startswith(b"data: "))
        at = {name: index for index, name in enumerate(next(lines)["queue_fields"])}
        queue.enqueue_batch(range(5))
        for _, snapshot in zip(range(100), lines, strict=False):
            if snapshot["queues"][0][at["items"]] == 5:
                break
        else:
            raise AssertionError("the stream does not show what was enqueued")
        dashboard.close()
        for _ in stream:  # the stream ends
            pass


def test_a_stream_ends_by_itself_so_that_a_server_can_stop(make_queue, monkeypatch):
    monkeypatch.setattr(_asgi, "LIFE", 0.2)
    with served(app(make_queue(), interval=FAST)) as address, urllib.request.urlopen(
        f"{address}api/events", timeout=PATIENCE
    ) as stream:  # fmt: skip
        assert stream.read().count(b"data: ") >= 1


def test_a_browser_that_disconnects_ends_its_stream(make_queue):
    dashboard = app(make_queue(), interval=60)
    receive_called = asyncio.Event()

    async def main() -> None:
        gone = asyncio.Event()

        async def receive() -> Any:
            receive_called.set()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "GET", "path": "/api/events", "query_string": b"",
                 "headers": [(b"host", b"localhost")], "client": ("::1", 1)}  # fmt: skip
        call = asyncio.ensure_future(dashboard(scope, receive, send))
        await asyncio.wait_for(receive_called.wait(), PATIENCE)
        assert dashboard._feed.viewers == 1
        gone.set()
        await asyncio.wait_for(call, PATIENCE)

    asyncio.run(main())
    assert dashboard._feed.viewers == 0
    dashboard.close()


@pytest.mark.thread_unsafe(reason="its payloads block threads that all dashboards share")
def test_a_payload_whose_repr_blocks_does_not_block_the_application(make_queue, monkeypatch):
    monkeypatch.setattr(_reprs, "PATIENCE", 0.5)
    may_return, blocked = threading.Event(), threading.Event()

    class Blocking:
        def __repr__(self) -> str:
            blocked.set()
            may_return.wait()
            return "back"

    async def work(_: Any) -> PlainTextResponse:
        # The application itself uses the loop's threads, and needs all of them.
        return PlainTextResponse(await asyncio.to_thread(str, "worked"))

    queue = make_queue()
    queue.enqueue(Blocking())
    dashboard = app(queue, show_payloads=True)
    application = Starlette(routes=[Route("/work", work), Mount("/queues", dashboard)])

    def read(path: str) -> bytes:
        with urllib.request.urlopen(path, timeout=PATIENCE) as response:
            return response.read()

    def look(address: str) -> str:
        try:
            return json.loads(read(f"{address}queues/api/messages?queue=0"))["messages"][0]["payload"]
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.headers['Retry-After']}"

    with served(application) as address, ThreadPoolExecutor(40) as pool:
        try:
            looks = [pool.submit(look, address) for _ in range(40)]
            assert blocked.wait(PATIENCE)
            assert not may_return.is_set()
            assert read(f"{address}work") == b"worked"
            assert {each.result() for each in looks} <= {_reprs.TOO_LONG, "503 1"}
        finally:
            may_return.set()
        eventually(lambda: look(address) == "back")
    dashboard.close()


def test_the_lifespan_of_a_server_starts_and_closes_the_dashboard(make_queue):
    dashboard = app(make_queue(), interval=FAST)
    with TestClient(dashboard, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        assert client.get("/api/history?queue=0").status_code == 200
        assert not dashboard._feed.closed
    assert dashboard._feed.closed


def test_a_websocket_is_refused(make_queue):
    with pytest.raises(ValueError, match="scope must be of type http"):
        asyncio.run(app(make_queue())({"type": "websocket"}, None, None))  # type: ignore[arg-type]
