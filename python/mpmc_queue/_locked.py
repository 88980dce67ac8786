"""A lock that a child process finds free."""

import os
import threading
from typing import Final
from weakref import WeakSet


class Locked:
    """Something with a lock, which a child process finds free, whoever had it when the process was forked.

    It is held for moments only, and what it guards is never left in pieces that matter.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKED.add(self)


_LOCKED: Final[WeakSet[Locked]] = WeakSet()


def _after_fork() -> None:
    for locked in list(_LOCKED):
        locked._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
