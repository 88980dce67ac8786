"""Ids of published messages: UUIDv7, ascending within one producer."""

import os
import time
from itertools import count
from typing import Final

_FEW: Final = 1 << 12


class Ids:
    """Makes ids from the time in milliseconds, a counter, and a random part for this producer."""

    def __init__(self) -> None:
        self._random = f"{0x8000 | int.from_bytes(os.urandom(2), 'big') & 0x3FFF:04x}-{os.urandom(6).hex()}"
        self._last = 0
        self._numbers = count()

    def next(self) -> str:
        """The next id, as text."""
        now = time.time_ns() // 1_000_000
        number = next(self._numbers)
        if now <= self._last and number < _FEW:
            now = self._last
        else:
            # A new millisecond. Or the current one has its 4096 ids, and the next is used early.
            now = self._last = max(now, self._last + 1)
            self._numbers = count(1)
            number = 0
        stamp = f"{now:012x}"
        return f"{stamp[:8]}-{stamp[8:]}-{0x7000 | number:04x}-{self._random}"
