"""A live picture of queues in the browser: how full they are, how fast, who lags, what is in them.

    from mpmc_queue.dashboard import serve

    with serve([orders, invoices]) as dashboard:
        print(dashboard.url)    # http://127.0.0.1:49152/
        ...

`serve` answers in a background thread, with nothing but the standard library. `app` is the same page as an ASGI
application, to mount in one you have: `Mount("/queues", app([orders, invoices]))` in Starlette or FastAPI.

It only looks. Nothing can be changed through it, and looking leaves no trace: it is no consumer, so that it holds no
message back, counts as nobody's reading, and stands in no audit trail. Payloads stay private: of a message it shows seq,
age, size, topic and type, and the `repr` of its payload only with `show_payloads=True` (which runs the payload's code).

Queues over JetStream (`mpmc_queue.jetstream`) are shown, too, as far as the server knows their figures; their messages are
not. The server is asked at most once a second. One that does not answer is marked, and holds up no other queue.

One thread takes a sample a second, however many browsers look, and writes it down for the five-minute charts. What is
sent goes through one of our own queues that keeps the newest sample alone, so a browser that is slow skips some and costs
no more memory than one that is fast.

Who may look: with a token, whoever sends it; without one, this machine alone. An address that others can reach gets a
token by itself. The page takes it from the part of its address behind `#`, which browsers do not send, so that it is in
no log.
"""

from mpmc_queue.dashboard._asgi import App, app
from mpmc_queue.dashboard._server import Server, serve

__all__ = ["App", "Server", "app", "serve"]
