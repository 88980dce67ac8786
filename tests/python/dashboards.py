"""A client of the dashboard that is not a browser."""

import http.client
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from helpers import PATIENCE
from mpmc_queue.dashboard import Server

Snapshot = dict[str, Any]


def request(server: Server, path: str = "", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a response."""
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
    """The first snapshot for which the condition is true."""
    for _, snapshot in zip(range(200), stream, strict=False):
        if condition(snapshot):
            return snapshot
    raise AssertionError("it never came true")
