"""The errors: their class hierarchy, their figures, and that they survive pickling."""

import asyncio
import pickle

import pytest

from helpers import expire_all
from mpmc_queue import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    Queue,
    QueueClosedError,
    QueueError,
    QueueFullError,
)


def too_many(make_queue):
    queue = make_queue(max_items=2)
    queue.enqueue("a")
    queue.enqueue_batch(range(4))


def too_much(make_queue):
    make_queue(max_bytes=1).enqueue("a")


def missed(make_queue):
    queue = make_queue(ttl=None)
    consumer = queue.add_consumer(on_missed="raise")
    queue.enqueue_batch("abc")
    expire_all(queue)
    consumer.read()


def closed(make_queue):
    queue = make_queue()
    queue.close()
    queue.enqueue("a")


def drained(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.close()
    consumer.read()


def removed(make_queue):
    consumer = make_queue().add_consumer()
    consumer.close()
    consumer.read()


RAISED = [
    (too_many, ItemLimitError, {"current": 1, "max": 2, "needed": 4}),
    (too_much, MemoryLimitError, {"current": 0, "max": 1}),
    (missed, MessagesMissedError, {"count": 3}),
    (closed, QueueClosedError, {}),
    (drained, QueueClosedError, {}),
    (removed, ConsumerClosedError, {}),
]
each = pytest.mark.parametrize(("cause", "kind", "figures"), RAISED, ids=lambda value: getattr(value, "__name__", ""))


def raised(make_queue, cause):
    with pytest.raises(QueueError) as caught:
        cause(make_queue)
    return caught.value


@each
def test_every_error_is_a_queue_error_with_message_and_figures(make_queue, cause, kind, figures):
    error = raised(make_queue, cause)
    assert type(error) is kind
    assert type(error.message) is str
    assert len(error.message) > 10
    assert str(error) == error.message
    assert {name: getattr(error, name) for name in figures} == figures


@each
def test_the_figures_are_in_the_message(make_queue, cause, kind, figures):
    error = raised(make_queue, cause)
    for figure in figures.values():
        assert str(figure) in error.message


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_a_pickle(make_queue, cause, kind, figures, protocol):
    error = raised(make_queue, cause)
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is kind
    assert (str(copy), copy.message, copy.args) == (str(error), error.message, error.args)
    for name in figures:
        assert getattr(copy, name) == getattr(error, name)


@pytest.mark.parametrize(
    "kind", [QueueError, *{kind for _, kind, _ in RAISED}, QueueFullError], ids=lambda k: k.__name__
)
def test_errors_live_in_the_package(kind):
    assert kind.__module__ == "mpmc_queue"
    assert issubclass(kind, QueueError)
    assert issubclass(kind, Exception)


def test_closed_and_missed_errors_are_different_classes():
    assert not issubclass(QueueClosedError, ConsumerClosedError)
    assert not issubclass(ConsumerClosedError, QueueClosedError)
    assert issubclass(MemoryLimitError, QueueFullError)
    assert issubclass(ItemLimitError, QueueFullError)
    assert not issubclass(MemoryLimitError, ItemLimitError)


def closed_to_producers(queue, reader):
    queue.close()
    queue.enqueue("late")


def closed_to_readers(queue, reader):
    queue.close()
    reader.read()


def removed(queue, reader):
    reader.close()
    reader.get()


def missed(queue, reader):
    queue.enqueue("soon gone", ttl=1e-9)
    reader.read()


def no_settling(queue, reader):
    queue.enqueue("a")
    reader.read().ack()


def group_closed(queue, reader):
    group = queue.add_group("workers")
    group.close()
    group.stats()


@pytest.mark.parametrize(
    "cause",
    [
        lambda queue, reader: queue.enqueue("x" * 10_000),
        lambda queue, reader: queue.enqueue_batch("abc"),
        lambda queue, reader: asyncio.run(awaited(lambda: queue.aenqueue_batch("abc"))),
        closed_to_producers,
        closed_to_readers,
        removed,
        missed,
        no_settling,
        group_closed,
    ],
)
def test_every_error_names_its_queue(cause):
    queue = Queue("the very queue", max_bytes=5_000, max_items=2)
    reader = queue.add_consumer(on_missed="raise")
    with pytest.raises(QueueError) as caught:
        cause(queue, reader)
    assert caught.value.queue == "the very queue"
    assert "'the very queue'" in str(caught.value)


async def awaited(call):
    await call()


@pytest.mark.parametrize("limit", [{"max_bytes": 500}, {"max_items": 3}])
def test_a_refusal_says_if_everyone_has_read_the_messages_held(make_queue, limit):
    queue = make_queue(**limit)
    consumers = queue.add_consumer(), queue.add_consumer()
    with pytest.raises(QueueFullError) as refused:
        while True:
            queue.enqueue("x" * 50)
    assert "everyone has read" not in str(refused.value)
    consumers[0].get_batch(9)
    with pytest.raises(QueueFullError) as refused:
        queue.enqueue("x" * 50)
    assert "everyone has read" not in str(refused.value)
    consumers[1].get_batch(9)
    for call in (
        queue.enqueue,
        queue.put_nowait,
        lambda item: queue.enqueue_batch([item]),
        lambda i: queue.put(i, timeout=0.01),
    ):
        with pytest.raises(QueueFullError) as refused:
            call("x" * 50)
        text = str(refused.value)
        assert text.index('retention="interest"') < text.index('overflow="drop_oldest"') < text.index("timeout=")
        assert refused.value.current + refused.value.needed > refused.value.max
        assert str(pickle.loads(pickle.dumps(refused.value))) == text


def test_a_refusal_without_consumers_or_with_deliveries_pending_does_not_say_so(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    with pytest.raises(ItemLimitError) as refused:
        queue.enqueue("b")
    assert "everyone" not in str(refused.value)
    member = queue.add_group("workers", ack_wait=60).add_consumer()
    message = member.read()
    with pytest.raises(ItemLimitError) as refused:
        queue.enqueue("b")
    assert "everyone" not in str(refused.value)
    message.ack()
    with pytest.raises(ItemLimitError, match="everyone has read"):
        queue.enqueue("b")
