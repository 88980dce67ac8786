"""The event loop that all synchronous queues of a process share, in a daemon thread, and calls into it from other threads.

Each call waits for its own lock, and a signal can interrupt that. Only the caller's thread knows whether it got the messages:
it sets a flag in the call, which the loop checks a moment later. Until then nothing is acknowledged to the server. So an
interrupt either leaves the messages unread, or comes after the call has returned.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from mpmc_queue._errors import QueueClosedError, QueueError
from mpmc_queue.jetstream.reading import Receipt

_T = TypeVar("_T")

MOMENT: Final = 0.005
"""Seconds after which the loop checks whether callers have got what was read for them."""
LOOK: Final = 0.05
"""Seconds between checks for signals while the main thread waits."""
END: Final = 2.0
"""Seconds that the loop has to end at exit of the interpreter, once all queues are closed."""


class Call(Generic[_T]):
    """One call, made in the caller's thread and executed in the loop's thread."""

    __slots__ = ("_done", "_loop", "_receipt", "_work", "abandoned", "at_once", "error", "kept", "result", "task")

    def __init__(
        self,
        loop: "Loop",
        work: Callable[[Receipt], Coroutine[Any, Any, _T]] | None,
        at_once: Callable[[Receipt], _T | None] | None,
    ) -> None:
        self._loop = loop
        self._work = work
        self._receipt = Receipt()
        self._done = threading.Lock()
        self._done.acquire()
        self.at_once = at_once
        """Tries to get the result without waiting; if this is None or returns None, `work` is run."""
        self.task: asyncio.Task[None] | None = None
        self.result: _T
        self.error: BaseException | None = None
        self.kept = False
        """Set by the caller: it has the result."""
        self.abandoned = False
        """Set by the caller: it does not wait any more, and has no result."""

    def wait(self) -> None:
        """In the caller's thread: waits until the call is done."""
        if threading.current_thread() is not threading.main_thread():
            self._done.acquire()
            return
        # Polls for signals: on Windows they do not interrupt the wait, and elsewhere one just before the wait would not.
        while not self._done.acquire(timeout=LOOK):
            pass

    def abandon(self) -> None:
        """In the caller's thread: gives the call up."""
        self.abandoned = True
        self._loop.soon(self._abandon)

    def start(self) -> None:
        """In the loop: executes the call."""
        if self.abandoned:
            return
        try:
            if self.at_once is not None and (result := self.at_once(self._receipt)) is not None:
                self._finish(result)
                return
        except BaseException as error:
            self._fail(error)
            return
        self.task = self._loop.loop.create_task(self._run())

    async def _run(self) -> None:
        assert self._work is not None
        try:
            result = await self._work(self._receipt)
        except asyncio.CancelledError:
            self._fail(QueueClosedError("the interpreter is about to exit"))
        except BaseException as error:
            self._fail(error)
        else:
            self._finish(result)  # there was no `await` since the read, so no other call has read in between
        finally:
            # Free the task in this thread: its finalizer in the caller's thread could swallow a KeyboardInterrupt.
            self.task = None

    def _fail(self, error: BaseException) -> None:
        if self._receipt.keep is not None:
            self._receipt.keep()  # the messages that were read cannot be returned, and are skipped
        self.error = error
        self._tell()

    def _finish(self, result: _T) -> None:
        self.result = result
        if self._receipt.keep is not None and not self.settle():
            self._loop.wait_for(self)
        self._tell()

    def _tell(self) -> None:
        """Wakes the caller. Not at the end of the program, where a waiting daemon thread just ends."""
        if self._loop.ending in (None, self):
            self._done.release()

    def _abandon(self) -> None:
        if self.task is not None:
            self.task.cancel()
        self._loop.settle()

    @property
    def reader(self) -> object:
        """The reader of the messages."""
        return self._receipt.reader

    def settle(self, *, keep: bool = True) -> bool:
        """In the loop: keeps or gives back the messages, if it is known whether the caller has got them; False: it is not.

        keep    whether they may be acknowledged now; acknowledgements are sent in order.
        """
        if self.abandoned:
            assert self._receipt.give_back is not None
            self._receipt.give_back()
            return True
        if self.kept and keep:
            assert self._receipt.keep is not None
            self._receipt.keep()
            return True
        return False


class Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.unsettled: list[Call[Any]] = []
        """Calls that have read messages, and do not know yet whether the caller has got them."""
        self.closers: set[Callable[[], Coroutine[Any, Any, None]]] = set()
        """Functions that close the open queues."""
        self.ending: Call[None] | None = None
        """The call that closes everything at the end of the program."""
        self._process = os.getpid()
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="mpmc_queue.jetstream", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def run(
        self,
        work: Callable[[Receipt], Coroutine[Any, Any, _T]] | None,
        at_once: Callable[[Receipt], _T | None] | None = None,
    ) -> _T:
        """Runs work in the loop and waits for its result. An exception in this thread, such as KeyboardInterrupt, cancels it."""
        if self._ended or self._process != os.getpid():
            raise self._gone()
        if self.ending is not None and threading.current_thread().daemon:
            threading.Event().wait()  # the program is ending, and this thread with it
        if threading.get_ident() == self._thread.ident:
            raise QueueError(
                "a synchronous queue cannot be used in a callback of its connection: it would wait for itself"
            )
        call = Call(self, work, at_once)
        try:
            self.soon(call.start)
            call.wait()
            # No function is called from here to the return, so no signal handler can run in between.
            if call.error is None:
                call.kept = True
                return call.result
        except BaseException:
            call.abandon()
            raise
        try:
            raise call.error
        finally:
            del call  # break the cycle: the error's traceback refers to this frame

    def do(self, work: Callable[[], _T]) -> _T:
        """Runs a function in the loop and returns its result; it must not wait."""
        return self.run(None, lambda _: (work(),))[0]

    def soon(self, work: Callable[[], object]) -> None:
        """Schedules a function in the loop, without waiting for it."""
        try:
            self.loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop is closed
            raise self._gone() from None

    def wait_for(self, call: Call[Any]) -> None:
        """In the loop: checks later whether the caller has got what was read for it."""
        self.unsettled.append(call)
        if self._timer is None:
            self._timer = self.loop.call_later(MOMENT, self._look)

    def _look(self) -> None:
        self._timer = None
        self.settle()
        if self.unsettled:
            self._timer = self.loop.call_later(MOMENT, self._look)

    def settle(self) -> None:
        """In the loop: settles the calls whose outcome is known."""
        undecided: list[Call[Any]] = []
        for call in self.unsettled:
            if not call.settle(keep=all(earlier.reader is not call.reader for earlier in undecided)):
                undecided.append(call)
        self.unsettled = undecided

    def _gone(self) -> QueueError:
        if self._process != os.getpid():
            return QueueError("this queue was connected before the process was forked: connect again in the child")
        return QueueClosedError("the interpreter is about to exit")

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def end(self) -> None:
        """Closes all queues, which sends the last acknowledgements, and ends the thread."""
        if self._ended or self._process != os.getpid():
            return
        self.ending = Call(self, lambda _: self._close_all(), None)
        try:
            self.soon(self.ending.start)
            self.ending.wait()
        finally:
            self._ended = True
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(END)
            if not self._thread.is_alive():
                self.loop.close()

    async def _close_all(self) -> None:
        self.settle()
        await asyncio.gather(*(close() for close in list(self.closers)), return_exceptions=True)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=END)


_shared: Loop | None = None
_making = threading.Lock()


def shared() -> Loop:
    """The loop of this process."""
    global _shared
    with _making:
        if _shared is None:
            _shared = Loop()
        return _shared


def _after_fork() -> None:
    """A forked child does not have the thread, and makes a new loop."""
    global _shared, _making
    _shared, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
