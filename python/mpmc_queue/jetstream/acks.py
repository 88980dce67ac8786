"""Word of a consumer's position: to the server now and then, or at once where the lives of messages depend on it."""

import asyncio
from typing import Final

from mpmc_queue.jetstream.message import Delivery
from mpmc_queue.jetstream.server import Server

PAUSE: Final = 0.05
"""Seconds after a read at which the server hears of it, at the latest."""
MOST: Final = 100
"""Messages read, after which it hears of them at once."""


class Acks:
    """Acknowledges the last message that has been read, and with it all before."""

    def __init__(self, server: Server, *, at_once: bool) -> None:
        self._server = server
        self._at_once = at_once
        self._last: Delivery | None = None
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def read(self, delivery: Delivery, count: int) -> None:
        """So many messages have been read, this one last."""
        self._last = delivery
        self._count += count
        if self._at_once or self._count >= MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self.flush)

    def flush(self) -> None:
        """Sends word of what has been read."""
        if self._last is not None:
            self._server.send(self._last.reply, b"+ACK")
        self.forget()

    def forget(self) -> None:
        """What has been read and not acknowledged will not be."""
        self._last = None
        self._count = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
