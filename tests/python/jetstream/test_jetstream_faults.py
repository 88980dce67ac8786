"""Servers die, networks are cut, consumers are slow: confirmed messages are delivered once, in order."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

import servers
from helpers import PATIENCE
from proxies import Proxy

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

# nats-py does not close the socket of a failed attempt to connect, so the garbage collector warns.
pytestmark = [
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.filterwarnings(
        r"ignore:.*(unclosed|socket\.socket|_SelectorTransport):pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

PRODUCERS = CONSUMERS = 4


class Books:
    """Records what was confirmed to producers, and what was delivered to consumers."""

    def __init__(self, queue):
        self.queue = queue
        self.confirmed = {}  # seq -> payload
        self.read = [[] for _ in range(CONSUMERS)]
        self.stop = asyncio.Event()
        self.progress = asyncio.Event()

    async def produce(self, number):
        count = 0
        while not self.stop.is_set():
            payload = f"{number}-{count}"
            seq = await self.queue.aenqueue(payload)
            assert seq not in self.confirmed, "two messages were confirmed under one seq"
            self.confirmed[seq] = payload
            count += 1
            self.progress.set()

    async def consume(self, number, consumer):
        async for message in consumer:
            self.read[number].append((message.seq, message.payload))
            assert message.missed == 0

    async def grow(self, by):
        """Waits until so many more messages have been confirmed, and read by all consumers."""
        wanted = len(self.confirmed) + by
        read = [len(read) + by for read in self.read]
        while len(self.confirmed) < wanted or any(len(r) < w for r, w in zip(self.read, read, strict=True)):
            self.progress.clear()
            await asyncio.wait_for(self.progress.wait(), 3 * PATIENCE)

    async def run(self, faults):
        consumers = [await self.queue.add_consumer(f"reader-{n}") for n in range(CONSUMERS)]
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(self.consume(n, consumer)) for n, consumer in enumerate(consumers)]
            producers = [tasks.create_task(self.produce(n)) for n in range(PRODUCERS)]
            await faults()
            self.stop.set()
            await asyncio.gather(*producers)
            self.queue.close()
            await asyncio.gather(*readers)

    def check(self):
        for read in self.read:
            payloads = Counter(payload for _, payload in read)
            assert [payload for payload, times in payloads.items() if times > 1] == []
            assert [seq for seq, _ in read] == sorted(seq for seq, _ in read)
            assert dict(read) == self.confirmed
            for number in range(PRODUCERS):  # the order of each producer is kept
                own = [int(payload.split("-")[1]) for _, payload in read if payload.startswith(f"{number}-")]
                assert own == list(range(len(own)))


OPTIONS = {"ttl": None, "max_bytes": 100_000_000, "dedupe": 60}


def test_a_server_that_is_killed_and_started_again_loses_nothing(directory):
    async def main():
        server = servers.NatsServer(directory / "server").start()
        try:
            queue = await jetstream.connect(server.url, "orders", **OPTIONS)
            books = Books(queue)

            async def faults():
                for _ in range(3):
                    await books.grow(200)
                    server.kill()
                    await asyncio.to_thread(server.start)
                await books.grow(200)

            await books.run(faults)
            await queue.wait_closed()
            books.check()
            assert len(books.confirmed) >= 800
        finally:
            server.stop()

    asyncio.run(asyncio.wait_for(main(), 100))


def test_a_durable_consumer_loses_nothing_when_both_sides_die(directory):
    """The last messages may be redelivered: the server stores a position some time after it was acknowledged."""

    async def main():
        server = servers.NatsServer(directory / "server").start()
        try:
            async with await jetstream.connect(server.url, "orders", **OPTIONS) as queue:
                reader = queue.add_consumer("reader")
                await queue.aenqueue_batch(range(10))
                assert [await reader.aget() for _ in range(4)] == [0, 1, 2, 3]
            server.kill()
            await asyncio.to_thread(server.start)
            async with await jetstream.connect(server.url, "orders", **OPTIONS) as queue:
                reader = queue.add_consumer("reader")
                seen = [m.payload for m in await reader.aread_batch(100)]
                assert seen == list(range(seen[0], 10))
                assert seen[0] <= 4
        finally:
            server.stop()

    asyncio.run(asyncio.wait_for(main(), 100))


def test_a_group_survives_the_server(directory):
    async def main():
        server = servers.NatsServer(directory / "server").start()
        try:
            async with await jetstream.connect(server.url, "jobs", **OPTIONS) as queue:
                group = await queue.add_group("workers", ack_wait=2)
                done = Counter()
                every = asyncio.Event()

                async def work(member):
                    async for message in member:
                        done[message.payload] += 1
                        message.ack()
                        if len(done) == 300:
                            every.set()

                workers = [asyncio.create_task(work(group.add_consumer())) for _ in range(4)]
                await queue.aenqueue_batch(range(150))
                server.kill()
                await asyncio.to_thread(server.start)
                await queue.aenqueue_batch(range(150, 300))
                await asyncio.wait_for(every.wait(), 3 * PATIENCE)
                # At least once: if an ack was lost with the server, its message is redelivered.
                assert set(done) == set(range(300))
                for worker in workers:
                    worker.cancel()
        finally:
            server.stop()

    asyncio.run(asyncio.wait_for(main(), 100))


def test_a_slow_consumer_delays_no_other_and_knows_its_losses(run_remote):
    async def main(place):
        queue = await place.queue(max_items=200, overflow="drop_oldest", prefetch=16)
        fast, slow = await queue.add_consumer(), await queue.add_consumer()
        seen = []

        async def keep_up():
            while len(seen) < 3000:
                seen.extend(m.payload for m in await fast.aread_batch(100))

        task = asyncio.create_task(keep_up())
        got = []
        for number in range(3000):
            await queue.aenqueue(number)
            if number % 100 == 0:
                got.append(await slow.aread())
            if number % 50 == 0:
                while len(seen) + fast.missed_count + 100 < number:
                    await asyncio.sleep(0)
            assert len(slow._feed.buffer) <= 16
        await asyncio.wait_for(task, PATIENCE)
        assert seen == list(range(3000))
        got += await slow.aread_batch(3000)
        payloads = [message.payload for message in got]
        assert payloads == sorted(set(payloads))
        assert payloads[-1] == 2999
        assert len(got) + slow.missed_count == 3000
        assert sum(message.missed for message in got) == slow.missed_count > 2000
        for before, after in pairwise(got):
            assert after.seq - before.seq - 1 == after.missed

    run_remote(main)


@pytest.mark.parametrize("how", ["silence", "reset"])
def test_a_cut_network_delays_and_loses_nothing(nats, how):
    async def main():
        async with Proxy(nats.port) as proxy:
            queue = await jetstream.connect(
                proxy.url,
                f"cut-{how}",
                patience=1,
                connection={"ping_interval": 1, "max_outstanding_pings": 1, "connect_timeout": 1},
                **OPTIONS,
            )
            books = Books(queue)

            async def faults():
                for _ in range(2):
                    await books.grow(100)
                    before = proxy.connections
                    proxy.cut()
                    if how == "reset":
                        proxy.drop()
                    with pytest.raises(jetstream.NotConfirmedError) as caught:
                        await queue.aenqueue("x", timeout=0.1)
                    assert caught.value.id is not None
                    # After the client has closed the old connection, let the new one through.
                    proxy.drop()
                    proxy.mend()
                    seq = await queue.aenqueue("x", id=caught.value.id)
                    books.confirmed[seq] = "x"
                    assert proxy.connections > before
                await books.grow(100)

            await books.run(faults)
            await queue.wait_closed()
            for read in books.read:
                assert [seq for seq, _ in read] == sorted({seq for seq, _ in read})
                assert dict(read) == books.confirmed
                assert Counter(payload for _, payload in read)["x"] == 2  # one for each cut, not two

    asyncio.run(asyncio.wait_for(main(), 100))


@pytest.mark.parametrize("victim", ["leader", "connected"])
def test_a_cluster_of_three_continues_with_two(directory, victim):
    async def main():
        nodes = servers.cluster(directory)
        try:
            await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
            queue = await jetstream.connect([node.url for node in nodes], "orders", replicas=3, patience=20, **OPTIONS)
            books = Books(queue)

            async def faults():
                await books.grow(200)
                if victim == "leader":
                    info = await queue._server.ask("STREAM.INFO.orders")
                    doomed = next(node for node in nodes if node.directory.name == info["cluster"]["leader"])
                else:
                    port = queue._server.client.connected_url.port
                    doomed = next(node for node in nodes if node.port == port)
                doomed.kill()
                await books.grow(200)

            await books.run(faults)
            await queue.wait_closed()
            books.check()
        finally:
            for node in nodes:
                node.stop()

    asyncio.run(asyncio.wait_for(main(), 110))
