"""The HTTP server of the dashboard: a thread per connection; no connection can block others for long."""

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from mpmc_queue import ConsumerClosedError, QueueClosedError
from mpmc_queue.dashboard._http import END, MOST_BYTES, BadRequestError, Head, parse
from mpmc_queue.dashboard._site import KEEP_ALIVE, Request, Response, Site, error, event

MOST_CONNECTIONS: Final = 128
"""Maximum number of connections; each has a thread."""
TOO_MANY: Final = f"The dashboard has {MOST_CONNECTIONS} connections, and takes no more. Close some pages that show it, or try again later."
MOST_REFUSALS: Final = 32
"""Maximum number of excess connections that are answered 503 at the same time; others are closed without an answer."""
PATIENCE: Final = 15.0
"""Seconds without data received or a new request after which a browser is disconnected. It reconnects by itself."""
DEADLINE: Final = 5.0
"""Seconds in which a request has to arrive, from its first byte (or from the start of a new connection) to its last."""
LINGER: Final = 1.0
"""Seconds for which data that still arrives is read and discarded: otherwise a TCP reset could destroy the answer."""
SEND_BUFFER: Final = 1 << 17
"""Bytes that the operating system buffers for a slow browser."""
TOO_LARGE: Final = (
    f"The headers of the request are larger than {MOST_BYTES} bytes. Browsers send the cookies of all programs on this host: "
    "delete these, or open the dashboard under 127.0.0.1 instead of localhost, or the reverse."
)
FAILED: Final = (
    "The dashboard could not answer, because of an error in it. The traceback is in the standard error (stderr) of the program "
    "that serves the dashboard. Please report it as a bug."
)
CHUNK: Final = 1 << 16
"""Bytes received at once."""


