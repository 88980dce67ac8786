"""The pictures for the documentation: ratios with their limits, and every queue side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mpmc_queue.cli.bench import interpreter
from mpmc_queue.cli.bench_plot import GOOD, INK, draw, new_figure
from mpmc_queue.cli.bench_results import Result
from peers import OURS

THEIRS: Final = "#b9c0c7"


def draw_all(results: Sequence[Result], beside: Sequence[Result], folder: Path, tag: str) -> list[Path]:
    """Draws both pictures and returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    ratios, peers = folder / f"bench-ratios-{tag}.png", folder / f"bench-peers-{tag}.png"
    draw(results, str(ratios), interpreter(), limits=True)
    draw_peers(beside, peers)
    return [ratios, peers]


def draw_peers(results: Sequence[Result], file: Path) -> None:
    """A bar for each queue, grouped by operation. The scale is logarithmic: a wake-up takes 1000 times a put."""
    places: list[float] = []
    labels: list[str] = []
    values: list[float] = []
    colors: list[str] = []
    headings: list[tuple[float, str]] = []
    place, group = 0.0, ""
    for result in results:
        bars = [(result.case.peer, result.peer_ns, THEIRS)]
        if result.case.name != group:
            group = result.case.name
            place += 1.2
            headings.append((place - 0.85, group))
            bars.insert(0, (OURS, result.ns, GOOD))
        for label, value, color in bars:
            places.append(place)
            labels.append(label)
            values.append(value)
            colors.append(color)
            place += 1
    figure, axes = new_figure(10, 1.2 + 0.26 * place)
    axes.barh(places, values, height=0.8, color=colors)
    for at, value in zip(places, values, strict=True):
        axes.text(value * 1.05, at, f"{value:,.0f}", va="center", fontsize=10, color=INK)
    low = min(values) / 2
    for at, heading in headings:
        axes.text(low * 1.03, at, heading, va="center", fontsize=11, color=INK, fontweight="bold")
    axes.set_xscale("log")
    axes.set_xlim(low, max(values) * 2)
    axes.set_ylim(place - 0.4, 0)
    axes.set_yticks(places, labels)
    axes.set_xlabel("nanoseconds per message, logarithmic (less is better)", fontsize=11, color=INK)
    axes.set_title(interpreter(), fontsize=11, color=INK, loc="right")
    figure.savefig(file, format="png")
