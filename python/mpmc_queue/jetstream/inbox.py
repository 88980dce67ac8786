"""The inbox of a pull consumer: sends pull requests, receives messages and the status that ends a request."""

import json
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.aio.subscription import Subscription

from mpmc_queue.jetstream.errors import NotPermittedError
from mpmc_queue.jetstream.message import Delivery, delivery
from mpmc_queue.jetstream.server import Server

BEAT: Final = 2.0
"""Seconds between heartbeats of a pull request that waits."""
DEAF: Final = 3 * BEAT
"""Seconds without a heartbeat after which a request is given up."""


class Inbox:
    """The reply subject of one consumer's pull requests. Each start makes a new one, so late replies to the old are ignored.

    on_message   called with each delivery.
    on_end       called when a request ends: its number, the status (404, 408, 409, 503), its description, and how many of
                 its messages were not delivered.
    on_denied    called when the server does not permit to request messages, or to subscribe to the replies.
    """

    def __init__(
        self,
        server: Server,
        on_message: Callable[[Delivery], None],
        on_end: Callable[[int, str, str, int], None],
        on_denied: Callable[[NotPermittedError], None],
    ) -> None:
        self._server = server
        self.heard = False
        """Whether anything has arrived, including heartbeats, since this was last set to False."""
        self._on_message = on_message
        self._on_end = on_end
        self._on_denied = on_denied
        self._subscription: Subscription | None = None
        self._prefix = ""
        self._next = ""

    async def open(self, stream: str, consumer: str) -> None:
        """Subscribes."""
        self._next = f"{self._server.api}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._prefix = f"{self._server.client.new_inbox()}."
        self._server.on_denied.append(self._denied)
        # The client's own limits would drop messages; the pull requests limit how many arrive.
        self._subscription = await self._server.subscribe(
            f"{self._prefix}*", self._on, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def close(self) -> None:
        """Unsubscribes; the server then drops the open requests."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._server.on_denied.remove(self._denied)
            self._server.client.forget(subscription)
            try:
                await subscription.unsubscribe()
            except (nats.errors.Error, OSError):
                pass  # the connection is lost, and the requests with it

    async def drain(self) -> None:
        """Unsubscribes, but still receives what is in transit; the server then drops the open requests."""
        if (subscription := self._subscription) is not None:
            self._server.on_denied.remove(self._denied)
            try:
                await subscription.drain()  # type: ignore[no-untyped-call]
            except (nats.errors.Error, OSError):
                pass
            finally:
                self._server.client.forget(subscription)
            self._subscription = None

    async def pull(self, number: int, batch: int, expires: float | None, max_bytes: int = 0) -> None:
        """Requests so many messages and bytes (0: no limit). expires: seconds; None: only messages that are present now."""
        request: dict[str, object] = {"batch": batch}
        if max_bytes:
            request["max_bytes"] = max_bytes
        if expires is None:
            request["no_wait"] = True
        else:
            request["expires"] = max(1, round(expires * 1e9))
            if expires > 2 * BEAT:
                request["idle_heartbeat"] = round(BEAT * 1e9)
        await self._server.publish(self._next, json.dumps(request).encode(), f"{self._prefix}{number}")

    def _denied(self, error: NotPermittedError) -> None:
        mine = self._next if error.operation == "publish" else f"{self._prefix}*"
        if mine.lower() == error.subject:
            self._on_denied(NotPermittedError(mine, error.operation))

    def _on(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        if self._subscription is None:
            return
        self.heard = True
        if reply:
            self._on_message(delivery(reply, headers, data, subject))
            return
        headers = headers or {}
        status = headers.get("Status", "")
        if status != "100":
            left = int(headers.get("Nats-Pending-Messages", "0"))
            number = int(subject[len(self._prefix) :])
            self._on_end(number, status, headers.get("Description", ""), left)
