"""What asynchronous calls need from trio: a loop that can be called from other threads, and a cancellable wait.

The first call in a trio task imports this module, so trio is needed only by programs that use it.
"""

from collections.abc import Callable
from typing import Any

import trio
from trio import lowlevel


class Loop:
    """A trio run with the few methods of an asyncio loop that are needed: calls from any thread, and delayed calls."""

    def __init__(self, token: lowlevel.TrioToken) -> None:
        self._token = token
        self._is_closed = False

    def call_soon_threadsafe(self, function: Callable[..., object], *args: Any) -> None:
        """Has the run call a function soon. RunFinishedError if the run is over."""
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            self._is_closed = True
            raise

    def is_closed(self) -> bool:
        """Whether an earlier call found that the run is over."""
        return self._is_closed

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> "Timer":
        """Has the run call a function after some seconds."""
        timer = Timer()
        lowlevel.spawn_system_task(timer.run, seconds, function, args)
        return timer


class Timer:
    """A delayed call."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()

    async def run(self, seconds: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Waits, then calls the function."""
        with self._scope:
            await trio.sleep(seconds)
            function(*args)

    def cancel(self) -> None:
        """Prevents the call."""
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
    """Lets other tasks run. A call that need not wait can be cancelled here, before it takes a message."""
    await lowlevel.checkpoint()


async def wait(future: Any) -> None:
    """Waits for a future. If it is cancelled, no message is taken."""
    task = lowlevel.current_task()

    def resume(_: object) -> None:
        lowlevel.reschedule(task)

    def abort(_: object) -> lowlevel.Abort:
        future.remove_done_callback(resume)
        return lowlevel.Abort.SUCCEEDED

    future.add_done_callback(resume)
    await lowlevel.wait_task_rescheduled(abort)
