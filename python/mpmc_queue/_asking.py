"""Asking a server for a queue's figures, from any thread: in the queue's event loop, at most once a second for all who ask."""

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
"""Seconds from one round of questions to the next, at least."""
ROUND: Final = 2.0
"""Seconds that a round may take."""

NOT_YET: Final = "the server has not been asked yet"
NO_ANSWER: Final = "the server does not answer"
NO_LOOP: Final = "its event loop does not run"
FORKED: Final = "it was connected before the process was forked"


class NotKnown(Exception):
    """The figures cannot be had, and why, in words for whoever looks."""


class Asked(Locked, ABC):
    """The last figures of a queue on a server. It belongs to the event loop that it is made in."""

    def __init__(self, blank: Figures) -> None:
        """blank: what is known of the queue without the server."""
        super().__init__()
        self._blank = blank
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._round: Future[None] | None = None
        """The round that is under way, or was the last."""
        self._begun = -math.inf
        """When it began."""
        self._task: asyncio.Task[None] | None = None
        self._known: Figures | None = None
        """The last answer."""
        self._problem: str | None = NOT_YET
        """Why there is none; None: it is there."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the queue is closed."""

    @abstractmethod
    async def ask(self) -> Figures:
        """In the loop: asks the server. NotKnown: in vain."""

    def begin(self) -> Future[None] | None:
        """Has the loop ask, unless it has asked within the last second; in any thread, and without waiting.

        Returns what is done when there is an answer, or why there is none; None: there is nothing to wait for.
        """
        if self._process != os.getpid():
            return None
        with self._lock:
            if not self._loop.is_running():
                self._problem = NO_LOOP
                return None
            now = time.monotonic()
            # (A loop that was stopped has forgotten a round that it had not begun.)
            if self._round is not None and not self._round.done() and now - self._begun < 2 * ROUND:
                return self._round
            if now - self._begun < PAUSE:
                return None
            self._begun, self._round = now, Future()
            try:
                self._loop.call_soon_threadsafe(self._start, self._round)
            except RuntimeError:  # it was closed just now
                self._problem = NO_LOOP
                self._round.set_result(None)
            return self._round

    def known(self, limit: float) -> Figures:
        """The last figures; nothing but the name where the server has not answered since, or not for `limit` seconds."""
        closed, now = self.closed, time.monotonic()
        if self._process != os.getpid():
            return self._blank._replace(closed=closed, taken=now, up=None, problem=FORKED)
        with self._lock:
            known, problem = self._known, self._problem
            if self._round is not None and not self._round.done() and now - self._begun >= ROUND:
                problem = NO_ANSWER  # the loop has not even come to give it up
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
