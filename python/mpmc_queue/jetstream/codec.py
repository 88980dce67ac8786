"""Codecs: how payloads become the bytes of a message, and back."""

import json
import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Literal, Protocol, TypeVar

from mpmc_queue.jetstream.errors import CodecError, OptionError

_T = TypeVar("_T")


class Codec(Protocol[_T]):
    """How payloads are serialized. Any object with these two methods is a codec.

    `encode` returns the bytes and a content type, which `decode` gets too (None: without one).
    Errors in either reach the caller as a CodecError whose cause is the original error.
    """

    def encode(self, payload: _T) -> tuple[bytes, str | None]: ...
    def decode(self, data: bytes, content_type: str | None) -> _T: ...


TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


def media_type(content_type: str | None) -> str | None:
    """The content type without its parameters, which differ between clients."""
    return None if content_type is None else content_type.partition(";")[0].strip().lower()


class BytesCodec:
    """Bytes, unchanged; bytearray and memoryview arrive as bytes."""

    def encode(self, payload: bytes | bytearray | memoryview) -> tuple[bytes, str | None]:
        if type(payload) is bytes:
            return payload, None
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise TypeError(f"payload must be bytes, not {type(payload).__name__}")
        return bytes(payload), None

    def decode(self, data: bytes, content_type: str | None) -> bytes:
        return data


class StrCodec:
    """Text in UTF-8."""

    def encode(self, payload: str) -> tuple[bytes, str | None]:
        if not isinstance(payload, str):
            raise TypeError(f"payload must be str, not {type(payload).__name__}")
        return payload.encode(), TEXT

    def decode(self, data: bytes, content_type: str | None) -> str:
        return data.decode()


class JsonCodec:
    """JSON in UTF-8, by msgspec or orjson if one is installed, else by the standard library.

    Types that JSON does not have arrive as the type they were written as: a tuple as a list, a number as a key as a str.
    `library` selects one by name.
    """

    def __init__(self, library: Literal["msgspec", "orjson", "json"] | None = None) -> None:
        self._dump, self._load = _json(library)

    def encode(self, payload: Any) -> tuple[bytes, str | None]:
        return self._dump(payload), JSON

    def decode(self, data: bytes, content_type: str | None) -> Any:
        return self._load(data)


class AutoCodec:
    """Bytes, str and all that JSON can express: the content type of each message says which of them it is."""

    def __init__(self) -> None:
        self._dump, self._load = _json(None)

    def encode(self, payload: Any) -> tuple[bytes, str | None]:
        if isinstance(payload, bytes):
            return payload, None
        if isinstance(payload, str):
            return payload.encode(), TEXT
        if isinstance(payload, bytearray | memoryview):
            return bytes(payload), None  # pyright: ignore[reportUnknownArgumentType]: a memoryview of any type
        return self._dump(payload), JSON

    def decode(self, data: bytes, content_type: str | None) -> Any:
        if content_type is None:
            return data
        if content_type == TEXT:
            return data.decode()
        kind = media_type(content_type)
        if kind == JSON:
            return self._load(data)
        if kind == "text/plain":
            return data.decode(_charset(content_type))
        raise ValueError(f"a content type that this codec does not know: {content_type!r}")


class PickleCodec:
    """Any Python object, by pickle.

    Unpickling can run any code that the bytes contain: anyone who can publish to the subject, or write to the server's
    store, can take over every process that reads the queue. So it is never the default, and you have to confirm that you
    want it:

    >>> PickleCodec(i_trust_everyone_who_can_publish=True).encode([1, 2])[1]
    'application/x-python-pickle'
    """

    CONTENT_TYPE: Final = "application/x-python-pickle"

    def __init__(self, *, i_trust_everyone_who_can_publish: bool = False) -> None:
        if i_trust_everyone_who_can_publish is not True:
            raise OptionError(
                "a pickled message can run any code in the process that reads it: everyone who can publish to the "
                "queue can take that process over. If you trust them all, say so: "
                "PickleCodec(i_trust_everyone_who_can_publish=True)"
            )

    def encode(self, payload: Any) -> tuple[bytes, str | None]:
        return pickle.dumps(payload), self.CONTENT_TYPE

    def decode(self, data: bytes, content_type: str | None) -> Any:
        if media_type(content_type) != self.CONTENT_TYPE:
            raise ValueError(f"not a pickled message: its content type is {content_type!r}")
        return pickle.loads(data)


def codec_from(value: object) -> Codec[Any]:
    """The codec for the argument `codec` of `connect`."""
    match value:
        case "auto":
            return AutoCodec()
        case "bytes":
            return BytesCodec()
        case "str":
            return StrCodec()
        case "json":
            return JsonCodec()
        case "pickle":
            return PickleCodec()  # raises an error that says what to write instead
        case str():
            raise ValueError(f"codec must be 'auto', 'bytes', 'str', 'json' or a codec object, not {value!r}")
        case _:
            pass
    if not callable(getattr(value, "encode", None)) or not callable(getattr(value, "decode", None)):
        raise TypeError(f"codec must be a name or an object with encode and decode, not {type(value).__name__}")
    return value  # type: ignore[return-value]  # the two methods are what makes a codec


def encoded(codec: Codec[Any], payload: object) -> tuple[bytes, str | None]:
    """The payload's bytes and content type; a CodecError if it cannot be encoded."""
    try:
        data, content_type = codec.encode(payload)
    except Exception as error:
        raise CodecError(f"payload cannot be encoded: {error}") from error
    given: object = content_type  # a codec of the user's may return anything; further lines would be further headers
    if given is not None and not (isinstance(given, str) and given.isprintable()):
        raise CodecError(f"payload cannot be encoded: {content_type!r} is not a content type")
    return data, content_type


def decoded(codec: Codec[Any], data: bytes, content_type: str | None, seq: int) -> Any:
    """The payload; a CodecError if the bytes cannot be decoded."""
    try:
        return codec.decode(data, content_type)
    except Exception as error:
        raise CodecError(f"message {seq:,} cannot be decoded: {error}", seq) from error


def _charset(content_type: str) -> str:
    """The charset in a content type."""
    from email.message import Message

    message = Message()
    message["Content-Type"] = content_type
    return str(message.get_content_charset("utf-8"))


def _json(library: str | None) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """The functions that encode and decode JSON."""
    for name in ("msgspec", "orjson") if library is None else (library,):
        try:
            if name == "msgspec":
                module = import_module("msgspec.json")
                return module.encode, module.decode
            if name == "orjson":
                module = import_module("orjson")
                return module.dumps, module.loads
        except ImportError:
            if library is not None:
                raise
    if library not in (None, "json"):
        raise ValueError(f"library must be 'msgspec', 'orjson' or 'json', not {library!r}")
    return _stdlib_dump, json.loads


def _stdlib_dump(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
