"""The sampler, and the queue through which its samples reach all browsers."""

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
"""More than any sample needs: the queue never holds more than one."""
PATIENCE: Final = 0.25
"""Seconds that a sample waits for servers: a later answer is used by the next sample."""


class Feed(Locked):
    """Samples the queues once per interval, in a thread that starts when it is first needed.

    Sampling continues without viewers, for the charts, but no snapshots are made or sent then. The thread refers to the feed
    weakly, and ends when the feed is deleted.
    """

    def __init__(self, queues: Watchable | Iterable[Watchable], interval: float) -> None:
        super().__init__()
        self.watched = Watched(queues, distinct_names=False)
        self.interval = interval
        self.boot = secrets.token_hex(8)
        """A random id, by which the page notices that another process or server answers now."""
        self._samples: dict[int, Sample] = {}
        self._histories: dict[int, History] = {}
        self._viewers = 0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._closed = False
        # A slow reader gets the newest sample next; a sample that no one reads expires.
        self._snapshots: Queue[bytes] = Queue(
            "dashboard", ttl=2 * interval, max_items=1, max_bytes=MOST_BYTES, overflow="drop_oldest", audit=False
        )

    def start(self) -> None:
        """Starts the sampler unless it runs, also in a forked child process."""
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
        """The number of open streams."""
        return self._viewers

    @contextmanager
    def view(self) -> Generator[Consumer[bytes]]:
        """A reader of snapshots: the newest first, then each new one (a slow reader skips some)."""
        self.start()
        with self._snapshots.add_consumer() as consumer:
            with self._lock:
                self._viewers += 1
                is_first = self._viewers == 1
            try:
                if is_first:
                    self._wake.set()  # the sampler then sends the last sample at once
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
            # With a short interval, not every sample has a new answer of the server: the last one is used until then.
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
        """Sends the last sample, if there are viewers."""
        if self._viewers:
            try:
                self._snapshots.enqueue(self._snapshot(list(self._samples.values())))
            except QueueClosedError:
                pass  # closed just now

    def _snapshot(self, samples: list[Sample]) -> bytes:
        readers = [row for sample in samples for row in sample.reader_rows()]
        shown = nlargest(MOST_READERS, readers, key=_lag) if len(readers) > MOST_READERS else readers
        snapshot = {
            "boot": self.boot,
            # This machine's clock, as in the history: the browser may run on another machine.
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
        # A viewer that wakes the sampler gets the last sample. A new sample now would compute rates over a very short time,
        # and push an older one out of the charts.
        if time.monotonic() >= due:
            feed.sample()
            due = time.monotonic() + interval
        feed.send()
        del feed  # no reference while waiting, so that the feed can be deleted
        wake.wait(max(0.0, due - time.monotonic()))
        wake.clear()
