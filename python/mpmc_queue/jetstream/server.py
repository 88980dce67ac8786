"""Requests to the JetStream API, and publishing with a reply."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from mpmc_queue._errors import QueueError
from mpmc_queue.jetstream.connection import Connection, NoAnswer, log
from mpmc_queue.jetstream.errors import DeletedError, NotConfirmedError, NotPermittedError, ServerError
from mpmc_queue.jetstream.pulls import Room

__all__ = ["PAUSES", "NoAnswer", "NobodyThere", "Server", "log", "pause"]

NOT_NOW: Final = (10008, 10009)
"""Error codes of a cluster without a leader at the moment."""
NO_STREAM: Final = 10059
"""The error code for a stream that does not exist."""
ASK: Final = 2.0
"""Seconds to wait for one answer of the API: a request that arrives before a leader is elected never gets one."""
PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds between attempts while a server cannot answer; the last value is repeated."""


_Answer: TypeAlias = tuple[bytes, dict[str, str] | None]
"""The data of a reply, and its headers."""


class NobodyThere(NoAnswer):
    """The subject has no responders: no stream has it, or the stream has no leader at the moment."""


def pause(attempt: int) -> float:
    """Seconds to wait before the next attempt."""
    return PAUSES[min(attempt, len(PAUSES) - 1)]


class Server(Connection):
    """A connection with requests and replies."""

    def __init__(self, patience: float, api: str) -> None:
        super().__init__(patience)
        self.room = Room()
        """The limit of bytes that its consumers may have requested together."""
        self.clock_offset_ns = 0
        """Nanoseconds to add to this machine's clock to get the server's."""
        self.api = api
        """The prefix of the API's subjects."""
        self._answers: dict[str, tuple[str, asyncio.Future[_Answer]]] = {}
        """Open requests by token: the subject, and the future for the reply."""
        self._prefix = ""
        self._deaf: NotPermittedError | None = None
        """Why no reply can arrive; None if it can."""
        self._asked = 0
        self._outbox: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self.on_cut.append(self._on_lost)
        self.on_back.append(self._forget)  # replies to earlier requests do not arrive any more
        self.on_denied.append(self._on_denied)

    async def connect(self, url: str | Sequence[str], options: Mapping[str, Any]) -> None:
        """Connects for the first time, and subscribes to replies."""
        await super().connect(url, options)
        self._prefix = f"{self.client.new_inbox()}."
        await self.subscribe(f"{self._prefix}*", self._on_answer)

    async def close(self, deadline: float | None = None) -> None:
        """Sends what is buffered, and closes; within the deadline, and without raising."""
        self._closing = True
        loop = asyncio.get_running_loop()
        if deadline is None:
            deadline = loop.time() + self.patience
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=max(0.0, deadline - loop.time()))
        await super().close(deadline)
        self._forget()

    def now_ns(self) -> int:
        """The server's time, as estimated here."""
        return time.time_ns() + self.clock_offset_ns

    async def ask(self, question: str, /, **body: Any) -> dict[str, Any]:
        """One request to the JetStream API. ServerError: it was refused. NoAnswer: there was no reply."""
        sent = time.time_ns()
        reply = await self.request(f"{self.api}.{question}", json.dumps(body).encode() if body else b"", None, ASK)
        result: dict[str, Any] = json.loads(reply)
        if (stamp := result.get("ts")) is not None:
            self.clock_offset_ns = nanoseconds(stamp) - (sent + time.time_ns()) // 2
        if (error := result.get("error")) is not None:
            if error.get("err_code") in NOT_NOW:
                raise NoAnswer(error.get("description", ""))
            code, description = error.get("err_code", error.get("code", 0)), error.get("description", "no reason given")
            raise (DeletedError if code == NO_STREAM else ServerError)(code, description)
        return result

    async def insist(self, question: str, /, **body: Any) -> dict[str, Any]:
        """Repeats a request until there is a reply, for at most `patience`. NotConfirmedError: there was none."""
        attempt = 0
        said = ""
        scope = asyncio.timeout(self.patience)
        try:
            async with scope:
                while True:
                    try:
                        return await self.ask(question, **body)
                    except NoAnswer as error:
                        said = str(error) or said
                    await asyncio.sleep(pause(attempt))
                    attempt += 1
        except TimeoutError:
            if not scope.expired():
                raise
        raise NotConfirmedError(f"no answer from the server in {self.patience:g} s{f': {said}' if said else ''}")

    async def request(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, timeout: float | None = None
    ) -> bytes:
        """Publishes and returns the reply. NoAnswer: none in time, no responders, or the connection was lost."""
        if self._deaf is not None:
            raise self._deaf.again()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        self._asked += 1
        token = str(self._asked)
        self._answers[token] = subject, future
        patience = self.patience if timeout is None else min(timeout, self.patience)
        timer = loop.call_later(patience, _give_up, future)
        try:
            await self.publish(subject, data, f"{self._prefix}{token}", headers)
            answer, status = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # mark the exception as retrieved
            raise
        finally:
            timer.cancel()
            del self._answers[token]
        if not answer and status and status.get("Status") == "503":
            raise NobodyThere("nobody serves this subject now")
        return answer

    async def publish(
        self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None, more: bytes = b""
    ) -> None:
        """Publishes without a reply. NoAnswer: there is no connection, and the buffer is full."""
        if self._outbox:
            await self._send()  # keep the order: earlier acknowledgements go first
        await self.hand_over(subject, data, reply, headers, more)

    def send(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Publishes soon, in order and before any later publish. Errors are only logged: it is for acknowledgements,
        and to have a batch dropped."""
        self._outbox.append((subject, data, "", headers))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._outbox:
            try:
                await self.hand_over(*self._outbox.popleft())
            except (NoAnswer, QueueError) as error:
                log.debug("could not be sent (if it is an acknowledgement, its message will come again): %s", error)

    def _on_answer(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        _, future = self._answers.get(subject[len(self._prefix) :], (None, None))
        if future is not None and not future.done():
            future.set_result((data, headers))

    def _on_denied(self, error: NotPermittedError) -> None:
        if error.operation == "subscribe":
            if error.subject != f"{self._prefix}*".lower():
                return
            self._deaf = NotPermittedError(f"{self._prefix}*", "subscribe")
        for subject, future in list(self._answers.values()):
            if self._deaf is not None and not future.done():
                future.set_exception(self._deaf.again())
            elif subject.lower() == error.subject and not future.done():
                future.set_exception(NotPermittedError(subject, "publish"))

    def _on_lost(self) -> None:
        if self.lost is not None:
            self._forget()

    def _forget(self) -> None:
        for _, future in list(self._answers.values()):
            _give_up(future)


def _give_up(future: "asyncio.Future[_Answer]") -> None:
    if not future.done():
        future.set_exception(NoAnswer())


def nanoseconds(stamp: str) -> int:
    """A time as the server writes it, 2026-01-31T01:02:03.123456789Z, in nanoseconds since the epoch."""
    from datetime import UTC, datetime

    whole, _, rest = stamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()) * 1_000_000_000 + int(rest.ljust(9, "0"))
