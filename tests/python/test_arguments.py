"""Every wrong argument of every public function: the kind of error, a message that names it, and nothing changed."""

import inspect
import re
from datetime import date, datetime, timedelta
from uuid import uuid4

import pytest

from mpmc_queue import MemoryLimitError, Queue

NAN, INF = float("nan"), float("inf")
BIG = 2**63

# Wrong values of each kind of argument, with the error that each one causes.
TIMEOUTS = [
    *[(value, ValueError) for value in (-1, -0.001, -INF, NAN, -1e300)],
    *[(value, TypeError) for value in ("1", b"1", [], True, False, 1j, timedelta(seconds=1), object)],
]
TTLS = [
    *[(value, ValueError) for value in (0, 0.0, -0.0, -1, -0.5, -INF, NAN, timedelta(0), timedelta(seconds=-1))],
    *[(value, TypeError) for value in ("1", b"1", [], True, False, 1j, datetime(2024, 1, 1), object)],
]
LIMITS = [
    *[(value, ValueError) for value in (0, -1)],
    *[(value, OverflowError) for value in (BIG, 2**64, 2**200)],
    *[(value, TypeError) for value in (1.0, 1.5, "1", True, False, [], NAN)],
]
POSITIONS = [
    *[(value, ValueError) for value in ("soon", "", "LATEST", 4, 2**62, datetime(2024, 1, 1))],
    *[(value, OverflowError) for value in (BIG, 2**64, 2**200)],
    *[(value, TypeError) for value in (None, 1.0, True, False, b"latest", date(2024, 1, 1), timedelta(1), [])],
]
NOT_A_STR = [(value, TypeError) for value in (1, b"name", ["name"], object)]
NOT_CALLABLE = [(value, TypeError) for value in (1, "len", [])]
NOT_ITERABLE = [(value, TypeError) for value in (None, 1, 1.5, object(), len)]

# (function, argument) -> (the call, wrong values)
CASES = {
    ("Queue", "name"): (lambda q, c, v: Queue(v), [*NOT_A_STR, (None, TypeError)]),
    ("Queue", "ttl"): (lambda q, c, v: Queue("q", ttl=v), TTLS),
    ("Queue", "max_bytes"): (lambda q, c, v: Queue("q", max_bytes=v), [*LIMITS, (None, TypeError)]),
    ("Queue", "max_items"): (lambda q, c, v: Queue("q", max_items=v), LIMITS),
    ("Queue", "sizer"): (lambda q, c, v: Queue("q", sizer=v), NOT_CALLABLE),
    ("Queue", "audit"): (lambda q, c, v: Queue("q", audit=v), [("yes", TypeError), (None, TypeError)]),
    ("Queue.ttl", "ttl"): (lambda q, c, v: setattr(q, "ttl", v), TTLS),
    ("Queue.max_bytes", "max_bytes"): (lambda q, c, v: setattr(q, "max_bytes", v), [*LIMITS, (None, TypeError)]),
    ("Queue.max_items", "max_items"): (lambda q, c, v: setattr(q, "max_items", v), LIMITS),
    ("Queue.enqueue", "timeout"): (lambda q, c, v: q.enqueue("x", timeout=v), TIMEOUTS),
    ("Queue.enqueue_batch", "timeout"): (lambda q, c, v: q.enqueue_batch(["x"], timeout=v), TIMEOUTS),
    ("Queue.enqueue_batch", "payloads"): (lambda q, c, v: q.enqueue_batch(v), NOT_ITERABLE),
    ("Queue.put", "timeout"): (lambda q, c, v: q.put("x", timeout=v), TIMEOUTS),
    ("Queue.join", "timeout"): (lambda q, c, v: q.join(v), TIMEOUTS),
    ("Queue.add_consumer", "name"): (lambda q, c, v: q.add_consumer(v), NOT_A_STR),
    ("Queue.add_consumer", "start"): (lambda q, c, v: q.add_consumer(start=v), POSITIONS),
    ("Queue.add_consumer", "on_missed"): (
        lambda q, c, v: q.add_consumer(on_missed=v),
        [("ignore", ValueError), ("", ValueError), (None, TypeError), (1, TypeError), (True, TypeError)],
    ),
    ("Queue.get_consumer", "id"): (lambda q, c, v: q.get_consumer(v), [(1, TypeError), (None, TypeError)]),
    ("Queue.remove_consumer", "consumer"): (
        lambda q, c, v: q.remove_consumer(v),
        [(1, TypeError), (None, TypeError), (object(), TypeError)],
    ),
    ("Consumer.read", "timeout"): (lambda q, c, v: c.read(timeout=v), TIMEOUTS),
    ("Consumer.read_batch", "limit"): (lambda q, c, v: c.read_batch(v), [*LIMITS, (None, TypeError)]),
    ("Consumer.read_batch", "timeout"): (lambda q, c, v: c.read_batch(1, timeout=v), TIMEOUTS),
    ("Consumer.read_where", "predicate"): (lambda q, c, v: c.read_where(v), [*NOT_CALLABLE, (None, TypeError)]),
    ("Consumer.read_where", "timeout"): (lambda q, c, v: c.read_where(bool, timeout=v), TIMEOUTS),
    ("Consumer.get", "timeout"): (lambda q, c, v: c.get(timeout=v), TIMEOUTS),
    ("Consumer.get_batch", "limit"): (lambda q, c, v: c.get_batch(v), [*LIMITS, (None, TypeError)]),
    ("Consumer.get_batch", "timeout"): (lambda q, c, v: c.get_batch(1, timeout=v), TIMEOUTS),
    ("Consumer.seek", "to"): (lambda q, c, v: c.seek(v), POSITIONS),
    ("Consumer.take_missed", "timeout"): (lambda q, c, v: c.take_missed(timeout=v), TIMEOUTS),
    ("Consumer.history", "limit"): (
        lambda q, c, v: c.history(v),
        [case for case in LIMITS if type(case[0]) is not int or case[0] != 0],
    ),
}
TABLE = [
    pytest.param(call, value, error, argument, id=f"{function}-{argument}-{value!r:.30}")
    for (function, argument), (call, values) in CASES.items()
    for value, error in values
]


