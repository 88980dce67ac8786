"""Random hostile payloads: they lie about their size, raise, change while they are sized, or have odd classes."""

import collections
import contextlib
import gc
import sys
import threading
import weakref

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import mpmc_queue

DEEP = 200_000
ASKED = collections.Counter()
LIMIT = 2**40


class LieError(Exception):
    """Raised by a `__sizeof__`."""


class Weakly(list):
    """A list that supports weak references."""


class Holder:
    """An object with attributes in a `__dict__`."""


class Slotted:
    __slots__ = ("__weakref__", "parts")


class Lying:
    """Returns a given answer, or does a given action."""

    def __init__(self):
        self.parts = []
        self.answer = 0
        ASKED[id(self)] = 0

    @property
    def asked(self):
        """How often it was asked. The count is not stored in its `__dict__`, where it would add to the size."""
        return ASKED[id(self)]

    def __sizeof__(self):
        ASKED[id(self)] += 1
        if callable(self.answer):
            return self.answer(self)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Lies(int):
    """An int whose methods return other values."""

    def __int__(self):
        raise LieError("__int__")

    def __index__(self):
        raise LieError("__index__")


class Indexable:
    """Not an int, but could be made one."""

    def __index__(self):
        return 8


HONEST = [0, 1, 56, 10_000, 2**31, True, Lies(64)]
HUGE = [2**63 - 1, 2**63, 2**64, 2**200]
BAD = [-1, -(2**31), -(2**63), -(2**64), 1.5, "8", b"8", None, Indexable(), LieError("said no"), MemoryError("lied")]


def clear_all(lying):
    for part in lying.parts:
        if hasattr(part, "clear"):
            part.clear()
    lying.parts.clear()
    return 64


def grow(lying):
    if lying.asked < 50:
        lying.parts.append([Lying(), bytearray(10)])
    return 64


def forget_attributes(lying):
    lying.__dict__ = {"answer": 64, "parts": []}
    return 64


def change_class(lying):
    lying.__class__ = Holder
    return 64


def collect(lying):
    gc.collect(0)
    return 64


def enqueue_more(lying):
    queue = mpmc_queue.Queue("inner", max_bytes=LIMIT)
    queue.enqueue([bytearray(100), Holder()])
    return 64


CHANGES = [clear_all, grow, forget_attributes, change_class, collect, enqueue_more]

# Each kind of node of a payload: how to create it, and how to put another node into it.
NODES = {
    "list": (Weakly, lambda node, part: node.append(part)),
    "dict": (dict, lambda node, part: node.__setitem__(len(node), part)),
    "deque": (collections.deque, lambda node, part: node.append(part)),
    "ordered": (collections.OrderedDict, lambda node, part: node.__setitem__(str(len(node)), part)),
    "holder": (Holder, lambda node, part: setattr(node, f"a{len(node.__dict__)}", part)),
    "slotted": (Slotted, lambda node, part: setattr(node, "parts", (getattr(node, "parts", None), part))),
    "lying": (Lying, lambda node, part: node.parts.append(part)),
}


@st.composite
def graphs(draw, answers):
    """Nodes with references between them, including cycles, and the nodes that lie. The first node is the payload."""
    kinds = draw(st.lists(st.sampled_from(sorted(NODES)), min_size=1, max_size=12))
    nodes = [NODES[kind][0]() for kind in kinds]
    for node in nodes:
        if type(node) is Lying:
            node.answer = draw(st.sampled_from(answers))
    places = st.integers(0, len(nodes) - 1)
    for origin, target in draw(st.lists(st.tuples(places, places), max_size=30)):
        NODES[kinds[origin]][1](nodes[origin], nodes[target])
    return nodes


def reached(payload):
    """The objects of the payload, as the garbage collector sees them, without classes and what these refer to."""
    seen, left = {id(payload): payload}, [payload]
    while left:
        for other in gc.get_referents(left.pop()):
            if not isinstance(other, type) and not callable(other) and id(other) not in seen:
                seen[id(other)] = other
                left.append(other)
    return list(seen.values())


def size_of(payload):
    queue = mpmc_queue.Queue("size", max_bytes=LIMIT)
    consumer = queue.add_consumer()
    before = queue.memory_usage
    queue.enqueue(payload)
    size = consumer.peek().size
    assert queue.memory_usage > before + size, "the overhead is charged, too"
    queue.close(immediate=True)
    assert queue.memory_usage == before
    return size


