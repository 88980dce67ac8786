"""`python -m mpmc_queue demo`: producers and consumers of one queue, shown live, and their accounting at the end."""

import errno
import math
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TextIO

from mpmc_queue import Consumer, Queue, QueueClosedError, QueueFullError
from mpmc_queue.cli.demo_samples import TTL, Ink, Sample, columns_of, is_terminal
from mpmc_queue.cli.demo_views import Lines, Live, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mpmc_queue.dashboard import Server

RATE: Final = 4000.0
"""Average messages per second of all producers together; the actual rate rises and falls around it."""
SWELL: Final = 3.0
"""Seconds from one peak of the rate to the next."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells define it."""
WIDE_COUNTS: Final = 76
"""Columns that the whole accounting takes; in a narrower terminal only missed messages are shown."""
UNAVAILABLE: Final = 2
"""The exit code when the demo cannot start."""


def run(
    *,
    seconds: float,
    producers: int,
    consumers: int,
    out: TextIO,
    web: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
) -> int:
    """Runs the demo, without end if `seconds` is infinite, and returns its exit code; 2 when the dashboard cannot listen."""
    demo = Demo(producers, consumers)
    try:
        dashboard = _dashboard(demo, host, port, out) if web else None
    except OSError as error:
        print(_one_line(error), file=sys.stderr)
        return UNAVAILABLE
    view = view_for(out, seconds, producers, consumers, "1 queue")
    interrupted = False
    started = time.monotonic()
    try:
        demo.start()
        while (left := started + seconds - time.monotonic()) > 0 and not demo.errors:
            time.sleep(min(left, view.interval))
            view.show(demo.sample())
    except KeyboardInterrupt:
        interrupted = True
    finally:
        elapsed = time.monotonic() - started
        demo.finish()
        # The screen and the accounting use the same sample: in two of them, different messages would have expired.
        last = demo.sample()
        view.close(last)
        if dashboard is not None:
            _close(dashboard)
    return close_counts(last, demo, elapsed, interrupted, out)


def view_for(out: TextIO, seconds: float, producers: int, consumers: int, between: str) -> View:
    """The best view for this output and the installed packages."""
    title = f"{_many(producers, 'producer')}, {between}, {_many(consumers, 'consumer')}, time to live {TTL:g} s"
    if not is_terminal(out, rows=consumers + Live.ROWS_BESIDES_CONSUMERS):
        return Lines(out, title, seconds)
    try:
        from mpmc_queue.cli.demo_rich import Rich
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        return Live(out, title, seconds)
    return Rich(out, title, seconds)


def close_counts(sample: Sample, counted: "Counted", elapsed: float, interrupted: bool, out: TextIO) -> int:
    """Prints the accounting of every consumer, and returns the exit code."""
    balanced = _summary(sample, counted, elapsed, interrupted, Ink(out), out)
    out.flush()
    return INTERRUPTED if interrupted and balanced else 0 if balanced else 1


class Counted(Protocol):
    """The producers' and consumers' own counts, which the queue's figures are checked against."""

    errors: list[BaseException]

    @property
    def enqueued(self) -> int: ...
    @property
    def received(self) -> list[int]: ...


