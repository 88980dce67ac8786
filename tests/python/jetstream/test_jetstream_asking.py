"""When a server is asked for the metrics, how often, and what is said when it does not answer."""

import asyncio
import gc
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

import servers
from harness import eventually as it_comes_true
from harness import output_of
from helpers import PATIENCE
from mpmc_queue import Queue, jetstream
from mpmc_queue._asking import PAUSE, ROUND
from mpmc_queue.metrics import QueueCollector, instrument
from scraping import DOWN, Scraper, busy, collect, eventually, in_thread, questions, timed

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

SCRAPE = ROUND + 2.0  # seconds that a scrape may take at the longest, on a busy machine


# --- asking -----------------------------------------------------------------------------------------------------------


def test_the_server_is_asked_once_a_second_however_often_and_by_whomever_it_is_scraped(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        scrapes = [Scraper(queue) for _ in range(4)]
        await in_thread(scrapes[0])
        before, began = await questions(queue), time.monotonic()

        def scrape_often(scrape):
            return [scrape()["mpmc_up",] for _ in range(50)]

        with ThreadPoolExecutor(4) as threads:
            loop = asyncio.get_running_loop()
            found = await asyncio.gather(*(loop.run_in_executor(threads, scrape_often, each) for each in scrapes))
        assert found == [[1] * 50] * 4
        took = time.monotonic() - began
        # Two questions a round: of the stream, and of its consumers.
        assert await questions(queue) - before - 1 <= 2 * (took / PAUSE + 1)

    run_remote(test)


def test_a_scrape_is_one_round_of_two_questions_for_any_number_of_consumers(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        for number in range(20):
            await queue.add_consumer(f"more-{number}")
        scrape = Scraper(queue)
        before = await questions(queue)
        found = await in_thread(scrape.fresh)
        assert await questions(queue) - before - 1 == 2
        assert found["mpmc_consumers",] == 24

    run_remote(test)


def test_a_collection_of_all_instruments_is_one_round(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        instrument(queue, meter_provider=provider)
        before = await questions(queue)
        await in_thread(lambda: collect(reader))
        assert await questions(queue) - before - 1 == 2
        provider.shutdown()

    run_remote(test)


def test_more_consumers_than_a_page_of_the_servers_are_all_told(run_remote):
    async def test(place):
        queue = await place.queue()
        await asyncio.gather(
            *(
                queue._server.ask(
                    f"CONSUMER.CREATE.{queue.name}.c{number}",
                    stream_name=queue.name,
                    config={
                        "name": f"c{number}",
                        "durable_name": f"c{number}",
                        "ack_policy": "all",
                        "mem_storage": True,
                    },
                )
                for number in range(300)
            )
        )
        await queue.aenqueue("a")
        found = await in_thread(Scraper(queue))
        assert [value for key, value in found.items() if key[0] == "mpmc_consumer_lag_messages"] == [1] * 300

    run_remote(test)


def test_a_scrape_in_the_thread_of_the_loop_does_not_wait(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        scrape = Scraper(queue)
        began = time.monotonic()
        assert scrape() == {("mpmc_closed",): 0}  # it has not been asked yet: nobody says that it does not answer
        assert time.monotonic() - began < ROUND
        async with asyncio.timeout(PATIENCE):
            while ("mpmc_up",) not in (found := scrape()):
                await asyncio.sleep(0)
        assert found["mpmc_enqueued_messages_total",] == 7
        await queue.aenqueue("more")
        assert (
            scrape.fresh()["mpmc_enqueued_messages_total",] == 7
        )  # of the last answer, and the next one is on its way
        async with asyncio.timeout(PATIENCE):
            while scrape()["mpmc_enqueued_messages_total",] != 8:
                await asyncio.sleep(0)

    run_remote(test)


def test_a_synchronous_queue_is_scraped_in_the_thread_of_a_loop(nats):
    async def main():
        scrape = Scraper(queue)
        async with asyncio.timeout(PATIENCE):
            while ("mpmc_up",) not in (found := scrape()):
                await asyncio.sleep(0.01)
        return found

    with jetstream.connect_sync(nats.url, "metrics-sync-loop") as queue:
        queue.enqueue("a")
        assert asyncio.run(main())["mpmc_enqueued_messages_total",] == 1
        queue.delete()


def test_a_loop_that_waits_for_the_scrape_is_not_waited_for_long(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        found = []
        scraping = threading.Thread(target=lambda: found.append(Scraper(queue)()))
        began = time.monotonic()
        scraping.start()
        scraping.join()  # blocks the loop
        assert time.monotonic() - began < SCRAPE
        assert found == [DOWN]

    run_remote(test)


# --- no answer --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:(unclosed|loop is closed):ResourceWarning")
def test_a_server_that_is_down_or_frozen_is_told_within_a_bound(directory):
    async def main():
        with servers.NatsServer(directory / "nats") as server:
            queues = [await jetstream.connect(server.url, name, patience=2) for name in ("one", "two", "three")]
            here = Queue("here")
            scrape = Scraper(queues[0])
            several = QueueCollector([here, *queues])
            await queues[0].aenqueue("a")
            assert (await in_thread(scrape))["mpmc_up",] == 1

            def up():
                for queue in queues:
                    queue._watch._begun -= PAUSE
                found, took = timed(lambda: list(several.collect()))
                assert took < SCRAPE  # for all of them together
                samples = [sample for family in found for sample in family.samples if sample.name == "mpmc_up"]
                return {sample.labels["queue"]: sample.value for sample in samples}

            server.pause()
            await eventually(up, lambda found: found == dict.fromkeys(("one", "two", "three"), 0))
            assert await in_thread(scrape) == DOWN
            server.resume()
            assert (await eventually(scrape.fresh, lambda found: found["mpmc_up",]))["mpmc_retained_messages",] == 1

            server.kill()
            await eventually(scrape.fresh, lambda found: found == DOWN)
            async with asyncio.timeout(PATIENCE):
                while queues[0]._server.client.is_connected:
                    await asyncio.sleep(0.01)
            _, took = await in_thread(lambda: timed(scrape.fresh))
            assert took < ROUND  # nobody waits for a connection that is not there
            server.start()
            found = await eventually(scrape.fresh, lambda found: found["mpmc_up",])
            assert found["mpmc_retained_messages",] == 1
            for queue in queues:
                await queue.aclose()

    asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE))


def test_a_stream_that_was_deleted_is_told(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        scrape = Scraper(queue)
        await in_thread(scrape)
        await queue._server.ask(f"STREAM.DELETE.{queue.name}")
        assert await in_thread(scrape.fresh) == DOWN
        assert queue._watch.known(PATIENCE).problem == "the stream has been deleted"

    run_remote(test)


def test_a_closed_handle_is_closed_and_not_down(run_remote):
    async def test(place):
        queue, _, _ = await busy(place)
        scrape = Scraper(queue)
        await in_thread(scrape)
        await queue.aclose()
        assert await in_thread(scrape.fresh) == {("mpmc_closed",): 1}

    run_remote(test)


def test_a_loop_that_has_ended_is_no_hang(nats):
    queues = []

    async def main():
        queues.append(await jetstream.connect(nats.url, "metrics-ended"))
        scrape = Scraper(*queues)
        assert (await in_thread(scrape))["mpmc_up",] == 1
        await queues[0].delete()
        return scrape

    scrape = asyncio.run(main())
    assert scrape.fresh() == {("mpmc_closed",): 1}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_by_fork_does_not_ask(nats):
    with jetstream.connect_sync(nats.url, "metrics-fork") as queue:
        scrape = Scraper(queue)
        assert scrape()["mpmc_up",] == 1
        child = os.fork()
        if child == 0:
            status = 1
            try:
                found, took = timed(scrape)
                status = 0 if found == {("mpmc_closed",): 0} and took < ROUND else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        queue.delete()


def test_without_the_permission_to_list_consumers_the_queue_has_its_figures(directory):
    allowed = {"publish": {"deny": ["$JS.API.CONSUMER.LIST.>"]}}
    users = [{"user": "a", "password": "b", "permissions": allowed}]

    async def main():
        with servers.NatsServer(directory / "nats", authorization={"users": users}) as server:
            url = server.url.replace("//", "//a:b@")
            async with await jetstream.connect(url, "orders") as queue:
                reader = await queue.add_consumer("reader")
                await queue.aenqueue_batch("ab")
                await reader.aread()
                scrape = Scraper(queue)
                for _ in range(2):
                    found = await in_thread(scrape.fresh)
                    assert (found["mpmc_retained_messages",], found["mpmc_consumers",], found["mpmc_up",]) == (2, 1, 1)
                    assert found["mpmc_delivered_messages_total", "reader"] == 1
                    assert ("mpmc_consumer_lag_messages", "reader") not in found

    asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE))


def test_a_list_of_consumers_that_does_not_come_does_not_hide_the_queue(run_remote, monkeypatch):
    async def test(place):
        queue, _, _ = await busy(place)
        monkeypatch.setattr(queue._watch, "_list", asyncio.Event().wait)
        found = await in_thread(Scraper(queue))
        assert (found["mpmc_up",], found["mpmc_retained_messages",], found["mpmc_consumers",]) == (1, 7, 4)
        assert found["mpmc_delivered_messages_total", "billing"] == 3
        assert ("mpmc_consumer_lag_messages", "billing") not in found

    run_remote(test)


# --- which queues -----------------------------------------------------------------------------------------------------


def test_queues_of_all_kinds_are_watched_together(nats):
    async def main():
        here = Queue("metrics-here")
        with jetstream.connect_sync(nats.url, "metrics-threads") as threads:
            async with await jetstream.connect(nats.url, "metrics-loop") as loop:
                registry = CollectorRegistry()
                collector = QueueCollector([here, threads], registry=registry)
                collector.add(loop)
                collector.add(loop)
                await in_thread(lambda: list(collector.collect()))
                names = ("metrics-here", "metrics-threads", "metrics-loop")
                found = [registry.get_sample_value("mpmc_up", {"queue": name}) for name in names]
                found = await in_thread(
                    lambda: [registry.get_sample_value("mpmc_up", {"queue": name}) for name in names]
                )
                assert found == [None, 1, 1]
                with pytest.raises(ValueError, match="name of its own"):
                    collector.add(Queue("metrics-loop"))
                collector.discard(loop)
                assert registry.get_sample_value("mpmc_closed", {"queue": "metrics-loop"}) is None
                await loop.delete()
            threads.delete()

    asyncio.run(main())


def test_metrics_and_dashboard_import_nothing_of_it():
    source = "import sys, mpmc_queue.dashboard; from mpmc_queue import Queue; from mpmc_queue.metrics import *; "
    source += "list(QueueCollector(Queue('here')).collect()); instrument(Queue('here')); "
    source += "print([name for name in sys.modules if name.startswith(('nats', 'mpmc_queue.jetstream'))])"
    assert output_of(source) == "[]\n"


@pytest.mark.parametrize("other", [object(), 3, "queue"])
def test_what_is_no_queue_is_refused(other):
    with pytest.raises(TypeError, match="queue must be a Queue"):
        QueueCollector([other])


def test_queues_are_held_weakly(nats):
    async def main():
        queue = await jetstream.connect(nats.url, "metrics-weak")
        scrape = Scraper(queue)
        await in_thread(scrape)
        await queue.delete()
        return scrape, weakref.ref(queue)

    scrape, reference = asyncio.run(main())
    gc.collect()
    assert reference() is None
    assert scrape() == {}
    queue = jetstream.connect_sync(nats.url, "metrics-weak-sync")
    scrape = Scraper(queue)
    assert scrape()["mpmc_up",] == 1
    queue.delete()
    del queue

    def is_gone():
        gc.collect()  # the loop's thread may still be leaving the last call
        return scrape() == {}

    it_comes_true(is_gone)
