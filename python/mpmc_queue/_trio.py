"""What asynchronous calls need of trio: a loop to be told through, and a wait that can be cancelled.

Imported by the first call in a trio task: whoever does not use trio needs none.
"""

from collections.abc import Callable
from typing import Any

import trio
from trio import lowlevel


class Loop:
    """A run of trio, as far as a loop of asyncio is asked for: calls from any thread, and later."""

    def __init__(self, token: lowlevel.TrioToken) -> None:
        self._token = token
        self._is_closed = False

    def call_soon_threadsafe(self, function: Callable[..., object], *args: Any) -> None:
        """Has a function called by the run; RunFinishedError when that is over."""
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            self._is_closed = True
            raise

    def is_closed(self) -> bool:
        """Whether the run was seen to be over."""
        return self._is_closed

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> "Timer":
        """Has a function called after a while."""
        timer = Timer()
        lowlevel.spawn_system_task(timer.run, seconds, function, args)
        return timer


class Timer:
    """A call to come."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()

    async def run(self, seconds: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Waits, and calls."""
        with self._scope:
            await trio.sleep(seconds)
            function(*args)

    def cancel(self) -> None:
        """Calls nothing any more."""
        self._scope.cancel()


_LOOP = lowlevel.RunVar[Loop]("mpmc_queue")


def running() -> Loop | None:
    """The run that this task belongs to; None outside of trio."""
    if not lowlevel.in_trio_task():
        return None
    try:
        return _LOOP.get()
    except LookupError:
        loop = Loop(lowlevel.current_trio_token())
        _LOOP.set(loop)
        return loop


async def checkpoint() -> None:
    """Lets others run, and is where a call that need not wait can be cancelled, before anything is taken."""
    await lowlevel.checkpoint()


async def wait(future: Any) -> None:
    """Waits for a future. Cancelling it takes nothing."""
    task = lowlevel.current_task()

    def resume(_: object) -> None:
        lowlevel.reschedule(task)

    def abort(_: object) -> lowlevel.Abort:
        future.remove_done_callback(resume)
        return lowlevel.Abort.SUCCEEDED

    future.add_done_callback(resume)
    await lowlevel.wait_task_rescheduled(abort)
