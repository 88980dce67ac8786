"""The head of an HTTP/1 request, read strictly: whatever two readers could understand differently is refused.

A proxy in front of the dashboard decides by what it reads whether a request may pass. So a request must not be one thing to
the proxy and another one here.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

MOST_BYTES: Final = 32_768
"""Of a request's head."""
END: Final = b"\r\n\r\n"
"""What ends a head."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE: Final = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/(\d)\.(\d)")
_HEADER: Final = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_ONCE: Final = ("host", "authorization")
"""Headers of which there may be only one: of two, the proxy may look at the other."""


class BadRequestError(Exception):
    """A request that is not answered but with an error, after which the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Head(NamedTuple):
    """What a request's head says."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name; those that came several times are joined with commas."""
    has_body: bool
    """Whether it announces a body, or may do so to another reader."""
    keeps_alive: bool
    """Whether another request may follow on this connection."""


def parse(data: bytes) -> Head:
    """Reads a head, without the empty line that ends it; BadRequestError when it is not one."""
    first, *lines = data.decode("latin-1").split("\r\n")
    found = _FIRST_LINE.fullmatch(first)
    if found is None:
        raise BadRequestError(400, "This is not a request of HTTP/1.1")
    method, target, major, minor = found.groups()
    if major != "1":
        raise BadRequestError(505, "It speaks HTTP/1.1")
    if not target.startswith("/"):
        raise BadRequestError(400, "Ask for a path that begins with a slash")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequestError(400, "A header is not well formed")
        name, value = header[1].lower(), header[2]
        if name in headers and name in _ONCE:
            raise BadRequestError(400, f"There is more than one {name.title()} header")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "host" not in headers and minor != "0":
        raise BadRequestError(400, "There is no Host header")
    path, _, query = target.partition("#")[0].partition("?")
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return Head(method, path, query, headers, has_body, minor != "0" and "close" not in options)
