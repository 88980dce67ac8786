"""Fixtures: queues that are closed at the end of the test, and threads whose errors and hangs fail the test."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browsing import FAST, Tab, launched
from helpers import PATIENCE
from mpmc_queue import Queue

STILL_WAITING = 0.05  # how long a call must have been waiting to count as blocked


class Worker:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._call = lambda: call(*args, **kwargs)
        self._about_to_call = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._about_to_call.wait(PATIENCE)

    def _run(self) -> None:
        self._about_to_call.set()
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, timeout: float = PATIENCE) -> Any:
        """Waits for the end of the call. Returns what it returned, or raises what it raised."""
        self.join(timeout)
        if self._error is not None:
            raise self._error
        return self._result

    def join(self, timeout: float = PATIENCE) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call did not return in time"

    def assert_waiting(self) -> None:
        """Asserts that the call has begun and does not return by itself."""
        self._thread.join(STILL_WAITING)
        assert self._thread.is_alive(), f"returned {self._result!r}, raised {self._error!r}"


@pytest.fixture
def run_thread() -> Iterator[Callable[..., Worker]]:
    """run_thread(call, *args, **kwargs) -> Worker"""
    workers: list[Worker] = []

    def start(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Worker:
        worker = Worker(call, *args, **kwargs)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.join()


@pytest.fixture
def make_queue(run_thread: Callable[..., Worker]) -> Iterator[Callable[..., Queue[Any]]]:
    """make_queue(**arguments of Queue) -> Queue. It is closed before the threads of the test are joined."""
    queues: list[Queue[Any]] = []

    def make(name: str = "test", **arguments: Any) -> Queue[Any]:
        queue: Queue[Any] = Queue(name, **arguments)
        queues.append(queue)
        return queue

    yield make
    for queue in queues:
        queue.close(immediate=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """tab(**arguments of new_page) -> Tab. A page must not have errors that the test does not expect."""
    tabs: list[Tab] = []

    def make(**arguments: Any) -> Tab:
        tabs.append(Tab(browser.new_page(**arguments)))
        return tabs[-1]

    yield make
    for each in tabs:
        each.page.close()
        assert each.errors == []


@pytest.fixture
def dashboard() -> Iterator[Callable[..., Any]]:
    """dashboard(queues, **arguments of serve) -> Server"""
    from mpmc_queue.dashboard import serve

    servers: list[Any] = []

    def start(queues: Any, **arguments: Any) -> Any:
        servers.append(serve(queues, **({"interval": FAST} | arguments)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
