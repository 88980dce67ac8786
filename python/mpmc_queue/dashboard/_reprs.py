"""The `repr` of payloads. Their code may raise, raise SystemExit, or never return: this module copes with all of that."""

import os
import reprlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

PATIENCE: Final = 1.0
"""Maximum seconds for all payloads of a page together."""
MOST_THREADS: Final = 4
"""Maximum number of pages at the same time, including those with a `repr` that has not returned yet."""
MOST_TEXT: Final = 1000
"""Maximum characters of a payload's repr in a list."""
MOST_WHOLE: Final = 100_000
"""Maximum characters of a payload's repr shown on its own."""
TOO_LONG: Final = "<its repr takes too long>"
"""Shown instead of a repr that did not return in time, or was not called because of an earlier one."""

_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 300
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = _REPR.maxdeque = 20
_threads = threading.BoundedSemaphore(MOST_THREADS)


def _after_fork() -> None:
    """A forked child process has none of the threads."""
    global _threads
    _threads = threading.BoundedSemaphore(MOST_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def class_of(thing: object) -> str:
    """The name of its class, even if a metaclass overrides `__module__` or `__qualname__`."""
    kind = type(thing)
    module, name = (type.__dict__[attribute].__get__(kind) for attribute in ("__module__", "__qualname__"))
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)


def whole_of(payload: object) -> str:
    """The payload's whole repr; only a very long one is cut."""
    return _texts_of((payload,), _whole)[0]


def texts_of(payloads: Sequence[object]) -> list[str]:
    """The payloads' reprs; long ones are cut."""
    return _texts_of(payloads, _text)


def _texts_of(payloads: Sequence[object], text: Callable[[object], str]) -> list[str]:
    """What `text` makes of each payload.

    They run in a separate thread. A repr that does not return blocks only that thread; the rest of its page is then not
    tried. Once all threads are blocked, no repr is called until one of them returns.
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
    """The reprs of a page that have been computed so far."""

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
    """The payload's repr, with long or deeply nested parts left out."""
    return _safely(_REPR.repr, payload, MOST_TEXT)


def _whole(payload: object) -> str:
    return _safely(repr, payload, MOST_WHOLE)


def _safely(of: Callable[[object], str], payload: object, most: int) -> str:
    """The payload as text. If its code raises anything, even SystemExit, the text names the exception instead."""
    try:
        # A subclass of str could run its own code later.
        text = str.__str__(of(payload))
    except BaseException as error:
        text = f"<its repr raised {class_of(error)}>"
    return text if len(text) <= most else text[: most - 1] + "…"
