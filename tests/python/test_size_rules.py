"""The estimated size of payloads: the built-in estimate, seen through `Message.size`."""

import array
import asyncio
import collections
import dataclasses
import enum
import functools
import gc
import io
import itertools
import mmap
import sys
import threading
import types
import uuid
import weakref
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpmc_queue
from mpmc_queue import MemoryLimitError, estimate_size, register_sizer

POINTER = 8
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()
DEEP = 200_000


def size(payload):
    q = mpmc_queue.Queue("size", max_bytes=2**40)
    c = q.add_consumer()
    q.enqueue(payload)
    return c.peek().size


def weight(payload):
    """The estimate alone: the constant part of the size of a message is subtracted. None counts as a pointer."""
    return size(payload) - size(None) + POINTER


def own(thing):
    """The memory of an object without its parts: what `sys.getsizeof` returns, plus what that leaves out."""
    if type(thing) is int and sys.version_info >= (3, 12):
        return max(
            sys.getsizeof(thing), int.__basicsize__ + POINTER
        )  # a struct with room for one digit and its padding
    if type(thing) is list and FREE_THREADED and sys.getsizeof(thing) > sys.getsizeof([]):
        return sys.getsizeof(thing) + POINTER  # the number of places, stored in front of them
    if isinstance(thing, tuple) and type(thing) is not tuple:
        return sys.getsizeof(thing) + POINTER  # one more place
    if type(thing) is memoryview:
        return sys.getsizeof(thing) + 128  # the buffer that it got from its owner, an object of its own
    return sys.getsizeof(thing)


def parts(*objects):
    return sum(map(own, objects))


def fresh_str():
    return "".join(["no", "body", "else", "'s"])


# Plain values


@pytest.mark.parametrize(
    "payload",
    [
        *(1, -1, 2**30 - 1, 2**30, -(2**30), 2**60, 2**1000, -(2**1000), 0.0, 1e300, float("nan"), 1j),
        *(b"", b"x", b"x" * 1000, bytearray(), bytearray(b"x" * 1000), range(10), object(), Decimal("1.5")),
        *("", "x", "x" * 1000, "é", "é" * 1000, "€", "€" * 1000, "😀", "😀" * 1000, "a\0b", "\ud800"),
        *((), [], {}, set(), frozenset()),
    ],
    ids=lambda payload: ascii(payload)[:12],
)
def test_a_plain_value_weighs_its_memory(payload):
    assert weight(payload) == own(payload)


def test_zero_has_a_digit_too():
    assert weight(0) == own(1)


@given(st.integers() | st.text() | st.binary() | st.floats() | st.complex_numbers())
@settings(max_examples=300, deadline=None)
def test_any_plain_value_weighs_at_least_its_memory(payload):
    assert own(payload) <= weight(payload) <= own(payload) + 4


@pytest.mark.parametrize("text", ["é", "€", "😀", "x"])
def test_the_utf8_copy_of_a_str_counts(text):
    text = text * 1000
    bare = sys.getsizeof(text)
    with pytest.raises(ImportError):
        __import__(text)  # needs the UTF-8 form, which the str then keeps
    assert sys.getsizeof(text) >= bare
    assert weight(text) == own(text)


@pytest.mark.parametrize("grown", [0, 1, 3, 4, 5, 8, 9, 17, 100, 1000])
def test_spare_room_of_a_grown_container_counts(grown):
    numbers = list(range(1000, 1000 + grown))
    a_list, a_set, a_dict, text_dict = [], set(), {}, {}
    for number in numbers:
        a_list.append(number)
        a_set.add(number)
        a_dict[number] = number
        text_dict[str(number)] = number
    for container in (a_list, a_set, a_dict, frozenset(numbers), tuple(numbers)):
        assert weight(container) == parts(container, *numbers)
    assert weight(text_dict) == parts(text_dict, *numbers, *text_dict)


@pytest.mark.parametrize("constant", [None, True, False, Ellipsis, NotImplemented])
def test_a_singleton_counts_as_a_pointer(constant):
    assert weight(constant) == POINTER


class Plain:
    pass


class Colour(enum.Enum):
    RED = "r" * 1000


