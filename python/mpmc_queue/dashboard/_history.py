"""The last five minutes of a queue, for the charts: a ring of samples in one flat array."""

import math
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

SPAN: Final = 300.0
"""Seconds that are kept."""


class Point(NamedTuple):
    """The values in the charts at one moment. None: not known."""

    time: float  # seconds since the epoch
    enqueued: float | None  # messages per second, like all others except bytes and lag
    delivered: float | None
    bytes: float | None
    lag: float | None  # seconds, of the reader furthest behind
    missed: float | None
    redelivered: float | None
    dead_lettered: float | None


class History:
    """The last points of a queue, oldest first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._values = array("d")
        self._next = 0  # index of the point to overwrite next, once the ring is full

    def add(self, point: Point) -> None:
        width = len(Point._fields)
        values = array("d", [math.nan if value is None else value for value in point])
        if len(self._values) < self._length * width:
            self._values.extend(values)
            return
        self._values[self._next * width : (self._next + 1) * width] = values
        self._next = (self._next + 1) % self._length

    def points(self) -> list[Sequence[float | None]]:
        width = len(Point._fields)
        values = self._values[self._next * width :] + self._values[: self._next * width]
        rounded = [None if math.isnan(value) else round(value, 3) for value in values]
        return [rounded[at : at + width] for at in range(0, len(rounded), width)]
