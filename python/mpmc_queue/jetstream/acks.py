"""Acknowledges a consumer's position: in intervals, or at once if the stream keeps messages until they are acknowledged."""

import asyncio
from typing import Final

from mpmc_queue.jetstream.message import Delivery
from mpmc_queue.jetstream.server import Server

PAUSE: Final = 0.05
"""Maximum seconds between a read and its acknowledgement."""
MOST: Final = 100
"""After this many reads the acknowledgement is sent at once."""


class Acks:
    """Acknowledges the last message that has been read, which includes all messages before it."""

    def __init__(self, server: Server, *, at_once: bool) -> None:
        self._server = server
        self._at_once = at_once
        self._last: Delivery | None = None
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def read(self, delivery: Delivery, count: int) -> None:
        """Notes that so many messages have been read, and that this was the last."""
        self._last = delivery
        self._count += count
        if self._at_once or self._count >= MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self.flush)

    def flush(self) -> None:
        """Acknowledges what has been read."""
        if self._last is not None:
            self._server.send(self._last.reply, b"+ACK")
        self.forget()

    def forget(self) -> None:
        """Drops the acknowledgement that has not been sent yet."""
        self._last = None
        self._count = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