class Level(enum.IntEnum):
    LOW = 1


class Place(tuple, enum.Enum):
    HOME = ("x" * 1000,)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@pytest.mark.parametrize(
    "thing",
    [
        *(Plain, int, types, len, str.upper, size, lambda: 0, Colour),
        *(Colour.RED, Level.LOW, Place.HOME, Access.READ | Access.WRITE),
    ],
    ids=str,
)
def test_a_class_module_function_or_enum_member_counts_as_a_pointer(thing):
    assert weight(thing) == POINTER
    assert weight([thing]) == own([thing]) + POINTER


# Containers


def test_a_container_weighs_itself_and_its_parts():
    text, number, raw = fresh_str(), 10**20, b"raw" * 7
    inner = [number, raw]
    outer = {text: inner, 1.5: (text, inner)}
    assert weight(outer) == parts(outer, text, inner, number, raw, 1.5, outer[1.5])


nests = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.text())
    ),
    max_leaves=50,
)


def everything(payload, seen=None):
    """All objects of a payload made of builtins, each once."""
    seen = {} if seen is None else seen
    if id(payload) not in seen:
        seen[id(payload)] = payload
        if isinstance(payload, dict):
            payload = [item for pair in payload.items() for item in pair]
        if isinstance(payload, (list, tuple, frozenset)):
            for item in payload:
                everything(item, seen)
    return seen.values()


@given(nests)
@settings(max_examples=300, deadline=None)
def test_any_nest_of_builtins_weighs_the_sum_of_its_objects(payload):
    objects = everything(payload)
    expected = sum(POINTER if item is None or isinstance(item, bool) else own(item) for item in objects)
    has_zero = any(type(item) is int and item == 0 for item in objects)
    assert expected <= weight(payload) <= expected + 4 * has_zero


@given(nests, nests)
@settings(max_examples=100, deadline=None)
def test_a_pair_weighs_more_than_either_part(left, right):
    assert weight([left, right]) > max(weight(left), weight(right))


def test_an_object_met_twice_counts_once():
    text, inner = "x" * 1000, [1.5] * 100
    assert weight([text] * 10) == parts([None] * 10, text)
    assert weight([inner] * 2 + [(inner,)]) == parts([None] * 3, inner, 1.5, (inner,))
    assert weight([None] * 1000) == parts([None] * 1000) + POINTER


def test_equal_objects_count_each():
    assert weight([fresh_str(), fresh_str()]) == parts([1, 2], fresh_str(), fresh_str())


def test_many_shared_objects_count_once_each():
    texts = [str(number) for number in range(10_000)]
    payload = (texts, list(texts), dict.fromkeys(texts))
    assert weight(payload) == parts(payload, *payload, *texts) + POINTER


def test_each_message_counts_its_payload_in_full():
    q = mpmc_queue.Queue("size", max_bytes=2**40)
    payload = ["x" * 1000]
    q.enqueue(payload)
    before = q.memory_usage
    q.enqueue(payload)
    assert q.memory_usage - before >= 1000


class Node:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


class Link:
    def __init__(self, inner):
        self.inner = inner


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: {"k": inner},
        lambda inner: collections.deque([inner]),
        lambda inner: collections.OrderedDict(k=inner),
        Node,
        Link,
    ],
    ids=["list", "tuple", "dict", "deque", "OrderedDict", "slots", "instance"],
)
def test_depth_does_not_matter(wrap):
    payload = 1.5
    for _ in range(DEEP):
        payload = wrap(payload)
    assert weight(payload) >= DEEP * own(wrap(None))
    while isinstance(payload, (Node, Link, collections.deque)):  # the interpreter would free these by recursion
        payload = payload[0] if isinstance(payload, collections.deque) else payload.inner


def test_a_cycle_counts_once():
    loop = []
    loop.append(loop)
    assert weight(loop) == own(loop)
    table = {"self": None}
    table["self"] = table
    assert weight([table, table]) == parts([1, 2], table, "self")
    link = Link(None)
    link.inner = link
    assert own(link) < weight(link) < own(link) + 100


def test_a_million_elements_count_each():
    assert weight(list(range(1000, 1_001_000))) >= 1_000_000 * (POINTER + own(1000))


