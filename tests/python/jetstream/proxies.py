"""A TCP proxy that a test can interrupt, like an unplugged switch or a firewall that forgets a connection."""

import asyncio
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards connections to a port on loopback, unless it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Stops forwarding, and leaves all connections open."""
        self._flows.clear()

    def mend(self) -> None:
        """Forwards again, starting with what was held back."""
        self._flows.set()

    def drop(self) -> None:
        """Ends all connections."""
        for writer in list(self._writers):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, there_writer}
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, there_writer))
                both.create_task(self._forward(there_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # returns normally, because the streams of Python 3.11 report a cancelled handler
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            with suppress(OSError, RuntimeError):
                writer.close()
