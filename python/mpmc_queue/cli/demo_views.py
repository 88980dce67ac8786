"""The demo's views that need nothing installed: lines, and a few rows redrawn in place."""

import math
from collections import deque
from functools import partial
from typing import Final, Protocol, TextIO

from mpmc_queue.cli.demo_samples import TTL, Ink, Sample, kibibytes, rate_of, rates, read_by


class View(Protocol):
    """Shows samples while the demo runs."""

    interval: float

    def show(self, sample: Sample) -> None: ...
    def close(self) -> None: ...


class Lines:
    """One line now and then, for a file, a pipe, or a terminal too small for more."""

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self.interval = min(1.0, seconds / 5)
        self._out = out
        self._last: Sample | None = None
        print(f"mpmc_queue demo: {title}\n", file=out)
        print(
            f"  {'time':>6} {'in':>10} {'out':>10} {'memory':>20} {'longest lag':>12} {'missed':>10}",
            file=out,
            flush=True,
        )

    def show(self, sample: Sample) -> None:
        rate_in, rate_out = rates(self._last, sample)
        self._last = sample
        memory = f"{kibibytes(sample.queue.memory_usage)} ({sample.queue.memory_percent:.0f} %)"
        lag = max(consumer.lag for consumer in sample.consumers)
        missed = sum(consumer.missed_items for consumer in sample.consumers)
        print(
            f"  {sample.elapsed:>4.1f} s {rate_in:>8,.0f}/s {rate_out:>8,.0f}/s {memory:>20} "
            f"{lag:>10.2f} s {missed:>10,}",
            file=self._out,
            flush=True,
        )

    def close(self) -> None:
        pass


class Live:
    """A few lines redrawn in place, for a terminal."""

    ROWS_BESIDES_CONSUMERS: Final = 12
    """Rows the view and the summary's first lines take apart from one for each consumer."""
    WINDOW: Final = 0.6
    """Seconds that a rate is the average of."""
    BAR: Final = 32
    """Columns of the memory bar and of the rate's history."""

    interval = 0.1

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self._out = out
        self._ink = Ink(out)
        self._title = title
        self._of = f" of {seconds:g}" if math.isfinite(seconds) else ""
        self._recent: deque[Sample] = deque()
        self._history: deque[float] = deque(maxlen=self.BAR)
        self._drawn = 0
        out.write("\x1b[?25l\x1b[?7l")  # no cursor; cut long lines instead of wrapping them

    def show(self, sample: Sample) -> None:
        while len(self._recent) > 1 and sample.elapsed - self._recent[0].elapsed > self.WINDOW:
            self._recent.popleft()
        lines = self._lines(sample, self._recent[0] if self._recent else None)
        self._recent.append(sample)
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._out.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def close(self) -> None:
        self._out.write("\x1b[?25h\x1b[?7h")

    def _lines(self, sample: Sample, before: Sample | None) -> list[str]:
        ink, queue = self._ink, sample.queue
        rate_in, rate_out = rates(before, sample)
        self._history.append(rate_in)
        share = queue.memory_percent / 100
        paint = ink.good if share < 0.7 else ink.warn if share < 0.9 else ink.bad
        lines = [
            f"{ink.bold('mpmc_queue demo')}  {self._title}  {ink.dim(f'{sample.elapsed:.1f}{self._of} s')}",
            "",
            f"  {ink.dim('in')}      {ink.accent(ink.spark(self._history, self.BAR))}  {rate_in:>7,.0f}/s",
            f"  {ink.dim('memory')}  {paint(ink.bar(share, self.BAR))}  {kibibytes(queue.memory_usage):>9} "
            f"{ink.dim(f'of {kibibytes(queue.max_bytes)}, {queue.total_items:,} messages held')}",
            f"  {ink.dim('out')}     {rate_out:,.0f}/s to all consumers together",
            "",
            ink.dim(f"  {'consumer':<12} {'read/s':>8} {'read':>10} {'unread':>8} {'missed':>10}   lag"),
        ]
        for index, consumer in enumerate(sample.consumers):
            rate = rate_of(before, sample, partial(read_by, index))
            late = consumer.lag / TTL
            paint = ink.good if late < 0.3 else ink.warn if late < 0.8 else ink.bad
            missed = f"{consumer.missed_items:>10,}"
            lines.append(
                f"  {ink.bold(f'{consumer.name:<12}')} {rate:>8,.0f} {consumer.total_items_read:>10,} "
                f"{consumer.unread_items:>8,} {ink.bad(missed) if consumer.missed_items else missed}   "
                f"{paint(ink.bar(late, 12))} {consumer.lag:.2f} s"
            )
        return [*lines, "", ink.dim("  Ctrl-C stops it")]
