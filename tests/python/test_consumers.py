"""Consumers of a queue: added, found, listed, removed; and which objects keep which alive."""

import gc
import uuid
import weakref

import pytest

from helpers import payloads
from mpmc_queue import Consumer, Queue


def ids(queue):
    return [consumer.id for consumer in queue.consumers]


def test_a_consumer_has_an_id_and_an_optional_name(make_queue):
    queue = make_queue("orders")
    named, positional, nameless = queue.add_consumer(name="a"), queue.add_consumer("b"), queue.add_consumer()
    assert [type(c) for c in (named, positional, nameless)] == [Consumer] * 3
    assert [c.name for c in (named, positional, nameless)] == ["a", "b", None]
    assert [type(c.id) for c in (named, positional, nameless)] == [uuid.UUID] * 3
    assert len({c.id for c in (named, positional, nameless)}) == 3
    assert named.queue.name == "orders"


def test_start_and_on_missed_are_keyword_only(make_queue):
    with pytest.raises(TypeError):
        make_queue().add_consumer("a", "latest")


def test_the_queue_of_a_consumer_is_its_queue(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    consumer.queue.enqueue("a")
    assert payloads(consumer) == ["a"]
    assert len(queue) == 1


def test_consumers_are_listed_in_the_order_they_were_added(make_queue):
    queue = make_queue()
    added = [queue.add_consumer() for _ in range(5)]
    assert type(queue.consumers) is tuple
    assert ids(queue) == [c.id for c in added]
    queue.remove_consumer(added[2])
    assert ids(queue) == [c.id for c in added[:2] + added[3:]]


def test_a_listed_consumer_is_the_one_that_was_added(make_queue):
    queue = make_queue()
    added = queue.add_consumer()
    queue.enqueue_batch("ab")
    (listed,) = queue.consumers
    assert listed.get_nowait() == "a"
    assert added.get_nowait() == "b"


@pytest.mark.parametrize("form", [lambda i: i, str], ids=["uuid", "str"])
def test_a_consumer_is_found_by_its_id(make_queue, form):
    queue = make_queue()
    queue.add_consumer()
    consumer = queue.add_consumer("wanted")
    found = queue.get_consumer(form(consumer.id))
    assert (found.id, found.name) == (consumer.id, "wanted")


def test_an_unknown_id_finds_nothing(make_queue):
    queue, other = make_queue(), make_queue()
    queue.add_consumer()
    unknown = [uuid.uuid4(), str(uuid.uuid4()), other.add_consumer().id]
    assert [queue.get_consumer(i) for i in unknown] == [None] * 3


def test_a_removed_consumer_is_not_found(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    consumer.close()
    assert queue.get_consumer(consumer.id) is None


@pytest.mark.parametrize("form", [lambda c: c, lambda c: c.id, lambda c: str(c.id)], ids=["consumer", "uuid", "str"])
def test_a_consumer_is_removed_once(make_queue, form):
    queue = make_queue()
    stays, goes = queue.add_consumer(), queue.add_consumer()
    assert queue.remove_consumer(form(goes)) is True
    assert queue.remove_consumer(form(goes)) is False
    assert ids(queue) == [stays.id]


@pytest.mark.parametrize("form", [lambda c: c, lambda c: c.id, lambda c: str(c.id)], ids=["consumer", "uuid", "str"])
def test_a_consumer_of_another_queue_is_not_removed(make_queue, form):
    queue, other = make_queue("same"), make_queue("same")
    consumer = other.add_consumer()
    queue.add_consumer()
    assert queue.remove_consumer(form(consumer)) is False
    assert len(queue.consumers) == len(other.consumers) == 1
    other.enqueue("a")
    assert payloads(consumer) == ["a"]


def test_removing_one_consumer_does_not_move_the_others(make_queue):
    queue = make_queue()
    first, second = queue.add_consumer(), queue.add_consumer()
    queue.enqueue_batch("abc")
    second.read()
    first.close()
    assert payloads(second) == ["b", "c"]
    assert len(queue) == 3


def test_a_consumer_stays_registered_without_other_references(make_queue):
    queue = make_queue()
    consumer_id = queue.add_consumer("forgotten").id
    queue.enqueue("a")
    gc.collect()
    assert queue.stats().consumer_count == 1
    assert queue.join(0) is False
    assert queue.get_consumer(consumer_id).get_nowait() == "a"


def test_a_consumer_keeps_its_queue_alive_and_open():
    consumer = Queue("test").add_consumer()
    gc.collect()
    assert consumer.queue.closed is False
    assert consumer.queue.enqueue("a") == 0
    assert consumer.get(timeout=1) == "a"


def test_a_queue_and_its_consumers_are_collected_together():
    class Payload:
        pass

    queue = Queue("test")
    consumer = queue.add_consumer()
    payload = Payload()
    payload.holds = (queue, consumer)
    queue.enqueue(payload)
    payload.message = consumer.read()
    alive = weakref.ref(payload)
    del payload, queue, consumer
    for _ in range(3):
        gc.collect()
    assert alive() is None


@pytest.mark.parametrize("holder", ["sizer", "on_missed"])
def test_a_callback_that_refers_to_its_queue_is_collected_with_it(holder):
    class Callback:
        def __call__(self, value):
            return 1

    callback = Callback()
    if holder == "sizer":
        queue = Queue("test", sizer=callback)
    else:
        queue = Queue("test")
        queue.add_consumer(on_missed=callback)
    callback.queue = queue
    alive = weakref.ref(callback)
    del callback, queue
    for _ in range(3):
        gc.collect()
    assert alive() is None


def test_a_payload_that_refers_to_its_consumer_is_collected_with_an_unread_queue():
    class Payload:
        pass

    consumer = Queue("test", max_bytes=2**30).add_consumer()
    payload = Payload()
    payload.consumer = consumer
    consumer.queue.enqueue_batch([payload] * 2500)
    alive = weakref.ref(payload)
    del payload, consumer
    for _ in range(3):
        gc.collect()
    assert alive() is None
