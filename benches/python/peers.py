"""The same operations on every installed queue, side by side."""

import asyncio
import importlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from mpmc_queue.cli import bench_rounds as rounds
from mpmc_queue.cli.bench import is_installed
from mpmc_queue.cli.bench_results import Case, Result
from mpmc_queue.cli.bench_rounds import Ends, Round

OURS: Final = "mpmc_queue"
PEERS: Final = ("SimpleQueue", "queue.Queue", "deque", "asyncio.Queue", "janus", "culsans")
"""The columns of the table."""


def cases() -> list[Case]:
    """Every operation with every peer that has it."""
    operations: list[tuple[str, Callable[[Callable[[], Ends]], Round], Callable[[], Ends], dict[str, Any], int]] = [
        ("put", rounds.putting, rounds.ours, STAYING, 1),
        ("get", rounds.getting, rounds.ours, STAYING, 1),
        ("thread to thread", rounds.streaming, rounds.ours_blocking, BLOCKING, 4),
        ("wake-up (median)", rounds.waking, rounds.ours_blocking, BLOCKING, 4),
        ("await get", rounds.awaiting, rounds.ours_async, AWAITED, 4),
    ]
    found = []
    for operation, timed, ours, peers, every in operations:
        our_round = timed(ours)
        found += [Case(operation, our_round, name, timed(make), every=every) for name, make in present(peers)]
    found += [
        Case("thread to loop", rounds.async_for, name, rounds.to_loop(make), every=10)
        for name, make in present(FROM_A_THREAD)
    ]
    return found


def present(peers: dict[str, Callable[[], Ends]]) -> list[tuple[str, Callable[[], Ends]]]:
    """The installed peers, in the order of the columns."""
    return [
        (name, make)
        for name, make in sorted(peers.items(), key=lambda peer: PEERS.index(peer[0]))
        if name not in ("janus", "culsans") or is_installed(name)
    ]


def show(results: Sequence[Result]) -> None:
    """Nanoseconds per message, and our time as a multiple of each peer's."""
    rows: dict[str, dict[str, Result]] = {}
    for result in results:
        rows.setdefault(result.case.name, {})[result.case.peer] = result
    print(f"\n{'ns per message':18}{OURS:>12}" + "".join(f"{peer:>15}" for peer in PEERS))
    for name, row in rows.items():
        ours = next(iter(row.values())).ns
        print(f"{name:18}{ours:12,.1f}" + "".join(_cell(row.get(peer), "{0.peer_ns:,.1f}") for peer in PEERS))
    print(f"\n{'ours / theirs':30}" + "".join(f"{peer:>15}" for peer in PEERS))
    for name, row in rows.items():
        print(f"{name:30}" + "".join(_cell(row.get(peer), "{0.ratio:.2f}") for peer in PEERS), flush=True)


def _cell(result: Result | None, form: str) -> str:
    return f"{'' if result is None else form.format(result):>15}"


# The peers, without limits.


def plain_deque() -> Ends:
    """No waiting, no limit: the lower bound."""
    peer: deque[Any] = deque()
    return Ends(peer.append, peer.popleft)


def asyncio_nowait() -> Ends:
    """Without awaiting, from one thread."""
    peer: asyncio.Queue[Any] = asyncio.Queue()
    return Ends(peer.put_nowait, peer.get_nowait)


def asyncio_from_a_thread() -> Ends:
    """Used directly: each put is a callback to the loop."""
    peer: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    return Ends(lambda item: loop.call_soon_threadsafe(peer.put_nowait, item), peer.get)


def janus_sync() -> Ends:
    """Its interface for threads."""
    peer = importlib.import_module("janus").Queue()
    return Ends(peer.sync_q.put, peer.sync_q.get)


def culsans_sync() -> Ends:
    """Its interface for threads."""
    peer = importlib.import_module("culsans").Queue()
    return Ends(peer.sync_q.put, peer.sync_q.get)


BLOCKING: Final[dict[str, Callable[[], Ends]]] = {
    "SimpleQueue": rounds.simple,
    "queue.Queue": rounds.standard_queue,
    "janus": janus_sync,
    "culsans": culsans_sync,
}
STAYING: Final[dict[str, Callable[[], Ends]]] = {
    **BLOCKING,
    "deque": plain_deque,
    "asyncio.Queue": asyncio_nowait,
}
AWAITED: Final[dict[str, Callable[[], Ends]]] = {
    "asyncio.Queue": rounds.asyncio_queue,
    "janus": rounds.janus,
    "culsans": rounds.culsans,
}
FROM_A_THREAD: Final[dict[str, Callable[[], Ends]]] = {
    "asyncio.Queue": asyncio_from_a_thread,
    "janus": rounds.janus,
    "culsans": rounds.culsans,
}
