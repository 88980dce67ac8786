"""Checks of arguments: errors name the argument, and are raised before the server is asked."""

import math
import re
from datetime import datetime, timedelta
from typing import Final

from mpmc_queue._types import Start
from mpmc_queue.jetstream.errors import OptionError

MIN_TTL: Final = 0.1
"""The shortest `ttl` of a queue that the server accepts, in seconds."""
MIN_OWN_TTL: Final = 1.0
"""The shortest `ttl` of a message that the server accepts, in seconds; only whole seconds are possible."""
LONGEST: Final = 2.0**63 / 1e9
"""Durations from here on do not fit into the server's 64 bits of nanoseconds, and count as infinite; in seconds."""

API: Final = "$JS.API"
"""The default prefix of the JetStream API's subjects."""

_NAME: Final = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]{1,255}")


def name_of(value: object, argument: str) -> str:
    """The name of a stream or consumer, checked."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{argument} must be 1 to 255 characters without spaces, '.', '*', '>', '/' and '\\': {value!r}"
        )
    return value


def api_of(domain: object, api: object) -> str:
    """The prefix of the JetStream API's subjects, from the arguments `domain` and `api`."""
    if domain is None and api is None:
        return API
    argument, value = ("api", api) if domain is None else ("domain", domain)
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if domain is not None and api is not None:
        raise ValueError(f"domain and api say the same thing in two ways: give one of them, not {domain!r} and {api!r}")
    if not all(_NAME.fullmatch(word) for word in value.split(".")) or (domain is not None and "." in value):
        words = "one word" if domain is not None else "words joined by dots"
        raise ValueError(f"{argument} must be {words}, without spaces and wildcards: {value!r}")
    return value if domain is None else f"$JS.{value}.API"


def seconds(value: object, argument: str) -> float | None:
    """A duration in seconds, not negative; None: infinite."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} must be a number of seconds or None, not {type(value).__name__}")
    number = float(value) if isinstance(value, float) or abs(value) < 2**63 else math.copysign(math.inf, value)
    if math.isnan(number) or number < 0:
        raise ValueError(f"{argument} must not be negative or NaN: {value!r}")
    return None if number >= LONGEST else number


def count_of(value: object, argument: str, least: int = 1) -> int:
    """An int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an int, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{argument} must be at least {least}: {value!r}")
    if value >= 2**63:
        raise OverflowError(f"{argument} must be below 2**63: {value!r}")
    return value


def linger_of(value: object) -> float:
    """How long a batch may wait to fill, in seconds."""
    if value is None:
        raise TypeError("linger must be a number of seconds, not None")
    number = seconds(value, "linger")
    return math.inf if number is None else number


def bytes_of(value: object) -> int | None:
    """How many bytes a batch may have; None: no limit."""
    return None if value is None else count_of(value, "max_bytes")


def queue_ttl(value: object) -> float | None:
    """A queue's time to live."""
    ttl = seconds(value, "ttl")
    if ttl == 0:
        raise ValueError("ttl must be positive, or None for no limit")
    if ttl is not None and ttl < MIN_TTL:
        raise OptionError(f"ttl must be at least {MIN_TTL} s, or None: the server takes nothing shorter than that")
    return ttl


def own_ttl(value: object, queue_ttl: float | None) -> str:
    """A message's own time to live, as the server's header has it."""
    ttl = seconds(value, "ttl")
    if ttl is None:
        return "never"
    if ttl == 0:
        raise ValueError("ttl must be positive, or None for no limit")
    if ttl < MIN_OWN_TTL or ttl != int(ttl):
        raise OptionError(f"ttl of one message must be a whole number of seconds, for the server: {value!r}")
    if queue_ttl is not None and ttl > queue_ttl:
        raise OptionError(
            f"ttl of one message can be shorter than the queue's ({queue_ttl:g} s), or None for no limit, but not longer: "
            f"the server would let it go with the others, not after {ttl:g} s"
        )
    return f"{int(ttl)}s"


def start_of(value: object, argument: str = "start") -> Start:
    """The start of a consumer, checked."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{argument} must be an aware datetime: this one has no time zone")
        return value
    if isinstance(value, str):
        if value not in ("earliest", "latest"):
            raise ValueError(f"{argument} must be 'earliest', 'latest', a seq or an aware datetime, not {value!r}")
        return value  # type: ignore[return-value]  # one of the two
    return count_of(value, argument, 0)


def one_of(value: object, argument: str, *choices: str) -> str:
    """One of the choices."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if value not in choices:
        raise ValueError(f"{argument} must be {' or '.join(map(repr, choices))}, not {value!r}")
    return value
