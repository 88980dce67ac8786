"""Queues that are watched from outside, held weakly, and their figures: what the metrics and the dashboard read."""

import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from weakref import WeakSet, ref

from mpmc_queue import ConsumerStats, GroupStats, Queue, QueueStats


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


class Departed(NamedTuple):
    """What consumers that were removed had read and missed: the unnamed ones, or namesakes of one that is there."""

    group: str | None
    name: str | None
    read: int
    missed: int


class Figures(NamedTuple):
    """All figures of a queue, of one moment."""

    queue: QueueStats
    oldest: float  # seconds since the oldest message held was enqueued
    consumers: list[ConsumerStats]
    groups: list[GroupStats]
    departed: list[Departed]


def figures(queue: Queue[Any]) -> Figures:
    """Reads all figures of a queue at once."""
    stats, oldest, consumers, groups, departed = queue._figures()
    return Figures(stats, oldest, consumers, groups, [Departed(*each) for each in departed])


def lifetime(queue: Queue[Any]) -> float | None:
    """Seconds that its messages live, unless told otherwise; None: they do not expire, or not now."""
    return queue.ttl if queue.expiration_enabled else None


class Watched(Locked):
    """Queues in the order they were added, held weakly: one that nobody else holds any more is watched no more."""

    def __init__(self, queues: Queue[Any] | Iterable[Queue[Any]], *, distinct_names: bool) -> None:
        super().__init__()
        self._queues: dict[int, ref[Queue[Any]]] = {}
        self._next = 0
        self._distinct_names = distinct_names
        if isinstance(queues, Queue):
            queues = (queues,)
        elif not isinstance(queues, Iterable):
            raise TypeError(f"queues must be a Queue or an iterable of them, not {type(queues).__name__}")
        for queue in queues:
            self.add(queue)

    def add(self, queue: Queue[Any]) -> None:
        """Watches one more queue; nothing happens if it is watched already."""
        if not isinstance(queue, Queue):
            raise TypeError(f"queue must be a Queue, not {type(queue).__name__}")
        with self._lock:
            for number, other in self._living():
                if other is queue:
                    return
                if self._distinct_names and other.name == queue.name:
                    # A queue that replaces a closed one continues under its name.
                    if not other.closed:
                        raise ValueError(
                            f"queue must have a name of its own: another {queue.name!r} is watched already"
                        )
                    del self._queues[number]
            self._queues[self._next] = ref(queue)
            self._next += 1

    def discard(self, queue: Queue[Any]) -> None:
        """Watches a queue no more; nothing happens if it was not watched."""
        with self._lock:
            for number, other in self._living():
                if other is queue:
                    del self._queues[number]

    def items(self) -> list[tuple[int, Queue[Any]]]:
        """The queues there are now, each with a number that no other ever has here."""
        with self._lock:
            return self._living()

    def get(self, number: int) -> Queue[Any] | None:
        """The queue with this number, if it is there."""
        with self._lock:
            found = self._queues.get(number)
        return None if found is None else found()

    def __iter__(self) -> Iterator[Queue[Any]]:
        return iter([queue for _, queue in self.items()])

    def _living(self) -> list[tuple[int, Queue[Any]]]:
        found = [(number, reference()) for number, reference in self._queues.items()]
        for number, queue in found:
            if queue is None:
                del self._queues[number]
        return [(number, queue) for number, queue in found if queue is not None]
