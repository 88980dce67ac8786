"""The number of instructions of a call, which does not depend on the load of the machine. Needs valgrind.

Each operation runs twice in a separate process under callgrind: for a few rounds, and for some more. The difference,
divided by the number of messages in the additional rounds, is the cost of one message, including the loop and the
interpreter.
"""

import argparse
import asyncio
import gc
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from mpmc_queue import Queue
from mpmc_queue.cli.bench import interpreter
from mpmc_queue.cli.bench_rounds import ITEMS

FEW: Final = 10
MORE: Final = 210
"""Rounds, each of as many messages as there are items."""


def enqueue(rounds: int) -> None:
    for _ in range(rounds):
        call = Queue[str]("q").enqueue
        for item in ITEMS:
            call(item)


def enqueue_under(rounds: int) -> None:
    for _ in range(rounds):
        call = Queue[str]("q").enqueue
        for item in ITEMS:
            call(item, topic="sensors.17")


def put(rounds: int) -> None:
    for _ in range(rounds):
        call = Queue[str]("q").put
        for item in ITEMS:
            call(item)


def simple_put(rounds: int) -> None:
    for _ in range(rounds):
        call = SimpleQueue[str]().put
        for item in ITEMS:
            call(item)


def again(method: str) -> Callable[[int], None]:
    """Reads the same messages in each round."""

    def run(rounds: int) -> None:
        queue = Queue[str]("q")
        queue.enqueue_batch(ITEMS)
        consumer = queue.add_consumer()
        call: Callable[[], Any] = getattr(consumer, method)
        for _ in range(rounds):
            consumer.seek("earliest")
            for _ in ITEMS:
                call()

    return run


def simple_get(rounds: int) -> None:
    queue = SimpleQueue[str]()
    deque(map(queue.put, ITEMS * rounds), maxlen=0)
    call = queue.get
    for _ in ITEMS * rounds:
        call()


def simple_put_of_them(rounds: int) -> None:
    queue = SimpleQueue[str]()
    deque(map(queue.put, ITEMS * rounds), maxlen=0)


def enqueue_batch(rounds: int) -> None:
    for _ in range(rounds):
        Queue[str]("q").enqueue_batch(ITEMS)


def batches(method: str) -> Callable[[int], None]:
    """Takes all of the same messages in one call in each round."""

    def run(rounds: int) -> None:
        queue = Queue[str]("q")
        queue.enqueue_batch(ITEMS)
        consumer = queue.add_consumer()
        for _ in range(rounds):
            consumer.seek("earliest")
            getattr(consumer, method)(len(ITEMS))

    return run


def aread(rounds: int) -> None:
    async def main() -> None:
        queue = Queue[str]("q")
        queue.enqueue_batch(ITEMS)
        consumer = queue.add_consumer()
        for _ in range(rounds):
            consumer.seek("earliest")
            for _ in ITEMS:
                await consumer.aread()

    asyncio.run(main())


OPERATIONS: Final[dict[str, Callable[[int], None]]] = {
    "enqueue": enqueue,
    "enqueue(topic=)": enqueue_under,
    "put": put,
    "get_nowait": again("get_nowait"),
    "get": again("get"),
    "read": again("read"),
    "aread": aread,
    "enqueue_batch(1000)": enqueue_batch,
    "get_batch(1000)": batches("get_batch"),
    "read_batch(1000)": batches("read_batch"),
    "SimpleQueue.put": simple_put,
    "SimpleQueue.get": simple_get,
}
WITHOUT: Final = {"SimpleQueue.get": "simple_put_of_them"}
"""What an operation needs beside itself, and is measured without."""


def instructions(operation: str, rounds: int) -> int:
    """All instructions of a process that runs this many rounds."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", sys.executable, __file__]
        done = subprocess.run([*command, "--run", operation, str(rounds)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        found = re.search(r"^(?:summary|totals): (\d+)", counts.read_text(encoding="utf-8"), re.MULTILINE)
        assert found is not None
        return int(found[1])


def per_message(operation: str) -> float:
    difference = instructions(operation, MORE) - instructions(operation, FEW)
    return difference / (MORE - FEW) / len(ITEMS)


def main() -> int:
    """Prints the table, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", nargs=2, metavar=("OPERATION", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        gc.disable()
        name, rounds = options.run
        run = OPERATIONS.get(name) or globals()[name]
        run(int(rounds))
        return 0
    if shutil.which("valgrind") is None:
        print(
            "valgrind is not installed: it counts the instructions. On Debian: apt install valgrind.", file=sys.stderr
        )
        return 2
    print(f"{interpreter()}\n\n| instructions per message | |\n|---|--:|")
    for name in OPERATIONS:
        count = per_message(name) - (per_message(WITHOUT[name]) if name in WITHOUT else 0)
        print(f"| `{name}` | {count:,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