@pytest.mark.parametrize(
    "make",
    [
        collections.deque,
        lambda items: collections.deque(items, maxlen=5000),
        lambda items: collections.OrderedDict.fromkeys(items),
        lambda items: collections.defaultdict(list, dict.fromkeys(items)),
        collections.Counter,
        lambda items: collections.ChainMap(dict.fromkeys(items)),
        collections.UserList,
        lambda items: types.MappingProxyType(dict.fromkeys(items)),
        lambda items: types.SimpleNamespace(items=items),
        lambda items: type("Mine", (list,), {})(items),
        lambda items: type("Mine", (tuple,), {})(items),
        lambda items: type("Mine", (set,), {})(items),
        lambda items: type("Mine", (frozenset,), {})(items),
        lambda items: type("Mine", (dict,), {})(dict.fromkeys(items)),
        lambda items: type("Mine", (collections.deque,), {})(items),
        lambda items: functools.partial(print, items),
        ValueError,
        slice,
    ],
    ids="deque maxlen OrderedDict defaultdict Counter ChainMap UserList mappingproxy SimpleNamespace "
    "list tuple set frozenset dict deque_subclass partial exception slice".split(),
)
def test_a_container_weighs_at_least_itself_and_its_parts(make):
    items = [f"item {number}" for number in range(1000)]
    payload = make(items)
    assert weight(payload) >= parts(payload, *items)


@pytest.mark.parametrize(
    "base",
    [
        *(list, tuple, set, frozenset, dict, collections.deque, collections.OrderedDict),
        *(int, str, bytes, float, bytearray, ValueError),
    ],
)
def test_attributes_of_an_instance_of_a_subclass_count(base):
    tagged = type("Tagged", (base,), {})()
    before = weight(tagged)
    tagged.tag = "x" * 10_000
    assert weight(tagged) >= before + 10_000


# Instances


@dataclasses.dataclass
class Point:
    x: object
    y: object


@dataclasses.dataclass(slots=True)
class SlotPoint:
    x: object
    y: object


@dataclasses.dataclass(slots=True)
class SlotPoint3(SlotPoint):
    z: object = 0


class Mixin:
    __slots__ = ()


class Mixed(Mixin, SlotPoint3):
    __slots__ = ("__dict__", "__weakref__")


Pair = collections.namedtuple("Pair", "x y")


def test_a_dataclass_weighs_its_fields():
    point = Point("x" * 1000, [1.5])
    fields = parts(point, point.x, point.y, 1.5)
    assert fields < weight(point) < fields + 100
    assert "__dict__" not in str(gc.get_referents(point)), "no dict is made for the estimate"


def test_slots_count_with_their_contents():
    point = SlotPoint("x" * 1000, [1.5])
    assert weight(point) == parts(point, point.x, point.y, 1.5)


def test_slots_count_all_along_the_bases():
    assert weight(SlotPoint3("x" * 1000, "y" * 1000, "z" * 1000)) >= 3000
    mixed = Mixed("x" * 1000, "y" * 1000, "z" * 1000)
    mixed.extra = "e" * 1000
    assert weight(mixed) >= 4000


def test_an_empty_slot_counts_nothing():
    empty = SlotPoint.__new__(SlotPoint)
    assert weight(empty) == own(empty)


def test_a_namedtuple_weighs_its_fields():
    pair = Pair("x" * 1000, [1.5])
    assert weight(pair) == parts(pair, pair.x, pair.y, 1.5)


def test_weak_references_are_not_followed():
    class Referred:
        __slots__ = ("__weakref__", "data")

    referred = Referred()
    referred.data = "x" * 10_000
    reference = weakref.ref(referred, lambda _, kept="y" * 10_000: kept)
    assert weight(reference) < 1000
    assert weight(weakref.proxy(referred)) < 1000
    assert 10_000 < weight(referred) < 11_000


def test_other_objects_weigh_what_their_sizeof_returns():
    stream = io.BytesIO()
    stream.write(b"x" * 10_000)
    assert weight(stream) >= 10_000
    assert weight(uuid.UUID(int=2**127)) >= own(uuid.UUID(int=1)) + own(2**127)