class Demo:
    """The queue, its threads, and the count of each thread."""

    def __init__(self, producers: int, consumers: int) -> None:
        self.queue: Queue[str] = Queue("demo", ttl=TTL)
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._enqueued = [0] * producers
        self._received = [0] * consumers
        self._producers = [self._thread(partial(self._produce, index)) for index in range(producers)]
        self._consumers: list[threading.Thread] = []
        for index, (name, work) in enumerate(self._roles(consumers)):
            consumer = self.queue.add_consumer(name)
            self._consumers.append(self._thread(partial(work, index, consumer)))

    def _roles(self, count: int) -> list[tuple[str, Callable[[int, Consumer[str]], None]]]:
        """The consumers, from the fastest to the slowest."""
        if count == 1:
            return [("slow", self._read_slowly)]
        middle = [("steady" if count == 3 else f"steady-{n}", self._read_steadily) for n in range(1, count - 1)]
        return [("fast", self._read_at_once), *middle, ("slow", self._read_slowly)]

    def start(self) -> None:
        self._started = time.monotonic()
        for thread in (*self._consumers, *self._producers):
            thread.start()

    def finish(self) -> None:
        """Ends the producers, then lets the consumers that keep up read the rest."""
        self._stop.set()
        for thread in self._producers:
            _join(thread)
        self.queue.close()
        for thread in self._consumers:
            _join(thread)

    def sample(self) -> Sample:
        return Sample(time.monotonic() - self._started, self.queue.stats(), self.queue.consumer_stats())

    @property
    def enqueued(self) -> int:
        """Messages enqueued, as the producers counted them."""
        return sum(self._enqueued)

    @property
    def received(self) -> list[int]:
        """Messages received, as each consumer counted them."""
        return self._received

    def _produce(self, index: int) -> None:
        rate = RATE / len(self._enqueued)
        one_by_one = index % 2 == 0
        offered = 0
        while not self._stop.wait(0.005):
            due = tide(rate, time.monotonic() - self._started) - offered
            messages = [f"producer {index + 1}, message {offered + n}" for n in range(due)]
            offered += due
            try:
                if one_by_one:
                    for message in messages:
                        self.queue.enqueue(message, timeout=0.5)
                        self._enqueued[index] += 1
                else:
                    self._enqueued[index] += len(self.queue.enqueue_batch(messages, timeout=0.5))
            except QueueFullError:
                pass  # the queue counts what it refused; the rest of this round is skipped

    def _read_at_once(self, index: int, consumer: Consumer[str]) -> None:
        for _message in consumer:
            self._received[index] += 1

    def _read_steadily(self, index: int, consumer: Consumer[str]) -> None:
        while True:
            try:
                self._received[index] += len(consumer.read_batch(1000, timeout=None))
            except QueueClosedError:
                return
            self._stop.wait(0.05)

    def _read_slowly(self, index: int, consumer: Consumer[str]) -> None:
        while not self._stop.wait(0.002):
            if consumer.read() is not None:
                self._received[index] += 1

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        """A thread that does this work; an error in it ends the demo and is shown in the summary."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        return threading.Thread(target=guarded, daemon=True)


def _one_line(error: OSError) -> str:
    """The error and its remedy, in one line."""
    text = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        text += ": take another --port, or leave it out for one that is free"
    return text[:1].upper() + text[1:]


def _dashboard(demo: Demo, host: str, port: int, out: TextIO) -> "Server":
    """Serves the dashboard, and opens it in a browser if there is one."""
    import webbrowser

    from mpmc_queue.dashboard import serve

    server = serve(demo.queue, host, port, show_payloads=True)
    print(f"The dashboard is at {server.login_url}", file=out)
    if here := {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host):
        print(f"From other machines, use the name of this one in place of {here}.", file=out)
    print("Ctrl-C stops the demo.\n", file=out, flush=True)
    # Without a desktop, `webbrowser` might start a text browser in this terminal.
    has_desktop = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    if has_desktop:
        webbrowser.open(server.login_url)
    return server


def _close(dashboard: "Server") -> None:
    """Closes it, even if Ctrl-C is pressed again: that takes a moment."""
    while True:
        try:
            return dashboard.close()
        except KeyboardInterrupt:
            continue


def tide(rate: float, elapsed: float) -> int:
    """How many messages are due after so many seconds, at a rate that rises and falls."""
    turn = 2 * math.pi / SWELL
    return int(rate * (elapsed + 0.5 / turn * (1 - math.cos(turn * elapsed))))


def _join(thread: threading.Thread) -> None:
    """Waits for a thread, even if Ctrl-C is pressed again: the thread ends within moments."""
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            continue


def _summary(sample: Sample, demo: Counted, elapsed: float, interrupted: bool, ink: "Ink", out: TextIO) -> bool:
    """Prints the accounting of every consumer, and returns whether it is correct."""
    queue = sample.queue
    how = "Interrupted" if interrupted else "Finished"
    told = (
        f"{how} after {elapsed:.1f} s: {queue.enqueued:,} messages enqueued, {sample.read:,} deliveries, "
        f"{queue.expired:,} expired, {queue.rejected:,} refused."
    )
    print(f"\n{textwrap.fill(told, columns_of(out))}\n", file=out)
    is_wide = columns_of(out) >= WIDE_COUNTS
    rest = f" {'enqueued':>10}   {'read':>10}   {'missed':>10}   {'unread':>10}" if is_wide else f" {'missed':>10}"
    print(ink.dim(f"  {'consumer':<12}{rest}"), file=out)
    balanced = not demo.errors and queue.enqueued == demo.enqueued
    for consumer, received in zip(sample.consumers, demo.received, strict=True):
        accounted = consumer.total_items_read + consumer.missed_items + consumer.unread_items
        correct = accounted == demo.enqueued and consumer.total_items_read == received
        balanced = balanced and correct
        rest = f"{consumer.missed_items:>10,}"
        if is_wide:
            rest = f"{demo.enqueued:>10,} = {consumer.total_items_read:>10,} + {rest} + {consumer.unread_items:>10,}"
        verdict = ink.good("correct") if correct else ink.bad(f"off by {accounted - demo.enqueued:+,}")
        print(f"  {consumer.name or '':<12} {rest}   {verdict}", file=out)
        if consumer.total_items_read != received:
            print(ink.bad(f"    but it received {received:,}"), file=out)
    print(file=out)
    if queue.enqueued != demo.enqueued:
        print(ink.bad(f"The producers counted {demo.enqueued:,} messages, the queue {queue.enqueued:,}."), file=out)
    for error in demo.errors:
        print(ink.bad(f"A thread failed: {type(error).__name__}: {error}"), file=out)
    if balanced:
        print(ink.good("All counts are correct: enqueued = read + missed + unread for every consumer."), file=out)
    else:
        print(ink.bad("The counts are not correct."), file=out)
    return balanced


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
