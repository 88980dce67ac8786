"""`python -m mpmc_queue demo`: producers and consumers at work over one queue, watched live, and their books."""

import math
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TextIO

from mpmc_queue import Consumer, Queue, QueueClosedError, QueueFullError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mpmc_queue.dashboard import Server

TTL: Final = 1.0
"""Seconds a message lives: short, so that a slow consumer misses some."""
RATE: Final = 4000.0
"""Messages per second, all producers together, on average; it swells and ebbs around that."""
SWELL: Final = 3.0
"""Seconds from one high tide to the next."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, by the shell's convention."""


class QueueFigures(Protocol):
    """What the demo shows of a queue, wherever it is."""

    @property
    def total_items(self) -> int: ...
    @property
    def memory_usage(self) -> int: ...
    @property
    def memory_percent(self) -> float: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def enqueued(self) -> int: ...
    @property
    def expired(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class ConsumerFigures(Protocol):
    """What the demo shows of a consumer, wherever its queue is."""

    @property
    def name(self) -> str | None: ...
    @property
    def total_items_read(self) -> int: ...
    @property
    def unread_items(self) -> int: ...
    @property
    def missed_items(self) -> int: ...
    @property
    def lag(self) -> float: ...


class Sample(NamedTuple):
    """What the views show: the figures of one moment."""

    elapsed: float
    queue: QueueFigures
    consumers: Sequence[ConsumerFigures]

    @property
    def read(self) -> int:
        """Deliveries to all consumers so far."""
        return sum(consumer.total_items_read for consumer in self.consumers)


class View(Protocol):
    """Shows samples while the demo runs."""

    interval: float

    def show(self, sample: Sample) -> None: ...
    def close(self) -> None: ...


def run(*, seconds: float, producers: int, consumers: int, out: TextIO, web: bool = False) -> int:
    """Runs the demo, for ever if `seconds` is infinite, and returns its exit code."""
    demo = Demo(producers, consumers)
    dashboard = _dashboard(demo, out) if web else None
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
        view.close()
        if dashboard is not None:
            dashboard.close()
    return close_books(demo.sample(), demo, elapsed, interrupted, out)


def view_for(out: TextIO, seconds: float, producers: int, consumers: int, between: str) -> View:
    """The best that the output and what is installed allow."""
    title = f"{_many(producers, 'producer')}, {between}, {_many(consumers, 'consumer')}, messages live {TTL:g} s"
    if not _is_terminal(out, rows=consumers + Live.ROWS_BESIDES_CONSUMERS):
        return Lines(out, title, seconds)
    try:
        from mpmc_queue._demo_rich import Rich
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        return Live(out, title, seconds)
    return Rich(out, title, seconds)


def close_books(sample: Sample, counted: "Counted", elapsed: float, interrupted: bool, out: TextIO) -> int:
    """Prints the books of every consumer, and returns the exit code."""
    balanced = _summary(sample, counted, elapsed, interrupted, Ink(out), out)
    out.flush()
    return INTERRUPTED if interrupted and balanced else 0 if balanced else 1


class Counted(Protocol):
    """What producers and consumers counted for themselves."""

    errors: list[BaseException]

    @property
    def enqueued(self) -> int: ...
    @property
    def received(self) -> list[int]: ...


class Demo:
    """The queue, its threads, and what each of them counted for itself."""

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
        """Ends producers first, then lets the consumers that keep up read what is left."""
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
                pass  # the queue counts what it refused; what is left of this round is let go

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
        """A thread that does this work; an error in it ends the demo, and stands in the summary."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        return threading.Thread(target=guarded, daemon=True)


def _dashboard(demo: Demo, out: TextIO) -> "Server":
    """Serves the dashboard, and opens it where there is a browser to open it in."""
    import webbrowser

    from mpmc_queue.dashboard import serve

    server = serve(demo.queue, show_payloads=True)
    print(f"The dashboard is at {server.url}\n", file=out, flush=True)
    # Without a desktop it might be one for the terminal, which would take over this one.
    has_desktop = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    if has_desktop:
        webbrowser.open(server.url)
    return server


def tide(rate: float, elapsed: float) -> int:
    """How many messages are due after so many seconds, at a rate that swells and ebbs."""
    turn = 2 * math.pi / SWELL
    return int(rate * (elapsed + 0.5 / turn * (1 - math.cos(turn * elapsed))))


def _join(thread: threading.Thread) -> None:
    """Waits for a thread, and goes on waiting when Ctrl-C is pressed again: it ends in an instant."""
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            continue


def _summary(sample: Sample, demo: Counted, elapsed: float, interrupted: bool, ink: "Ink", out: TextIO) -> bool:
    """Prints the books of every consumer, and tells whether they balance."""
    queue = sample.queue
    how = "Interrupted" if interrupted else "Finished"
    print(
        f"\n{how} after {elapsed:.1f} s: {queue.enqueued:,} messages enqueued, {sample.read:,} deliveries, "
        f"{queue.expired:,} expired, {queue.rejected:,} refused.\n",
        file=out,
    )
    header = f"  {'consumer':<12} {'enqueued':>10}   {'read':>10}   {'missed':>10}   {'unread':>10}"
    print(ink.dim(header), file=out)
    balanced = not demo.errors and queue.enqueued == demo.enqueued
    for consumer, received in zip(sample.consumers, demo.received, strict=True):
        accounted = consumer.total_items_read + consumer.missed_items + consumer.unread_items
        correct = accounted == demo.enqueued and consumer.total_items_read == received
        balanced = balanced and correct
        print(
            f"  {consumer.name or '':<12} {demo.enqueued:>10,} = {consumer.total_items_read:>10,} "
            f"+ {consumer.missed_items:>10,} + {consumer.unread_items:>10,}   "
            + (ink.good("balanced") if correct else ink.bad(f"off by {accounted - demo.enqueued:+,}")),
            file=out,
        )
        if consumer.total_items_read != received:
            print(ink.bad(f"    but it received {received:,}"), file=out)
    print(file=out)
    if queue.enqueued != demo.enqueued:
        print(ink.bad(f"The producers counted {demo.enqueued:,} messages, the queue {queue.enqueued:,}."), file=out)
    for error in demo.errors:
        print(ink.bad(f"A thread failed: {type(error).__name__}: {error}"), file=out)
    if balanced:
        print(ink.good("The books balance: enqueued = read + missed + unread for every consumer."), file=out)
    else:
        print(ink.bad("The books do not balance."), file=out)
    return balanced


class Lines:
    """One line now and then, for a file, a pipe, or a terminal too small for more."""

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self.interval = min(1.0, seconds / 5)
        self._out = out
        self._last: Sample | None = None
        print(f"mpmc_queue demo: {title}\n", file=out)
        print(
            f"  {'time':>6} {'in':>10} {'out':>10} {'memory':>20} {'longest lag':>12} {'missed':>10}",
            file=out,
            flush=True,
        )

    def show(self, sample: Sample) -> None:
        rate_in, rate_out = rates(self._last, sample)
        self._last = sample
        memory = f"{kibibytes(sample.queue.memory_usage)} ({sample.queue.memory_percent:.0f} %)"
        lag = max(consumer.lag for consumer in sample.consumers)
        missed = sum(consumer.missed_items for consumer in sample.consumers)
        print(
            f"  {sample.elapsed:>4.1f} s {rate_in:>8,.0f}/s {rate_out:>8,.0f}/s {memory:>20} "
            f"{lag:>10.2f} s {missed:>10,}",
            file=self._out,
            flush=True,
        )

    def close(self) -> None:
        pass


class Live:
    """A few lines redrawn in place, for a terminal."""

    ROWS_BESIDES_CONSUMERS: Final = 12
    """Rows the view and the summary's first lines take apart from one for each consumer."""
    WINDOW: Final = 0.6
    """Seconds that a rate is the average of."""
    BAR: Final = 32
    """Columns of the memory bar and of the rate's history."""

    interval = 0.1

    def __init__(self, out: TextIO, title: str, seconds: float) -> None:
        self._out = out
        self._ink = Ink(out)
        self._title = title
        self._of = f" of {seconds:g}" if math.isfinite(seconds) else ""
        self._recent: deque[Sample] = deque()
        self._history: deque[float] = deque(maxlen=self.BAR)
        self._drawn = 0
        out.write("\x1b[?25l\x1b[?7l")  # no cursor; cut long lines instead of wrapping them

    def show(self, sample: Sample) -> None:
        while len(self._recent) > 1 and sample.elapsed - self._recent[0].elapsed > self.WINDOW:
            self._recent.popleft()
        lines = self._lines(sample, self._recent[0] if self._recent else None)
        self._recent.append(sample)
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._out.write(up + "".join(f"{line}\x1b[K\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def close(self) -> None:
        self._out.write("\x1b[?25h\x1b[?7h")

    def _lines(self, sample: Sample, before: Sample | None) -> list[str]:
        ink, queue = self._ink, sample.queue
        rate_in, rate_out = rates(before, sample)
        self._history.append(rate_in)
        share = queue.memory_percent / 100
        paint = ink.good if share < 0.7 else ink.warn if share < 0.9 else ink.bad
        lines = [
            f"{ink.bold('mpmc_queue demo')}  {self._title}  {ink.dim(f'{sample.elapsed:.1f}{self._of} s')}",
            "",
            f"  {ink.dim('in')}      {ink.accent(ink.spark(self._history, self.BAR))}  {rate_in:>7,.0f}/s",
            f"  {ink.dim('memory')}  {paint(ink.bar(share, self.BAR))}  {kibibytes(queue.memory_usage):>9} "
            f"{ink.dim(f'of {kibibytes(queue.max_bytes)}, {queue.total_items:,} messages held')}",
            f"  {ink.dim('out')}     {rate_out:,.0f}/s to all consumers together",
            "",
            ink.dim(f"  {'consumer':<12} {'read/s':>8} {'read':>10} {'unread':>8} {'missed':>10}   lag"),
        ]
        for index, consumer in enumerate(sample.consumers):
            rate = rate_of(before, sample, partial(read_by, index))
            late = consumer.lag / TTL
            paint = ink.good if late < 0.3 else ink.warn if late < 0.8 else ink.bad
            missed = f"{consumer.missed_items:>10,}"
            lines.append(
                f"  {ink.bold(f'{consumer.name:<12}')} {rate:>8,.0f} {consumer.total_items_read:>10,} "
                f"{consumer.unread_items:>8,} {ink.bad(missed) if consumer.missed_items else missed}   "
                f"{paint(ink.bar(late, 12))} {consumer.lag:.2f} s"
            )
        return [*lines, "", ink.dim("  Ctrl-C stops it")]


class Ink:
    """Colours and drawing characters, where the output can show them."""

    def __init__(self, out: TextIO) -> None:
        self._colour = _is_terminal(out) and "NO_COLOR" not in os.environ
        try:
            "█░▁✔".encode(out.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            self._full, self._empty, self._levels = "#", ".", " .:-=+*#"
        else:
            self._full, self._empty, self._levels = "█", "░", "▁▂▃▄▅▆▇█"

    def _paint(self, code: int, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def bold(self, text: str) -> str:
        return self._paint(1, text)

    def dim(self, text: str) -> str:
        return self._paint(2, text)

    def good(self, text: str) -> str:
        return self._paint(32, text)

    def warn(self, text: str) -> str:
        return self._paint(33, text)

    def bad(self, text: str) -> str:
        return self._paint(31, text)

    def accent(self, text: str) -> str:
        return self._paint(36, text)

    def bar(self, share: float, width: int) -> str:
        """How full something is."""
        full = round(min(max(share, 0.0), 1.0) * width)
        return self._full * full + self._empty * (width - full)

    def spark(self, values: "deque[float]", width: int) -> str:
        """A history, newest to the right."""
        top = max(values, default=0.0) or 1.0
        last = len(self._levels) - 1
        return "".join(self._levels[round(value / top * last)] for value in values).rjust(width)


def _is_terminal(out: TextIO, rows: int = 0) -> bool:
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return shutil.get_terminal_size().lines >= rows


def rate_of(before: Sample | None, now: Sample, count: Callable[[Sample], int]) -> float:
    """What a count grew by, per second, since an earlier sample (or the start)."""
    seconds = now.elapsed - (before.elapsed if before else 0.0)
    return (count(now) - (count(before) if before else 0)) / seconds if seconds > 0 else 0.0


def read_by(index: int, sample: Sample) -> int:
    """Messages that one consumer has read."""
    return sample.consumers[index].total_items_read


def rates(before: Sample | None, now: Sample) -> tuple[float, float]:
    """Messages per second into the queue, and out of it to all consumers."""
    return rate_of(before, now, lambda sample: sample.queue.enqueued), rate_of(before, now, lambda sample: sample.read)


def kibibytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:,.2f} MiB"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
