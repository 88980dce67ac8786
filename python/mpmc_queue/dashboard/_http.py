"""Parses the head of an HTTP/1 request strictly: input that two parsers could interpret differently is refused.

A proxy in front of the dashboard may decide from the request whether it may pass. So the proxy and the dashboard must not
interpret a request differently (request smuggling).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

MOST_BYTES: Final = 32_768
"""Maximum size of a request's head."""
END: Final = b"\r\n\r\n"
"""The end of a head."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE: Final = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/(\d)\.(\d)")
_HEADER: Final = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_ONCE: Final = ("host", "authorization")
"""Headers that may appear only once: of two, the proxy might use the other one."""


class BadRequestError(Exception):
    """A request that is answered with an error, after which the connection ends."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Head(NamedTuple):
    """The parsed head of a request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name; the values of repeated headers are joined with commas."""
    has_body: bool
    """Whether it announces a body, or another parser might think so."""
    keeps_alive: bool
    """Whether another request may follow on this connection."""


def parse(data: bytes) -> Head:
    """Parses a head, given without the empty line that ends it; BadRequestError when it is not valid."""
    first, *lines = data.decode("latin-1").split("\r\n")
    found = _FIRST_LINE.fullmatch(first)
    if found is None:
        raise BadRequestError(400, "This is not an HTTP/1.1 request")
    method, target, major, minor = found.groups()
    if major != "1":
        raise BadRequestError(505, "Only HTTP/1.1 is supported")
    if not target.startswith("/"):
        raise BadRequestError(400, "The path of a request must begin with a slash")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequestError(400, "A header of the request is malformed")
        name, value = header[1].lower(), header[2]
        if name in headers and name in _ONCE:
            raise BadRequestError(400, f"The request has more than one {name.title()} header")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "host" not in headers and minor != "0":
        raise BadRequestError(400, "The request has no Host header")
    path, _, query = target.partition("#")[0].partition("?")
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return Head(method, path, query, headers, has_body, minor != "0" and "close" not in options)
