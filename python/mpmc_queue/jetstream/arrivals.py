"""Tasks that wait until a number of messages have arrived."""

import asyncio


class Arrivals:
    """Wakes each waiting task when its number of messages has arrived, or the server has no more for now."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def most(self) -> int:
        """The highest number that a task waits for; 0: no task waits."""
        return max((count for count, _ in self._waiting), default=0)

    async def wait(self, count: int, timeout: float) -> None:
        """Waits until so many messages or all present ones have arrived, `stir` is called, or the timeout is over."""
        waiting = count, asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait([waiting[1]], timeout=timeout)
        finally:
            self._waiting.remove(waiting)

    def arrived(self, count: int, *, last: bool) -> None:
        """Wakes the tasks for which `count` messages are enough. last: there are no more for now, so wake all."""
        for wanted, future in self._waiting:
            if (last or count >= wanted) and not future.done():
                future.set_result(None)

    def stir(self) -> None:
        """Wakes all tasks, which then check again what they wait for."""
        self.arrived(0, last=True)