def test_generators_and_coroutines_weigh_what_their_frames_hold():
    def generate(data):
        yield data

    async def wait(data):
        await asyncio.sleep(0)
        return data

    async def stream(data):
        yield data

    generator, coroutine = generate("x" * 10_000), wait("x" * 10_000)
    next(generator)
    for holder in [generator, coroutine, stream("x" * 10_000)]:
        assert 10_000 <= weight(holder) < 12_000
    coroutine.close()
    generator.close()
    assert weight(generator) < 1_000


def test_locks_and_frames_are_not_followed():
    data = "x" * 10_000
    for opaque in [threading.Lock(), threading.RLock(), sys._getframe()]:
        assert weight(opaque) < 10_000
    del data


def test_bound_methods_partials_and_closures_weigh_what_they_hold():
    data = ["x" * 10_000]

    def closure():
        return data

    class Holder:
        def __init__(self):
            self.data = data

        def method(self):
            return self.data

    for holder in [data.append, functools.partial(print, data), closure, Holder().method, [closure, closure]]:
        assert 10_000 <= weight(holder) < 11_500


def test_iterators_weigh_what_they_iterate_over():
    data = ["x" * 10_000]
    for holder in [
        iter(data),
        enumerate(data),
        zip(data, data, strict=False),
        itertools.chain(data),
        itertools.repeat(data),
        reversed(data),
    ]:
        assert 10_000 <= weight(holder) < 11_500


def test_files_in_memory_weigh_their_contents():
    raw = io.BytesIO(b"x" * 10_000)
    assert 10_000 <= weight(raw) < 10_500
    raw.seek(0, 2)
    raw.write(b"more")
    assert 10_004 <= weight(raw) < 15_500
    assert 40_000 <= weight(io.StringIO("x" * 10_000)) < 55_000


def test_a_future_weighs_its_result_and_not_its_loop():
    async def main():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().ballast = "x" * 100_000
        assert weight(future) < 1_000
        future.set_result("x" * 10_000)
        assert 10_000 <= weight(future) < 11_000

    asyncio.run(main())


