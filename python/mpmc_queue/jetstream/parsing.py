"""A quicker parser of header blocks, with the same results as the client's.

The client checks every character of every name anew. Here names that it has accepted are remembered.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

_Parser: TypeAlias = Callable[[bytes], dict[str, str]]

NAMES: Final = 1024
"""How many names are remembered at most."""
_SAMPLE: Final = b"One: 1\r\nTwo: a:b \r\n\r\n"


def quicker(parser: _Parser | None) -> _Parser | None:
    """A quicker version of the client's parser; None if this client has another kind of parser, or none."""
    if parser is None:
        return None
    try:
        if parser(_SAMPLE) != {"One": "1", "Two": "a:b"}:
            return None
    except Exception:
        return None
    names: dict[bytes, str] = {}

    def parse(raw: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        try:
            for line in raw.split(b"\r\n"):
                name, colon, value = line.partition(b":")
                if colon:
                    headers[names[name]] = value.strip().decode()
        except (KeyError, UnicodeDecodeError):
            headers = parser(raw)
            if len(names) < NAMES:
                names.update((key.encode(), key) for key in headers)
        return headers

    return parse