def snapshot(queue):
    stats = queue.stats()
    fields = [n for n in dir(stats) if not n.startswith("_")]
    consumers = [(c.id, c.position, c.unread_count, c.missed_count, len(c.history())) for c in queue.consumers]
    return (
        {name: getattr(stats, name) for name in fields},
        consumers,
        queue.expiration_enabled,
        queue.closed,
        [(s.total_items_read, s.unread_bytes, s.last_read_time) for s in queue.consumer_stats()],
    )


def a_used_queue(make_queue):
    """A queue with three messages, the first of them read."""
    queue = make_queue(ttl=100, max_items=50)
    consumer = queue.add_consumer()
    queue.enqueue_batch("abc")
    consumer.read()
    return queue, consumer


@pytest.mark.parametrize(("call", "value", "error", "argument"), TABLE)
def test_a_wrong_argument_is_named_and_changes_nothing(make_queue, call, value, error, argument):
    queue, consumer = a_used_queue(make_queue)
    before = snapshot(queue)
    with pytest.raises(error) as caught:
        call(queue, consumer, value)
    assert caught.type is error
    assert re.search(rf"\b{argument}\b", str(caught.value))
    assert snapshot(queue) == before


IN_WORDS = {-1: "-1", -0.001: "-0.001", 4: "4", 0: "0", "soon": "soon", "LATEST": "LATEST", "ignore": "ignore"}


@pytest.mark.parametrize(
    ("call", "value"),
    [
        pytest.param(case.values[0], case.values[1], id=case.id)
        for case in TABLE
        if case.values[2] is ValueError and type(case.values[1]) in (int, float, str) and case.values[1] in IN_WORDS
    ],
)
def test_a_value_error_shows_the_value(make_queue, call, value):
    queue, consumer = a_used_queue(make_queue)
    with pytest.raises(ValueError, match=re.escape(IN_WORDS[value])):
        call(queue, consumer, value)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, c: q.enqueue(),
        lambda q, c: q.enqueue("x", 1.0),
        lambda q, c: q.enqueue("x", wait=1.0),
        lambda q, c: q.enqueue_batch(),
        lambda q, c: q.enqueue_batch(["x"], 1.0),
        lambda q, c: q.put(),
        lambda q, c: q.put("x", True, 1.0, 1.0),
        lambda q, c: q.put_nowait(),
        lambda q, c: q.put_nowait("x", True),
        lambda q, c: q.add_consumer("name", "latest"),
        lambda q, c: q.get_consumer(),
        lambda q, c: q.remove_consumer(),
        lambda q, c: q.force_expiration(1),
        lambda q, c: q.enable_expiration(1),
        lambda q, c: q.disable_expiration(1),
        lambda q, c: q.stats(1),
        lambda q, c: q.consumer_stats(1),
        lambda q, c: q.is_empty(1),
        lambda q, c: q.close(True),
        lambda q, c: c.read(1.0),
        lambda q, c: c.read_batch(),
        lambda q, c: c.read_batch(1, 1.0),
        lambda q, c: c.read_where(),
        lambda q, c: c.read_where(bool, 1.0),
        lambda q, c: c.peek(1),
        lambda q, c: c.get(True, 1.0, 1.0),
        lambda q, c: c.get_nowait(1),
        lambda q, c: c.get_batch(),
        lambda q, c: c.get_batch(1, 1.0),
        lambda q, c: c.seek(),
        lambda q, c: c.take_missed(1.0),
        lambda q, c: c.history(1, 1),
        lambda q, c: c.has_more_data(1),
        lambda q, c: c.close(1),
    ],
    ids=lambda call: re.sub(r"\s*lambda q, c: (.*?),?\s*$", r"\1", inspect.getsource(call).strip()),
)
def test_too_few_too_many_or_unknown_arguments_are_type_errors(make_queue, call):
    queue, consumer = a_used_queue(make_queue)
    before = snapshot(queue)
    with pytest.raises(TypeError):
        call(queue, consumer)
    assert snapshot(queue) == before


