"""The benchmark's ratios as a chart, for `bench --plot`. Needs matplotlib."""

import importlib
from collections.abc import Sequence
from typing import Any, Final

from mpmc_queue.cli.bench_results import Result

GOOD: Final = "#3b7dbd"
OVER: Final = "#d1603d"
INK: Final = "#222222"
PALE: Final = "#dddddd"


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure with one pair of axes and a plain, readable style. It needs no display."""
    importlib.import_module("matplotlib").use("agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(width, height), dpi=150, layout="constrained")
    figure.set_facecolor("white")
    axes.set_facecolor("white")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=11, left=False, colors=INK)
    return figure, axes


def draw(results: Sequence[Result], file: str, title: str, *, limits: bool) -> None:
    """Draws a bar for each ratio and, with `limits`, marks its limit."""
    figure, axes = new_figure(10, 1.4 + 0.42 * len(results))
    rows = range(len(results))
    ratios = [result.ratio for result in results]
    axes.barh(rows, ratios, height=0.62, color=[OVER if limits and result.over else GOOD for result in results])
    for row, result in zip(rows, results, strict=True):
        end = result.ratio
        if limits and result.case.limit is not None:
            axes.plot([result.case.limit] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=2)
            if end <= result.case.limit < end + 0.3:  # keep the number clear of the mark
                end = result.case.limit
        axes.text(end + 0.03, row, f"{result.ratio:.2f}", va="center", fontsize=11, color=INK)
    axes.set_yticks(rows, [f"{result.case.name}  /  {result.case.peer}" for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.axvline(1, color=PALE, linewidth=1.5, zorder=0)
    marks = [result.case.limit or 0 for result in results] if limits else []
    axes.set_xlim(0, max(1.2, *ratios, *marks) + 0.3)
    mark = "; the black mark: the limit" if limits else ""
    axes.set_xlabel(f"times the peer's cost (1: the same{mark})", fontsize=11, color=INK)
    axes.set_title(title, fontsize=11, color=INK, loc="right")
    figure.savefig(file, format="png")
