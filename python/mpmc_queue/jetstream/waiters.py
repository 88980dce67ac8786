"""Tasks that wait for the same thing, each woken for one of it, in the order in which they came."""

import asyncio
from collections import deque


class Waiters:
    """Like the waiting half of asyncio.Queue, with deadlines."""

    def __init__(self) -> None:
        self._futures: deque[asyncio.Future[bool]] = deque()

    def wake_one(self) -> None:
        """Wakes the one that has waited longest."""
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(True)
                return

    def wake_all(self) -> None:
        """Wakes all of them, to look for themselves."""
        futures, self._futures = self._futures, deque()
        for future in futures:
            _resolve(future, True)

    async def wait(self, deadline: float | None) -> bool:
        """Waits to be woken; False: not before the deadline. Whoever is cancelled hands the wake-up on."""
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
