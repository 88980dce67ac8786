"""The last five minutes of a queue, for the charts: a ring of samples in one flat array."""

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

SPAN: Final = 300.0
"""Seconds that are kept."""


class Point(NamedTuple):
    """What the charts show of a moment."""

    time: float  # seconds since the epoch
    enqueued: float  # messages per second, as all but the bytes and the lag
    delivered: float
    bytes: float
    lag: float  # seconds, of the reader furthest behind
    missed: float
    redelivered: float
    dead_lettered: float


class History:
    """The last points of a queue, oldest first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._values = array("d")
        self._next = 0  # where the next one goes once the ring is full

    def add(self, point: Point) -> None:
        width = len(Point._fields)
        if len(self._values) < self._length * width:
            self._values.extend(point)
            return
        self._values[self._next * width : (self._next + 1) * width] = array("d", point)
        self._next = (self._next + 1) % self._length

    def points(self) -> list[Sequence[float]]:
        width = len(Point._fields)
        values = self._values[self._next * width :] + self._values[: self._next * width]
        return [[round(value, 3) for value in values[at : at + width]] for at in range(0, len(values), width)]
