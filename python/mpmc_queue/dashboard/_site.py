"""The answers to requests, independent of the server (its own or ASGI)."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Final, NamedTuple
from urllib.parse import parse_qs, quote

from mpmc_queue import Queue
from mpmc_queue.dashboard import _peek
from mpmc_queue.dashboard._access import has_token, is_for_loopback, is_loopback, is_of_proxy
from mpmc_queue.dashboard._feed import Feed

SCRIPTS: Final = (
    "page", "charts", "elements", "layers", "messages", "order", "queues", "readers", "roving", "state", "stream", "tables", "words",
)  # fmt: skip
FILES: Final = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
}
"""The static files of the page, by path; they need no token, because they contain nothing secret."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""
STREAM_HEADERS: Final = HEADERS | {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
KEEP_ALIVE: Final = b": nothing new\n\n"
NO_SUCH_METHOD: Final = "The dashboard changes nothing, so it answers only GET and HEAD requests."
NO_SUCH_PATH: Final = (
    "The dashboard has nothing at this path. Open its own address: Server.url, or where app() is mounted."
)
NO_SUCH_QUEUE: Final = "The dashboard no longer shows this queue, or the program was started again: reload the page."
NO_TOKEN: Final = (
    "The token is missing or wrong. Open the address of the dashboard that contains the token, or type the token into the page. "
    "Other clients send it as the header Authorization: Bearer TOKEN."
)
NOT_LOCAL: Final = (
    "This dashboard has no token. So it is open only to browsers on the same machine, and not through a proxy. To open it to "
    "others, pass a token: serve(..., token=...) or app(..., token=...). If your application checks who may see it, pass "
    "app(..., guarded=True)."
)
NOT_LOCALHOST: Final = (
    "This dashboard has no token. So it answers only under the names localhost and 127.0.0.1, and your browser asked for "
    "another name. Use one of these, or pass a token: serve(..., token=...) or app(..., token=...)."
)
MOST_DIGITS: Final = 19
"""Maximum digits of a number in a request."""


class Request(NamedTuple):
    """The parts of a request that matter here."""

    method: str
    path: str  # relative to the mount point; "": the mount point itself, without a slash
    query: str
    headers: Mapping[str, str]  # by lower-case name
    client: str | None  # its address


class Response(NamedTuple):
    """An answer; for a stream, only its status and headers."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    is_stream: bool = False


class Site:
    """The dashboard, independent of how it is served."""

    def __init__(self, feed: Feed, *, token: str | None, show_payloads: bool, is_guarded: bool = False) -> None:
        self.feed = feed
        self._token = token
        self._show_payloads = show_payloads
        # Whether the surrounding application controls access.
        self._is_guarded = is_guarded

    def respond(self, request: Request, place: str = "") -> Response:
        """The answer. `place` is the path that the dashboard is mounted at."""
        if request.method not in ("GET", "HEAD"):
            return error(405, NO_SUCH_METHOD, {"Allow": "GET, HEAD"})
        if refusal := self._refusal(request):
            return refusal
        if request.path == "":
            # The page loads everything relative to itself, so its address has to end with a slash.
            return error(
                307,
                "The address of the dashboard ends with a slash.",
                {"Location": quote(place.rpartition("/")[2] or ".") + "/"},
            )
        name = request.path.removeprefix("/")
        if found := FILES.get(name):
            file, kind = found
            return Response(
                200, HEADERS | {"Content-Type": kind}, files("mpmc_queue.dashboard").joinpath("page", file).read_bytes()
            )
        if not name.startswith("api/"):
            return error(404, NO_SUCH_PATH)
        if self._token is not None and not has_token(request.headers.get("authorization", ""), self._token):
            return error(401, NO_TOKEN, {"WWW-Authenticate": 'Bearer realm="mpmc_queue"'})
        return self._api(name.removeprefix("api/"), request.query)

    def _refusal(self, request: Request) -> Response | None:
        """The error if no token is set and the request is not from this machine; None: access is allowed."""
        if self._is_guarded or self._token is not None:
            return None
        is_forwarded = any(map(is_of_proxy, request.headers))
        if request.client is None or not is_loopback(request.client) or is_forwarded:
            return error(403, NOT_LOCAL)
        if not is_for_loopback(request.headers.get("host", "")):
            return error(421, NOT_LOCALHOST)
        return None

    def _api(self, name: str, query: str) -> Response:
        self.feed.start()
        if name == "events":
            return Response(200, STREAM_HEADERS, is_stream=True)
        if name not in ("history", "messages", "message"):
            return error(404, NO_SUCH_PATH)
        try:
            numbers = _numbers(query)
        except ValueError as problem:
            return error(400, str(problem))
        number = numbers.get("queue")
        queue = None if number is None else self.feed.watched.get(number)
        if number is None or queue is None:
            return error(404, NO_SUCH_QUEUE)
        if name == "history":
            return _json(self.feed.history(number))
        if not isinstance(queue, Queue):
            return error(404, "The dashboard does not show the messages of a queue over JetStream.")
        if name == "messages":
            return _json(_peek.messages(queue, numbers.get("start"), self._show_payloads))
        found = _peek.message(queue, numbers.get("seq", 0), self._show_payloads)
        return _json(found) if found else error(404, "The queue no longer holds this message.")


def event(snapshot: bytes) -> bytes:
    """A snapshot as a server-sent event."""
    return b"data: " + snapshot + b"\n\n"


def _numbers(query: str) -> dict[str, int]:
    """The parameters of a request, all of which are numbers."""
    numbers: dict[str, int] = {}
    for name, values in parse_qs(query, keep_blank_values=True, max_num_fields=10).items():
        value = values[-1]
        if not (value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS) or int(value) >= 1 << 63:
            raise ValueError(f"{name} must be a whole number below 2**63")
        numbers[name] = int(value)
    return numbers


def _json(value: object) -> Response:
    return Response(200, HEADERS | {"Content-Type": "application/json"}, json.dumps(value).encode())


def error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error answer with one line of text."""
    return Response(status, {**HEADERS, "Content-Type": "text/plain; charset=utf-8", **(headers or {})}, text.encode())
