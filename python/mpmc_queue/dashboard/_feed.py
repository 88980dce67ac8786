"""The one sampler, and the queue through which its samples reach every browser."""

import json
import os
import secrets
import threading
import time
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from heapq import nlargest
from math import ceil
from typing import Final

from mpmc_queue import Consumer, Queue, QueueClosedError
from mpmc_queue._locked import Locked
from mpmc_queue._watching import Watchable, Watched, figures_of
from mpmc_queue.dashboard._history import SPAN, History, Point
from mpmc_queue.dashboard._sample import MOST_READERS, QueueRow, ReaderRow, Sample

MOST_BYTES: Final = 1 << 30
"""More than any sample takes: there is only ever one in the queue."""
PATIENCE: Final = 0.25
"""Seconds that a sample waits for servers: one that takes longer answers for the next sample."""


class Feed(Locked):
    """Samples the queues once an interval, in a thread that it starts when it is first needed.

    It goes on while nobody looks, for the charts; only what is sent is not made then. The thread holds the feed weakly,
    and ends with it.
    """

    def __init__(self, queues: Watchable | Iterable[Watchable], interval: float) -> None:
        super().__init__()
        self.watched = Watched(queues, distinct_names=False)
        self.interval = interval
        self.boot = secrets.token_hex(8)
        """Tells the page that another process, or another server, has taken over."""
        self._samples: dict[int, Sample] = {}
        self._histories: dict[int, History] = {}
        self._viewers = 0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._closed = False
        # A reader that is behind reads the newest sample next; a sample that grew old without a reader is dropped.
        self._snapshots: Queue[bytes] = Queue(
            "dashboard", ttl=2 * interval, max_items=1, max_bytes=MOST_BYTES, overflow="drop_oldest", audit=False
        )

    def start(self) -> None:
        """Sees to it that the sampler runs, also in a process that was forked since."""
        with self._lock:
            if self._closed or (self._process == os.getpid() and self._thread and self._thread.is_alive()):
                return
            if self._process != os.getpid():
                self._process, self._viewers = os.getpid(), 0
            self._wake = threading.Event()
            self._thread = threading.Thread(
                target=_run, args=(weakref.ref(self), self._wake, self.interval), name="mpmc-dashboard", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Ends the sampler and every stream."""
        with self._lock:
            self._closed = True
            thread = self._thread if self._process == os.getpid() else None
        self._snapshots.close(immediate=True)
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def viewers(self) -> int:
        """Streams open now."""
        return self._viewers

    @contextmanager
    def view(self) -> Generator[Consumer[bytes]]:
        """A reader of snapshots: of the newest first, then of each that comes (or as many as it gets to)."""
        self.start()
        with self._snapshots.add_consumer() as consumer:
            with self._lock:
                self._viewers += 1
                is_first = self._viewers == 1
            try:
                if is_first:
                    self._wake.set()  # so that it is sent the last sample at once
                yield consumer
            finally:
                with self._lock:
                    self._viewers -= 1

    def history(self, number: int) -> dict[str, object]:
        """The last five minutes of a queue."""
        with self._lock:
            history = self._histories.get(number)
            points = [] if history is None else history.points()
        return {"boot": self.boot, "fields": Point._fields, "points": points}

    def sample(self) -> None:
        """Takes a sample."""
        before = self._samples
        samples: dict[int, Sample] = {}
        watched = self.watched.items()
        for (number, _), figures in zip(watched, figures_of([queue for _, queue in watched], PATIENCE), strict=True):
            last = before.get(number)
            # A server is asked less often where samples are frequent: what it said last stands until it says more.
            same = last is not None and last.taken == figures.taken and last.figures.closed == figures.closed
            samples[number] = last if last is not None and same else Sample(number, figures, last)
        with self._lock:
            self._samples = samples
            for number, sample in samples.items():
                if number not in self._histories:
                    self._histories[number] = History(ceil(SPAN / self.interval))
                if sample is not before.get(number):
                    self._histories[number].add(sample.point())
            for number in self._histories.keys() - samples.keys():
                del self._histories[number]

    def send(self) -> None:
        """Sends the last sample, if somebody looks."""
        if self._viewers:
            try:
                self._snapshots.enqueue(self._snapshot(list(self._samples.values())))
            except QueueClosedError:
                pass  # just now

    def _snapshot(self, samples: list[Sample]) -> bytes:
        readers = [row for sample in samples for row in sample.reader_rows()]
        shown = nlargest(MOST_READERS, readers, key=_lag) if len(readers) > MOST_READERS else readers
        snapshot = {
            "boot": self.boot,
            # By this clock, as the history is: the browser may run on another machine.
            "time": max((sample.time for sample in samples), default=time.time()),
            "interval": self.interval,
            "queue_fields": QueueRow._fields,
            "queues": [sample.queue_row() for sample in samples],
            "reader_fields": ReaderRow._fields,
            "readers": shown,
            "readers_in_all": len(readers),
        }
        return json.dumps(snapshot, separators=(",", ":")).encode()


def _lag(row: ReaderRow) -> float:
    return -1.0 if row.lag is None else row.lag


def _run(reference: "weakref.ref[Feed]", wake: threading.Event, interval: float) -> None:
    """The sampler's thread."""
    due = time.monotonic()
    while (feed := reference()) is not None and not feed.closed:
        # A reader that wakes the sampler gets the last sample. A new one now would show the rate of an instant, and
        # replace an older one in the charts.
        if time.monotonic() >= due:
            feed.sample()
            due = time.monotonic() + interval
        feed.send()
        del feed  # while it waits nobody has to keep it
        wake.wait(max(0.0, due - time.monotonic()))
        wake.clear()
