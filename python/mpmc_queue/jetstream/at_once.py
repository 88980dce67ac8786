"""Runs a coroutine that does not wait for anything, outside of a loop: to find out how the installed client works."""

from collections.abc import Coroutine
from typing import Any


def run_at_once(work: Coroutine[Any, Any, object]) -> None:
    """Runs it to its end. RuntimeError: it waits for something."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("it waits")
