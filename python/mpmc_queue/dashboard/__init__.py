"""A live view of queues in the browser: fill level, rates, lag of the readers, and messages.

    from mpmc_queue.dashboard import serve

    with serve([orders, invoices]) as dashboard:
        print(dashboard.url)    # http://127.0.0.1:49152/
        ...

`serve` runs a server in a background thread, using only the standard library. `app` is the same page as an ASGI
application, to mount in another one: `Mount("/queues", app([orders, invoices]))` in Starlette or FastAPI.

The dashboard is read-only. It changes nothing and leaves no trace: it is not a consumer, so it holds no message back,
changes no counts, and does not appear in audit trails. Payloads stay private: it shows the seq, age, size, topic and type of
a message, and the `repr` of its payload only with `show_payloads=True` (which runs the payload's code).

Queues over JetStream (`mpmc_queue.jetstream`) are shown, too, with the figures that the server knows, but without their
messages. The server is asked at most once a second. A queue whose server does not answer is marked, and does not delay
other queues.

One thread takes a sample every second, for any number of browsers, and records it for the five-minute charts. Samples are
sent through an mpmc_queue queue that keeps only the newest one, so a slow browser skips samples and uses no more memory
than a fast one.

Access: with a token, anyone who sends it; without one, only this machine. `serve` creates a token itself when it listens at
an address that other machines can reach. The page reads the token from the part of its address after `#`, which browsers
do not send, so it is in no log.
"""

from mpmc_queue.dashboard._asgi import App, app
from mpmc_queue.dashboard._server import Server, serve

__all__ = ["App", "Server", "app", "serve"]
