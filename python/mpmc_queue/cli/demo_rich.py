"""The demo's view for a terminal if rich is installed: `pip install mpmc-queue[cli]`."""

import math
from collections import deque
from functools import partial
from typing import Final, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mpmc_queue.cli.demo_samples import TTL, Ink, Sample, kibibytes, rate_of, rates, read_by
from mpmc_queue.cli.demo_views import columns_for

WINDOW: Final = 0.6
"""Seconds over which a rate is averaged."""
BAR: Final = 32
"""Maximum columns of the memory bar and of the rate's history."""
WIDE: Final = 88
"""Columns that are enough to show everything."""
EDGES: Final = 4
"""Columns of the panel's border and padding."""


class Rich:
    """A panel with the queue's figures, and a table of its consumers."""

    interval = 0.1

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self._console = Console(file=out)
        self._ink = Ink(out)
        self._title = title
        self._of = f" of {seconds:g}" if math.isfinite(seconds) else ""
        self._recent: deque[Sample] = deque()
        self._history: deque[float] = deque(maxlen=BAR)
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()

    def show(self, sample: Sample) -> None:
        while len(self._recent) > 1 and sample.elapsed - self._recent[0].elapsed > WINDOW:
            self._recent.popleft()
        before = self._recent[0] if self._recent else None
        self._recent.append(sample)
        self._history.append(rates(before, sample)[0])
        self._live.update(self._panel(sample, before, is_over=False), refresh=True)

    def close(self, sample: Sample | None) -> None:
        if sample is not None:
            # When the demo is over, show averages of the whole run instead of current rates.
            self._live.update(self._panel(sample, None, is_over=True), refresh=True)
        self._live.stop()

    def _panel(self, sample: Sample, before: Sample | None, *, is_over: bool) -> RenderableType:
        width = self._console.width
        time = f"{sample.elapsed:.1f} s, finished" if is_over else f"{sample.elapsed:.1f}{self._of} s, Ctrl-C stops it"
        return Panel(
            Group(self._figures(sample, before, width), _consumers(sample, before, width)),
            title=f"[bold]mpmc_queue demo[/]  {self._title}" if width >= WIDE else "[bold]mpmc_queue demo[/]",
            subtitle=time,
            box=box.ROUNDED,
            expand=False,
        )

    def _figures(self, sample: Sample, before: Sample | None, width: int) -> Table:
        queue = sample.queue
        rate_in, rate_out = rates(before, sample)
        bar = max(8, min(BAR, width - 28))
        held = f" of {kibibytes(queue.max_bytes)}, {queue.total_items:,} messages held" if width >= WIDE else ""
        figures = Table.grid(padding=(0, 2))
        figures.add_column(style="dim")
        figures.add_row("in", Text(self._ink.spark(self._history, BAR)[-bar:], "cyan"), f"{rate_in:,.0f}/s")
        figures.add_row(
            "memory", _bar(queue.memory_percent / 100, bar, (0.7, 0.9)), kibibytes(queue.memory_usage) + held
        )
        figures.add_row("out", "to all consumers", f"{rate_out:,.0f}/s")
        return figures


def _consumers(sample: Sample, before: Sample | None, width: int) -> Table:
    headings = [column.heading for column in columns_for(width - EDGES)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("consumer", style="bold", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", min_width=8)
    if width >= WIDE:
        table.add_column("", min_width=12)
    for index, consumer in enumerate(sample.consumers):
        texts: dict[str, RenderableType] = {
            "read/s": f"{rate_of(before, sample, partial(read_by, index)):,.0f}",
            "read": f"{consumer.total_items_read:,}",
            "unread": f"{consumer.unread_items:,}",
            "missed": Text(f"{consumer.missed_items:,}", "red" if consumer.missed_items else ""),
            "lag": f"{consumer.lag:.2f} s",
        }
        gauge = [_bar(consumer.lag / TTL, 12, (0.3, 0.8))] if width >= WIDE else []
        table.add_row(Text(consumer.name or ""), *(texts[heading] for heading in headings), *gauge)
    return table


def _bar(share: float, width: int, steps: tuple[float, float]) -> ProgressBar:
    """A bar that shows how full something is: green, then yellow from the first threshold on, red from the second."""
    colour = "green" if share < steps[0] else "yellow" if share < steps[1] else "red"
    return ProgressBar(1.0, min(share, 1.0), width, complete_style=colour, finished_style="red")
