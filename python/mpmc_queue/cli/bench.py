"""`python -m mpmc_queue bench`: the cost of a message on this machine, compared with other queues.

Both sides of a comparison run in one process, one after the other, in many short rounds. The fastest round of each counts,
because other work on the machine can only make a round slower.
"""

import gc
import importlib.util
import itertools
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from mpmc_queue import DEFAULT_MAX_BYTES, Queue, __version__, _mpmc_queue
from mpmc_queue.cli import bench_scaling
from mpmc_queue.cli.bench_results import Case, Result
from mpmc_queue.cli.bench_rounds import (
    ITEMS,
    Round,
    async_for,
    asyncio_queue,
    awaiting,
    culsans,
    enqueue_batch,
    fan_out,
    get_batch,
    getting,
    janus,
    ours,
    ours_async,
    ours_blocking,
    ours_read,
    putting,
    read_batch,
    simple,
    simple_fan_out,
    standard_queue,
    streaming,
    to_loop,
    waking,
)
from mpmc_queue.cli.demo_samples import columns_of

ROUNDS: Final = 200
"""Default number of rounds."""
SCALING_ROUNDS: Final = 3
"""Maximum number of rounds of the benchmarks with several threads."""
WITH_FIGURES: Final = 90
"""Width of the table with nanoseconds, in columns."""
ONE_LINE: Final = 66
"""Width of the table without nanoseconds, in columns."""
SAME: Final = 0.05
"""A ratio this close to 1 is reported as "the same": such a difference can turn round in the next run."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells define it."""


def cases() -> list[Case]:
    """All comparisons: what is measured, and the peer it is compared with."""
    put, get = putting(simple), getting(simple)
    return [
        Case("enqueue", putting(ours), "SimpleQueue.put", put, 2.2),
        Case("get_nowait", getting(ours), "SimpleQueue.get", get, 1.5),
        Case("put", putting(ours_blocking), "queue.Queue.put", putting(standard_queue)),
        Case("get", getting(ours_blocking), "queue.Queue.get", getting(standard_queue)),
        Case("read", getting(ours_read), "SimpleQueue.get", get, 2.7),
        Case("enqueue_batch(1000)", enqueue_batch, "SimpleQueue.put", put, 0.35),
        Case("get_batch(1000)", get_batch, "SimpleQueue.get", get, 0.25),
        Case("read_batch(1000)", read_batch, "SimpleQueue.get", get, 2.0),
        *(
            Case(f"fan-out to {n}, a delivery", fan_out(n), "SimpleQueue each", simple_fan_out(n), limit, every=4)
            for n, limit in ((1, 1.2), (2, 1.0), (4, 0.8), (16, 0.7))
        ),
        Case("thread to thread", streaming(ours_blocking), "SimpleQueue", streaming(simple), 1.3, every=4),
        Case("wake-up (median)", waking(ours_blocking), "SimpleQueue", waking(simple), 1.2, every=4),
        Case("aread", awaiting(ours_async), "asyncio.Queue.get", awaiting(asyncio_queue), 1.0, every=4),
        *(
            Case("async for, from a thread", async_for, name, to_loop(ends), 0.3, every=10)
            for name, ends in (("janus", janus), ("culsans", culsans))
            if is_installed(name)
        ),
    ]


def run(
    *,
    rounds: int | None = None,
    seconds: float | None = None,
    json_file: str | None = None,
    plot_file: str | None = None,
    limits: bool = False,
    out: TextIO,
) -> int:
    """Measures, prints the table, writes the requested files, and returns the exit code.

    limits      for developers of the package: also show the limit of each ratio, and mark the ratios above it.
    """
    if problem := obstacle(plot=plot_file is not None):
        print(problem, file=sys.stderr)
        return 2
    print(interpreter(), file=out)
    for name in ("janus", "culsans"):
        if not is_installed(name):
            print(f"{name} is not installed: left out.", file=out)
    out.flush()
    try:
        results = measure(cases(), for_seconds(seconds) if seconds else range(rounds or ROUNDS))
    except KeyboardInterrupt:
        print("Interrupted.", file=out)
        return INTERRUPTED
    show(results, out, limits=limits)
    try:
        scales = [] if has_gil() else bench_scaling.measure(min(rounds or SCALING_ROUNDS, SCALING_ROUNDS))
    except KeyboardInterrupt:
        print("Interrupted.", file=out)
        return INTERRUPTED
    if scales:
        bench_scaling.show(scales, out)
    held = bytes_per_message()
    print(f"\n1000 messages hold {held * 1000:,.0f} of the {DEFAULT_MAX_BYTES:,} bytes of a default queue.", file=out)
    try:
        if json_file is not None:
            with open(json_file, "w", encoding="utf-8") as file:
                figures = {
                    **document(results, limits=limits),
                    "bytes_per_message": held,
                    "scaling": [bench_scaling.document(scale, limits=limits) for scale in scales],
                }
                json.dump(figures, file, indent=2)
                file.write("\n")
        if plot_file is not None:
            from mpmc_queue.cli.bench_plot import draw

            draw(results, plot_file, interpreter(), limits=limits)
    except OSError as error:
        print(f"Cannot write: {error}", file=sys.stderr)
        return 1
    return 0


