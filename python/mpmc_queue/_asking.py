"""Requests a queue's figures from its server: from any thread, in the queue's event loop, at most once a second in total."""

import asyncio
import math
import os
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Final

from mpmc_queue._figures import Figures
from mpmc_queue._locked import Locked

PAUSE: Final = 1.0
"""Minimum seconds from the start of one round of requests to the start of the next."""
ROUND: Final = 2.0
"""Maximum seconds that a round may take."""

NOT_YET: Final = "the server has not been asked yet"
NO_ANSWER: Final = "the server does not answer"
NO_LOOP: Final = "its event loop does not run"
FORKED: Final = "it was connected before the process was forked"


class NotKnown(Exception):
    """The figures are not available; the text says why, for the user of the metrics or the dashboard."""


class Asked(Locked, ABC):
    """The last figures of a queue on a server. An instance belongs to the event loop that it was created in."""

    def __init__(self, blank: Figures) -> None:
        """blank: what is known about the queue without asking the server."""
        super().__init__()
        self._blank = blank
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._round: Future[None] | None = None
        """The current round, or the last one."""
        self._begun = -math.inf
        """When that round began."""
        self._task: asyncio.Task[None] | None = None
        self._known: Figures | None = None
        """The last answer."""
        self._problem: str | None = NOT_YET
        """Why there is no answer; None: there is one."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the queue is closed."""

    @abstractmethod
    async def ask(self) -> Figures:
        """Asks the server; runs in the loop. Raises NotKnown when the figures are not available."""

    def begin(self) -> Future[None] | None:
        """Starts a round in the loop, unless one began within the last second. Works in any thread and does not wait.

        Returns a future that is done when the round has ended, with or without an answer; None: there is nothing to wait for.
        """
        if self._process != os.getpid():
            return None
        with self._lock:
            if not self._loop.is_running():
                self._problem = NO_LOOP
                return None
            now = time.monotonic()
            # (A loop that was stopped may never run a round scheduled before, so a round that is too old does not count.)
            if self._round is not None and not self._round.done() and now - self._begun < 2 * ROUND:
                return self._round
            if now - self._begun < PAUSE:
                return None
            self._begun, self._round = now, Future()
            try:
                self._loop.call_soon_threadsafe(self._start, self._round)
            except RuntimeError:  # the loop was closed just now
                self._problem = NO_LOOP
                self._round.set_result(None)
            return self._round

    def known(self, limit: float) -> Figures:
        """The last figures. If the last round failed, or they are older than `limit` seconds: what is known without it."""
        closed, now = self.closed, time.monotonic()
        if self._process != os.getpid():
            return self._blank._replace(closed=closed, taken=now, up=None, problem=FORKED)
        with self._lock:
            known, problem = self._known, self._problem
            if self._round is not None and not self._round.done() and now - self._begun >= ROUND:
                problem = NO_ANSWER  # the loop is so busy that it has not even handled the timeout
        if problem is None and known is not None and now - known.taken <= limit:
            return known._replace(closed=closed)
        up = None if closed or problem == NOT_YET else False
        return self._blank._replace(closed=closed, taken=now, up=up, problem=problem or NO_ANSWER)

    def _start(self, begun: Future[None]) -> None:
        self._task = self._loop.create_task(self._run(begun))

    async def _run(self, begun: Future[None]) -> None:
        found: Figures | None = None
        problem: str | None = NO_ANSWER
        try:
            async with asyncio.timeout(ROUND):
                found, problem = await self.ask(), None
        except NotKnown as error:
            problem = str(error)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._problem = problem
                if found is not None:
                    self._known = found
            begun.set_result(None)
            self._task = None
