"""Minutes of everything at once: 8 producers, 16 consumers and visitors, threads and tasks, on two queues whose messages
live 200 ms, one that drops the oldest and one that refuses. Fails when memory grows or a book does not balance.

    python tests/soak/soak.py --minutes 2
"""

import argparse
import asyncio
import platform
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mpmc_queue import Queue
from watch import STATM, Memory, Pauses
from workers import Payload, Producer, Reader, Team, Visitor, books_are_right

GROWTH: Final = 1.0
"""Bytes of growth for each message enqueued that count as a leak: less than anything that could be left of a message, be it
a reference (8 bytes), a read record (4), or a waiter (70) of one in ten. An allocator that is still finding its greatest
extent grows by less and less: by half of this in the second minute, by a tenth later."""
PATIENCE: Final = 30.0
"""Seconds for everyone to come to an end."""


class Crew:
    """The threads, and what became of them."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []
        self.failed = threading.Event()

    def start(self, call: Callable[..., object], *arguments: object) -> None:
        def run() -> None:
            try:
                call(*arguments)
            except BaseException as error:
                self.errors.append(error)
                self.failed.set()

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def start_loop(self, *calls: Coroutine[Any, Any, None]) -> None:
        async def main() -> None:
            await asyncio.gather(*calls)

        self.start(lambda: asyncio.run(main()))

    def join(self) -> None:
        deadline = time.monotonic() + PATIENCE
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self.errors:
            raise self.errors[0]
        assert not any(thread.is_alive() for thread in self.threads), "a thread still waits"


def soak(seconds: float) -> bool:
    queues: list[Queue[Payload]] = [
        Queue("newest", ttl=0.2, max_items=3000, overflow="drop_oldest"),
        Queue("refusing", ttl=0.2, max_items=3000, overflow="reject"),
    ]
    done, crew, memory, ticks, turns = threading.Event(), Crew(), Memory(), Pauses(), Pauses()
    producers: list[Producer] = []
    readers: list[Reader] = []
    teams: list[Team] = []
    visitors: list[Visitor] = []
    for number, queue in enumerate(queues):
        own = [Producer(number * 4 + n, queue) for n in range(4)]
        threads = [Reader("slow", queue, rest=0.05), *(Reader(f"thread {n}", queue) for n in range(3))]
        tasks = [Reader(f"task {n}", queue) for n in range(2)]
        team, visitor = Team(queue), Visitor(queue)
        runs = [*(producer.run for producer in own[:2]), *(reader.run for reader in threads), team.run, visitor.run]
        for run in runs:
            crew.start(run, done)
        crew.start_loop(*(producer.arun(done) for producer in own[2:]), turns.tick_in_a_loop(done))
        crew.start_loop(*(reader.arun() for reader in tasks), team.arun())
        producers += own
        readers += threads + tasks
        teams.append(team)
        visitors.append(visitor)
    crew.start(ticks.tick_in_a_thread, done)

    start = time.monotonic()
    while time.monotonic() - start < seconds and not crew.failed.wait(1.0):
        for queue in queues:
            books_are_right(queue, [reader for reader in readers if reader.consumer.queue is queue])
        memory.look()
    took = time.monotonic() - start
    done.set()
    for queue in queues:
        queue.close()
    crew.join()

    enqueued = {queue: queue.stats().enqueued for queue in queues}
    assert sum(enqueued.values()) == sum(producer.sent for producer in producers)
    for reader in readers:
        print("  " + reader.settle_up(enqueued[reader.consumer.queue]))
    for team in teams:
        print("  " + team.settle_up(enqueued[team.group.queue]))
    total, delivered = sum(enqueued.values()), sum(reader.read for reader in readers)
    for queue in queues:
        stats = queue.stats()
        print(f"  {queue.name}: {stats.expired} expired, {stats.dropped} dropped, {stats.rejected} refused")
    print(f"enqueued {total / took:,.0f}/s, delivered to consumers {delivered / took:,.0f}/s, {took:.0f} s")
    print(f"consumers that came and went: {sum(visitor.visits for visitor in visitors)}")
    print(f"a thread that ticks: {ticks}; two loops that tick: {turns}")
    slope, error = memory.slope()
    bound = GROWTH * total / took
    print(
        f"memory {memory.held[-1] / 1e6:.1f} MB, {slope / 1e3:+.2f} ± {error / 1e3:.2f} kB/s"
        f" = {slope * took / total:+.3f} bytes per message (at most {GROWTH}: {bound / 1e3:.1f} kB/s)"
    )
    return slope <= bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (2)")
    minutes = parser.parse_args().minutes
    if not STATM.exists():
        sys.exit(f"memory is read from {STATM}, which this system does not have")
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {platform.python_version()}{'' if gil else ' without the GIL'}, {minutes:g} minutes")
    if not soak(minutes * 60):
        sys.exit("memory grows")


if __name__ == "__main__":
    main()
