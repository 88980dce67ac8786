"""The built-in estimate of a payload's bytes: deep, conservative, each object once, without recursion limits."""

import array
import collections
import dataclasses
import datetime
import decimal
import sys
import types

import pytest

KILO = 1000


def size_of(make_queue, payload):
    """The size that the queue charges for the payload."""
    queue = make_queue(max_bytes=2**40)
    queue.enqueue(payload)
    return queue.add_consumer().peek().size


@dataclasses.dataclass
class Record:
    body: bytes


@dataclasses.dataclass(slots=True)
class SlottedRecord:
    body: bytes


class Plain:
    def __init__(self, body):
        self.body = body


class Slots:
    __slots__ = ("body",)

    def __init__(self, body):
        self.body = body


class SubSlots(Slots):
    __slots__ = ("more",)


class Empty:
    pass


class WithSizeof:
    __slots__ = ()

    def __sizeof__(self):
        return 54_321


Point = collections.namedtuple("Point", "x y")


NUMBERS = [0, 1, -1, 2**30, 2**64, 2**10_000, 0.0, 1.5, 1j, decimal.Decimal("1.5")]
TEXTS = ["", "a", "a" * KILO, "ü" * KILO, "中" * KILO, "😀" * KILO, b"", b"a" * KILO]
BUFFERS = [bytearray(KILO), array.array("d", range(KILO))]
TIMES = [datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), datetime.timedelta(1)]
SEQUENCES = [(), (1, 2), [], [1] * KILO, range(10), slice(1, 2), collections.deque(range(KILO)), Point(1, 2)]
SETS = [set(), set(range(KILO)), frozenset(range(KILO))]
TABLES = [{}, {1: 2}, dict.fromkeys(range(KILO)), collections.OrderedDict(a=1), collections.Counter("abc")]
COMMON = [
    0,
    2**64,
    1.5,
    "a" * KILO,
    "中" * KILO,
    b"a" * KILO,
    bytearray(KILO),
    (),
    [],
    {},
    set(),
    (1, 2),
    [1.5],
    {"a": 1},
]


def label(payload):
    return f"{type(payload).__name__} {payload!r:.12}"


@pytest.mark.parametrize(
    "payload",
    [*NUMBERS, *TEXTS, *BUFFERS, *TIMES, *SEQUENCES, *SETS, *TABLES, object(), Empty()],
    ids=label,
)
def test_no_payload_is_estimated_below_its_own_memory(make_queue, payload):
    assert size_of(make_queue, payload) >= payload.__sizeof__()


@pytest.mark.parametrize("payload", COMMON, ids=label)
def test_no_common_payload_is_estimated_far_above_its_memory(make_queue, payload):
    own = sys.getsizeof(payload)
    inner = list(payload.keys()) + list(payload.values()) if type(payload) is dict else []
    inner = list(payload) if type(payload) in (tuple, list, set) else inner
    assert size_of(make_queue, payload) <= own + sum(map(sys.getsizeof, inner)) + 128


def body():
    return b"x" * 100_000


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: [body()],
        lambda: (body(),),
        lambda: {body()},
        lambda: frozenset([body()]),
        lambda: {"key": body()},
        lambda: {body(): "value"},
        lambda: collections.deque([body()]),
        lambda: collections.OrderedDict(key=body()),
        lambda: collections.defaultdict(list, key=body()),
        lambda: Point(body(), 1),
        lambda: [[[(body(),)]]],
        lambda: Record(body()),
        lambda: SlottedRecord(body()),
        lambda: Plain(body()),
        lambda: Slots(body()),
        lambda: SubSlots(body()),
        lambda: types.SimpleNamespace(body=body()),
        lambda: [Record([Plain({"a": body()})])],
        lambda: bytearray(100_000),
        lambda: memoryview(body()),
        lambda: array.array("b", body()),
        lambda: "x" * 100_000,
        lambda: "中" * 50_000,
    ],
    ids=[
        *"list tuple set frozenset dict_value dict_key deque OrderedDict defaultdict namedtuple nested".split(),
        *"dataclass slotted_dataclass __dict__ __slots__ inherited_slots namespace mixed".split(),
        *"bytearray memoryview array ascii wide".split(),
    ],
)
def test_the_contents_of_a_payload_are_counted(make_queue, wrap):
    assert 100_000 <= size_of(make_queue, wrap()) < 110_000


