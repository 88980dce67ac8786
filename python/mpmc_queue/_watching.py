"""The queues that the metrics and the dashboard watch (by weak references), and their figures."""

import asyncio
import concurrent.futures
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeGuard
from weakref import ref

from mpmc_queue import Queue
from mpmc_queue._asking import PAUSE, ROUND, Asked
from mpmc_queue._figures import Departed, Figures, Follows
from mpmc_queue._locked import Locked

WAIT: Final = ROUND + 0.5
"""Maximum seconds that a scrape waits for the answers of all servers together."""
LATE: Final = PAUSE + WAIT
"""Seconds for which an answer is used where the caller waits for answers."""
LATE_IN_LOOP: Final = 300.0
"""The same in the thread of an event loop, where the caller does not wait: a scrape uses the answer to an earlier one.
Prometheus also uses a sample for that long."""


class Remote(Protocol):
    """A queue on a server, from `mpmc_queue.jetstream`; the server is asked for its figures."""

    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def _watch(self) -> Asked: ...


Watchable: TypeAlias = Queue[Any] | Remote
"""What can be watched: a queue in this process, or one over JetStream."""


def is_remote(queue: object) -> TypeGuard[Remote]:
    """Whether it is a queue on a server. Checks an attribute, not the class, because importing the class needs an extra."""
    return isinstance(getattr(queue, "_watch", None), Asked)


def figures_of(queues: Sequence[Watchable], wait: float = WAIT) -> list[Figures]:
    """The figures of the queues; those of one queue are all taken at the same moment.

    Servers are asked concurrently, each at most once a second. wait: seconds to wait for all of them. In the thread of an
    event loop this does not wait, because that loop may be the one that has to ask.
    """
    rounds = [begun for queue in queues if is_remote(queue) and (begun := queue._watch.begin()) is not None]
    in_loop = _is_in_loop()
    if rounds and not in_loop:
        concurrent.futures.wait(rounds, timeout=wait)
    limit = LATE_IN_LOOP if in_loop else LATE
    return [queue._watch.known(limit) if is_remote(queue) else _figures(queue) for queue in queues]


def _figures(queue: Any) -> Figures:
    """The figures of a queue in this process."""
    stats, oldest, consumers, groups, departed, settings, waiting, order = queue._figures()
    ttl = queue.ttl
    return Figures(
        queue=stats,
        oldest=oldest,
        consumers=consumers,
        groups=groups,
        departed=[Departed(*each) for each in departed],
        closed=queue.closed,
        ttl=ttl,
        lifetime=ttl if queue.expiration_enabled else None,
        taken=time.monotonic(),
        retention=settings[0],
        overflow=settings[1],
        waiting_producers=waiting,
        order=[Follows(*pair) for pair in order],
    )


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Watched(Locked):
    """Queues in the order they were added, by weak references: a queue that nothing else refers to is no longer watched."""

    def __init__(self, queues: Watchable | Iterable[Watchable], *, distinct_names: bool) -> None:
        super().__init__()
        self._queues: dict[int, ref[Watchable]] = {}
        self._next = 0
        self._distinct_names = distinct_names
        if isinstance(queues, Queue) or is_remote(queues):
            queues = (queues,)
        elif not isinstance(queues, Iterable):
            raise TypeError(f"queues must be a Queue or an iterable of them, not {type(queues).__name__}")
        for queue in queues:
            self.add(queue)

    def add(self, queue: Watchable) -> None:
        """Watches one more queue; nothing happens if it is watched already."""
        if not (isinstance(queue, Queue) or is_remote(queue)):
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

    def discard(self, queue: Watchable) -> None:
        """Stops watching a queue; nothing happens if it was not watched."""
        with self._lock:
            for number, other in self._living():
                if other is queue:
                    del self._queues[number]

    def items(self) -> list[tuple[int, Watchable]]:
        """The current queues, each with a number that is never reused."""
        with self._lock:
            return self._living()

    def get(self, number: int) -> Watchable | None:
        """The queue with this number, if it is still watched."""
        with self._lock:
            found = self._queues.get(number)
        return None if found is None else found()

    def __iter__(self) -> Iterator[Watchable]:
        return iter([queue for _, queue in self.items()])

    def _living(self) -> list[tuple[int, Watchable]]:
        found = [(number, reference()) for number, reference in self._queues.items()]
        for number, queue in found:
            if queue is None:
                del self._queues[number]
        return [(number, queue) for number, queue in found if queue is not None]
