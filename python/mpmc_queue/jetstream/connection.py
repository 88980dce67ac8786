"""The connection: made within a time limit, restored after an interruption, and reported when it is lost for good."""

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias

import nats.errors
from nats.aio.subscription import Subscription

from mpmc_queue._errors import QueueClosedError, QueueError
from mpmc_queue.jetstream.direct import Call, new_client
from mpmc_queue.jetstream.errors import ConnectionLostError, NotConfirmedError, NotPermittedError

_Callback: TypeAlias = Callable[..., Awaitable[None]]

log = logging.getLogger("mpmc_queue.jetstream")

PENDING: Final = 2 * 1024 * 1024
"""Bytes that the client may buffer; a call that would exceed this waits."""
UNBOUNDED: Final = 2**62
"""A value that switches the client's own limits off, because a call that waits for one of them cannot be cancelled."""
END: Final = 1.0
"""Seconds to wait for a connection to close normally, before it is aborted."""

_DENIED: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)


class NoAnswer(Exception):
    """There was no answer, and the request may be repeated. Internal: users never see it."""


class Connection:
    """One connection to a server or a cluster, which reconnects when it is interrupted."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        """Seconds to wait for an answer."""
        self.client = new_client()
        self.on_cut: list[Callable[[], None]] = []
        """Called when the connection is interrupted, or lost for good: then `lost` is set."""
        self.on_back: list[Callable[[], None]] = []
        """Called after a reconnect, which may be to another server."""
        self.on_denied: list[Callable[[NotPermittedError], None]] = []
        """Called when the server does not permit to publish or subscribe; the error's subject is in lower case."""
        self.lost: ConnectionLostError | None = None
        """Why the connection is lost for good; None while it is not."""
        self._closing = False
        self._ending: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[bool] | None = None
        self._limit = PENDING
        self._connected = asyncio.Event()
        """Set once the first connection has been made."""
        self._hopeless = asyncio.Event()
        """Set when every server has refused the credentials, or failed the TLS check."""
        self._refusals = 0
        self._known: Exception | None = None
        """The client's last refusal or, if there was none, its last error."""

    async def connect(self, url: str | Sequence[str], options: Mapping[str, Any]) -> None:
        """Connects for the first time, within `patience`; raises the client's error if it cannot."""
        settings: dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            "flusher_queue_size": UNBOUNDED,
            **options,
            "pending_size": UNBOUNDED,
            "error_cb": _both(self._on_error, options.get("error_cb")),
            "disconnected_cb": _both(self._on_cut, options.get("disconnected_cb")),
            "reconnected_cb": _both(self._on_back, options.get("reconnected_cb")),
            "closed_cb": _both(self._on_closed, options.get("closed_cb")),
        }
        self._limit = options.get("pending_size", PENDING)
        loop = asyncio.get_running_loop()
        attempt = loop.create_task(self._connect(url if isinstance(url, str) else list(url), settings))
        refused = loop.create_task(self._hopeless.wait())
        try:
            await asyncio.wait([attempt, refused], timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
            if attempt.done():
                attempt.result()
            else:
                raise self._why_not(url)
        except nats.errors.NoServersError:
            raise self._why_not(url) from None
        finally:
            refused.cancel()
            attempt.cancel()

    async def _connect(self, url: str | list[str], settings: Mapping[str, Any]) -> None:
        await self.client.connect(url, **settings)
        if not self.client.is_connected:
            await self._connected.wait()  # the new connection was lost at once, and the client tries again
        self._connected.set()
        self._known = None
        self._refusals = 0

    def _why_not(self, url: str | Sequence[str]) -> Exception:
        """The error for a connection that could not be made."""
        where = url if isinstance(url, str) else ", ".join(url)
        if self._known is None or (isinstance(self._known, TimeoutError) and not str(self._known)):
            return NotConfirmedError(f"no answer from {_without_password(where)} in {self.patience:g} s")
        return self._known

    async def close(self, deadline: float | None = None) -> None:
        """Sends what is buffered, until `deadline` (the loop's time) or for at most `patience`, then closes the connection.

        Never raises, because the connection may be lost already.
        """
        self._closing = True
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + self.patience
        try:
            async with asyncio.timeout_at(deadline):
                if self.client.is_connected:
                    await self.client.flush(max(1, round(self.patience)))
        except (nats.errors.Error, OSError) as error:
            log.debug("the last messages may not have reached the server: %s", error)
        ending = asyncio.get_running_loop().create_task(self.client.close())
        await asyncio.wait([ending], timeout=END)
        if not ending.done():
            ending.cancel()
            await asyncio.wait([ending], timeout=END)
        if ending.cancelled() or not ending.done() or ending.exception() is not None:
            self._cut_off()

    def _cut_off(self) -> None:
        """Aborts the socket, because the other side does not read any more. The client has no public way to do it."""
        writer = getattr(getattr(self.client, "_transport", None), "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    @property
    def version(self) -> tuple[int, int]:
        """The major and minor version of the connected server."""
        version = self.client.connected_server_version
        return version.major, version.minor

    async def subscribe(self, subject: str, call: Call, **limits: Any) -> Subscription:
        """Subscribes to the subject; `call` gets each message."""
        try:
            return await self.client.call_with(subject, call, **limits)
        except nats.errors.ConnectionClosedError:
            raise self._gone() from None

    def _gone(self) -> QueueError:
        """The error for a call without a connection."""
        self._lose()  # the client calls closed_cb only later
        return QueueClosedError("the connection to the server is closed") if self.lost is None else self.lost.again()

    async def hand_over(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None, more: bytes = b""
    ) -> None:
        """Publishes a message, and `more` from `frames`. NoAnswer: there is no connection, and the buffer is full."""
        self.check()
        if self.client.pending_data_size > self._limit:
            await self._make_room()
        try:
            await self.client.publish(subject, data, reply, headers)
            if more:
                await self.client._send_command(more)
        except nats.errors.ConnectionClosedError:
            raise self._gone() from None
        except (nats.errors.OutboundBufferLimitError, OSError) as error:
            raise NoAnswer(str(error)) from None

    async def _make_room(self) -> None:
        """Waits until the client has sent most of its buffer. NoAnswer: it could not in time."""
        loop = asyncio.get_running_loop()
        while self.client.pending_data_size > self._limit:
            if not self.client.is_connected:
                raise NoAnswer(f"{self.client.pending_data_size:,} bytes wait for a connection")
            if self._flushing is None or self._flushing.done():
                self._flushing = loop.create_task(self._flush())
            await asyncio.wait([self._flushing])
            if not self._flushing.result():
                raise NoAnswer(f"the server does not take the {self.client.pending_data_size:,} bytes that are sent")

    async def _flush(self) -> bool:
        try:
            await self.client.flush(max(1, round(self.patience)))
        except (nats.errors.Error, OSError):
            return False
        return True

    async def _on_error(self, error: Exception) -> None:
        log.debug("%s: %s", type(error).__name__, error)
        if (denied := _DENIED.search(str(error))) is not None:
            refusal = NotPermittedError(denied[2].lower(), "publish" if denied[1].lower() == "publish" else "subscribe")
            log.warning("%s", refusal)
            for call in list(self.on_denied):
                call(refusal)
            return
        if not _final(self._known) or _final(error):  # after a refusal the client also reports a reset connection
            self._known = error
        if not _final(error) or self.client.is_connected:
            return
        self._refusals += 1
        if not self._connected.is_set() and self._refusals >= len(self.client.servers):
            self._hopeless.set()
        elif self._refusals >= 2 * len(self.client.servers) and self._ending is None:
            # After a first connection, every server refuses now: give up after two refusals each, as other clients do.
            self._ending = asyncio.get_running_loop().create_task(self.client.close())

    async def _on_cut(self) -> None:
        if not self.client.is_closed:
            log.info("the connection to the server is lost")
        for call in list(self.on_cut):
            call()

    async def _on_closed(self) -> None:
        self._lose()

    def _lose(self) -> None:
        """The client has closed the connection: unless `close` was called here, it is lost for good."""
        if self._closing or self.lost is not None:
            return
        last = self.client.last_error
        if last is None or isinstance(last, nats.errors.NoServersError):
            last = self._known or last
        self.lost = ConnectionLostError(
            f"the connection to the server is gone for good{f': {last}' if last is not None else ''}; connect again"
        )
        self.lost.__cause__ = last
        log.warning("%s", self.lost)
        for call in list(self.on_cut):
            call()

    def check(self) -> None:
        """Raises if the connection is lost for good."""
        if self.lost is not None:
            raise self.lost.again()

    async def _on_back(self) -> None:
        log.info("connected again, to %s", self.client.connected_url and self.client.connected_url.netloc)
        self._connected.set()
        self._known = None
        self._refusals = 0
        for call in list(self.on_back):
            call()


def _both(ours: _Callback, theirs: _Callback | None) -> _Callback:
    """Calls both; an error in the application's callback is only logged."""
    if theirs is None:
        return ours
    if not iscoroutinefunction(theirs):
        raise nats.errors.InvalidCallbackTypeError

    async def call(*args: Any) -> None:
        await ours(*args)
        try:
            await theirs(*args)
        except Exception:
            log.exception("a callback of the application failed")

    return call


def _final(error: Exception | None) -> bool:
    """Whether the error would be the same in every attempt: wrong credentials, or a failed TLS check."""
    return isinstance(error, ssl.SSLError) or "authorization violation" in str(error).lower()


def _without_password(url: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/,\s]*@", "//", url)
