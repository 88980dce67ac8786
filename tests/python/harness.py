"""Helpers of the tests of event loops, threads and processes, in addition to `helpers`. Nothing here has state."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import PATIENCE
from mpmc_queue import ConsumerGroup, Queue

LONG = 1000.0  # an ack_wait or a delay that never ends during a test
SCRIPT_PATIENCE = 40.0  # for a separate interpreter, which has to start first


def at_once(coroutine: Any) -> Any:
    """What the coroutine returns without suspending. Fails if it suspends."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return returned.value
    coroutine.close()
    raise AssertionError("it suspended")


async def settled(*tasks: Any) -> None:
    """Lets the tasks run until they wait for something outside the loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    done = [task for task in tasks if task.done()]
    assert not done, done[0]


async def outcome(task: Any) -> Any:
    """What the task returned, or None if it was cancelled."""
    try:
        return await task
    except asyncio.CancelledError:
        return None


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often it is called from outside, how often from anywhere, and how often it turns."""

    def __init__(self) -> None:
        self.outside_calls = self.calls = self.turns = 0
        super().__init__()

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
        self.outside_calls += 1
        return super().call_soon_threadsafe(*args, **kwargs)

    def call_soon(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return super().call_soon(*args, **kwargs)

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


def run_in(loop: asyncio.AbstractEventLoop, main: Any) -> Any:
    """asyncio.run, in a given loop."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


def eventually(condition: Callable[[], Any], timeout: float = PATIENCE) -> None:
    """Waits for something that another thread does at some time without an event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def naps(thread: threading.Thread) -> int | None:
    """How often the thread has gone to sleep so far, or None while it is awake (Linux; 0 on other systems)."""
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields["voluntary_ctxt_switches"]) if "S" in fields["State"].split()[0] else None


def asleep(thread: threading.Thread) -> int:
    """Waits until the thread sleeps in the kernel and stays there, as a blocked call does. Returns its naps so far."""
    deadline = time.monotonic() + PATIENCE
    before, calm = -1, 0
    while calm < 3:
        now = naps(thread)
        calm = calm + 1 if now == before and now is not None else 0
        before = -1 if now is None else now
        assert time.monotonic() < deadline, "the thread does not come to rest"
        time.sleep(0.004)
    return before


def together(*calls: Callable[[], Any], timeout: float = PATIENCE) -> list[Any]:
    """Runs each call in a thread of its own, all from one common start. Returns their results, in order."""
    start = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            start.wait(timeout)
            results[index] = calls[index]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a call hangs"
    return results


def acking_group(*held: Any, retention: Any = "limits", **arguments: Any) -> ConsumerGroup[Any]:
    """A group that waits `LONG` for acks by default, of a queue that holds these payloads and expires nothing."""
    queue: Queue[Any] = Queue("acking", ttl=None, retention=retention)
    queue.enqueue_batch(held)
    return queue.add_group("g", **{"ack_wait": LONG} | arguments)


def ledger(group: ConsumerGroup[Any]) -> tuple[int, int, int]:
    """pending, unread, missed"""
    return group.pending_count, group.unread_count, group.missed_count


def environment() -> dict[str, str]:
    """The environment of this process, without variables that would change how a script ends or what it prints."""
    unwanted = {"PYTHON_GIL", "PYTHONWARNINGS", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONFAULTHANDLER"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def script(source: str, *arguments: object, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Runs the source in a separate interpreter, which is killed when it hangs."""
    return subprocess.run(
        [sys.executable, *options, "-c", source, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SCRIPT_PATIENCE,
        env=environment(),
        check=False,
    )


def output_of(source: str, *arguments: object, options: tuple[str, ...] = ()) -> str:
    """What the script prints. It must exit with 0 and write nothing to stderr."""
    done = script(source, *arguments, options=options)
    assert (done.returncode, done.stderr) == (0, ""), f"exit {done.returncode}\n{done.stderr}\n{done.stdout}"
    return done.stdout
