"""Figures that are not ratios to a peer: a value, its unit and its limit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    """None: it is only shown."""
    at_least: bool = False
    """The limit is from below."""

    @property
    def over(self) -> bool:
        """Whether the value exceeds its limit."""
        if self.limit is None:
            return False
        return self.value < self.limit if self.at_least else self.value > self.limit


def show(figures: Sequence[Figure]) -> None:
    """Prints the table."""
    print(f"\n{'':66}{'value':>10}  {'unit':10}{'limit':>8}")
    for figure in figures:
        limit = "" if figure.limit is None else f"{'>=' if figure.at_least else '<='} {figure.limit:g}"
        verdict = "   over" if figure.over else ""
        print(f"{figure.name:66}{figure.value:10,.2f}  {figure.unit:10}{limit:>8}{verdict}", flush=True)


def document(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures in machine-readable form."""
    return [{**asdict(figure), "over": figure.over} for figure in figures]


def resident_bytes() -> int | None:
    """Bytes of this process in memory; None if the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    import resource

    return pages * resource.getpagesize()
