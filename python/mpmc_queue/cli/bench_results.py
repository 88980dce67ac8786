"""A comparison, and what came of it."""

from dataclasses import dataclass

from mpmc_queue.cli.bench_rounds import Round


@dataclass(frozen=True)
class Case:
    """One comparison: a line of the table."""

    name: str
    round: Round
    peer: str
    peer_round: Round
    limit: float | None = None
    """How many times the peer's cost is still good; None: it is only shown."""
    every: int = 1
    """Runs in one round out of so many: for what takes long."""


@dataclass(frozen=True)
class Result:
    """What came of a case, in nanoseconds per message."""

    case: Case
    ns: float
    peer_ns: float

    @property
    def ratio(self) -> float:
        """How many times the peer's cost: below 1 we are faster."""
        return self.ns / self.peer_ns

    @property
    def over(self) -> bool:
        """Whether it is over its limit."""
        return self.case.limit is not None and self.ratio > self.case.limit
