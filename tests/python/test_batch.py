"""A batch is added as a whole, in one piece, from any iterable; or not at all."""

import gc
import weakref

import pytest

from helpers import fill, payloads
from mpmc_queue import CHUNK_SIZE, ItemLimitError, MemoryLimitError

MANY = 2 * CHUNK_SIZE + 7


class Sequence:
    """Iterable only by __getitem__."""

    def __getitem__(self, index):
        if index == 3:
            raise IndexError
        return index


class Payload:
    pass


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: [1, 2, 3], [1, 2, 3]),
        (lambda: (1, 2, 3), [1, 2, 3]),
        (lambda: (i for i in (1, 2, 3)), [1, 2, 3]),
        (lambda: iter([1, 2, 3]), [1, 2, 3]),
        (lambda: range(1, 4), [1, 2, 3]),
        (lambda: {1: "a", 2: "b"}, [1, 2]),
        (lambda: {1: "a", 2: "b"}.values(), ["a", "b"]),
        (lambda: {1}, [1]),
        (lambda: "abc", ["a", "b", "c"]),
        (lambda: b"ab", [97, 98]),
        (lambda: map(str, [1, 2]), ["1", "2"]),
        (lambda: Sequence(), [0, 1, 2]),
        (lambda: [None, [], ()], [None, [], ()]),
    ],
    ids="list tuple generator iterator range dict values set str bytes map getitem odd".split(),
)
def test_any_iterable_is_a_batch(make_queue, make, expected):
    queue = make_queue()
    consumer = queue.add_consumer()
    assert queue.enqueue_batch(make()) == range(len(expected))
    assert payloads(consumer) == expected


def test_a_batch_returns_the_range_of_its_seqs(make_queue):
    queue = make_queue(max_bytes=10_000_000)
    queue.enqueue("first")
    seqs = queue.enqueue_batch(range(MANY))
    assert type(seqs) is range
    assert seqs == range(1, MANY + 1)
    assert queue.enqueue("after") == MANY + 1


def test_an_empty_batch_is_an_empty_range_at_the_next_seq(make_queue):
    queue = make_queue()
    queue.enqueue("a")
    seqs = queue.enqueue_batch([])
    assert (seqs.start, seqs.stop) == (1, 1)
    assert len(queue) == 1


def test_an_empty_batch_goes_into_a_full_queue(make_queue):
    queue = make_queue(max_items=1)
    queue.enqueue("a")
    assert len(queue.enqueue_batch([])) == 0
    assert queue.stats().rejected == 0


@pytest.mark.parametrize("as_iterable", [list, iter], ids=["list", "iterator"])
def test_a_large_batch_crosses_chunks_in_order(make_queue, as_iterable):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(as_iterable(range(MANY)))
    messages = consumer.read_batch(MANY + 1)
    assert [m.payload for m in messages] == list(range(MANY))
    assert [m.seq for m in messages] == list(range(MANY))


