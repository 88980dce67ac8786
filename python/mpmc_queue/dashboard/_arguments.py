"""Checks of what `serve` and `app` are given."""

from typing import Final

SHORTEST, LONGEST = 0.02, 60.0
MOST_PORT: Final = 65_535


def checked_interval(interval: float) -> float:
    """Seconds from one sample to the next."""
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        raise TypeError(f"interval must be a number of seconds, not {type(interval).__name__}")
    if not SHORTEST <= interval <= LONGEST:
        raise ValueError(f"interval must be from {SHORTEST:g} to {LONGEST:g} seconds, not {interval:g}")
    return float(interval)


def checked_port(port: int) -> int:
    """A TCP port, or 0."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 <= port <= MOST_PORT:
        raise ValueError(f"port must be from 0 to {MOST_PORT}, not {port}")
    return port
