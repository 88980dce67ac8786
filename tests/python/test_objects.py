"""The classes as Python objects: final, read-only, with weak references, neither copied nor pickled."""

import copy
import inspect
import pickle
import weakref

import pytest

import mpmc_queue
from mpmc_queue import Consumer, ConsumerStats, Event, Message, Queue, QueueStats

FINAL = [Queue, Consumer, Message, Event, QueueStats, ConsumerStats]


def one_of_each(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue("a")
    message = consumer.read()
    return {
        "Queue": queue,
        "Consumer": consumer,
        "Message": message,
        "Event": message.events[0],
        "QueueStats": queue.stats(),
        "ConsumerStats": consumer.stats(),
    }


def test_the_constants_are_as_documented():
    assert (mpmc_queue.CHUNK_SIZE, mpmc_queue.DEFAULT_TTL, mpmc_queue.DEFAULT_MAX_BYTES) == (1000, 600.0, 1_048_576)


def test_all_names_the_public_names():
    assert set(mpmc_queue.__all__) >= {
        *("CHUNK_SIZE", "DEFAULT_TTL", "DEFAULT_MAX_BYTES", "Queue", "Consumer", "Message", "Event"),
        *("QueueStats", "ConsumerStats", "QueueError", "QueueFullError", "MemoryLimitError", "ItemLimitError"),
        *("MessagesMissedError", "QueueClosedError", "ConsumerClosedError"),
    }
    assert all(hasattr(mpmc_queue, name) for name in mpmc_queue.__all__)


@pytest.mark.parametrize("cls", FINAL, ids=lambda cls: cls.__name__)
def test_classes_are_final(cls):
    with pytest.raises(TypeError):
        type("Sub", (cls,), {})


@pytest.mark.parametrize("cls", FINAL, ids=lambda cls: cls.__name__)
def test_classes_live_in_the_package(cls):
    assert cls.__module__ == "mpmc_queue"
    assert cls.__qualname__ == cls.__name__


@pytest.mark.parametrize("cls", [c for c in FINAL if c is not Queue], ids=lambda cls: cls.__name__)
def test_only_queues_can_be_constructed(cls):
    with pytest.raises(TypeError):
        cls()


@pytest.mark.parametrize("cls", [Queue, Consumer, Message], ids=lambda cls: cls.__name__)
def test_generic_classes_can_be_subscripted(cls):
    assert cls[int] is not None


@pytest.mark.parametrize("name", ["Queue", "Consumer", "Message"])
@pytest.mark.parametrize("operation", ["copy", "deepcopy", "pickle"])
def test_copies_and_pickles_are_refused_with_a_reason(make_queue, name, operation):
    objects = one_of_each(make_queue)
    with pytest.raises(TypeError, match=name) as caught:
        match operation:
            case "copy":
                copy.copy(objects[name])
            case "deepcopy":
                copy.deepcopy(objects[name])
            case _:
                pickle.dumps(objects[name])
    assert len(str(caught.value)) > len(f"cannot pickle '{name}' object")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["Queue", "Consumer", "Message"])
def test_pickles_of_every_protocol_are_refused(make_queue, name, protocol):
    with pytest.raises(TypeError, match=name):
        pickle.dumps(one_of_each(make_queue)[name], protocol)


@pytest.mark.parametrize("name", [cls.__name__ for cls in FINAL])
def test_all_can_be_weakly_referenced(make_queue, name):
    objects = one_of_each(make_queue)
    assert weakref.ref(objects[name])() is objects[name]


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        *[("Queue", a) for a in ("name", "created_at", "consumers", "expiration_enabled", "memory_usage", "closed")],
        *[("Consumer", a) for a in ("id", "name", "queue", "position", "unread_count", "missed_count")],
    ],
)
def test_attributes_not_marked_settable_are_read_only(make_queue, name, attribute):
    owner = one_of_each(make_queue)[name]
    before = getattr(owner, attribute)
    with pytest.raises(AttributeError):
        setattr(owner, attribute, before)
    with pytest.raises(AttributeError):
        delattr(owner, attribute)


@pytest.mark.parametrize("name", [cls.__name__ for cls in FINAL])
def test_objects_accept_no_new_attributes(make_queue, name):
    with pytest.raises(AttributeError):
        one_of_each(make_queue)[name].extra = 1


@pytest.mark.parametrize("name", [cls.__name__ for cls in FINAL])
def test_repr_names_the_class(make_queue, name):
    assert name in repr(one_of_each(make_queue)[name])


@pytest.mark.parametrize("name", ["Queue", "Consumer", "Message"])
def test_equality_is_identity(make_queue, name):
    one, other = one_of_each(make_queue)[name], one_of_each(make_queue)[name]
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("cls", FINAL, ids=lambda cls: cls.__name__)
def test_everything_public_is_documented(cls):
    assert inspect.getdoc(cls)
    undocumented = [
        name for name, member in vars(cls).items() if not name.startswith("_") and not inspect.getdoc(member)
    ]
    assert undocumented == []
