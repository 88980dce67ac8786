"""The event loop of all synchronous queues of a process, in a daemon thread, and calls into it from other threads.

A call waits for the lock of its own, which a signal interrupts. Whether what it has read reaches its caller is known only in
the caller's thread: it leaves word of that in the call, and the loop looks a moment later. Until then the server has not heard
that anything has been read. So an interrupt at any moment either leaves a message unread, or comes after the call.
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
"""Seconds after which the loop looks whether callers have what was read for them."""
LOOK: Final = 0.05
"""Seconds between two looks for a signal of a main thread that waits."""
END: Final = 2.0
"""Seconds that the loop has to end when the interpreter does, once all queues are closed."""


class Call(Generic[_T]):
    """One call: made in one thread, done by the loop in another."""

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
        """Does without waiting what can be done without waiting; None: work has to be done."""
        self.task: asyncio.Task[None] | None = None
        self.result: _T
        self.error: BaseException | None = None
        self.kept = False
        """Said by the caller: it has the result."""
        self.abandoned = False
        """Said by the caller: it has not, and does not wait any more."""

    def wait(self) -> None:
        """In the caller's thread: waits until it is done."""
        if threading.current_thread() is not threading.main_thread():
            self._done.acquire()
            return
        # Signals: none interrupts this on Windows, nor, elsewhere, when it comes in the moment before this thread sleeps.
        while not self._done.acquire(timeout=LOOK):
            pass

    def abandon(self) -> None:
        """In the caller's thread: nobody waits for it any more."""
        self.abandoned = True
        self._loop.soon(self._abandon)

    def start(self) -> None:
        """In the loop."""
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
            self._finish(result)  # nothing is waited for since it was read: nobody has read on
        finally:
            # It ends in this thread: in the caller's, what the interpreter calls then would swallow Ctrl-C.
            self.task = None

    def _fail(self, error: BaseException) -> None:
        if self._receipt.keep is not None:
            self._receipt.keep()  # what has been read cannot be had, and is passed over
        self.error = error
        self._tell()

    def _finish(self, result: _T) -> None:
        self.result = result
        if self._receipt.keep is not None and not self.settle():
            self._loop.wait_for(self)
        self._tell()

    def _tell(self) -> None:
        """Wakes the caller; but not at the end of the program: a daemon thread that waits then ends as it is."""
        if self._loop.ending in (None, self):
            self._done.release()

    def _abandon(self) -> None:
        if self.task is not None:
            self.task.cancel()
        self._loop.settle()

    @property
    def reader(self) -> object:
        """Who has read."""
        return self._receipt.reader

    def settle(self, *, keep: bool = True) -> bool:
        """In the loop: does what is to be done now that it is known whether the caller has the result; False: it is not.

        keep    whether the server may hear of it; it hears in order.
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
        """Calls that have read, and whose callers have not said whether they have it."""
        self.closers: set[Callable[[], Coroutine[Any, Any, None]]] = set()
        """What closes the queues that are open."""
        self.ending: Call[None] | None = None
        """The call that closes everything, when the program ends."""
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
        """Has the loop do it, and waits for the result. An exception in this thread, such as KeyboardInterrupt, cancels it."""
        if self._ended or self._process != os.getpid():
            raise self._gone()
        if self.ending is not None and threading.current_thread().daemon:
            threading.Event().wait()  # the program ends, and this thread with it
        if threading.get_ident() == self._thread.ident:
            raise QueueError(
                "a synchronous queue cannot be used in a callback of its connection: it would wait for itself"
            )
        call = Call(self, work, at_once)
        try:
            self.soon(call.start)
            call.wait()
            # Between here and the caller's own code no signal is looked for: nothing is called.
            if call.error is None:
                call.kept = True
                return call.result
        except BaseException:
            call.abandon()
            raise
        try:
            raise call.error
        finally:
            del call  # the error knows this frame

    def do(self, work: Callable[[], _T]) -> _T:
        """Has the loop do what need not wait for anything."""
        return self.run(None, lambda _: (work(),))[0]

    def soon(self, work: Callable[[], object]) -> None:
        """Has the loop do it soon, without waiting."""
        try:
            self.loop.call_soon_threadsafe(work)
        except RuntimeError:  # it is closed
            raise self._gone() from None

    def wait_for(self, call: Call[Any]) -> None:
        """In the loop: looks again whether the caller has what was read for it."""
        self.unsettled.append(call)
        if self._timer is None:
            self._timer = self.loop.call_later(MOMENT, self._look)

    def _look(self) -> None:
        self._timer = None
        self.settle()
        if self.unsettled:
            self._timer = self.loop.call_later(MOMENT, self._look)

    def settle(self) -> None:
        """In the loop: tells the server what has been read, as far as that is known."""
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
        """Closes all queues, and ends the thread: the last acknowledgements reach the server."""
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
    """The one of this process."""
    global _shared
    with _making:
        if _shared is None:
            _shared = Loop()
        return _shared


def _after_fork() -> None:
    """The child has no such thread."""
    global _shared, _making
    _shared, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
