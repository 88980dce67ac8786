"""`python -m mpmc_queue demo --nats URL`: the same demo over a temporary JetStream stream."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, TextIO
from uuid import uuid4

from mpmc_queue import QueueClosedError, QueueFullError, jetstream
from mpmc_queue.cli.demo import close_counts, tide, view_for
from mpmc_queue.cli.demo_samples import TTL, Sample

RATE: Final = 1000.0
"""Average messages per second of all producers together. Lower than in `demo`: one event loop does all the work,
including the NATS client's."""


class Figures(NamedTuple):
    """A queue's figures; `rejected` is known only to this process."""

    total_items: int
    memory_usage: int
    memory_percent: float
    max_bytes: int
    enqueued: int
    expired: int
    rejected: int


def run(url: str, *, seconds: float, producers: int, consumers: int, out: TextIO | None = None) -> int:
    """Runs the demo and returns its exit code; 2 when the server is not there."""
    return asyncio.run(_run(url, seconds, producers, consumers, sys.stdout if out is None else out))


async def _run(url: str, seconds: float, producers: int, consumers: int, out: TextIO) -> int:
    try:
        queue = await jetstream.connect(
            url, f"demo-{uuid4().hex[:8]}", ttl=TTL, connection={"max_reconnect_attempts": 1, "connect_timeout": 2}
        )
    except Exception as error:  # the client raises many kinds of errors for a wrong address
        print(f"Cannot use NATS JetStream at {url}: {error}", file=sys.stderr)
        return 2
    demo = Demo(queue, producers, consumers)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        demo.stop.set()

    with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C cancels this task
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    view = view_for(out, seconds, producers, consumers, f"1 queue on {url}")
    started = time.monotonic()
    try:
        await demo.start()
        while (left := started + seconds - time.monotonic()) > 0 and not demo.errors:
            if await demo.stopped_within(min(left, view.interval)):
                break
            view.show(await demo.sample())
        elapsed = time.monotonic() - started
        await demo.finish()
    finally:
        try:
            sample = await demo.sample()
        except BaseException:
            view.close(None)
            raise
        view.close(sample)
        await queue.delete()
    return close_counts(sample, demo, elapsed, interrupted, out)


class Demo:
    """The queue, its tasks, and the count of each task."""

    def __init__(self, queue: jetstream.Queue[str], producers: int, consumers: int) -> None:
        self.queue = queue
        self.stop = asyncio.Event()
        self.errors: list[BaseException] = []
        self._started = time.monotonic()
        self._enqueued = [0] * producers
        self._rejected = 0
        self._received = [0] * consumers
        self._consumers: list[jetstream.Consumer[str]] = []
        self._reading: list[asyncio.Task[None]] = []
        self._producing: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        for index, (name, work) in enumerate(self._roles(len(self._received))):
            self._consumers.append(await self.queue.add_consumer(name))
            self._reading.append(self._task(partial(work, index, self._consumers[-1])))
        self._started = time.monotonic()
        self._producing = [self._task(partial(self._produce, index)) for index in range(len(self._enqueued))]

    async def finish(self) -> None:
        """Ends the producers, then lets the consumers that keep up read the rest."""
        self.stop.set()
        if self._producing:
            await asyncio.wait(self._producing)
        if self._reading:
            await asyncio.wait(self._reading)

    async def stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.stop.wait()
        except TimeoutError:
            return False

    async def sample(self) -> Sample:
        stats = await self.queue.stats()
        figures = Figures(
            total_items=stats.total_items,
            memory_usage=stats.memory_usage,
            memory_percent=stats.memory_percent,
            max_bytes=stats.max_bytes or 0,
            enqueued=stats.enqueued,
            expired=stats.enqueued - stats.total_items,
            rejected=self._rejected,
        )
        consumers = [await consumer.stats() for consumer in self._consumers]
        return Sample(time.monotonic() - self._started, figures, consumers)

    @property
    def enqueued(self) -> int:
        """Messages enqueued, as the producers counted them."""
        return sum(self._enqueued)

    @property
    def received(self) -> list[int]:
        """Messages received, as each consumer counted them."""
        return self._received

    def _roles(self, count: int) -> list[tuple[str, Callable[[int, jetstream.Consumer[str]], Awaitable[None]]]]:
        """The consumers, from the fastest to the slowest."""
        if count == 1:
            return [("slow", self._read_slowly)]
        middle = [("steady" if count == 3 else f"steady-{n}", self._read_steadily) for n in range(1, count - 1)]
        return [("fast", self._read_at_once), *middle, ("slow", self._read_slowly)]

    async def _produce(self, index: int) -> None:
        rate = RATE / len(self._enqueued)
        one_by_one = index % 2 == 0
        offered = 0
        while not await self.stopped_within(0.005):
            due = tide(rate, time.monotonic() - self._started) - offered
            messages = [f"producer {index + 1}, message {offered + n}" for n in range(due)]
            offered += due
            try:
                # With atomic=False messages are published one by one, but concurrently: each waits for its own confirmation.
                for start in range(0, due, 1000):
                    some = messages[start : start + 1000]
                    await self.queue.aenqueue_batch(some, timeout=5.0, atomic=not one_by_one)
                    self._enqueued[index] += len(some)
            except QueueFullError:
                if one_by_one:
                    raise
                self._rejected += due

    async def _read_at_once(self, index: int, consumer: jetstream.Consumer[str]) -> None:
        await self._read(index, consumer, 1000, 0.0)

    async def _read_steadily(self, index: int, consumer: jetstream.Consumer[str]) -> None:
        await self._read(index, consumer, 1000, 0.05)

    async def _read(self, index: int, consumer: jetstream.Consumer[str], limit: int, pause: float) -> None:
        """Reads until the producers have ended and nothing is left."""
        while True:
            ending = self.stop.is_set() and all(task.done() for task in self._producing)
            found = await consumer.aread_batch(limit, timeout=0 if ending else 0.1)
            self._received[index] += len(found)
            if ending and not found:
                return
            if pause and not ending:
                await self.stopped_within(pause)

    async def _read_slowly(self, index: int, consumer: jetstream.Consumer[str]) -> None:
        while not await self.stopped_within(0.002):
            if await consumer.aread(timeout=0) is not None:
                self._received[index] += 1

    def _task(self, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """A task that does this work; an error in it ends the demo and is shown in the summary."""

        async def guarded() -> None:
            try:
                await work()
            except QueueClosedError:
                pass
            except Exception as error:
                self.errors.append(error)
                self.stop.set()

        return asyncio.get_running_loop().create_task(guarded())
