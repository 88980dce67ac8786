"""Every call ends in time, even if the server refuses, has died, or stops answering in the middle of a call."""

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest

import servers
from helpers import PATIENCE
from mpmc_queue import QueueFullError

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

# nats-py does not close the socket of a failed attempt to connect, so the garbage collector warns.
pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.filterwarnings(
        r"ignore:.*(unclosed|StreamWriter|socket\.socket|_SelectorTransport):pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:(unclosed|loop is closed):ResourceWarning"),
]

LATE = 2.0
"""Tolerance in seconds for a busy machine."""


@asynccontextmanager
async def within(seconds):
    """Checks that the block takes at most so many seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    yield
    assert loop.time() - start < seconds + LATE


def run(main):
    asyncio.run(asyncio.wait_for(main, 6 * PATIENCE))


# connecting


@pytest.mark.parametrize(
    ("authorization", "connection"),
    [
        ({"user": "ann", "password": "right"}, {"user": "ann", "password": "wrong"}),
        ({"user": "ann", "password": "right"}, {}),
        ({"token": "right"}, {"token": "wrong"}),
    ],
    ids=["password", "nobody", "token"],
)
def test_a_refused_client_gets_an_error_at_once(directory, authorization, connection):
    async def main():
        with servers.NatsServer(directory / "server", authorization=authorization) as server:
            async with within(0):
                with pytest.raises(Exception, match="Authorization Violation"):
                    await jetstream.connect(server.url, "x", connection=connection, patience=30)

    run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a self-signed certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    where = tmp_path_factory.mktemp("certificate")
    files = {"cert_file": str(where / "cert.pem"), "key_file": str(where / "key.pem")}
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command += f" -keyout {files['key_file']} -out {files['cert_file']}"
    subprocess.run([openssl, *command.split()], check=True, capture_output=True)
    return files


def test_a_server_with_an_untrusted_certificate_is_refused_at_once(directory, certificate):
    async def main():
        with servers.NatsServer(directory / "server", tls=certificate) as server:
            async with within(0):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await jetstream.connect(server.url, "x", patience=30)
            known = ssl.create_default_context(cafile=certificate["cert_file"])
            async with await jetstream.connect(server.url, "x", connection={"tls": known}) as queue:
                assert await queue.aenqueue(1) == 0

    run(main())


def test_a_client_without_a_certificate_gets_an_error_in_time(directory, certificate):
    async def main():
        tls = {**certificate, "ca_file": certificate["cert_file"], "verify": True}
        with servers.NatsServer(directory / "server", tls=tls) as server:
            known = ssl.create_default_context(cafile=certificate["cert_file"])
            async with within(2):
                with pytest.raises(Exception, match=r"(?i)certificate|EOF|reset"):
                    await jetstream.connect(server.url, "x", connection={"tls": known}, patience=2)

    run(main())


def test_connecting_without_a_server_ends_in_time():
    async def main():
        async with within(0.5):
            with pytest.raises(OSError, match="Connect call failed"):
                await jetstream.connect(f"nats://127.0.0.1:{servers.free_port()}", "x", patience=0.5)

    run(main())


def test_connecting_to_a_silent_server_ends_in_time():
    async def main():
        writers = []  # keeps the connections open: a writer without references is closed
        silent = await asyncio.start_server(lambda reader, writer: writers.append(writer), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with silent, within(0.5):
            with pytest.raises(jetstream.NotConfirmedError, match=rf"no answer from nats://127.0.0.1:{port} in 0.5 s"):
                await jetstream.connect(f"nats://secret@127.0.0.1:{port}", "x", patience=0.5)
            for writer in writers:
                writer.close()

    run(main())


def test_a_server_that_starts_in_time_is_found(directory):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            server.kill()
            attempt = asyncio.create_task(jetstream.connect(server.url, "x", patience=PATIENCE))
            await asyncio.wait([attempt], timeout=0.5)
            assert not attempt.done()
            await asyncio.to_thread(server.start)
            async with await attempt as queue:
                assert await queue.aenqueue("tea") == 0

    run(main())


def test_one_server_that_accepts_is_enough(directory):
    async def main():
        shut = servers.NatsServer(directory / "shut", authorization={"token": "x"})
        with shut, servers.NatsServer(directory / "open") as server:
            for urls in ([shut.url, server.url], [server.url, shut.url]):
                async with await jetstream.connect(urls, "x") as queue:
                    await queue.aenqueue(1)

    run(main())


# calls with a timeout


@pytest.fixture(params=["killed", "frozen"])
def fail(request):
    """Makes a server fail, in one of two ways."""
    return {"killed": servers.NatsServer.kill, "frozen": servers.NatsServer.pause}[request.param]


def test_reading_ends_in_time_while_the_server_does_not_answer(directory, fail):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "x", patience=2) as queue:
                consumer = await queue.add_consumer("reader")
                member = (await queue.add_group("workers", ack_wait=30)).add_consumer()
                joined = (await queue.add_group("others")).add_consumer()
                assert await member.aread(timeout=0) is None
                fail(server)
                for reader in (consumer, member, joined):
                    async with within(0.4):
                        assert await reader.aread(timeout=0.4) is None
                    async with within(0.4):
                        assert await reader.aread_batch(10, timeout=0.4) == []
                    async with within(2):
                        with pytest.raises(jetstream.NotConfirmedError):
                            await reader.aread(timeout=0)
                async with within(0.4):
                    assert await consumer.atake_missed(timeout=0.4) == 0

    run(main())


def test_arrived_messages_are_delivered_at_the_timeout(directory, fail):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "x", prefetch=4, patience=2) as queue:
                consumer = await queue.add_consumer("reader")
                await queue.aenqueue_batch(range(100))
                assert [m.payload for m in await consumer.aread_batch(2)] == [0, 1]
                fail(server)
                async with within(0.4):
                    found = await consumer.aread_batch(50, timeout=0.4)
                # When a connection is known to be lost, arrived messages are discarded and delivered again later.
                assert [m.payload for m in found] == list(range(2, 2 + len(found)))

    run(main())


def test_enqueueing_ends_in_time_while_the_server_does_not_answer(directory, fail):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            async with await jetstream.connect(server.url, "x", patience=3, max_bytes=100_000_000) as queue:
                fail(server)
                for timeout in (0.1, 0.1, 0):
                    async with within(timeout or 3):
                        with pytest.raises(jetstream.NotConfirmedError) as caught:
                            await queue.aenqueue("x", timeout=timeout)
                        assert caught.value.id is not None
                for atomic in (True, False):
                    async with within(0.3):
                        with pytest.raises(jetstream.NotConfirmedError):
                            await queue.aenqueue_batch(range(600), timeout=0.3, atomic=atomic)
                # More than the buffers of the socket and the client hold.
                for _ in range(20):
                    async with within(0.1):
                        with pytest.raises(jetstream.NotConfirmedError):
                            await queue.aenqueue(b"x" * 1_000_000, timeout=0.1)
                queue.add_consumer("new")
                async with within(0.1):
                    with pytest.raises(jetstream.NotConfirmedError):
                        await queue.aenqueue("x", timeout=0.1)

    run(main())


def test_a_full_queue_is_reported_in_time_and_late_space_is_used(run_remote):
    async def main(place):
        queue = await place.queue(max_items=1)
        await queue.aenqueue(0)
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with within(0.6):
            with pytest.raises(QueueFullError) as caught:
                await queue.aenqueue(1, timeout=0.6)
        assert (caught.value.current, caught.value.max) == (1, 1)
        assert loop.time() - start >= 0.6
        loop.call_later(0.4, lambda: asyncio.ensure_future(queue._server.ask(f"STREAM.PURGE.{queue.name}")))
        assert await queue.aenqueue(2, timeout=0.6) == 1

    run_remote(main)


# ending


def test_closing_over_a_dead_connection_raises_nothing_and_ends_in_time(directory, fail):
    async def main():
        with servers.NatsServer(directory / "server") as server:
            queue = await jetstream.connect(server.url, "x", patience=1, max_bytes=100_000_000)
            consumer = await queue.add_consumer("reader")
            member = (await queue.add_group("workers", ack_wait=30)).add_consumer()
            unnamed = await queue.add_consumer()
            await queue.aenqueue_batch(range(10))
            await consumer.aread_batch(5)
            await member.aread_batch(5)
            await unnamed.aread()
            fail(server)
            for _ in range(15):  # more than the socket's buffer holds, so closing waits behind it
                with pytest.raises(jetstream.NotConfirmedError):
                    await queue.aenqueue(b"x" * 1_000_000, timeout=0.05)
            async with within(1 + 2):
                await queue.aclose()
            assert queue._server.client.is_closed

    run(main())


def test_an_exception_in_the_with_block_propagates(directory, fail):
    async def main():
        with servers.NatsServer(directory / "server") as server, pytest.raises(ZeroDivisionError):
            queue = await jetstream.connect(server.url, "x", patience=1)
            async with queue, queue.add_consumer("reader") as reader:
                await queue.aenqueue(1)
                await reader.aread()
                fail(server)
                raise ZeroDivisionError

    run(main())