class Sized:
    __slots__ = ("answer",)

    def __init__(self, answer):
        self.answer = answer

    def __sizeof__(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_object_is_asked_for_its_size():
    assert weight(Sized(10_000)) - weight(Sized(5_000)) == 5_000


# Buffers


def test_a_buffer_weighs_its_bytes():
    numbers = array.array("d", [0.0] * 1000)
    assert weight(numbers) == own(numbers)
    with mmap.mmap(-1, 1 << 20) as mapping:
        assert weight(mapping) >= 1 << 20
    assert weight(mapping) < 1000  # closed: nothing to show


def test_the_map_of_a_file_weighs_its_header(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert weight(mapping) < 1000
        assert weight(memoryview(mapping)[:10]) < 1000


def test_a_memoryview_weighs_its_owner_once():
    raw = bytes(100_000)
    for view in [memoryview(raw), memoryview(raw)[:10], memoryview(raw)[::2], memoryview(raw).cast("B", (100, 1000))]:
        assert weight(view) == own(view) + own(raw)
    numbers = array.array("d", bytes(80))
    view = memoryview(numbers)[::-1]
    assert weight(view) == own(view) + own(numbers)
    rows = [memoryview(raw)[n : n + 10] for n in range(100)]
    assert parts(raw) <= weight(rows) < parts(raw) + 100 * 350
    released = memoryview(raw)
    released.release()
    assert weight(released) == sys.getsizeof(released)


def test_sizing_leaves_a_buffer_free():
    raw, numbers = bytearray(10), array.array("i", [1])
    assert weight([raw, numbers]) > 0
    raw.append(1)
    numbers.append(2)


def test_a_ctypes_array_weighs_its_bytes():
    ctypes = pytest.importorskip("ctypes")
    assert weight((ctypes.c_double * 1000)()) >= 8000


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ came with Python 3.12")
def test_a_buffer_that_refuses_access_weighs_as_a_plain_object():
    class Refuses:
        __slots__ = ()

        def __buffer__(self, flags):
            raise BufferError("not now")

    assert weight(Refuses()) == own(Refuses())


def test_a_numpy_array_weighs_its_bytes():
    np = pytest.importorskip("numpy")
    mine = np.zeros((100, 1000))
    assert weight(mine) == own(mine)
    windows = np.lib.stride_tricks.sliding_window_view(mine[0], 100)
    for view in [
        mine[:],
        mine[::2, ::-3],
        mine.T,
        mine[3],
        np.broadcast_to(mine[0], (50, 1000)),
        mine.view(np.recarray),
        windows,
    ]:
        assert mine.nbytes <= weight(view) < mine.nbytes + 4000
    rows = [mine[n, :10] for n in range(100)]
    assert mine.nbytes <= weight(rows) < mine.nbytes + 100 * 300
    alone = [np.zeros(1000)[:10] for _ in range(100)]
    assert weight(alone) >= 100 * 8000
    masked = np.ma.masked_array([1.0] * 1000)
    for other in [np.zeros(1000, "M8[s]"), np.zeros(1000, "U10"), np.zeros(1000, "i4,f8"), masked]:
        assert weight(other) >= other.nbytes
        assert weight(other[::2]) >= other.nbytes
    assert weight(np.float64(1.5)) >= own(np.float64(1.5))
    assert weight(np.zeros(())) >= 8
    assert weight(np.zeros((0, 5))) >= 0


def test_a_numpy_array_of_objects_weighs_its_objects():
    np = pytest.importorskip("numpy")
    texts = [f"{number} {'x' * 100}" for number in range(100)]
    objects = np.array([*texts, None, 1.5], dtype=object)
    assert weight(objects) >= own(objects) + parts(*texts)
    for view in [objects[:100][::-2], objects[:100].reshape(4, 25).T[::5, 1::2]]:
        assert parts(*texts) <= weight(view) < weight(objects) + 1000
    assert weight(np.array(texts[0], dtype=object)) >= 100
    assert weight(np.empty(100, dtype=object)) >= 800
    assert weight(np.empty((3, 0), dtype=object)) >= 0
    repeated = np.broadcast_to(objects[:1], (10**8, 3, 1))
    assert weight(repeated) < weight(objects) + 1000
    fields = np.zeros(3, dtype=[("number", "i8"), ("text", object), ("inner", [("more", object)])])
    fields["text"] = ["x" * 10_000, "y" * 10_000, None]
    fields["inner"]["more"] = ["z" * 10_000, None, None]
    assert 30_000 <= weight(fields) < 33_000


# User code


def test_no_user_code_runs_except_sizeof():
    def forbidden(*_):
        raise AssertionError("user code ran")

    names = (
        "__iter__ __len__ __getattr__ __getattribute__ __getitem__ __contains__ __eq__ __bool__ __repr__ __index__ "
        "keys values items copy"
    )
    hostile = dict.fromkeys(names.split(), forbidden)
    hostile |= {"__class__": property(forbidden), "__dict__": property(forbidden), "x": property(forbidden)}
    content = ["x" * 1000]
    for base, argument in [
        (list, [content]),
        (tuple, [content]),
        (dict, {"k": content}),
        (collections.deque, [content]),
    ]:
        assert weight(type("Hostile", (base,), dict(hostile))(argument)) >= 1000
    plain = type("Hostile", (), dict(hostile))()
    object.__setattr__(plain, "kept", "x" * 1000)
    assert weight(plain) >= 1000


def test_no_property_is_computed():
    class Lazy:
        @functools.cached_property
        def costly(self):
            raise AssertionError("user code ran")

    lazy = Lazy()
    weight(lazy)
    assert lazy.__dict__ == {}


class BoomError(Exception):
    pass


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (BoomError("mine"), BoomError),
        (-1, ValueError),
        (-(2**70), ValueError),
        ("many", TypeError),
        (1.5, TypeError),
        (None, TypeError),
    ],
    ids=repr,
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [1, x], lambda x: {"k": (x,)}], ids=["bare", "list", "nest"])
def test_a_bad_sizeof_raises_and_does_not_change_the_queue(answer, error, wrap):
    q = mpmc_queue.Queue("size", max_bytes=2**40)
    c = q.add_consumer()
    used = q.memory_usage
    with pytest.raises(error) as caught:
        q.enqueue(wrap(Sized(answer)))
    if error is BoomError:
        assert caught.value is answer
    else:
        assert "Sized.__sizeof__()" in str(caught.value)
    assert (len(q), q.memory_usage, c.peek()) == (0, used, None)
    q.enqueue("fine")
    assert c.peek().payload == "fine"


