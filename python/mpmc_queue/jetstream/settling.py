"""Consumers that are being made on the server. They can be used at once: the first call that needs one raises why it failed."""

import asyncio
from abc import ABC, abstractmethod

from mpmc_queue.jetstream.errors import NotConfirmedError, NotPermittedError
from mpmc_queue.jetstream.server import Server


class Settling(ABC):
    """What a feed or a group knows of its consumer on the server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.settled = asyncio.Event()
        """Set while the server has the consumer, or has refused it."""
        self.error: Exception | None = None
        """Why the server does not make the consumer, or does not deliver; a new start clears it."""
        self.denied: NotPermittedError | None = None
        """Why the server does not accept acknowledgements; cleared once it has been raised."""

    async def known(self) -> None:
        """Waits until the server has the consumer and its position; raises if it refuses."""
        await self._until(self.settled)

    async def _until(self, event: asyncio.Event) -> None:
        """Waits for what the server has to do first; raises if it refuses, or does not answer."""
        try:
            async with asyncio.timeout(self._server.patience):
                await event.wait()
        except TimeoutError:
            raise NotConfirmedError(f"no answer from the server in {self._server.patience:g} s") from None
        self.check()

    def check(self) -> None:
        """Raises the error that prevents delivery, and tries again: an operator may have removed its cause."""
        if self.denied is not None:
            denied, self.denied = self.denied, None
            raise denied
        if self.error is not None:
            error, self.error = self.error, None
            self.settled.clear()
            self._restart()
            raise error

    @abstractmethod
    def _restart(self) -> None:
        """Begins again to make the consumer, or to read."""
