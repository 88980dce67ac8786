"""The rounds of `python -m mpmc_queue bench` and of the long version as tests of pytest-benchmark.

    pytest benches/python --benchmark-save=before
    pytest benches/python --benchmark-compare --benchmark-compare-fail=min:10%

Each group is one operation, with the peers beside ours. The time of a test is that of a whole round, including its
set-up. The figures of the tables, nanoseconds per message, are in `extra_info`.
"""

from collections.abc import Iterator
from typing import Any

import pytest

import peers
import threads
import topics
from mpmc_queue.cli import bench
from mpmc_queue.cli.bench_rounds import Round

pytest.importorskip("pytest_benchmark")

ROUNDS, WARMUP = 40, 2


def sides() -> Iterator[Any]:
    """Every side of every case once: its group, its name, its round."""
    seen: set[tuple[str, str]] = set()
    for case in (*bench.cases(), *peers.cases(), *threads.cases(), *topics.cases()):
        for name, round in (("mpmc_queue", case.round), (case.peer, case.peer_round)):
            if (case.name, name) not in seen:
                seen.add((case.name, name))
                yield pytest.param(case.name, round, case.every, id=f"{case.name} - {name}")


@pytest.mark.parametrize(("group", "round", "every"), list(sides()))
def test_round(benchmark: Any, group: str, round: Round, every: int) -> None:
    """One side of one case."""
    took: list[float] = []
    benchmark.group = group
    benchmark.pedantic(lambda: took.append(round()), rounds=max(3, ROUNDS // every), warmup_rounds=WARMUP)
    benchmark.extra_info["ns_per_message"] = min(took)
    assert min(took) > 0