def test_a_sizeof_that_cannot_be_called_is_a_type_error():
    with pytest.raises(TypeError):
        weight(type("Odd", (), {"__sizeof__": 5})())


@pytest.mark.parametrize("huge", [2**70, 2**64 - 1, 2**63, 2**63 - 1, 2**62])
def test_a_huge_sizeof_never_fits(huge):
    q = mpmc_queue.Queue("size", max_bytes=2**40)
    with pytest.raises(mpmc_queue.MemoryLimitError):
        q.enqueue([Sized(huge), Sized(huge), Sized(huge)])
    assert len(q) == 0


def test_an_instance_of_an_int_subclass_is_an_int():
    class Number(int):
        pass

    assert weight(Sized(Number(10_000))) > 10_000


@pytest.mark.parametrize("container", [list, dict, set, collections.deque, collections.OrderedDict])
def test_a_payload_that_changes_while_it_is_sized_counts_as_it_was(container):
    calls = []

    class Clears:
        def __sizeof__(self):
            calls.append(1)
            payload.clear()
            return 100

    make = container.fromkeys if issubclass(container, dict) else container
    payload = make(Clears() for _ in range(100))
    assert weight(payload) >= 100 * 100
    assert (len(payload), len(calls)) == (0, 100)


def test_sizing_a_payload_that_grows_meanwhile_comes_to_an_end():
    class Grows:
        def __init__(self):
            self.box = []

        def __sizeof__(self):
            self.box.append(Grows())
            self.next = Grows()
            return 100

    assert weight(Grows()) >= 100


def test_a_sizeof_may_enqueue():
    q = mpmc_queue.Queue("size", max_bytes=2**40)

    class Enqueues:
        def __sizeof__(self):
            q.enqueue([1, 2, fresh_str()])
            return 100

    q.enqueue([Enqueues(), Enqueues()])
    assert len(q) == 3


def test_sizing_keeps_nothing_alive():
    class Mortal:
        pass

    mortal = Mortal()
    mortal.data = [1.5]
    gone = weakref.ref(mortal)
    weight([mortal])
    del mortal
    assert gone() is None


def test_other_threads_may_change_a_payload_while_it_is_sized():
    class Thing:
        __slots__ = ("__dict__", "slot")

    thing = Thing()
    error = ValueError()
    raw = bytearray()  # not an array.array: before 3.15 that is not safe between threads
    a_list, a_dict, a_set, a_deque, ordered = [], {}, set(), collections.deque(), collections.OrderedDict()
    payload = [thing, error, raw, a_list, a_dict, a_set, a_deque, ordered]
    done = threading.Event()
    errors = []

    def change(number):
        try:
            while not done.is_set():
                number += 1
                key = f"a{number % 97}"
                a_list.append([key])
                a_deque.append([key])
                a_set.add((key, number))
                a_dict[key] = ordered[key] = [number]
                error.args = ([number],)
                thing.slot = [key]
                setattr(thing, key, [key])
                try:
                    raw.extend(key.encode())
                except BufferError:
                    pass  # it cannot grow while a buffer of it is in use
                if number % 50 == 0:
                    for container in (a_list, a_deque, a_set, a_dict, ordered):
                        container.clear()
                    thing.__dict__ = {}
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=change, args=(seed,)) for seed in (0, 10**6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):
            assert weight(payload) > 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []


# The estimate alone, and sizers for classes


def test_estimate_size_is_what_a_message_counts(make_queue):
    for payload in ["text", [1, 2, 3], {"a": b"x" * 100}, memoryview(bytes(100))[:3], 7]:
        queue = make_queue()
        queue.enqueue(payload)
        assert queue.add_consumer().read().size == estimate_size(payload)


