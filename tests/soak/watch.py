"""What a long run does to the process: its memory over time, and the pauses of a thread that only ticks."""

import asyncio
import heapq
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STATM: Final = Path("/proc/self/statm")
TICK: Final = 0.001
"""Seconds between two ticks."""


def resident() -> int:
    """Bytes of memory that the process has (Linux)."""
    import resource

    return int(STATM.read_text().split()[1]) * resource.getpagesize()


@dataclass
class Memory:
    """Resident memory over time."""

    at: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.at.append(time.monotonic())
        self.held.append(resident())

    def slope(self) -> tuple[float, float]:
        """Bytes per second by least squares, and the standard error of that. The first half is warming up."""
        begin = len(self.at) // 2
        at, held = self.at[begin:], self.held[begin:]
        line = statistics.linear_regression(at, held)
        squares = sum((y - line.slope * x - line.intercept) ** 2 for x, y in zip(at, held, strict=True))
        middle = statistics.fmean(at)
        spread = sum((x - middle) ** 2 for x in at)
        return line.slope, (squares / (len(at) - 2) / spread) ** 0.5


class Pauses:
    """How much later than due ticks came: the ten worst, in seconds."""

    def __init__(self) -> None:
        self.worst = [0.0] * 10  # a heap, the least of them first

    def tick_in_a_thread(self, done: threading.Event) -> None:
        due = time.monotonic() + TICK
        while not done.wait(max(0.0, due - time.monotonic())):
            heapq.heappushpop(self.worst, time.monotonic() - due)
            due = time.monotonic() + TICK

    async def tick_in_a_loop(self, done: threading.Event) -> None:
        while not done.is_set():
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            heapq.heappushpop(self.worst, time.monotonic() - due)

    def __str__(self) -> str:
        return f"worst {max(self.worst) * 1e3:.1f} ms, tenth worst {min(self.worst) * 1e3:.1f} ms"