@pytest.mark.parametrize("argument", ["size", "maxsize", "sizes"])
def test_queue_takes_no_unknown_keyword(argument):
    with pytest.raises(TypeError, match=argument):
        Queue("q", **{argument: 1})


@pytest.mark.parametrize("name", ["ttl", "max_bytes", "max_items"])
def test_settable_attributes_cannot_be_deleted(make_queue, name):
    queue = make_queue()
    before = getattr(queue, name)
    with pytest.raises((AttributeError, TypeError)):
        delattr(queue, name)
    assert getattr(queue, name) == before


@pytest.mark.parametrize("limit", [1, 2**62, BIG - 1])
def test_limits_up_to_63_bits_are_accepted(make_queue, limit):
    queue = make_queue(max_bytes=limit, max_items=limit)
    assert (queue.max_bytes, queue.max_items) == (limit, limit)
    queue = make_queue()
    queue.max_bytes = limit
    queue.max_items = limit
    assert (queue.max_bytes, queue.max_items) == (limit, limit)


@pytest.mark.parametrize("limit", [BIG - 1, 2**62])
def test_batch_limits_up_to_63_bits_are_accepted(make_queue, limit):
    _, consumer = a_used_queue(make_queue)
    assert len(consumer.history(limit)) == 1
    assert consumer.get_batch(limit) == ["b", "c"]
    assert consumer.read_batch(limit) == []


def test_integers_and_subclasses_of_float_are_timeouts(make_queue):
    class Seconds(float):
        pass

    queue, consumer = a_used_queue(make_queue)
    for timeout in (0, 1, Seconds(0.5), 2**70):
        queue.enqueue("x", timeout=timeout)
        assert consumer.read(timeout=timeout) is not None


@pytest.mark.parametrize("form", [lambda i: i, str])
def test_an_unknown_id_is_not_an_error(make_queue, form):
    queue, _ = a_used_queue(make_queue)
    assert queue.get_consumer(form(uuid4())) is None
    assert queue.remove_consumer(form(uuid4())) is False


@pytest.mark.parametrize(
    ("returned", "error"),
    [(-1, ValueError), (-(2**70), (ValueError, OverflowError)), (1.5, TypeError), ("1", TypeError), (None, TypeError)],
    ids=repr,
)
@pytest.mark.parametrize("how", ["enqueue", "enqueue_batch", "put"])
def test_a_sizer_must_return_an_int_of_zero_or_more(make_queue, how, returned, error):
    queue = make_queue(sizer=lambda payload: returned)
    before = snapshot(queue)
    with pytest.raises(error, match="sizer"):
        getattr(queue, how)(["x"] if how == "enqueue_batch" else "x")
    assert snapshot(queue) == before


@pytest.mark.parametrize("sizes", [[BIG - 1], [BIG], [2**64 - 1], [2**64], [2**200], [2**62] * 3, [2**62] * 4], ids=str)
def test_sizes_that_add_up_past_63_bits_do_not_fit(make_queue, sizes):
    queue = make_queue(max_bytes=BIG - 1, sizer=lambda payload: payload)
    with pytest.raises((OverflowError, MemoryLimitError)):
        queue.enqueue_batch(sizes)
    with pytest.raises((OverflowError, MemoryLimitError)):
        for size in sizes:
            queue.enqueue(size)
    assert queue.memory_usage <= queue.max_bytes


def test_options_by_position_are_named_in_the_error():
    with pytest.raises(TypeError, match=r"by name only: pass ttl=5, max_bytes=1000"):
        Queue("a", 5, 1000)


@pytest.mark.parametrize("number", [5, 2.5, -1, 0.1])
def test_a_timeout_passed_as_block_is_an_error(make_queue, number):
    queue = make_queue()
    for call in (queue.add_consumer().get, lambda block: queue.put("item", block)):
        with pytest.raises(TypeError, match=f"timeout={number}"):
            call(number)
    assert queue.is_empty()


@pytest.mark.parametrize("block", [True, 1, 1.0, "yes", [0]])
def test_block_is_used_by_its_truth_value(make_queue, block):
    queue = make_queue()
    queue.put("item", block)
    assert queue.add_consumer().get(block) == "item"


def test_a_timeout_that_is_not_a_number_of_seconds_is_named(make_queue):
    np = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match="timeout must be a number of seconds"):
        make_queue().add_consumer().read(timeout=np.timedelta64(5, "s"))