def refusal(queue, payload):
    """The error of enqueueing a payload; None if there is none."""
    try:
        queue.enqueue(payload)
    except Exception as error:
        return error
    return None


def own_size(node):
    return node.answer if type(node) is Lying else sys.getsizeof(node)


quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@seed(8)
@quick
@given(graphs(HONEST))
def test_any_graph_weighs_at_least_its_parts_and_the_same_again(nodes):
    parts = reached(nodes[0])
    least = sum(own_size(part) for part in parts if type(part) in {Lying, Weakly, dict, collections.deque, tuple})
    size = size_of(nodes[0])
    assert size >= least
    assert size_of(nodes[0]) == size
    assert all(part.asked == 2 for part in parts if type(part) is Lying), "each is asked once a message"


@seed(8)
@quick
@given(graphs([*HONEST, *BAD]))
def test_any_wrong_sizeof_that_is_reached_raises_and_leaves_nothing_behind(nodes):
    queue = mpmc_queue.Queue("size", max_bytes=LIMIT)
    before = queue.memory_usage
    answers = [part.answer for part in reached(nodes[0]) if type(part) is Lying]
    bad = [answer for answer in answers if answer not in HONEST]
    error = refusal(queue, nodes[0])
    assert (error is None) == (bad == [])
    if error is None:
        return
    assert (len(queue), queue.memory_usage) == (0, before)
    if error not in bad:  # none of them raised it, so it reports what one of them returned
        assert str(error).startswith("Lying.__sizeof__() returned")
        assert any(isinstance(answer, int) == (type(error) is ValueError) for answer in bad)


@seed(8)
@quick
@given(graphs([*HONEST, *HUGE]))
def test_no_sum_of_huge_sizes_gets_past_the_limit(nodes):
    queue = mpmc_queue.Queue("size", max_bytes=LIMIT)
    huge = any(type(part) is Lying and part.answer > LIMIT for part in reached(nodes[0]))
    error = refusal(queue, nodes[0])
    assert type(error) is (mpmc_queue.MemoryLimitError if huge else type(None))
    assert queue.memory_usage <= LIMIT


@seed(8)
@settings(quick, max_examples=60)
@given(graphs([*HONEST, *CHANGES]))
def test_sizing_a_graph_that_changes_meanwhile_ends_and_keeps_no_reference(nodes):
    mortal = [weakref.ref(node) for node in nodes if type(node) in {Weakly, Holder, Slotted, Lying}]
    assert size_of(nodes[0]) > 0
    nodes.clear()
    gc.collect()
    assert [ref() for ref in mortal] == [None] * len(mortal)


@seed(8)
@settings(max_examples=7, deadline=None)
@given(st.sampled_from(sorted(NODES)), st.sampled_from([*HONEST[:3], *BAD]))
def test_a_wrong_sizeof_below_200_000_levels_is_found(kind, answer):
    payload = Lying()
    payload.answer = answer
    make, put = NODES[kind if kind != "lying" else "holder"]
    chain = [payload]
    for _ in range(DEEP):
        outer = make()
        put(outer, chain[-1])
        chain.append(outer)
    del outer
    if isinstance(answer, int) and answer >= 0:
        assert size_of(chain[-1]) > DEEP * 8
    else:
        with pytest.raises((LieError, MemoryError, ValueError, TypeError)):
            size_of(chain[-1])
    while chain:
        chain.pop()  # from the outside in, because not every type is freed without recursion


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, RecursionError, StopIteration])
def test_any_error_of_a_sizeof_reaches_the_caller(error):
    lying, mine = Lying(), error("mine")
    lying.answer = mine
    with pytest.raises(error) as caught:
        size_of([lying])
    assert caught.value is mine


def test_a_sizeof_that_always_enqueues_itself_is_a_recursion_error():
    queue = mpmc_queue.Queue("size", max_bytes=LIMIT)
    lying = Lying()
    lying.answer = lambda this: queue.enqueue([this]) or 64
    with pytest.raises(RecursionError):
        queue.enqueue(lying)
    lying.answer = 64
    queue.enqueue(lying)
    assert len(queue) == 1


