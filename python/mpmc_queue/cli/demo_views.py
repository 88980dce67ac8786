"""The demo's views that need no other package: plain lines, and a few rows redrawn in place."""

import math
from collections import deque
from functools import partial
from typing import Final, NamedTuple, Protocol, TextIO

from mpmc_queue.cli.demo_samples import TTL, Ink, Sample, columns_of, kibibytes, rate_of, rates, read_by


class View(Protocol):
    """Shows samples during the demo."""

    interval: float

    def show(self, sample: Sample) -> None: ...
    def close(self, sample: Sample | None) -> None:
        """Ends the view with the last sample, which stays on the screen; None: with what is shown already."""


class Lines:
    """One line per interval, for a file, a pipe, or a small terminal."""

    NARROW: Final = 78
    """With fewer columns than this, less important figures are left out."""

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self.interval = min(1.0, seconds / 5)
        self._out = out
        self._is_narrow = columns_of(out) < self.NARROW
        self._last: Sample | None = None
        print(f"mpmc_queue demo: {title}\n", file=out)
        self._print("time", "in", "out", "memory", "longest lag", "missed")

    def show(self, sample: Sample) -> None:
        rate_in, rate_out = rates(self._last, sample)
        self._last = sample
        lag = max(consumer.lag for consumer in sample.consumers)
        missed = sum(consumer.missed_items for consumer in sample.consumers)
        self._print(
            f"{sample.elapsed:.1f} s",
            f"{rate_in:,.0f}/s",
            f"{rate_out:,.0f}/s",
            f"{kibibytes(sample.queue.memory_usage)} ({sample.queue.memory_percent:.0f} %)",
            f"{lag:.2f} s",
            f"{missed:,}",
        )

    def _print(self, time: str, rate_in: str, rate_out: str, memory: str, lag: str, missed: str) -> None:
        between = "" if self._is_narrow else f"{rate_out:>10} {memory:>20} "
        print(f"  {time:>6} {rate_in:>10} {between}{lag:>12} {missed:>10}", file=self._out, flush=True)

    def close(self, sample: Sample | None) -> None:
        pass


class Live:
    """A few lines redrawn in place, for a terminal."""

    ROWS_BESIDES_CONSUMERS: Final = 12
    """Rows that the view and the start of the summary take, besides one for each consumer."""
    WINDOW: Final = 0.6
    """Seconds over which a rate is averaged."""
    BAR: Final = 32
    """Maximum columns of the memory bar and of the rate's history."""

    interval = 0.1

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self._out = out
        self._ink = Ink(out)
        self._title = title
        self._of = f" of {seconds:g}" if math.isfinite(seconds) else ""
        self._recent: deque[Sample] = deque()
        self._history: deque[float] = deque(maxlen=self.BAR)
        self._drawn = 0
        out.write("\x1b[?25l\x1b[?7l")  # hide the cursor; cut long lines instead of wrapping them

    def show(self, sample: Sample) -> None:
        while len(self._recent) > 1 and sample.elapsed - self._recent[0].elapsed > self.WINDOW:
            self._recent.popleft()
        self._draw(self._lines(sample, self._recent[0] if self._recent else None, is_over=False))
        self._recent.append(sample)

    def close(self, sample: Sample | None) -> None:
        if sample is not None:
            self._draw(self._lines(sample, None, is_over=True))
        self._out.write("\x1b[?25h\x1b[?7h")

    def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._out.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def _lines(self, sample: Sample, before: Sample | None, *, is_over: bool) -> list[str]:
        """The rows to draw; when the demo is over, with averages of the whole run instead of current rates."""
        ink, queue = self._ink, sample.queue
        width = columns_of(self._out)
        bar = max(8, min(self.BAR, width - 24))
        rate_in, rate_out = rates(before, sample)
        if not is_over:
            self._history.append(rate_in)
        share = queue.memory_percent / 100
        paint = ink.good if share < 0.7 else ink.warn if share < 0.9 else ink.bad
        held = f"of {kibibytes(queue.max_bytes)}, {queue.total_items:,} messages held" if width >= 84 else ""
        time = f"{sample.elapsed:.1f} s" if is_over else f"{sample.elapsed:.1f}{self._of} s"
        columns = columns_for(width)
        heading = "".join(f"{column.heading:>{column.width}}" for column in columns)
        lines = [
            f"{ink.bold('mpmc_queue demo')}  {ink.dim(time)}",
            f"  {self._title}",
            f"  {ink.dim('in')}      {ink.accent(ink.spark(self._history, self.BAR)[-bar:])}  {rate_in:>7,.0f}/s",
            f"  {ink.dim('memory')}  {paint(ink.bar(share, bar))}  {kibibytes(queue.memory_usage):>9} {ink.dim(held)}",
            f"  {ink.dim('out')}     {rate_out:,.0f}/s to all consumers together",
            "",
            ink.dim(f"  {'consumer':<12}{heading}"),
        ]
        for index, consumer in enumerate(sample.consumers):
            rate = rate_of(before, sample, partial(read_by, index))
            late = consumer.lag / TTL
            paint = ink.good if late < 0.3 else ink.warn if late < 0.8 else ink.bad
            texts = {
                "read/s": f"{rate:,.0f}",
                "read": f"{consumer.total_items_read:,}",
                "unread": f"{consumer.unread_items:,}",
                "missed": f"{consumer.missed_items:,}",
                "lag": f"{consumer.lag:.2f} s",
            }
            cells = [(column, f"{texts[column.heading]:>{column.width}}") for column in columns]
            line = "".join(
                ink.bad(text) if column.heading == "missed" and consumer.missed_items else text
                for column, text in cells
            )
            gauge = f"  {paint(ink.bar(late, 12))}" if width >= 84 else ""
            lines.append(f"  {ink.bold(f'{consumer.name:<12}')}{line}{gauge}")
        return [*lines, "", ink.dim("  Finished." if is_over else "  Ctrl-C stops it")]


class Column(NamedTuple):
    """A column of the table of consumers."""

    heading: str
    width: int
    room: int
    """Width of the terminal from which on it is shown: lower for more important columns."""


COLUMNS: Final = (
    Column("read/s", 9, 60),
    Column("read", 11, 70),
    Column("unread", 9, 48),
    Column("missed", 11, 0),
    Column("lag", 9, 0),
)


def columns_for(width: int) -> list[Column]:
    """The columns that there is room for."""
    return [column for column in COLUMNS if width >= column.room]
