"""The estimate compared with the memory of random graphs of ordinary objects, as measured by `tracemalloc`."""

import array
import collections
import dataclasses
import datetime
import decimal
import functools
import gc
import io
import itertools
import re
import subprocess
import sys
import sysconfig
import tracemalloc
import types
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpmc_queue import estimate_size

COPIES = 60
"""How often a graph is built. With many copies, memory that the interpreter allocates once for all of them has no effect."""
LOWEST, HIGHEST = 0.95, 1.5
GRAPHS = 12 if sysconfig.get_config_var("Py_GIL_DISABLED") else 4
"""Graphs per copy: without the GIL, a free list of ints (5 KB) is filled while the first ones are made."""

# Tracing records the allocations of all threads.
pytestmark = pytest.mark.thread_unsafe

numbers = itertools.count(10**7)


@dataclasses.dataclass
class Record:
    a: object
    b: object


@dataclasses.dataclass(slots=True)
class Slotted:
    a: object
    b: object


class Plain:
    def __init__(self, *parts):
        self.first, self.second = parts

    def method(self):
        return self.first


Pair = collections.namedtuple("Pair", "x y")


def closure(first, second):
    return lambda: (first, second)


def generator(first, second):
    held = [first]
    yield held
    yield second


def started(first, second):
    running = generator(first, second)
    next(running)
    return running


@types.coroutine
def giving_way():
    yield


async def coroutine(first, second):
    held = [first]
    await giving_way()
    return held, second


def suspended(first, second):
    waiting = coroutine(first, second)
    waiting.send(None)
    return waiting


async def asynchronous_generator(first, second):
    held = [first]
    yield held
    yield second


def started_asynchronously(first, second):
    running = asynchronous_generator(first, second)
    try:
        running.asend(None).send(None)
    except StopIteration:
        return running


def teed(first, second):
    one, other = itertools.tee(iter([first, second, first]))
    next(one)
    return one, other


def zone():
    return datetime.timezone(datetime.timedelta(minutes=next(numbers) % 600 + 1), text())


def cycle(first, second):
    link = [first, second]
    link.append(link)
    return link


def text(more=""):
    """A new str, without other references."""
    return f"{next(numbers)}-{next(numbers)}{more}"


LEAVES = {
    "int": lambda: next(numbers),
    "float": lambda: next(numbers) + 0.5,
    "complex": lambda: complex(next(numbers), 1),
    "ASCII": text,
    "Latin-1": lambda: text("é"),
    "UCS-2": lambda: text("中文"),
    "UCS-4": lambda: text("😀"),
    "bytes": lambda: text().encode(),
    "bytearray": lambda: bytearray(text().encode()),
    "array": lambda: array.array("d", range(next(numbers) % 5 + 20)),
    "memoryview": lambda: memoryview(bytes(next(numbers) % 5 + 100)),
    "BytesIO": lambda: io.BytesIO(text().encode()),
    "StringIO": lambda: io.StringIO(text()),
    "datetime": lambda: datetime.datetime(2026, 1, 1, second=next(numbers) % 60),
    "Decimal": lambda: decimal.Decimal(next(numbers)),
    "UUID": lambda: uuid.UUID(int=next(numbers) << 80),
    "set": lambda: {text(), next(numbers)},
    "frozenset": lambda: frozenset((text(), text())),
    "timezone": zone,
    "datetime with a zone": lambda: datetime.datetime(2026, 1, 1, second=next(numbers) % 60, tzinfo=zone()),
    "time with a zone": lambda: datetime.time(1, 2, tzinfo=zone()),
    "match": lambda: re.match(r"(\d+)-(\d+)", text("x" * 40)),
    "range": lambda: range(next(numbers), 10 * next(numbers)),
}
PAIRS = {
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "grown list": lambda a, b: list(itertools.chain([a], (b for _ in range(9)))),
    "dict": lambda a, b: {text(): a, text(): b},
    "dataclass": Record,
    "slots": Slotted,
    "attributes": Plain,
    "namedtuple": Pair,
    "SimpleNamespace": lambda a, b: types.SimpleNamespace(a=a, b=b),
    "deque": lambda a, b: collections.deque((a, b)),
    "OrderedDict": lambda a, b: collections.OrderedDict([(text(), a), (text(), b)]),
    "defaultdict": lambda a, b: collections.defaultdict(list, {text(): [a, b]}),
    "mappingproxy": lambda a, b: types.MappingProxyType({text(): a, text(): b}),
    "exception": lambda a, b: ValueError(a, b),
    "slice": lambda a, b: slice(a, b),
    "partial": lambda a, b: functools.partial(print, a, b),
    "closure": closure,
    "generator": started,
    "bound method": lambda a, b: Plain(a, b).method,
    "iterator": lambda a, b: iter([a, b]),
    "chain": lambda a, b: itertools.chain([a], [b]),
    "keys": lambda a, b: {text(): a, text(): b}.keys(),
    "values": lambda a, b: {text(): a, text(): b}.values(),
    "items": lambda a, b: {text(): a, text(): b}.items(),
    "coroutine": suspended,
    "asynchronous generator": started_asynchronously,
    "staticmethod": lambda a, b: staticmethod(closure(a, b)),
    "classmethod": lambda a, b: classmethod(closure(a, b)),
    "property": lambda a, b: property(closure(a, b)),
    "cell": lambda a, b: [types.CellType(a), types.CellType(b)],
    "tee": teed,
    "alias": lambda a, b: types.GenericAlias(list, (a, b)),
    "cycle": cycle,
    "shared": lambda a, b: ([a, b], [a, b], a, b),
}