def obstacle(*, plot: bool = False) -> str | None:
    """Why nothing can be measured, and what to do about it; None if it can."""
    if _mpmc_queue._IS_DEBUG_BUILD:  # pyright: ignore[reportPrivateUsage]
        return (
            "mpmc_queue is a debug build, and its figures would mean nothing.\n"
            "Make a release build with `make build`, or install a wheel."
        )
    if plot and not is_installed("matplotlib"):
        return "A plot needs matplotlib, which is not installed: python -m pip install matplotlib"
    return None


# Measuring.


def measure(cases: Sequence[Case], rounds: Iterable[int]) -> list[Result]:
    """Runs all cases in every round, and keeps the fastest round of each."""
    best: dict[Round, float] = {}
    every: dict[Round, int] = {}
    for case in cases:
        for side in (case.round, case.peer_round):
            every[side] = min(case.every, every.get(side, case.every))
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number in rounds:
            gc.collect()
            for side, interval in every.items():
                if number % interval == 0:
                    best[side] = min(side(), best.get(side, math.inf))
    finally:
        if was_enabled:
            gc.enable()
    return [Result(case, best[case.round], best[case.peer_round]) for case in cases]


def for_seconds(seconds: float) -> Iterator[int]:
    """Yields round numbers until the time is over, but at least one."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        yield number
        if time.monotonic() >= end:
            return


# Output.


def is_installed(name: str) -> bool:
    """Whether the module can be imported."""
    return importlib.util.find_spec(name) is not None


def has_gil() -> bool:
    """Whether this interpreter runs one thread at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def interpreter() -> str:
    """The interpreter, platform and version, in one line: all figures depend on them."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {'with' if has_gil() else 'without'} the GIL, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, mpmc_queue {__version__}"
    )


def bytes_per_message() -> float:
    """Bytes that the queue counts for one message of a round."""
    queue: Queue[str] = Queue("bench")
    queue.enqueue_batch(ITEMS)
    return queue.memory_usage / len(ITEMS)


def show(results: Sequence[Result], out: TextIO, *, limits: bool) -> None:
    """Prints the table: nanoseconds per message, compared with the peer."""
    if limits:
        show_limits(results, out)
        return
    width = columns_of(out)
    if width >= WITH_FIGURES:
        print(
            f"\n{'ns per message':27}{'mpmc_queue':>10}{'instead':>11}   compared with what one would use instead",
            file=out,
        )
    else:
        print("\nCompared with what one would use instead:", file=out)
    for result in results:
        case = result.case
        verdict = compared(result.ratio, case.peer)
        if width >= WITH_FIGURES:
            print(f"{case.name:27}{result.ns:10,.1f}{result.peer_ns:11,.1f}   {verdict}", file=out)
        elif width >= ONE_LINE:
            print(f"{case.name:27}{verdict}", file=out)
        else:
            print(f"{case.name}\n  {verdict}", file=out)
    out.flush()


def compared(ratio: float, peer: str) -> str:
    """Our cost compared with a peer's, in words."""
    if abs(ratio - 1) <= SAME:
        return f"  as fast as {peer}"
    return f"{ratio:5.1f}x slower than {peer}" if ratio > 1 else f"{1 / ratio:5.1f}x faster than {peer}"


def show_limits(results: Sequence[Result], out: TextIO) -> None:
    """Prints the table for developers of the package: our cost divided by the peer's, and its limit."""
    print(f"\n{'ns per message':32}{'ours':>10}   {'peer':19}{'ns':>10}{'ratio':>8}{'limit':>8}", file=out)
    for result in results:
        case = result.case
        limit = "" if case.limit is None else f"{case.limit:.2f}"
        verdict = "   over" if result.over else ""
        print(
            f"{case.name:32}{result.ns:10,.1f}   {case.peer:19}{result.peer_ns:10,.1f}"
            f"{result.ratio:8.2f}{limit:>8}{verdict}",
            file=out,
        )
    out.flush()


def document(results: Sequence[Result], *, limits: bool) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "mpmc_queue": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": has_gil(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "cases": [
            {
                "name": result.case.name,
                "ns": result.ns,
                "peer": result.case.peer,
                "peer_ns": result.peer_ns,
                "ratio": result.ratio,
                **({"limit": result.case.limit, "over": result.over} if limits else {}),
            }
            for result in results
        ],
    }
