"""Questions to the JetStream API, and publishing with an answer."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nats.aio.msg import Msg

from mpmc_queue._errors import QueueError
from mpmc_queue.jetstream.connection import Connection, NoAnswer, log
from mpmc_queue.jetstream.errors import DeletedError, NotConfirmedError, NotPermittedError, ServerError
from mpmc_queue.jetstream.pulls import Room

__all__ = ["PAUSES", "NoAnswer", "NobodyThere", "Server", "log", "pause"]

NOT_NOW: Final = (10008, 10009)
"""Error codes of a cluster that has no leader at the moment."""
NO_STREAM: Final = 10059
"""The error code of a stream that is not there."""
ASK: Final = 2.0
"""Seconds to wait for one answer of the API: a question that came before a leader was elected never gets one."""
PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds between tries while a server cannot answer; the last one repeated."""


class NobodyThere(NoAnswer):
    """No server serves the subject now: no stream has it, or the one that does has no leader at the moment."""


def pause(attempt: int) -> float:
    """Seconds to wait before the next try."""
    return PAUSES[min(attempt, len(PAUSES) - 1)]


class Server(Connection):
    """A connection, with questions and answers."""

    def __init__(self, patience: float, api: str) -> None:
        super().__init__(patience)
        self.room = Room()
        """What its consumers may have under way together."""
        self.clock_offset_ns = 0
        """What to add to this machine's clock to get the server's."""
        self.api = api
        """What the subjects of questions begin with."""
        self._answers: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        """What has been asked, and who waits for the answer."""
        self._prefix = ""
        self._deaf: NotPermittedError | None = None
        """Why no answer can come."""
        self._asked = 0
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self.on_cut.append(self._on_lost)
        self.on_back.append(self._forget)  # answers to what was asked before do not come any more
        self.on_denied.append(self._on_denied)

    async def connect(self, url: str | Sequence[str], options: Mapping[str, Any]) -> None:
        """Connects for the first time, and listens for answers."""
        await super().connect(url, options)
        self._prefix = f"{self.client.new_inbox()}."
        await self.subscribe(f"{self._prefix}*", self._on_answer)

    async def close(self, deadline: float | None = None) -> None:
        """Sends what is to be sent, and ends; in time, and without an error."""
        self._closing = True
        loop = asyncio.get_running_loop()
        if deadline is None:
            deadline = loop.time() + self.patience
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=max(0.0, deadline - loop.time()))
        await super().close(deadline)
        self._forget()

    def now_ns(self) -> int:
        """The server's clock, as well as this side can tell."""
        return time.time_ns() + self.clock_offset_ns

    async def ask(self, question: str, /, **body: Any) -> dict[str, Any]:
        """One question to the JetStream API. ServerError: it says no. NoAnswer: nobody said anything."""
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
        """Asks until there is an answer, for as long as patience allows. NotConfirmedError: there was none."""
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
        """Publishes and returns what comes back. NoAnswer: nothing in time, nobody there, or the connection was lost."""
        if self._deaf is not None:
            raise self._deaf.again()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._asked += 1
        token = str(self._asked)
        self._answers[token] = subject, future
        patience = self.patience if timeout is None else min(timeout, self.patience)
        timer = loop.call_later(patience, _give_up, future)
        try:
            await self.publish(subject, data, f"{self._prefix}{token}", headers)
            msg = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # known here, and not to be reported
            raise
        finally:
            timer.cancel()
            del self._answers[token]
        if not msg.data and msg.headers and msg.headers.get("Status") == "503":
            raise NobodyThere("nobody serves this subject now")
        return msg.data

    async def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publishes without an answer. NoAnswer: there is no connection, and no more room to wait for one."""
        if self._outbox:
            await self._send()  # acknowledgements go before what is published after them
        await self.hand_over(subject, data, reply, headers)

    def send(self, subject: str, data: bytes) -> None:
        """Publishes soon, in order, before whatever is published next, and without word of it: for acknowledgements."""
        self._outbox.append((subject, data))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._outbox:
            try:
                await self.hand_over(*self._outbox.popleft())
            except (NoAnswer, QueueError) as error:
                log.debug("an acknowledgement could not be sent, its message will come again: %s", error)

    async def _on_answer(self, msg: Msg) -> None:
        _, future = self._answers.get(msg.subject[len(self._prefix) :], (None, None))
        if future is not None and not future.done():
            future.set_result(msg)

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


def _give_up(future: "asyncio.Future[Msg]") -> None:
    if not future.done():
        future.set_exception(NoAnswer())


def nanoseconds(stamp: str) -> int:
    """A time as the server writes it, 2026-01-31T01:02:03.123456789Z, in nanoseconds since the epoch."""
    from datetime import UTC, datetime

    whole, _, rest = stamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()) * 1_000_000_000 + int(rest.ljust(9, "0"))
