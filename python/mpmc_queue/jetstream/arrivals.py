"""Who waits until so many messages have arrived."""

import asyncio


class Arrivals:
    """Tasks that wait, each for a number of messages, or for word that there are no more for now."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def most(self) -> int:
        """The greatest number that somebody waits for; 0: nobody does."""
        return max((count for count, _ in self._waiting), default=0)

    async def wait(self, count: int, timeout: float) -> None:
        """Waits until so many have arrived, or all that there is for now, or somebody says `stir`, or the time is up."""
        waiting = count, asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait([waiting[1]], timeout=timeout)
        finally:
            self._waiting.remove(waiting)

    def arrived(self, count: int, *, last: bool) -> None:
        """So many are there; last: there are no more for now."""
        for wanted, future in self._waiting:
            if (last or count >= wanted) and not future.done():
                future.set_result(None)

    def stir(self) -> None:
        """Has everybody look for themselves."""
        self.arrived(0, last=True)
