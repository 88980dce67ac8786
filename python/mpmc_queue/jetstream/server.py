"""The connection: questions to the JetStream API, publishing with an answer, and word of cuts and reconnects."""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mpmc_queue._errors import QueueClosedError
from mpmc_queue.jetstream.errors import NotConfirmedError, ServerError

log = logging.getLogger("mpmc_queue.jetstream")

API: Final = "$JS.API"
NOT_NOW: Final = (10008, 10009)
"""Error codes of a cluster that has no leader at the moment."""
ASK: Final = 2.0
"""Seconds to wait for one answer of the API: a question that came before a leader was elected never gets one."""
PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds between tries while a server cannot answer; the last one repeated."""


class NoAnswer(Exception):
    """Nobody answered this time: the question may be put again. Never leaves this package."""


class NobodyThere(NoAnswer):
    """No server serves the subject now: no stream has it, or the one that does has no leader at the moment."""


def pause(attempt: int) -> float:
    """Seconds to wait before the next try."""
    return PAUSES[min(attempt, len(PAUSES) - 1)]


class Server:
    """One connection to a server or a cluster, which it finds again when it is lost."""

    def __init__(self, patience: float, api: str = API) -> None:
        self.patience = patience
        """Seconds to wait for one answer."""
        self.client = Client()
        self.clock_offset_ns = 0
        """What to add to this machine's clock to get the server's."""
        self.on_cut: list[Callable[[], None]] = []
        """Called when the connection is lost."""
        self.on_back: list[Callable[[], None]] = []
        """Called when there is a connection again, perhaps to another server."""
        self._api = api
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._prefix = ""
        self._asked = 0
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def connect(self, url: str | Sequence[str], options: Mapping[str, Any]) -> None:
        """Connects for the first time; raises what the client raises."""
        settings: dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            **options,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_cut,
            "reconnected_cb": self._on_back,
        }
        await self.client.connect(url if isinstance(url, str) else list(url), **settings)
        self._prefix = f"{self.client.new_inbox()}."
        await self.client.subscribe(f"{self._prefix}*", cb=self._on_answer)  # pyright: ignore[reportUnknownMemberType]: a future of the client's has no type

    async def close(self) -> None:
        """Sends what is to be sent, and closes the connection."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=self.patience)
        if self.client.is_connected:
            try:
                await self.client.flush(max(1, round(self.patience)))
            except (nats.errors.Error, OSError) as error:
                log.debug("the last messages may not have reached the server: %s", error)
        await self.client.close()
        self._forget()

    @property
    def version(self) -> tuple[int, int]:
        """The major and minor version of the server that it is connected to."""
        version = self.client.connected_server_version
        return version.major, version.minor

    def now_ns(self) -> int:
        """The server's clock, as well as this side can tell."""
        return time.time_ns() + self.clock_offset_ns

    async def ask(self, question: str, /, **body: Any) -> dict[str, Any]:
        """One question to the JetStream API. ServerError: it says no. NoAnswer: nobody said anything."""
        sent = time.time_ns()
        reply = await self.request(f"{self._api}.{question}", json.dumps(body).encode() if body else b"", None, ASK)
        result: dict[str, Any] = json.loads(reply)
        if (stamp := result.get("ts")) is not None:
            self.clock_offset_ns = _nanoseconds(stamp) - (sent + time.time_ns()) // 2
        if (error := result.get("error")) is not None:
            if error.get("err_code") in NOT_NOW:
                raise NoAnswer(error.get("description", ""))
            raise ServerError(error.get("err_code", error.get("code", 0)), error.get("description", "no reason given"))
        return result

    async def insist(self, question: str, /, **body: Any) -> dict[str, Any]:
        """Asks until there is an answer, for as long as patience allows. NotConfirmedError: there was none."""
        deadline = asyncio.get_running_loop().time() + self.patience
        attempt = 0
        while True:
            try:
                return await self.ask(question, **body)
            except NoAnswer as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise NotConfirmedError(
                        f"no answer from the server in {self.patience:g} s{f': {error}' if str(error) else ''}"
                    ) from None
                await asyncio.sleep(pause(attempt))
                attempt += 1

    async def request(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, timeout: float | None = None
    ) -> bytes:
        """Publishes and returns what comes back. NoAnswer: nothing in time, nobody there, or the connection was lost."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._asked += 1
        token = str(self._asked)
        self._answers[token] = future
        patience = self.patience if timeout is None else min(timeout, self.patience)
        timer = loop.call_later(patience, _give_up, future)
        try:
            await self.publish(subject, data, f"{self._prefix}{token}", headers)
            msg = await future
        finally:
            timer.cancel()
            del self._answers[token]
        if not msg.data and msg.headers and msg.headers.get("Status") == "503":
            raise NobodyThere("nobody serves this subject now")
        return msg.data

    async def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publishes without an answer. NoAnswer: there is no connection, and no more room to wait for one."""
        try:
            await self.client.publish(subject, data, reply, headers)
        except nats.errors.ConnectionClosedError:
            raise QueueClosedError("the connection to the server is closed") from None
        except (nats.errors.OutboundBufferLimitError, OSError) as error:
            raise NoAnswer(str(error)) from None

    def send(self, subject: str, data: bytes) -> None:
        """Publishes soon, in order, and without word of it: for acknowledgements."""
        self._outbox.append((subject, data))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._outbox:
            try:
                await self.publish(*self._outbox.popleft())
            except (NoAnswer, QueueClosedError) as error:
                log.debug("an acknowledgement could not be sent, its message will come again: %s", error)

    async def _on_answer(self, msg: Msg) -> None:
        future = self._answers.get(msg.subject[len(self._prefix) :])
        if future is not None and not future.done():
            future.set_result(msg)

    async def _on_error(self, error: Exception) -> None:
        log.debug("%s: %s", type(error).__name__, error)

    async def _on_cut(self) -> None:
        if not self.client.is_closed:
            log.info("the connection to the server is lost")
        for call in list(self.on_cut):
            call()

    async def _on_back(self) -> None:
        log.info("connected again, to %s", self.client.connected_url and self.client.connected_url.netloc)
        self._forget()  # answers to what was asked before do not come any more
        for call in list(self.on_back):
            call()

    def _forget(self) -> None:
        for future in list(self._answers.values()):
            _give_up(future)


def _give_up(future: "asyncio.Future[Msg]") -> None:
    if not future.done():
        future.set_exception(NoAnswer())


def _nanoseconds(stamp: str) -> int:
    """A time as the server writes it, 2026-01-31T01:02:03.123456789Z, in nanoseconds since the epoch."""
    from datetime import UTC, datetime

    whole, _, rest = stamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()) * 1_000_000_000 + int(rest.ljust(9, "0"))