def test_a_batch_delivers_the_same_objects(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    batch = [Payload() for _ in range(10)]
    queue.enqueue_batch(batch)
    assert all(got is sent for got, sent in zip(consumer.get_batch(20), batch, strict=True))


def test_the_given_list_is_not_changed(make_queue):
    queue = make_queue()
    batch = [1, 2, 3]
    queue.enqueue_batch(batch)
    assert batch == [1, 2, 3]


def test_a_batch_with_one_message_too_many_adds_nothing(make_queue):
    queue = make_queue(max_items=5)
    consumer = queue.add_consumer()
    queue.enqueue_batch([1, 2])
    before = queue.memory_usage
    with pytest.raises(ItemLimitError) as caught:
        queue.enqueue_batch([3, 4, 5, 6])
    assert (caught.value.current, caught.value.max, caught.value.needed) == (2, 5, 4)
    assert len(queue) == 2
    assert queue.memory_usage == before
    assert queue.enqueue_batch([3, 4, 5]) == range(2, 5)
    assert payloads(consumer) == [1, 2, 3, 4, 5]


def test_a_batch_with_too_many_bytes_adds_nothing(make_queue):
    queue = make_queue(max_bytes=200_000, sizer=len)
    count = fill(queue, b"x" * 10_000)
    before = queue.memory_usage
    with pytest.raises(MemoryLimitError) as caught:
        queue.enqueue_batch([b"x" * 10_000, b"x" * 10_000])
    assert caught.value.current == before
    assert caught.value.max == 200_000
    assert caught.value.needed > 20_000
    assert len(queue) == count
    assert queue.memory_usage == before


def test_a_batch_costs_what_its_messages_cost_one_by_one(make_queue):
    batched, single = make_queue(sizer=len), make_queue(sizer=len)
    batch = [b"x" * (i % 100) for i in range(CHUNK_SIZE + 10)]
    batched.enqueue_batch(batch)
    for payload in batch:
        single.enqueue(payload)
    assert batched.memory_usage == single.memory_usage


def test_a_refused_batch_counts_each_of_its_messages_as_rejected(make_queue):
    queue = make_queue(max_items=2)
    queue.enqueue("a")
    for expected in (3, 6):
        with pytest.raises(ItemLimitError):
            queue.enqueue_batch([1, 2, 3])
        assert queue.stats().rejected == expected


def test_an_iterable_that_raises_adds_nothing_and_its_error_reaches_the_caller(make_queue):
    queue = make_queue()
    consumer = queue.add_consumer()
    error = LookupError("the very one")

    def broken():
        yield 1
        yield 2
        raise error

    with pytest.raises(LookupError) as caught:
        queue.enqueue_batch(broken())
    assert caught.value is error
    assert len(queue) == 0
    assert queue.memory_usage == 0
    assert queue.stats().rejected == 0
    assert queue.enqueue("next") == 0
    assert payloads(consumer) == ["next"]


def test_a_sizer_that_fails_in_mid_batch_adds_nothing(make_queue):
    queue = make_queue(sizer=len)
    with pytest.raises(TypeError):
        queue.enqueue_batch(["a", "b", 3])
    assert len(queue) == 0
    assert queue.memory_usage == 0


def test_a_refused_batch_keeps_none_of_its_payloads(make_queue):
    queue = make_queue(max_items=3)
    batch = [Payload() for _ in range(4)]
    alive = [weakref.ref(p) for p in batch]
    with pytest.raises(ItemLimitError):
        queue.enqueue_batch(iter(batch))
    del batch
    gc.collect()
    assert [ref() for ref in alive] == [None] * 4


def test_the_sizer_sees_each_payload_of_a_batch_once(make_queue):
    seen = []

    def sizer(payload):
        seen.append(payload)
        return 1

    make_queue(sizer=sizer).enqueue_batch(range(100))
    assert seen == list(range(100))


def test_batches_of_several_threads_do_not_mix(make_queue, run_thread):
    queue = make_queue(max_bytes=50_000_000)
    consumer = queue.add_consumer()

    def produce(name):
        return [queue.enqueue_batch([(name, part, i) for i in range(300)]) for part in range(10)]

    workers = {name: run_thread(produce, name) for name in "abc"}
    by_seq = {m.seq: m.payload for name in "abc" if workers[name].result() for m in consumer.read_batch(100_000)}
    assert len(by_seq) == 3 * 10 * 300
    for name, worker in workers.items():
        for part, seqs in enumerate(worker.result()):
            assert [by_seq[seq] for seq in seqs] == [(name, part, i) for i in range(300)]


def test_a_reader_sees_all_of_a_batch_or_nothing(make_queue, run_thread):
    queue = make_queue(max_bytes=50_000_000)
    consumer = queue.add_consumer()
    worker = run_thread(lambda: [queue.enqueue_batch(range(50)) for _ in range(100)])
    got = 0
    while got < 5000:
        batch = consumer.read_batch(10_000, timeout=10)
        assert len(batch) > 0
        assert len(batch) % 50 == 0
        got += len(batch)
    worker.result()