class Image:
    def __init__(self, pixels=1_000_000):
        self.pixels = pixels
        self.title = "x" * 500


@pytest.fixture
def sizer():
    classes = []

    def register(cls, function):
        classes.append(cls)
        register_sizer(cls, function)

    yield register
    for cls in classes:
        register_sizer(cls, None)


@pytest.mark.thread_unsafe(reason="sizers are the process's")
def test_a_registered_sizer_is_used_for_exactly_its_class_at_any_depth(sizer, make_queue):
    class Derived(Image):
        pass

    sizer(Image, lambda image: image.pixels)
    assert estimate_size(Image()) == 1_000_000
    assert 2_000_000 <= estimate_size([Image(), {"k": Image()}]) < 2_001_000
    assert 500 < estimate_size(Derived()) < 2_000
    with pytest.raises(MemoryLimitError):
        make_queue(max_bytes=999_999).enqueue(Image())
    assert make_queue(sizer=lambda payload: 7, max_bytes=1_000).enqueue(Image()) == 0
    register_sizer(Image, None)
    register_sizer(Image, None)
    assert 500 < estimate_size(Image()) < 2_000


@pytest.mark.thread_unsafe(reason="sizers are the process's")
def test_a_sizer_may_be_for_a_plain_class_too(sizer, make_queue):
    sizer(str, lambda text: 5)
    assert estimate_size("x" * 1000) == 5
    queue = make_queue()
    queue.enqueue("x" * 1000)
    queue.put("x" * 1000)
    queue.enqueue_batch(["x" * 1000])
    assert [message.size for message in queue.add_consumer().read_batch(3)] == [5, 5, 5]
    register_sizer(str, None)
    assert estimate_size("x" * 1000) > 1000


@pytest.mark.thread_unsafe(reason="sizers are the process's")
def test_a_file_of_text_weighs_its_text_whatever_the_sizer_of_str_says(sizer):
    file = io.StringIO()
    file.write("😀" * 10_000)
    before = estimate_size(file)
    sizer(str, lambda text: 1)
    assert estimate_size(file) == before > 50_000


@pytest.mark.thread_unsafe(reason="sizers are the process's")
@pytest.mark.parametrize(
    ("answer", "error"), [("a", TypeError), (1.5, TypeError), (True, TypeError), (None, TypeError), (-1, ValueError)]
)
def test_a_sizer_with_a_bad_result_is_named_and_nothing_is_enqueued(sizer, make_queue, answer, error):
    sizer(Image, lambda image: answer)
    queue = make_queue()
    with pytest.raises(error, match="Image"):
        queue.enqueue([Image()])
    assert len(queue) == 0


@pytest.mark.thread_unsafe(reason="sizers are the process's")
def test_an_error_of_a_sizer_propagates(sizer, make_queue):
    def fail(image):
        raise BoomError

    sizer(Image, fail)
    with pytest.raises(BoomError):
        make_queue().enqueue(Image())


@pytest.mark.parametrize(("cls", "function", "name"), [(7, len, "cls"), ("str", None, "cls"), (Image, 7, "sizer")])
def test_register_sizer_names_the_argument_that_is_wrong(cls, function, name):
    with pytest.raises(TypeError, match=name):
        register_sizer(cls, function)


def test_a_refused_memoryview_says_that_its_owner_counts(make_queue):
    raw = bytes(100_000)
    with pytest.raises(MemoryLimitError, match=r"view \(memoryview\) of an object \(bytes\) of 100,?0.. bytes.*copy"):
        make_queue(max_bytes=50_000).enqueue(memoryview(raw)[:10])


def test_a_refusal_names_the_class_with_the_huge_sizeof(make_queue):
    with pytest.raises(MemoryLimitError, match=r"Sized.__sizeof__\(\) says 140000000000000 bytes"):
        make_queue().enqueue([Sized(140_000_000_000_000)])


def test_a_refusal_because_of_a_sizer_mentions_nothing_else(make_queue):
    with pytest.raises(MemoryLimitError) as refused:
        make_queue(max_bytes=50_000, sizer=lambda payload: 60_000).enqueue(memoryview(bytes(10)))
    assert "view" not in str(refused.value)
