"""The dashboard on its own small HTTP server, in background threads."""

import threading
from collections.abc import Iterable
from typing import Self

from mpmc_queue._watching import Watchable
from mpmc_queue.dashboard._access import checked_token, is_loopback, new_token
from mpmc_queue.dashboard._arguments import checked_interval, checked_port
from mpmc_queue.dashboard._connections import Http
from mpmc_queue.dashboard._feed import Feed
from mpmc_queue.dashboard._site import Site


def serve(
    queues: Watchable | Iterable[Watchable],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str | None = None,
    show_payloads: bool = False,
    interval: float = 1.0,
) -> "Server":
    """Serves the dashboard from a background thread, until it is closed.

    queues          a Queue or several, referred to weakly: a queue that nothing else refers to disappears from the page.
                    Also those of `mpmc_queue.jetstream`.
    host, port      where to listen; port 0 takes a free one.
    token           the token that browsers have to send; at least 16 characters. None (the default): no token if only this
                    machine can reach the address, otherwise a new random one.
    show_payloads   show the `repr` of payloads, too. That runs the payloads' code.
    interval        seconds from one sample to the next.

    Raises OSError when it cannot listen there, and TypeError or ValueError for an argument that is not one of these.

    >>> from urllib.request import urlopen
    >>> from mpmc_queue import Queue
    >>> with serve(Queue("orders")) as dashboard:
    ...     urlopen(dashboard.url).status
    200
    """
    return Server(queues, host, port, token=token, show_payloads=show_payloads, interval=interval)


class Server:
    """A running dashboard; `serve` makes it. `with` closes it."""

    def __init__(
        self,
        queues: Watchable | Iterable[Watchable],
        host: str,
        port: int,
        *,
        token: str | None,
        show_payloads: bool,
        interval: float,
    ) -> None:
        if not isinstance(host, str):
            raise TypeError(f"host must be a str, not {type(host).__name__}")
        checked_port(port)
        checked_token(token)
        feed = Feed(queues, checked_interval(interval))
        self._http = Http(host, port)
        address = self._http.socket.getsockname()
        if token is None and not is_loopback(address[0]):
            token = new_token()
        self._http.site = Site(feed, token=token, show_payloads=bool(show_payloads))
        self._feed = feed
        self._token = token
        self._address: tuple[str, int] = address[:2]
        feed.start()
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name="mpmc-dashboard-http", daemon=True
        )
        self._thread.start()

    @property
    def host(self) -> str:
        """The address it listens at."""
        return self._address[0]

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._address[1]

    @property
    def token(self) -> str | None:
        """The token that browsers have to send; None: no token."""
        return self._token

    @property
    def url(self) -> str:
        """The address for a browser on this machine; the page asks for the token, if there is one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    @property
    def login_url(self) -> str:
        """The same with the token in it: anyone who has this address has access."""
        return self.url if self._token is None else f"{self.url}#token={self._token}"

    def add(self, queue: Watchable) -> None:
        """Shows one more queue; nothing happens if it is shown already."""
        self._feed.watched.add(queue)

    def discard(self, queue: Watchable) -> None:
        """Stops showing a queue; nothing happens if it was not shown."""
        self._feed.watched.discard(queue)

    def close(self) -> None:
        """Ends the server and every connection. May be called again."""
        self._feed.close()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mpmc_queue dashboard at {self.url}>"
