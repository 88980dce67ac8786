"""A comparison and its result."""

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
    """The highest acceptable ratio to the peer's cost; None: there is no limit."""
    every: int = 1
    """Runs only in every n-th round, if it takes long."""


@dataclass(frozen=True)
class Result:
    """The result of a case, in nanoseconds per message."""

    case: Case
    ns: float
    peer_ns: float

    @property
    def ratio(self) -> float:
        """Our cost divided by the peer's: below 1 we are faster."""
        return self.ns / self.peer_ns

    @property
    def over(self) -> bool:
        """Whether the ratio is above its limit."""
        return self.case.limit is not None and self.ratio > self.case.limit
