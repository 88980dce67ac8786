"""Which series exist while consumers are added and removed, and that counters never decrease."""

import threading

import pytest

from test_metrics import Prometheus, Samples


@pytest.mark.parametrize("named", [True, False])
def test_counters_do_not_go_backwards_when_a_consumer_is_removed(make_queue, named):
    queue = make_queue(max_items=5, overflow="drop_oldest")
    leaver, stayer = (queue.add_consumer("twin" if named else None) for _ in range(2))
    queue.enqueue_batch(range(5))
    leaver.read_batch(3)
    queue.enqueue_batch(range(5))
    labels = {"consumer": "twin"} if named else {}
    scraped = Prometheus(queue)

    def counters() -> list[float | None]:
        names = ("mpmc_delivered_messages_total", "mpmc_missed_messages_total")
        return [scraped.value(name, **labels) for name in names]

    assert counters() == [3, 7]
    leaver.close()
    assert counters() == [3, 7]
    stayer.read_batch(2)
    assert counters() == [5, 7]
    stayer.close()
    assert counters() == ([None, None] if named else [5, 7])


def test_consumers_added_and_removed_between_two_scrapes_are_counted(make_queue):
    queue = make_queue()
    queue.enqueue_batch(range(5))
    scraped = Prometheus(queue)
    for _ in range(10):
        with queue.add_consumer() as consumer:
            consumer.read_batch(5)
    assert scraped.value("mpmc_delivered_messages_total") == 50
    assert scraped.value("mpmc_consumers") == 0


def test_counters_only_grow_while_consumers_are_added_and_removed(make_queue, run_thread):
    queue = make_queue(max_items=50, overflow="drop_oldest")
    group = queue.add_group("workers")
    scraped = Prometheus(queue)
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            queue.enqueue_batch(range(10))
            with queue.add_consumer() as one, queue.add_consumer("twin") as two, group.add_consumer() as three:
                for consumer in (one, two, three):
                    consumer.read_batch(7)

    with queue.add_consumer("twin"):
        workers = [run_thread(come_and_go) for _ in range(3)]
        before: Samples = {}
        for _ in range(100):
            now = {key: value for key, value in scraped.scrape().items() if key[0].endswith("_total")}
            assert before.keys() <= now.keys()
            assert [key for key, value in before.items() if now[key] < value] == []
            before = now
        is_over.set()
        for worker in workers:
            worker.join()
    assert before["mpmc_delivered_messages_total", (("queue", "test"),)] > 0


def test_members_without_a_name_are_summed_in_their_group(make_queue):
    queue = make_queue()
    group = queue.add_group("workers")
    one, two = group.add_consumer(), group.add_consumer()
    queue.enqueue_batch(range(5))
    one.read_batch(2)
    two.read_batch(1)
    scraped = Prometheus(queue)
    assert scraped.value("mpmc_delivered_messages_total", group="workers") == 3
    assert scraped.value("mpmc_consumer_lag_messages", group="workers") == 2  # once, not for each member
    one.close()
    assert scraped.value("mpmc_delivered_messages_total", group="workers") == 3
    group.close()
    assert not [key for key in scraped.scrape() if ("group", "workers") in key[1]]


def test_unnamed_consumers_share_one_series(make_queue):
    queue = make_queue()
    for _ in range(100):
        queue.add_consumer()
    queue.enqueue("a")
    keys = [key for key in Prometheus(queue).scrape() if key[0] == "mpmc_consumer_lag_messages"]
    assert keys == [("mpmc_consumer_lag_messages", (("queue", "test"),))]


def test_the_lag_of_unnamed_consumers_is_that_of_the_slowest(make_queue):
    queue = make_queue()
    slow, fast = queue.add_consumer(), queue.add_consumer()
    queue.enqueue("a")
    fast.read()
    lag = Prometheus(queue).value("mpmc_consumer_lag_seconds")
    assert lag is not None
    assert 0 < lag <= slow.stats().lag