recipes = st.recursive(
    st.sampled_from(sorted(LEAVES)), lambda part: st.tuples(st.sampled_from(sorted(PAIRS)), part, part), max_leaves=12
)


def build(recipe):
    """An object graph made by a recipe: the name of a leaf, or the name of a pair with two recipes."""
    match recipe:
        case str():
            return LEAVES[recipe]()
        case name, first, second:
            return PAIRS[name](build(first), build(second))


def emptied_free_lists():
    """Objects that the interpreter would otherwise reuse without an allocation, for as long as they are kept."""
    tuples = [tuple([None] * length) for length in range(1, 21) for _ in range(2100)]
    return tuples, [[None] for _ in range(300)], [{} for _ in range(300)], [number + 0.5 for number in range(300)]


def truth_and_estimate(make, *, traced_after=False):
    """Bytes of what `make` creates: as traced, and as estimated.

    traced_after  trace them after the estimate, which makes these objects smaller.
    """
    make()
    kept = emptied_free_lists()
    graphs = [None] * COPIES
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(COPIES):
            graphs[number] = make()
        estimate = sum(map(estimate_size, graphs)) if traced_after else None
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    del kept
    return after - before, sum(map(estimate_size, graphs)) if estimate is None else estimate


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_value_is_estimated_close_to_the_truth(name):
    truth, estimate = truth_and_estimate(lambda: [LEAVES[name]() for _ in range(20)])
    assert LOWEST * truth <= estimate <= HIGHEST * truth


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_an_object_is_estimated_close_to_the_truth(name):
    truth, estimate = truth_and_estimate(lambda: PAIRS[name](next(numbers), text()))
    assert LOWEST * truth <= estimate <= HIGHEST * truth


@given(recipes)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_graph_of_ordinary_objects_is_estimated_close_to_the_truth(recipe):
    truth, estimate = truth_and_estimate(lambda: [build(recipe) for _ in range(GRAPHS)])
    assert LOWEST * truth <= estimate <= HIGHEST * truth


@pytest.mark.parametrize("character", "xé中😀")
@pytest.mark.parametrize(("parts", "each"), [(1, 100), (3, 7), (50, 3), (100, 10), (5, 1000)])
@pytest.mark.parametrize("was_read", [False, True])
def test_a_file_of_text_in_parts_is_not_estimated_below_the_truth(character, parts, each, was_read):
    def make():
        file = io.StringIO()
        file.write("ab")
        if was_read:  # from then on it keeps four bytes for each character
            file.seek(0)
            file.read()
        for _ in range(parts):
            file.write(character * each)
        return file

    truth, estimate = truth_and_estimate(make, traced_after=True)
    assert LOWEST * truth <= estimate <= 4.5 * truth


@pytest.mark.parametrize("character", "x中")
@pytest.mark.parametrize(("count", "length"), [(100, 5), (100, 12), (100, 40), (10, 1000), (1000, 300)])
def test_an_array_of_strings_is_estimated_close_to_the_truth(character, count, length):
    np = pytest.importorskip("numpy")
    kind = np.dtypes.StringDType
    texts = [f"{number:03}" + character * length for number in range(count)]
    truth, estimate = truth_and_estimate(lambda: np.array(texts, dtype=kind()))
    assert LOWEST * truth <= estimate <= HIGHEST * truth
    # A view weighs as much as its owner; a missing value weighs nothing.
    array = np.array([*texts, None], dtype=kind(na_object=None))
    assert estimate_size(array[:1]) > estimate_size(array) > 0.9 * estimate / COPIES


def test_a_time_zone_weighs_its_name_also_if_it_is_the_first_thing_weighed():
    script = (
        "import datetime, mpmc_queue;"
        "print(mpmc_queue.estimate_size(datetime.timezone(datetime.timedelta(minutes=7), 'x' * 5000)) > 5000)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("True\n", "")