def test_each_object_counts_once_per_payload(make_queue):
    shared = body()
    assert size_of(make_queue, [shared] * 50) < 110_000
    assert size_of(make_queue, {"a": shared, "b": [shared, Plain(shared)]}) < 110_000
    assert size_of(make_queue, [body() for _ in range(5)]) >= 500_000


def test_shared_objects_count_for_each_payload(make_queue):
    shared = body()
    queue = make_queue()
    queue.enqueue_batch([shared, [shared]])
    assert all(m.size >= 100_000 for m in queue.add_consumer().read_batch(2))


@pytest.mark.parametrize("kind", ["list", "dict", "object"])
def test_a_cycle_comes_to_an_end(make_queue, kind):
    match kind:
        case "list":
            payload = [body()]
            payload.append(payload)
        case "dict":
            payload = {"body": body()}
            payload["self"] = payload
        case _:
            payload = Plain(body())
            payload.me = payload
    assert 100_000 <= size_of(make_queue, payload) < 110_000


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "object"])
def test_no_depth_is_too_deep(make_queue, kind):
    depth = 200_000
    payload, levels = None, []
    for _ in range(depth):
        match kind:
            case "list":
                payload = [payload]
            case "tuple":
                payload = (payload,)
            case "dict":
                payload = {1: payload}
            case _:
                payload, inner = Plain(None), payload
                payload.body = inner
        levels.append(payload)  # so that they are freed one by one
    assert size_of(make_queue, payload) >= depth * 40
    del payload
    while levels:
        levels.pop()


@pytest.mark.parametrize("payload", [sys, len, size_of, Plain, int, None, True, ..., NotImplemented], ids=repr)
def test_objects_shared_by_the_whole_program_count_as_a_pointer(make_queue, payload):
    assert size_of(make_queue, payload) <= 64


def test_classes_of_objects_are_not_counted(make_queue):
    class Heavy:
        table = "x" * 100_000

    assert size_of(make_queue, Heavy()) < 2000


def test_other_objects_are_sized_by_sizeof(make_queue):
    assert 54_321 <= size_of(make_queue, WithSizeof()) < 55_000
    assert 54_321 <= size_of(make_queue, [WithSizeof()]) < 55_000


def test_an_instance_of_a_subclass_counts_its_contents(make_queue):
    class Items(list):
        pass

    class Table(dict):
        pass

    class Text(str):
        __slots__ = ()

    items = Items([body()])
    items.extra = body()
    assert 200_000 <= size_of(make_queue, items) < 210_000
    assert 100_000 <= size_of(make_queue, Table(key=body())) < 110_000
    assert 100_000 <= size_of(make_queue, Text("x" * 100_000)) < 110_000


@pytest.mark.parametrize("view", [lambda b: memoryview(b), lambda b: memoryview(b)[::2]], ids=["whole", "strided"])
def test_a_memoryview_counts_its_bytes(make_queue, view):
    assert size_of(make_queue, view(bytearray(200_000))) >= 100_000


def test_a_released_memoryview_is_not_an_error(make_queue):
    view = memoryview(b"abc")
    view.release()
    assert size_of(make_queue, view) >= 0


def test_a_numpy_array_counts_its_bytes(make_queue):
    numpy = pytest.importorskip("numpy")
    assert 800_000 <= size_of(make_queue, numpy.zeros(100_000)) < 810_000
    assert size_of(make_queue, [numpy.zeros(100_000)]) >= 800_000


def test_the_size_is_taken_when_the_message_is_enqueued(make_queue):
    queue = make_queue()
    payload = [b"x" * KILO]
    queue.enqueue(payload)
    held = queue.memory_usage
    payload.append(body())
    assert queue.memory_usage == held
    assert queue.add_consumer().peek().size < 2000


def test_memory_usage_is_more_than_the_sizes(make_queue):
    queue = make_queue()
    queue.enqueue_batch([b"x" * KILO, "y" * KILO, 5, None])
    assert queue.memory_usage > sum(m.size for m in queue.add_consumer().read_batch(10))
