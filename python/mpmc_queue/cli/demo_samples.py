"""Samples: the figures that the demo shows, and how they are formatted."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TextIO

TTL: Final = 1.0
"""The ttl of messages in seconds: short, so that a slow consumer misses some."""
WIDE: Final = 100
"""Columns that are enough to show everything."""


class QueueFigures(Protocol):
    """The figures of a queue, in this process or on a server."""

    @property
    def total_items(self) -> int: ...
    @property
    def memory_usage(self) -> int: ...
    @property
    def memory_percent(self) -> float: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def enqueued(self) -> int: ...
    @property
    def expired(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class ConsumerFigures(Protocol):
    """The figures of a consumer, in this process or on a server."""

    @property
    def name(self) -> str | None: ...
    @property
    def total_items_read(self) -> int: ...
    @property
    def unread_items(self) -> int: ...
    @property
    def missed_items(self) -> int: ...
    @property
    def lag(self) -> float: ...


class Sample(NamedTuple):
    """All figures at one moment."""

    elapsed: float
    queue: QueueFigures
    consumers: Sequence[ConsumerFigures]

    @property
    def read(self) -> int:
        """Deliveries to all consumers so far."""
        return sum(consumer.total_items_read for consumer in self.consumers)


class Ink:
    """Colours and drawing characters, if the output can show them."""

    def __init__(self, out: TextIO) -> None:
        self._colour = is_terminal(out) and "NO_COLOR" not in os.environ
        try:
            "█░▁✔".encode(out.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            self._full, self._empty, self._levels = "#", ".", " .:-=+*#"
        else:
            self._full, self._empty, self._levels = "█", "░", "▁▂▃▄▅▆▇█"

    def _paint(self, code: int, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def bold(self, text: str) -> str:
        return self._paint(1, text)

    def dim(self, text: str) -> str:
        return self._paint(2, text)

    def good(self, text: str) -> str:
        return self._paint(32, text)

    def warn(self, text: str) -> str:
        return self._paint(33, text)

    def bad(self, text: str) -> str:
        return self._paint(31, text)

    def accent(self, text: str) -> str:
        return self._paint(36, text)

    def bar(self, share: float, width: int) -> str:
        """A bar that shows how full something is."""
        full = round(min(max(share, 0.0), 1.0) * width)
        return self._full * full + self._empty * (width - full)

    def spark(self, values: "deque[float]", width: int) -> str:
        """A sparkline of the history, newest to the right."""
        top = max(values, default=0.0) or 1.0
        last = len(self._levels) - 1
        return "".join(self._levels[round(value / top * last)] for value in values).rjust(width)


def is_terminal(out: TextIO, rows: int = 0) -> bool:
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return shutil.get_terminal_size().lines >= rows


def columns_of(out: TextIO) -> int:
    """How many columns the output has; a file or a pipe has room for everything."""
    return shutil.get_terminal_size((WIDE, 24)).columns if out.isatty() else WIDE


def rate_of(before: Sample | None, now: Sample, count: Callable[[Sample], int]) -> float:
    """How much a count grew per second since an earlier sample (or the start)."""
    seconds = now.elapsed - (before.elapsed if before else 0.0)
    return (count(now) - (count(before) if before else 0)) / seconds if seconds > 0 else 0.0


def read_by(index: int, sample: Sample) -> int:
    """Messages that one consumer has read."""
    return sample.consumers[index].total_items_read


def rates(before: Sample | None, now: Sample) -> tuple[float, float]:
    """Messages per second into the queue, and out of it to all consumers."""
    return rate_of(before, now, lambda sample: sample.queue.enqueued), rate_of(before, now, lambda sample: sample.read)


def kibibytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:,.2f} MiB"
