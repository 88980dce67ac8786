"""User code runs without a lock: it may use the queue that called it, and may fail."""

import contextlib

import pytest

from helpers import expire_all, payloads
from mpmc_queue import ConsumerClosedError, ItemLimitError, QueueClosedError, QueueFullError


class Sized:
    """A payload whose size is computed by Python code."""

    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size

    def __sizeof__(self):
        return self.size()


class Dying:
    """A payload that does something when it is freed."""

    def __init__(self, then):
        self.then = then

    def __del__(self):
        self.then()


class Hostile:
    """Everything that Python calls implicitly on an object fails."""

    def _no(self, *args):
        raise AssertionError("payloads are none of the queue's business")

    __eq__ = __hash__ = __bool__ = __repr__ = __str__ = __len__ = __iter__ = _no


def use(queue):
    """Uses a little of everything."""
    consumer = queue.add_consumer("inner")
    len(queue)
    queue.stats()
    queue.force_expiration()
    with contextlib.suppress(QueueClosedError):
        consumer.read()
    consumer.peek()
    consumer.stats()
    consumer.history()
    queue.consumer_stats()
    queue.remove_consumer(consumer)


# --- __del__ of payloads


@pytest.mark.parametrize("leave", ["force_expiration", "expiry", "close", "after close"])
def test_a_payloads_finalizer_may_use_the_queue(make_queue, leave):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    died = []

    def then():
        use(queue)
        died.append(len(queue))
        if not queue.closed:
            queue.enqueue("from beyond")

    queue.enqueue_batch(Dying(then) for _ in range(10))
    match leave:
        case "force_expiration":
            queue.ttl = 1e-9
            queue.force_expiration()
            queue.ttl = None
        case "expiry":
            queue.ttl = 0.01
            while len(died) < 10:
                consumer.take_missed(timeout=0.1)
        case "close":
            queue.close(immediate=True)
        case _:
            queue.close()
            expire_all(queue)
    assert len(died) == 10


def test_a_payloads_finalizer_may_close_the_queue(make_queue):
    queue = make_queue(ttl=None)
    queue.enqueue_batch(Dying(lambda: queue.close(immediate=True)) for _ in range(3))
    queue.ttl = 1e-9
    queue.force_expiration()
    assert queue.closed
    assert queue.memory_usage == 0


