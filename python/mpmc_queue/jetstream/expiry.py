"""Whether messages that were fetched ahead have expired, by a ttl that an operator may have changed meanwhile."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from mpmc_queue.jetstream.binding import look
from mpmc_queue.jetstream.headers import OWN_TTL
from mpmc_queue.jetstream.message import Delivery
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.server import Server, log

SURE: Final = 1.0
"""Seconds that the limits of the stream are relied on before the server is asked again."""


class Expiry:
    """Says which messages have expired. Before it relies on the queue's ttl, it asks the server, unless it did recently."""

    def __init__(self, server: Server, options: Options, done: Callable[[], None]) -> None:
        """done: called when the server has answered."""
        self._server = server
        self._options = options
        self._done = done
        self._asking: asyncio.Task[None] | None = None

    def over(self, delivery: Delivery) -> bool:
        """Whether the message has expired, by the ttl that is known here."""
        ttl = self._options.ttl
        if ttl is None and delivery.headers is None:
            return False
        own = delivery.headers.get(OWN_TTL) if delivery.headers else None
        if own is not None:
            ttl = None if own == "never" else float(own.rstrip("s")) if own.rstrip("s").isdigit() else ttl
        return ttl is not None and self._server.now_ns() - delivery.created_ns >= ttl * 1e9

    def sure(self, delivery: Delivery) -> bool:
        """Whether the answer of `over` is certain. If it is not, the server is asked."""
        if (delivery.headers and OWN_TTL in delivery.headers) or time.monotonic() - self._options.seen < SURE:
            return True
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return False

    async def known(self) -> None:
        """Waits for the answer, if the server has been asked."""
        if self._asking is not None:
            await asyncio.wait([self._asking])

    def close(self) -> None:
        """Cancels a request."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        try:
            await look(self._server, self._options, patient=False)
        except Exception as error:
            log.debug("the ttl of queue %s is taken for what it was: %s", self._options.name, error)
            self._options.seen = time.monotonic()
        self._asking = None
        self._done()
