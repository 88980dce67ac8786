"""Adding one message: what is returned, what is kept, which consumers see it."""

import gc
import threading
import weakref

import pytest

from helpers import READS, expire_all, payloads
from mpmc_queue import CHUNK_SIZE, DEFAULT_MAX_BYTES, DEFAULT_TTL, ItemLimitError, Queue


class Payload:
    pass


def test_a_new_queue_has_the_documented_defaults(make_queue):
    queue = make_queue("orders")
    assert queue.name == "orders"
    assert queue.ttl == DEFAULT_TTL == 600.0
    assert queue.max_bytes == DEFAULT_MAX_BYTES == 1_048_576
    assert queue.max_items is None
    assert queue.expiration_enabled is True
    assert queue.closed is False
    assert queue.consumers == ()


def test_a_new_queue_is_empty_and_uses_no_memory(make_queue):
    queue = make_queue()
    assert len(queue) == 0
    assert queue.is_empty() is True
    assert queue.memory_usage == 0


def test_name_is_the_only_positional_argument():
    with pytest.raises(TypeError):
        Queue("test", 600.0)
    with pytest.raises(TypeError):
        Queue()


def test_enqueue_returns_seqs_from_zero_without_gaps(make_queue):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    count = 2 * CHUNK_SIZE + 500
    assert [queue.enqueue(i) for i in range(count)] == list(range(count))


def test_messages_are_read_in_enqueue_order_across_chunks(make_queue):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer()
    count = 3 * CHUNK_SIZE + 1
    for i in range(count):
        queue.enqueue(i)
    messages = [consumer.read() for _ in range(count)]
    assert [m.payload for m in messages] == list(range(count))
    assert [m.seq for m in messages] == list(range(count))
    assert consumer.read() is None


@pytest.mark.parametrize(
    "payload",
    [None, False, 0, 1 << 100, 0.5, 1j, "", "ü", b"", (), [], {}, {1}, ..., int, len, ValueError("no")],
    ids=repr,
)
@pytest.mark.parametrize("how", READS)
def test_the_same_object_is_returned(make_queue, payload, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue(payload)
    assert READS[how](consumer, 0.0) is payload


def test_every_consumer_reads_every_message(make_queue):
    queue = make_queue()
    consumers = [queue.add_consumer() for _ in range(5)]
    for i in range(10):
        queue.enqueue(i)
    for consumer in consumers:
        assert payloads(consumer) == list(range(10))


def test_the_same_object_twice_is_two_messages(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    payload = Payload()
    assert [queue.enqueue(payload), queue.enqueue(payload)] == [0, 1]
    assert [m.payload for m in consumer.read_batch(10)] == [payload, payload]


def test_reading_does_not_remove(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    held = queue.memory_usage
    assert consumer.get_nowait() == "a"
    assert len(queue) == 1
    assert queue.memory_usage == held


def test_len_and_is_empty_count_held_messages(make_queue):
    queue = make_queue(ttl=None)
    for i in range(3):
        queue.enqueue(i)
        assert len(queue) == i + 1
        assert queue.is_empty() is False
    expire_all(queue)
    assert queue.is_empty() is True


def test_an_empty_queue_is_truthy(make_queue):
    queue = make_queue()
    assert bool(queue) is True
    queue.enqueue(1)
    assert bool(queue) is True


def test_a_refused_message_uses_no_seq(make_queue):
    queue = make_queue(ttl=None, max_items=1)
    assert queue.enqueue("a") == 0
    with pytest.raises(ItemLimitError):
        queue.enqueue("b")
    queue.max_items = 2
    assert queue.enqueue("c") == 1


def test_seqs_go_on_after_the_queue_was_empty(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue("a")
    expire_all(queue)
    assert queue.enqueue("b") == 1


def test_seqs_of_two_queues_are_independent(make_queue):
    first, second = make_queue("first"), make_queue("second")
    first.enqueue("a")
    assert second.enqueue("b") == 0


def test_put_and_put_nowait_return_none(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert queue.put("a") is None
    assert queue.put("b", True, 1.0) is None
    assert queue.put(item="c", block=False) is None
    assert queue.put_nowait("d") is None
    assert payloads(consumer) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("timeout", [0, 0.0, 1, 2.5, None, float("inf"), 1e300], ids=str)
def test_a_message_that_fits_is_added_whatever_the_timeout(make_queue, timeout):
    queue = make_queue()
    assert queue.enqueue("a", timeout=timeout) == 0
    assert queue.enqueue_batch(["b"], timeout=timeout) == range(1, 2)
    queue.put("c", timeout=timeout)
    assert len(queue) == 3


def test_a_payload_is_freed_when_its_message_expires(make_queue):
    queue = make_queue(ttl=None)
    payload = Payload()
    alive = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    gc.collect()
    assert alive() is not None
    expire_all(queue)
    gc.collect()
    assert alive() is None


def test_a_delivered_message_keeps_its_payload_alive(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    payload = Payload()
    alive = weakref.ref(payload)
    queue.enqueue(payload)
    message = consumer.read()
    del payload
    expire_all(queue)
    gc.collect()
    assert message.payload is alive()
    del message
    gc.collect()
    assert alive() is None


def test_payloads_are_freed_with_their_queue():
    queue = Queue("test")
    payload = threading.Event()
    alive = weakref.ref(payload)
    queue.enqueue(payload)
    del payload, queue
    gc.collect()
    assert alive() is None


def test_a_refused_payload_is_not_kept(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    payload = Payload()
    alive = weakref.ref(payload)
    with pytest.raises(ItemLimitError):
        queue.enqueue(payload)
    del payload
    gc.collect()
    assert alive() is None
