"""Tasks that wait for messages; each message wakes one of them, in the order in which they came."""

import asyncio
from collections import deque


class Waiters:
    """The waiting part of `asyncio.Queue`, with deadlines."""

    def __init__(self) -> None:
        self._futures: deque[asyncio.Future[bool]] = deque()

    def wake_one(self) -> None:
        """Wakes the task that has waited longest."""
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(True)
                return

    def wake_all(self) -> None:
        """Wakes all tasks, which then check again what they wait for."""
        futures, self._futures = self._futures, deque()
        for future in futures:
            _resolve(future, True)

    async def wait(self, deadline: float | None) -> bool:
        """Waits for a wake-up; False: the deadline came first. A cancelled task passes its wake-up on to the next."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._futures.append(future)
        timer = None if deadline is None else loop.call_at(deadline, _resolve, future, False)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.wake_one()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._futures:
                self._futures.remove(future)


def _resolve(future: "asyncio.Future[bool]", woken: bool) -> None:
    if not future.done():
        future.set_result(woken)