class Connection:
    """A connection, and how long it has been waiting for a request."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.waiting_since: float | None = time.monotonic()
        """None: a request is being answered."""

    def end(self) -> None:
        """Ends it, from any thread; a thread that reads from it or writes to it notices."""
        try:
            self.stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # gone already


class Http(socketserver.ThreadingTCPServer):
    """The server, with a limited number of connections; all of them end with it."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS  # all may arrive at once
    site: Site

    def __init__(self, host: str, port: int) -> None:
        self._connections: dict[socket.socket, Connection] = {}
        self._refusals: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family, address = found[0][0], found[0][4]
            super().__init__((str(address[0]), int(address[1])), _Handler)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise type(problem)(problem.errno, f"the dashboard cannot listen at {host}:{port}: {reason}") from problem

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, sys.platform != "win32")
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            is_admitted = self._makes_room()
            if is_admitted:
                self._connections[request] = Connection(request)
            elif len(self._refusals) < MOST_REFUSALS:
                self._refusals.add(request)
            else:
                client_address = None
        if client_address is None:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def _makes_room(self) -> bool:
        """Whether one more connection fits; ends the connection that has been idle the longest if that is necessary."""
        if len(self._connections) < MOST_CONNECTIONS:
            return True
        waiting = [(each.waiting_since, each) for each in self._connections.values() if each.waiting_since is not None]
        if not waiting:
            return False
        longest = min(waiting, key=lambda pair: pair[0])[1]
        del self._connections[longest.stream]
        longest.end()
        return True

    def connection_of(self, request: socket.socket) -> Connection | None:
        """The connection, if it is served; None if it was refused, or was ended to make room."""
        with self._lock:
            return self._connections.get(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
            self._refusals.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a browser that disconnected is no error
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            connections = [*self._connections.values(), *map(Connection, self._refusals)]
        for connection in connections:
            connection.end()


class _Handler(socketserver.BaseRequestHandler):
    """What happens on one connection, in its thread."""

    server: Http  # pyright: ignore[reportIncompatibleVariableOverride]: it is made by that one alone
    request: socket.socket

    def setup(self) -> None:
        self._received = bytearray()
        self._connection = self.server.connection_of(self.request)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # Without this, the end of an answer waits until the browser confirms its beginning.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self) -> None:
        if self._connection is None:
            refusal = error(503, TOO_MANY, {"Retry-After": "1"})
            self._last_answer(refusal)
            return
        head: Head | None = None
        try:
            while (data := self._head(is_first=head is None)) is not None:
                self._connection.waiting_since = None
                head = parse(data)
                if not self._answer(head):
                    return
                self._connection.waiting_since = time.monotonic()
        except BadRequestError as bad:
            self._last_answer(error(bad.status, bad.text))
        except OSError:
            raise
        except Exception:
            self._last_answer(error(500, FAILED))
            raise

    def _head(self, *, is_first: bool) -> bytes | None:
        """The next request's head; None when the browser disconnects or sends nothing.

        Raises BadRequestError when the head is too large, or late.
        """
        has_begun = is_first or bool(self._received)  # the deadline already applies
        deadline = time.monotonic() + (DEADLINE if has_begun else PATIENCE)
        while (end := self._received.find(END)) < 0:
            if len(self._received) > MOST_BYTES:
                raise BadRequestError(431, TOO_LARGE)
            try:
                data = self._receive(deadline)
            except TimeoutError:
                if not self._received:
                    return None
                raise BadRequestError(408, "The request took too long to arrive") from None
            if not data:
                return None
            if not has_begun:
                has_begun, deadline = True, time.monotonic() + DEADLINE
            self._received += data
        head = bytes(self._received[:end])
        del self._received[: end + len(END)]
        if end > MOST_BYTES:
            raise BadRequestError(431, TOO_LARGE)
        return head

    def _receive(self, deadline: float) -> bytes:
        """The data that arrives next; TimeoutError when there is none until the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.request.settimeout(left)
        return self.request.recv(CHUNK)

    def _answer(self, head: Head) -> bool:
        """Answers a request, and says whether another one may follow."""
        request = Request(head.method, head.path, head.query, head.headers, str(self.client_address[0]))
        response = self.server.site.respond(request)
        is_head = head.method == "HEAD"
        if response.is_stream and not is_head:
            self._stream(response)
            return False
        if head.has_body:
            # The body is not read, so a further read on this connection would take the body for a request.
            self._last_answer(response, is_head=is_head)
            return False
        self._send(_begin(response, {} if head.keeps_alive else {"Connection": "close"}, with_body=not is_head))
        return head.keeps_alive

    def _last_answer(self, response: Response, *, is_head: bool = False) -> None:
        """Answers, and ends the connection though the browser may still be sending."""
        self._send(_begin(response, {"Connection": "close"}, with_body=not is_head))
        self.request.shutdown(socket.SHUT_WR)
        if self._connection is not None:
            self._connection.waiting_since = time.monotonic()
        deadline = time.monotonic() + LINGER
        try:
            while self._receive(deadline):
                pass
        except TimeoutError:
            pass

    def _stream(self, response: Response) -> None:
        self._send(_begin(response, {"Connection": "close"}, with_body=False))
        with self.server.site.feed.view() as snapshots:
            while True:
                try:
                    message = snapshots.read(timeout=PATIENCE / 2)
                except (QueueClosedError, ConsumerClosedError):
                    return
                self._send(KEEP_ALIVE if message is None else event(message.payload))

    def _send(self, data: bytes) -> None:
        """Sends all data; TimeoutError when the browser accepts nothing for too long, or when sending takes too long in
        total."""
        self.request.settimeout(PATIENCE)
        deadline = time.monotonic() + 2 * PATIENCE
        left = memoryview(data)
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError("the browser is too slow")
            left = left[self.request.send(left) :]


def _begin(response: Response, more: Mapping[str, str], *, with_body: bool) -> bytes:
    """An answer as bytes: headers and body in one piece."""
    headers = {**response.headers, **more}
    if not response.is_stream:
        headers["Content-Length"] = str(len(response.body))
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (response.body if with_body else b"")
