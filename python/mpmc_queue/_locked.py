"""A lock that is free in a forked child process."""

import os
import threading
from typing import Final
from weakref import WeakSet


class Locked:
    """An object with a lock that is free in a child process, even if a thread held it when the process was forked.

    The lock is only held briefly, and a fork in between leaves the data that it guards usable.
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