def test_the_finalizer_of_a_refused_payload_may_use_the_queue(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    died = []
    with pytest.raises(ItemLimitError):
        queue.enqueue_batch(Dying(lambda: (use(queue), died.append(1))) for _ in range(2))
    assert died == [1, 1]


# --- sizer and __sizeof__


def sized_by(how, make_queue, size, **arguments):
    """A queue and a payload whose size is computed by `size`, in one of two ways."""
    if how == "sizer":
        return make_queue(sizer=lambda payload: size() if payload == "sized" else 1, **arguments), "sized"
    return make_queue(**arguments), Sized(size)


ways = pytest.mark.parametrize("how", ["sizer", "__sizeof__"])


@ways
@pytest.mark.parametrize("batch", [False, True])
def test_sizing_may_enqueue(make_queue, how, batch):
    def size():
        queue.enqueue("inner")
        use(queue)
        return 5

    queue, payload = sized_by(how, make_queue, size)
    consumer = queue.add_consumer()
    if batch:
        assert queue.enqueue_batch([payload, payload]) == range(2, 4)
        assert payloads(consumer) == ["inner", "inner", payload, payload]
    else:
        assert queue.enqueue(payload) == 1
        assert payloads(consumer) == ["inner", payload]


@ways
@pytest.mark.parametrize("batch", [False, True])
def test_an_error_in_sizing_does_not_change_the_queue(make_queue, how, batch):
    error = ZeroDivisionError("the very one")

    def size():
        raise error

    queue, payload = sized_by(how, make_queue, size)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    before = queue.memory_usage
    with pytest.raises(ZeroDivisionError) as caught:
        queue.enqueue_batch(["b", payload, "c"]) if batch else queue.enqueue(payload)
    assert caught.value is error
    assert (len(queue), queue.memory_usage) == (1, before)
    assert queue.stats().rejected == 0
    assert queue.enqueue("next") == 1
    assert payloads(consumer) == ["a", "next"]


@ways
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("immediate", [False, True])
def test_a_queue_closed_while_sizing_is_closed(make_queue, how, batch, immediate):
    def size():
        queue.close(immediate=immediate)
        return 5

    queue, payload = sized_by(how, make_queue, size)
    with pytest.raises(QueueClosedError):
        queue.enqueue_batch([payload]) if batch else queue.enqueue(payload)
    assert len(queue) == 0


@ways
def test_limits_set_while_sizing_apply(make_queue, how):
    def size():
        queue.max_items = 1
        return 5

    queue, payload = sized_by(how, make_queue, size)
    queue.enqueue("a")
    with pytest.raises(ItemLimitError):
        queue.enqueue(payload)
    assert len(queue) == 1


def test_space_used_while_sizing_is_used(make_queue):
    def sizer(payload):
        if payload == "outer":
            queue.enqueue("inner")
        return 1

    queue = make_queue(max_items=1, sizer=sizer)
    with pytest.raises(QueueFullError):
        queue.enqueue("outer")
    assert queue.add_consumer().get_nowait() == "inner"


@pytest.mark.parametrize("change", ["append", "clear", "pop"])
def test_a_list_changed_while_it_is_enqueued_does_no_harm(make_queue, change):
    batch = list(range(200))

    def sizer(payload):
        if payload == 100:
            batch.append(1000) if change == "append" else batch.clear() if change == "clear" else batch.pop()
        return 1

    queue = make_queue(sizer=sizer)
    consumer = queue.add_consumer()
    try:
        seqs = queue.enqueue_batch(batch)
    except RuntimeError:  # the error of a dict or deque
        seqs = range(0)
    got = payloads(consumer)
    assert len(got) == len(seqs) == len(queue)
    assert got[:101] == list(range(101))[: len(got)]


# --- iterables


def test_an_iterable_may_use_the_queue(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()

    def batch():
        for i in range(3):
            queue.enqueue(f"inner {i}")
            use(queue)
            yield i

    assert queue.enqueue_batch(batch()) == range(3, 6)
    assert payloads(consumer) == ["inner 0", "inner 1", "inner 2", 0, 1, 2]


@pytest.mark.parametrize("at", [0, 2])
def test_a_queue_closed_by_the_iterable_is_closed(make_queue, at):
    queue = make_queue()

    def batch():
        for i in range(3):
            if i == at:
                queue.close()
            yield i

    with pytest.raises(QueueClosedError):
        queue.enqueue_batch(batch())
    assert len(queue) == 0


def test_a_batch_may_be_another_consumers_iterator(make_queue):
    source, sink = make_queue(), make_queue()
    reader, consumer = source.add_consumer(), sink.add_consumer()
    source.enqueue_batch("abc")
    source.close()
    assert sink.enqueue_batch(m.payload for m in reader) == range(3)
    assert payloads(consumer) == ["a", "b", "c"]


# --- predicates


def test_a_predicate_may_use_the_queue(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")

    def predicate(message):
        use(queue)
        if message.payload == "a":
            queue.enqueue("late")
        return message.payload == "late"

    assert consumer.read_where(predicate).seq == 3


def test_a_predicate_that_reads_its_own_consumer_shares_with_it(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(6))
    seen, inner = [], []

    def predicate(message):
        seen.append(message.payload)
        inner.append(consumer.get_nowait())

    assert consumer.read_where(predicate) is None
    assert sorted(seen + inner) == list(range(6))
    assert consumer.stats().total_items_read == 6


@pytest.mark.parametrize("end", ["close", "removal"])
def test_a_predicate_may_close_the_queue_or_consumer(make_queue, end):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")

    def predicate(message):
        queue.close(immediate=True) if end == "close" else consumer.close()
        return False

    with pytest.raises(QueueClosedError if end == "close" else ConsumerClosedError):
        consumer.read_where(predicate, timeout=None)


def test_a_predicate_may_make_the_rest_expire(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    assert consumer.read_where(lambda m: expire_all(queue)) is None
    assert consumer.stats().total_items_read == 1
    assert consumer.missed_count == 2


# --- on_missed


def test_a_callback_may_use_the_queue_and_its_own_consumer(make_queue):
    queue = make_queue(ttl=None)
    calls = []

    def callback(count):
        calls.append(count)
        use(queue)
        queue.enqueue("from the callback")
        calls.append(consumer.get_nowait())

    consumer = queue.add_consumer(on_missed=callback)
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("de")
    assert consumer.get_nowait() == "e"
    assert calls == [3, "d"]
    assert consumer.get_nowait() == "from the callback"


@pytest.mark.parametrize("end", ["close", "removal"])
def test_a_callback_may_close_the_queue_or_consumer(make_queue, end):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(
        on_missed=lambda n: queue.close(immediate=True) if end == "close" else consumer.close()
    )
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue("d")
    with pytest.raises(QueueClosedError if end == "close" else ConsumerClosedError):
        consumer.read()


def test_a_callback_may_seek(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed=lambda n: consumer.seek("latest"))
    queue.enqueue_batch("abc")
    expire_all(queue)
    queue.enqueue_batch("de")
    assert consumer.read() is None
    assert consumer.position == 5


# --- payloads in general


def test_no_code_of_a_payload_runs_except_its_sizing(make_queue):
    queue = make_queue(ttl=None, sizer=lambda payload: 1)
    consumer = queue.add_consumer()
    hostile = Hostile()
    queue.enqueue(hostile)
    queue.enqueue_batch([hostile] * 3)
    queue.put(hostile)
    assert consumer.read().payload is hostile
    assert consumer.get_nowait() is hostile
    assert [p is hostile for p in consumer.get_batch(2)] == [True, True]
    assert consumer.read_where(lambda m: True).payload is hostile
    expire_all(queue)
    assert len(queue) == 0
