"""Headers: the server's names, the check of the application's headers, and the trace context of a message."""

import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from mpmc_queue.jetstream.connection import log

MSG_ID: Final = "Nats-Msg-Id"
BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"
EXPECTED_STREAM: Final = "Nats-Expected-Stream"
OWN_TTL: Final = "Nats-TTL"
CONTENT_TYPE: Final = "Content-Type"

FRAME: Final = len("NATS/1.0\r\n" + "\r\n")
"""Bytes of a header block besides the headers themselves."""

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTEXT: Final = "opentelemetry.context"


def header_bytes(headers: Mapping[str, str]) -> int:
    """Bytes of these headers on the wire."""
    size = 0
    for key, value in headers.items():
        size += len(key.encode()) + len(value.encode()) + 4
    return size


def headers_of(value: object) -> dict[str, str]:
    """The argument `headers`, checked, and the current trace context."""
    own: dict[str, str] = {}
    if value is not None:
        if not isinstance(value, Mapping):
            raise TypeError(f"headers must be a mapping of str to str, or None, not {type(value).__name__}")
        for key, text in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str) or not isinstance(text, str):
                kinds = f"{type(key).__name__} to {type(text).__name__}"
                raise TypeError(f"headers must be a mapping of str to str, not one of {kinds}")
            if (why := _fault(key, text)) is not None:
                raise ValueError(f"headers must be what the server carries, not {repr({key: text})[:80]}: {why}")
            own[key] = text
    if _CONTEXT in sys.modules:
        return _trace() | own
    return own


def own_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The headers that the enqueuing application has set."""
    return MappingProxyType({key: value for key, value in (headers or {}).items() if not _reserved(key)})


def _fault(key: str, value: str) -> str | None:
    """What is wrong with a header; None if it is valid."""
    if not _NAME.fullmatch(key):
        return "a name is ASCII letters, digits and !#$%&'*+-.^_`|~"
    if _reserved(key):
        return "names that begin with Nats- are the server's, and Content-Type is the codec's"
    if value != value.strip() or any(character in value for character in "\r\n\0"):
        return "a value has one line, and no white space around it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "it holds a lone surrogate"
    return None


def _reserved(key: str) -> bool:
    return key[:5].lower() == "nats-" or key.lower() == "content-type"


def _trace() -> dict[str, str]:
    """The current trace context and baggage, from the propagators that the application has set.

    Only called if the application has imported OpenTelemetry; without a current span or baggage the context is empty.
    """
    carrier: dict[str, str] = {}
    try:
        if sys.modules[_CONTEXT].get_current():
            import_module("opentelemetry.propagate").inject(carrier)
    except Exception as error:
        log.debug("the trace context is left out: %s", error)
        return {}
    return {key: value for key, value in carrier.items() if _fault(key, value) is None}
