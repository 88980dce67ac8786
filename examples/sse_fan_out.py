"""Server-sent events with FastAPI: a consumer for each browser, and a slow browser costs no more memory.

Run it, then `curl -N http://127.0.0.1:8000/events`; `--self-test` connects clients of its own, with httpx2.
"""

import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
import uvicorn
from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse

from mpmc_queue import Queue

# The newest megabyte. Who falls further behind than that misses the oldest, and is told how many.
events = Queue[str]("events", max_bytes=1_000_000, ttl=60, overflow="drop_oldest")


async def tick() -> None:
    """Stands for whatever has news; it may as well be a thread."""
    for n in itertools.count():
        events.enqueue(f"tick {n}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
    ticker = asyncio.create_task(tick())
    yield
    ticker.cancel()


app = FastAPI(lifespan=lifespan)


async def stream(start: int | None) -> AsyncGenerator[str, None]:
    with events.add_consumer(start="latest" if start is None else start) as consumer:  # gone when the browser is
        async for message in consumer:
            if message.missed:
                yield f"event: missed\ndata: {message.missed}\n\n"
            yield f"id: {message.seq}\ndata: {message.payload}\n\n"


@app.get("/events")
async def serve_events(last_event_id: Annotated[int | None, Header(ge=0)] = None) -> StreamingResponse:
    """A browser that comes back says which event was its last, and goes on after it."""
    start = None if last_event_id is None else min(last_event_id + 1, events.stats().next_seq)
    return StreamingResponse(stream(start), media_type="text/event-stream")


async def browse(url: str, headers: dict[str, str]) -> list[int]:
    """The ids of the five events that a browser gets before it leaves."""
    async with httpx2.AsyncClient() as client, client.stream("GET", url, headers=headers) as response:
        ids = (int(line.removeprefix("id: ")) async for line in response.aiter_lines() if line.startswith("id: "))
        return [await anext(ids) for _ in range(5)]


async def self_test() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/events"
        one, two = await asyncio.gather(browse(url, {}), browse(url, {}))
        again = await browse(url, {"Last-Event-ID": str(one[-1])})
        server.should_exit = True
        await serving
    print("no event is lacking:", [ids == list(range(ids[0], ids[0] + 5)) for ids in (one, two, again)])
    print("the one that came back goes on where it was:", again[0] == one[-1] + 1)
    print("consumers left behind:", len(events.consumers))


if __name__ == "__main__":
    asyncio.run(self_test()) if "--self-test" in sys.argv else uvicorn.run(app)
