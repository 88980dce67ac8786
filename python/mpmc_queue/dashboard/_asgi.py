"""The dashboard as an ASGI application, to mount in another one."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from mpmc_queue import ConsumerClosedError, QueueClosedError
from mpmc_queue._watching import Watchable
from mpmc_queue.dashboard._access import checked_token
from mpmc_queue.dashboard._arguments import checked_interval
from mpmc_queue.dashboard._feed import Feed
from mpmc_queue.dashboard._site import KEEP_ALIVE, Request, Response, Site, error, event

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATIENCE: Final = 15.0
"""Seconds without a snapshot after which a keep-alive is sent."""
MOST_ANSWERS: Final = 16
"""Maximum number of answers made at the same time, each in a thread."""
TOO_MANY: Final = (
    f"The dashboard is answering {MOST_ANSWERS} requests, and takes no more at the same time. Try again in a second."
)
LIFE: Final = 30.0
"""Seconds after which a stream ends and the page opens the next: a server waits for open streams when it shuts down."""


def app(
    queues: Watchable | Iterable[Watchable],
    *,
    token: str | None = None,
    guarded: bool = False,
    show_payloads: bool = False,
    interval: float = 1.0,
) -> "App":
    """The dashboard as an ASGI application for asyncio; it needs only the standard library.

    queues          a Queue or several, referred to weakly: a queue that nothing else refers to disappears from the page.
                    Also those of `mpmc_queue.jetstream`.
    token           the token that browsers have to send; at least 16 characters.
    guarded         True: the surrounding application controls access, and nothing is checked here. With neither this nor a
                    token, only this machine has access, and not through a proxy that identifies itself by its headers.
                    Requests through a proxy that does not (nginx by default) look local: behind one, pass a token.
    show_payloads   show the `repr` of payloads, too. That runs the payloads' code.
    interval        seconds from one sample to the next.

    Raises TypeError or ValueError for an argument that is not one of these.

    >>> from mpmc_queue import Queue
    >>> from starlette.applications import Starlette
    >>> from starlette.routing import Mount
    >>> application = Starlette(routes=[Mount("/queues", app(Queue("orders")))])
    """
    return App(queues, token=token, guarded=guarded, show_payloads=show_payloads, interval=interval)


class App:
    """A dashboard for an ASGI server to call; `app` makes it."""

    def __init__(
        self,
        queues: Watchable | Iterable[Watchable],
        *,
        token: str | None,
        guarded: bool,
        show_payloads: bool,
        interval: float,
    ) -> None:
        checked_token(token)
        self._feed = Feed(queues, checked_interval(interval))
        # The sampler starts with the first request: another process may have created the application.
        self._threads = threading.BoundedSemaphore(MOST_ANSWERS)
        self._process = os.getpid()
        self._site = Site(self._feed, token=token, show_payloads=bool(show_payloads), is_guarded=bool(guarded))

    def add(self, queue: Watchable) -> None:
        """Shows one more queue; nothing happens if it is shown already."""
        self._feed.watched.add(queue)

    def discard(self, queue: Watchable) -> None:
        """Stops showing a queue; nothing happens if it was not shown."""
        self._feed.watched.discard(queue)

    def close(self) -> None:
        """Ends the sampler and every stream. May be called again; the sampler also ends with the application object."""
        self._feed.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"scope must be of type http, not {scope['type']}")
        place: str = scope.get("root_path", "")
        path: str = scope["path"]
        # The specification says that the path includes the mount point; some servers leave it out.
        if path.startswith(place):
            path = path[len(place) :]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client")
        query = scope.get("query_string", b"").decode("latin-1")
        request = Request(scope["method"], path, query, headers, client[0] if client else None)
        response = await self._respond(request, place)
        await _begin(send, response)
        if response.is_stream and scope["method"] != "HEAD":
            await self._stream(receive, send)
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _respond(self, request: Request, place: str) -> Response:
        """The answer, made in a thread, because a payload's repr may be slow. It is a separate thread, because the threads of
        the loop's executor are for the application."""
        if self._process != os.getpid():  # a forked child process, in which the threads do not exist
            self._process, self._threads = os.getpid(), threading.BoundedSemaphore(MOST_ANSWERS)
        threads = self._threads
        if not threads.acquire(blocking=False):
            return error(503, TOO_MANY, {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()

        def settle(response: Response | None, problem: BaseException | None) -> None:
            if answered.done():  # cancelled
                return
            if response is None:
                answered.set_exception(problem or RuntimeError("no answer"))
            else:
                answered.set_result(response)

        def run() -> None:
            response: Response | None = None
            problem: BaseException | None = None
            try:
                response = self._site.respond(request, place)
            except BaseException as raised:
                problem = raised
            threads.release()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, response, problem)

        try:
            threading.Thread(target=run, name="mpmc-dashboard-answer", daemon=True).start()
        except BaseException:
            threads.release()
            raise
        return await answered

    async def _stream(self, receive: Receive, send: Send) -> None:
        left = asyncio.ensure_future(_until_gone(receive))
        try:
            with self._feed.view() as snapshots:
                end = asyncio.get_running_loop().time() + LIFE
                while not left.done() and asyncio.get_running_loop().time() < end:
                    read = asyncio.ensure_future(snapshots.aread(timeout=PATIENCE))
                    try:
                        await asyncio.wait((read, left), return_when=asyncio.FIRST_COMPLETED)
                        if not read.done():
                            return
                        message = read.result()
                    except (QueueClosedError, ConsumerClosedError):
                        return
                    finally:
                        read.cancel()
                    body = KEEP_ALIVE if message is None else event(message.payload)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            left.cancel()

    async def _live(self, receive: Receive, send: Send) -> None:
        """Handles lifespan events, for a server that runs the dashboard as the main application."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._feed.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, response: Response) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    if not response.is_stream:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
