"""What payloads say of themselves. Their code may raise, end threads, or never return: nothing here suffers from that."""

import os
import reprlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

PATIENCE: Final = 1.0
"""Seconds that a page of payloads may take altogether."""
MOST_THREADS: Final = 4
"""Pages at the same time, those included whose payloads have not returned yet."""
MOST_TEXT: Final = 1000
"""Characters of a payload's repr, in a list."""
MOST_WHOLE: Final = 100_000
"""Characters of a payload's repr, by itself."""
TOO_LONG: Final = "<its repr takes too long>"
"""What is shown instead of a repr that has not returned in time, or whose turn has not come."""

_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 300
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = _REPR.maxdeque = 20
_threads = threading.BoundedSemaphore(MOST_THREADS)


def _after_fork() -> None:
    """None of the threads is there in a child process."""
    global _threads
    _threads = threading.BoundedSemaphore(MOST_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def class_of(thing: object) -> str:
    """The name of its class: the class's own, whatever a metaclass makes of it."""
    kind = type(thing)
    module, name = (type.__dict__[attribute].__get__(kind) for attribute in ("__module__", "__qualname__"))
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)


def whole_of(payload: object) -> str:
    """The payload's whole repr; only one of many pages is cut short."""
    return _texts_of((payload,), _whole)[0]


def texts_of(payloads: Sequence[object]) -> list[str]:
    """The payloads' reprs, cut short where they are long."""
    return _texts_of(payloads, _text)


def _texts_of(payloads: Sequence[object], text: Callable[[object], str]) -> list[str]:
    """What `text` makes of each payload.

    They run in a thread of their own. One that does not return keeps that thread, and no other: the rest of its page is
    not tried then, and once all threads are kept, nothing is until one returns.
    """
    deadline = time.monotonic() + PATIENCE
    threads = _threads
    if not payloads or not threads.acquire(timeout=PATIENCE):
        return [TOO_LONG] * len(payloads)
    page = _Page(payloads, text, threads)
    try:
        threading.Thread(target=page.run, name="mpmc-dashboard-repr", daemon=True).start()
    except BaseException:
        threads.release()
        raise
    page.is_over.wait(max(0.0, deadline - time.monotonic()))
    page.is_given_up = True
    found = page.texts[:]
    return found + [TOO_LONG] * (len(payloads) - len(found))


class _Page:
    """The reprs of a page, as far as they are there."""

    def __init__(
        self, payloads: Sequence[object], text: Callable[[object], str], threads: threading.BoundedSemaphore
    ) -> None:
        self.texts: list[str] = []
        self.is_over = threading.Event()
        self.is_given_up = False
        self._payloads = payloads
        self._text = text
        self._threads = threads

    def run(self) -> None:
        try:
            for payload in self._payloads:
                if self.is_given_up:
                    break
                self.texts.append(self._text(payload))
        finally:
            self._payloads = ()
            self._threads.release()
            self.is_over.set()


def _text(payload: object) -> str:
    """The payload's repr, without what is long or deep in it."""
    return _safely(_REPR.repr, payload, MOST_TEXT)


def _whole(payload: object) -> str:
    return _safely(repr, payload, MOST_WHOLE)


def _safely(of: Callable[[object], str], payload: object, most: int) -> str:
    """The payload in words. What that raises is its own affair, and is told: SystemExit, too."""
    try:
        # A subclass of str could go on running code of its own.
        text = str.__str__(of(payload))
    except BaseException as error:
        text = f"<its repr raised {class_of(error)}>"
    return text if len(text) <= most else text[: most - 1] + "…"
