"""The largest message that the server accepts: headers count, and with one byte more it closes the connection."""

from uuid import uuid4

import pytest

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

from mpmc_queue.jetstream.server import NoAnswer  # noqa: E402  # importing it takes nats-py

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

MAX_PAYLOAD = 1_048_576
"""The server's default."""


async def enqueue(queue, how, size):
    payload = "x" * size
    if how == "one":
        await queue.aenqueue(payload)
    elif how == "own ttl":
        await queue.aenqueue(payload, ttl=5)
    else:
        await queue.aenqueue_batch([payload, payload], atomic=how == "batch")


async def takes(queue, how, size):
    try:
        await enqueue(queue, how, size)
    except jetstream.ServerError:
        return False
    await queue._server.ask(f"STREAM.PURGE.{queue.name}")
    return True


async def largest(queue, how):
    """The size of the largest payload that is accepted."""
    fits, does_not = MAX_PAYLOAD - 1000, MAX_PAYLOAD
    while does_not - fits > 1:
        size = (fits + does_not) // 2
        fits, does_not = (size, does_not) if await takes(queue, how, size) else (fits, size)
    return fits


@pytest.mark.parametrize("how", ["one", "own ttl", "batch", "one by one"])
def test_headers_count_towards_max_payload(run_remote, how):
    async def main(place):
        queue = await place.queue(max_bytes=10_000_000, codec="str", ttl=None)
        size = await largest(queue, how)
        assert 50 < MAX_PAYLOAD - size < 300
        with pytest.raises(jetstream.ServerError, match=r"headers of \d+ is above 1,048,576") as caught:
            await enqueue(queue, how, size + 1)
        assert caught.value.queue == queue.name
        await enqueue(queue, how, size)  # the connection still works

    run_remote(main)


def test_one_byte_more_would_close_the_connection(run_remote):
    async def main(place):
        queue = await place.queue(max_bytes=10_000_000, codec="str")
        size = await largest(queue, "one")
        message = queue._publisher.outgoing(
            None, (b"x" * (size + 1), "text/plain; charset=utf-8"), None, {}, str(uuid4())
        )
        with pytest.raises(NoAnswer):
            await queue._server.request(*message)
        with pytest.raises(jetstream.ConnectionLostError, match=r"(?i)maximum payload violation"):
            await queue.aenqueue("x")

    run_remote(main)
