"""The dashboard over the standard library's HTTP server, in threads of its own."""

import socket
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

from mpmc_queue import ConsumerClosedError, Queue, QueueClosedError
from mpmc_queue.dashboard._access import checked_token, is_loopback, new_token
from mpmc_queue.dashboard._arguments import checked_interval, checked_port
from mpmc_queue.dashboard._feed import Feed
from mpmc_queue.dashboard._site import KEEP_ALIVE, Request, Response, Site, event

MOST_CONNECTIONS: Final = 128
"""Each has a thread."""
PATIENCE: Final = 15.0
"""Seconds after which a browser that takes nothing, or asks nothing, is given up. It comes back by itself."""
SEND_BUFFER: Final = 1 << 17
"""Bytes that the system keeps for a browser that is slow."""


def serve(
    queues: Queue[Any] | Iterable[Queue[Any]],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str | None = None,
    show_payloads: bool = False,
    interval: float = 1.0,
) -> "Server":
    """Serves the dashboard from a background thread, until it is closed.

    queues          a Queue or several, held weakly: one that nobody else holds any more disappears from the page.
    host, port      where to listen; port 0 takes one that is free.
    token           what browsers have to send; at least 16 characters. None: none on this machine alone (the default),
                    and a fresh one where others can reach it.
    show_payloads   show the `repr` of payloads, too. That runs the payloads' code.
    interval        seconds from one sample to the next.

    Raises OSError when it cannot listen there, and TypeError or ValueError for an argument that is not one of these.

    >>> from urllib.request import urlopen
    >>> with serve(Queue("orders")) as dashboard:
    ...     urlopen(dashboard.url).status
    200
    """
    return Server(queues, host, port, token=token, show_payloads=show_payloads, interval=interval)


class Server:
    """A dashboard that is being served; `serve` makes it. `with` closes it."""

    def __init__(
        self,
        queues: Queue[Any] | Iterable[Queue[Any]],
        host: str,
        port: int,
        *,
        token: str | None,
        show_payloads: bool,
        interval: float,
    ) -> None:
        if not isinstance(host, str):
            raise TypeError(f"host must be a str, not {type(host).__name__}")
        checked_port(port)
        checked_token(token)
        feed = Feed(queues, checked_interval(interval))
        self._http = _Http(host, port)
        address = self._http.socket.getsockname()
        if token is None and not is_loopback(address[0]):
            token = new_token()
        self._http.site = Site(feed, token=token, show_payloads=bool(show_payloads))
        self._feed = feed
        self._token = token
        self._address: tuple[str, int] = address[:2]
        feed.start()
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name="mpmc-dashboard-http", daemon=True
        )
        self._thread.start()

    @property
    def host(self) -> str:
        """The address it listens at."""
        return self._address[0]

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._address[1]

    @property
    def token(self) -> str | None:
        """What browsers have to send; None: nothing."""
        return self._token

    @property
    def url(self) -> str:
        """Where it is, for this machine; the page asks for the token, if there is one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    @property
    def login_url(self) -> str:
        """The same with the token in it, for a person to open: whoever has it may look."""
        return self.url if self._token is None else f"{self.url}#token={self._token}"

    def add(self, queue: Queue[Any]) -> None:
        """Shows one more queue; nothing happens if it is shown already."""
        self._feed.watched.add(queue)

    def discard(self, queue: Queue[Any]) -> None:
        """Shows a queue no more; nothing happens if it was not shown."""
        self._feed.watched.discard(queue)

    def close(self) -> None:
        """Ends it, with every connection. Once is enough."""
        self._feed.close()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mpmc_queue dashboard at {self.url}>"


class _Http(ThreadingHTTPServer):
    """The server proper: so many connections at the most, and none outlives it."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS  # they may all come at once
    site: Site

    def __init__(self, host: str, port: int) -> None:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, address = found[0][0], found[0][4]
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((str(address[0]), int(address[1])), _Handler)

    def server_bind(self) -> None:
        # The base class looks up the machine's name, which may ask the network; this does not.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, sys.platform != "win32")
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            is_full = len(self._connections) >= MOST_CONNECTIONS
            if not is_full:
                self._connections.add(request)
        if is_full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a browser that left is none
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # gone already


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: _Http  # pyright: ignore[reportIncompatibleVariableOverride]: it is made by that one alone

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().setup()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, parts.path or "/", parts.query, headers, self.client_address[0])
        response = self.server.site.respond(request)
        if response.is_stream and self.command != "HEAD":
            self._stream(response)
        else:
            self._answer(response)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def _answer(self, response: Response) -> None:
        if self.command not in ("GET", "HEAD"):
            self.close_connection = True  # what came with it is not read
        self._begin(response, {"Content-Length": str(len(response.body))})
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _stream(self, response: Response) -> None:
        self.close_connection = True
        self._begin(response, {"Connection": "close"})
        with self.server.site.feed.view() as snapshots:
            while True:
                try:
                    message = snapshots.read(timeout=PATIENCE / 2)
                except (QueueClosedError, ConsumerClosedError):
                    return
                self._send(KEEP_ALIVE if message is None else event(message.payload))

    def _send(self, data: bytes) -> None:
        """Sends as much as the browser takes, and gives it up when it takes nothing for too long, or all of it takes
        too long."""
        deadline = time.monotonic() + 2 * PATIENCE
        left = memoryview(data)
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError("the browser is too slow")
            left = left[self.connection.send(left) :]

    def _begin(self, response: Response, more: dict[str, str]) -> None:
        self.send_response_only(response.status)
        for name, value in {**response.headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged: what a request carries is nobody's business, and a busy page would fill any log."""