def odd_classes():
    """Classes that do not behave like classes, by name."""

    class Refusing(type):
        def __getattribute__(cls, name):
            raise LieError(f"metaclass: {name}")

    class Answering(type):
        @property
        def __sizeof__(cls):
            return lambda _: 1234

    class Unhashable(type):
        __hash__ = None

        def __eq__(cls, other):
            raise LieError("__eq__")

    class Raises:
        def __get__(self, instance, owner):
            raise LieError("__get__")

    class NoAttributes:
        def __getattribute__(self, name):
            raise LieError(name)

    class FalseDict:
        __dict__ = property(lambda self: 5)

    class FalseClass:
        __class__ = property(lambda self: dict)

    class ManySlots:
        __slots__ = ("__dict__", "__private", "__weakref__", *(f"s{n}" for n in range(100)))

    class DeletedSlots:
        __slots__ = ("a", "b")

    del DeletedSlots.a

    class SwappedSlots:
        __slots__ = ("a", "b")

    SwappedSlots.a, SwappedSlots.b = SwappedSlots.b, SwappedSlots.a

    class SmallInt(int):
        pass

    class VariableSized(tuple):
        pass

    return {
        "refusing metaclass": (Refusing("Refusing", (), {}), LieError),
        "metaclass with a size": (Answering("Answering", (), {}), None),
        "unhashable class": (Unhashable("Unhashable", (), {}), None),
        "sizeof as a static method": (type("Static", (), {"__sizeof__": staticmethod(lambda _: 77)}), None),
        "sizeof as a class method": (type("OfClass", (), {"__sizeof__": classmethod(lambda cls, _: 77)}), None),
        "sizeof as a property": (type("Prop", (), {"__sizeof__": property(lambda _: 77)}), TypeError),
        "sizeof as a descriptor that raises": (type("Desc", (), {"__sizeof__": Raises()}), LieError),
        "sizeof is None": (type("Nothing", (), {"__sizeof__": None}), TypeError),
        "no attributes": (NoAttributes, None),
        "a false __dict__": (FalseDict, None),
        "a false __class__": (FalseClass, None),
        "many slots": (ManySlots, None),
        "deleted slots": (DeletedSlots, None),
        "swapped slots": (SwappedSlots, None),
        "an int with a __dict__": (SmallInt, None),
        "a tuple with a __dict__": (VariableSized, None),
    }


@pytest.mark.parametrize("name", odd_classes())
def test_an_instance_of_an_odd_class_is_sized_or_refused(name):
    odd, error = odd_classes()[name]
    instance = object.__new__(odd) if not issubclass_of(odd, (int, tuple)) else odd()
    if error is not None:
        with pytest.raises(error):
            size_of([instance])
    else:
        assert size_of([instance]) >= sys.getsizeof([0])


def issubclass_of(odd, classes):
    """Whether a class, however odd, has one of the others among its bases."""
    return any(base is known for base in type.mro(odd) for known in classes)


@pytest.mark.thread_unsafe(reason="it starts threads of its own")
@pytest.mark.parametrize("rounds", [300])
def test_a_graph_that_other_threads_and_its_own_sizeof_change_is_sized_without_harm(rounds):
    box = [Lying() for _ in range(20)]
    payload = [box, {}, collections.deque(), Holder(), Slotted()]
    done = threading.Event()
    problems = []

    def from_within(lying):
        try:
            payload[1].clear()
            box[lying.asked % len(box)].parts = [[lying]]
        except (RuntimeError, IndexError, ZeroDivisionError) as error:
            problems.append(error)
        return 64

    for lying in box:
        lying.answer = from_within

    def from_outside(start):
        turn = start
        while not done.is_set():
            turn += 1
            payload[1][turn % 31] = [turn, bytearray(turn % 50)]
            payload[2].append((turn, [turn]))
            payload[3].__dict__ = {f"a{turn % 7}": payload[turn % 3]}
            payload[4].parts = [turn, payload[3]]
            box[turn % len(box)].parts = [Holder(), {turn: [turn]}]
            if turn % 20 == 0:
                payload[2].clear()
                payload[3].__dict__.clear()
                with contextlib.suppress(AttributeError):  # the other thread may just have done so
                    del payload[4].parts

    threads = [threading.Thread(target=from_outside, args=(start,)) for start in (0, 10_000)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(rounds):
            assert size_of(payload) >= 20 * 64
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
