"""The same program with a queue in this process and with one on a server: results are the same, except for the differences that
the documentation lists. A test with a difference uses `remote`."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import count
from queue import Empty, Full

import pytest

import mpmc_queue
from helpers import PATIENCE
from mpmc_queue import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    QueueClosedError,
    QueueError,
    jetstream,
)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

_numbers = count(1)


@pytest.fixture(params=["here", "over JetStream"])
def remote(request):
    return request.param != "here"


@pytest.fixture
def make(remote, request):
    """make(**options): a queue."""
    opened = []

    def make(**options):
        name = f"both-{next(_numbers)}"
        if remote:
            queue = jetstream.connect_sync(request.getfixturevalue("nats").url, name, **options)
        else:
            queue = mpmc_queue.Queue(name, **options)
        opened.append(queue)
        return queue

    yield make
    for queue in opened:
        queue.close(immediate=True)


def payloads(messages):
    return [message.payload for message in messages]


def test_producing_and_reading(make):
    queue = make()
    reader = queue.add_consumer("reader")
    assert queue.enqueue("a") == 0
    assert list(queue.enqueue_batch(["b", "c"])) == [1, 2]
    queue.put("d")
    queue.put("e", True, 5)
    queue.put_nowait("f")
    assert reader.name == "reader"
    assert reader.unread_count == 6
    assert reader.position == 0
    assert reader.peek().payload == "a"
    message = reader.read(timeout=PATIENCE)
    assert (message.payload, message.seq, message.missed, message.deliveries) == ("a", 0, 0, 1)
    assert payloads(reader.read_batch(2, timeout=PATIENCE)) == ["b", "c"]
    assert reader.get() == "d"
    assert reader.get_nowait() == "e"
    assert reader.get_batch(10, timeout=PATIENCE) == ["f"]
    assert reader.read() is None
    assert reader.peek() is None
    assert reader.read_batch(3) == []
    assert reader.position == 6


def test_reading_an_empty_queue_ends_after_the_timeout(make):
    reader = make().add_consumer()
    for wait in (0, 0.05):
        assert reader.read(timeout=wait) is None
        assert reader.read_batch(2, timeout=wait) == []
        assert reader.read_latest(timeout=wait) is None
        with pytest.raises(Empty):
            reader.get(timeout=wait)
    with pytest.raises(Empty):
        reader.get(False)


def test_reading_waits_for_another_thread(make):
    queue = make()
    reader = queue.add_consumer()
    threading.Timer(0.1, queue.put, ["a"]).start()
    assert reader.get(timeout=PATIENCE) == "a"
    threading.Timer(0.1, queue.put, ["b"]).start()
    assert next(reader).payload == "b"
    threading.Timer(0.1, queue.put, ["c"]).start()
    assert reader.read_latest(timeout=None).payload == "c"


def test_iterating_ends_when_the_queue_is_closed_and_drained(make):
    queue = make()
    reader = queue.add_consumer()
    queue.enqueue_batch(["a", "b"])
    queue.close()
    assert queue.closed
    assert payloads(reader) == ["a", "b"]
    with pytest.raises(QueueClosedError):
        reader.read()
    with pytest.raises(QueueClosedError):
        queue.enqueue("c")
    with pytest.raises(QueueClosedError):
        queue.enqueue_batch([])
    queue.shutdown()


def test_a_full_queue(make):
    queue = make(max_items=2)
    queue.enqueue_batch(["a", "b"])
    with pytest.raises(ItemLimitError):
        queue.enqueue("c")
    with pytest.raises(Full):
        queue.put("c", timeout=0.05)
    with pytest.raises(ItemLimitError):
        queue.enqueue_batch(["c", "d", "e"], timeout=None)
    assert queue.stats().total_items == 2


def test_a_payload_that_could_never_fit_fails_at_once(make):
    queue = make(max_bytes=2000)
    with pytest.raises(MemoryLimitError):
        queue.enqueue("x" * 3000, timeout=None)
    with pytest.raises(MemoryLimitError):
        queue.enqueue_batch(("x" * 100 for _ in iter(int, 1)), timeout=None)


def test_seeking(make, remote):
    queue = make()
    reader = queue.add_consumer()
    queue.enqueue_batch(list("abcde"))
    assert reader.get(timeout=PATIENCE) == "a"
    reader.seek(3)
    assert reader.position == 3
    assert reader.get(timeout=PATIENCE) == "d"
    reader.seek("earliest")
    assert reader.get(timeout=PATIENCE) == "a"
    reader.seek("latest")
    assert reader.read(timeout=0.05) is None
    reader.seek(datetime.now(UTC) - timedelta(hours=1))
    assert reader.get(timeout=PATIENCE) == "a"
    with pytest.raises(ValueError, match="next"):
        reader.seek(6)
    assert reader.get(timeout=PATIENCE) == "b"
    with pytest.raises(ValueError, match=r"time zone|naive|aware"):
        reader.seek(datetime(2026, 1, 1))
    reader.seek(5)
    assert reader.position == 5


def test_a_start_beyond_the_next_is_refused(make):
    queue = make()
    with pytest.raises(ValueError, match="next"):
        queue.add_consumer(start=1)
    assert len(queue.consumers) == 0
    assert queue.add_consumer(start=0).position == 0


def test_losses(make, remote):
    queue = make(max_items=2, overflow="drop_oldest", **({"prefetch": 1} if remote else {}))
    for number in range(6):
        queue.enqueue(number)
    reader = queue.add_consumer(start=0)
    assert reader.missed_count == 0
    queue.enqueue(6)
    skips, raises = queue.add_consumer(), queue.add_consumer(on_missed="raise")
    for number in range(7, 12):
        queue.enqueue(number)
    read = [skips.read(timeout=PATIENCE)]
    while read[-1].payload != 11:
        read.append(skips.read(timeout=PATIENCE))
    assert sum(message.missed for message in read) == skips.missed_count > 0
    assert len(read) + skips.missed_count == 7
    assert skips.take_missed() == skips.missed_count
    assert skips.take_missed() == 0
    told, got = 0, []
    while got[-1:] != [11]:
        try:
            got.append(raises.get(timeout=PATIENCE))
        except MessagesMissedError as error:
            told += error.count
    assert told + len(got) == 7


def test_groups(make):
    queue = make()
    group = queue.add_group("workers", ack_wait=30, max_deliver=2)
    one, two = group.add_consumer("one"), group.add_consumer()
    assert group.name == "workers"
    assert list(group.members) == [one, two]
    assert group.queue is one.queue is queue
    queue.enqueue_batch(["a", "b", "c"])
    first, second = one.read(timeout=PATIENCE), two.read(timeout=PATIENCE)
    assert {first.payload, second.payload} == {"a", "b"}
    assert (group.pending_count, group.unread_count) == (2, 1)
    first.ack()
    second.nack()
    again = {one.get(timeout=PATIENCE), one.get(timeout=PATIENCE)}
    assert again == {"b", "c"}
    one.close()
    assert list(group.members) == [two]
    with pytest.raises(ConsumerClosedError):
        one.read()
    redelivered = two.read(timeout=PATIENCE)
    assert redelivered.deliveries > 1
    redelivered.in_progress()
    redelivered.term()
    with pytest.raises(QueueError):
        two.read_latest()
    group.close()
    with pytest.raises(QueueError):
        group.add_consumer()


def test_a_group_without_acknowledgements(make):
    queue = make()
    member = queue.add_group("workers").add_consumer()
    queue.enqueue("a")
    message = member.read(timeout=PATIENCE)
    with pytest.raises(QueueError):
        message.ack()
    assert member.read(timeout=0) is None


def test_closing_a_consumer(make):
    queue = make()
    with queue.add_consumer() as reader:
        assert list(queue.consumers) == [reader]
        assert len(queue.consumers) == 1
    assert len(queue.consumers) == 0
    with pytest.raises(ConsumerClosedError):
        reader.get()
    other = queue.add_consumer("other")
    assert queue.remove_consumer(other) is True
    assert queue.remove_consumer(other) is False


def test_the_figures_of_a_queue(make):
    queue = make(max_items=10, ttl=60)
    queue.enqueue_batch(["a", "b"])
    queue.add_consumer()
    figures = queue.stats()
    assert (figures.name, figures.total_items, figures.enqueued) == (queue.name, 2, 2)
    assert (figures.first_seq, figures.next_seq, figures.consumer_count) == (0, 2, 1)
    assert (figures.max_items, figures.ttl) == (10, 60.0)
    assert figures.created_at == queue.created_at


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda queue, reader: reader.read(timeout=-1), ValueError),
        (lambda queue, reader: reader.read(timeout="1"), TypeError),
        (lambda queue, reader: reader.read(timeout=True), TypeError),
        (lambda queue, reader: reader.read(timeout=float("nan")), ValueError),
        (lambda queue, reader: reader.read_batch(0), ValueError),
        (lambda queue, reader: reader.read_batch("1"), TypeError),
        (lambda queue, reader: reader.read_batch(1, linger=None), TypeError),
        (lambda queue, reader: reader.read_batch(1, max_bytes=0), ValueError),
        (lambda queue, reader: reader.seek("soon"), ValueError),
        (lambda queue, reader: reader.seek(-1), ValueError),
        (lambda queue, reader: queue.enqueue("a", timeout=-1), ValueError),
        (lambda queue, reader: queue.enqueue("a", ttl=0), ValueError),
        (lambda queue, reader: queue.enqueue_batch(5), TypeError),
        (lambda queue, reader: queue.add_consumer(start="soon"), ValueError),
        (lambda queue, reader: queue.add_consumer(on_missed="soon"), (TypeError, ValueError)),
        (lambda queue, reader: queue.add_group("g", ack_wait=0), ValueError),
        (lambda queue, reader: queue.add_group("g", max_deliver=3), ValueError),
    ],
)
def test_bad_arguments(make, call, error):
    queue = make()
    reader = queue.add_consumer()
    with pytest.raises(error):
        call(queue, reader)
    assert queue.stats().total_items == 0


# The differences, as in the table of the documentation.


def test_a_timedelta_as_a_timeout(make, remote):
    reader = make().add_consumer()
    if remote:
        assert reader.read(timeout=timedelta(milliseconds=10)) is None
    else:
        with pytest.raises(TypeError):
            reader.read(timeout=timedelta(milliseconds=10))


def test_names(make, remote):
    queue = make()
    queue.add_consumer("reader")
    if remote:
        with pytest.raises(ValueError, match="in use"):
            queue.add_consumer("reader")
        with pytest.raises(ValueError, match="characters"):
            queue.add_consumer("a name with spaces")
    else:
        queue.add_consumer("reader")
        queue.add_consumer("a name with spaces")


def test_ack_returns_whether_it_settled_only_in_process(make, remote):
    queue = make()
    member = queue.add_group("workers", ack_wait=30).add_consumer()
    queue.enqueue("a")
    message = member.read(timeout=PATIENCE)
    if remote:
        assert message.ack() is None
    else:
        assert message.ack() is True


def test_a_member_has_a_position_only_in_process(make, remote):
    member = make().add_group("workers").add_consumer()
    calls = [lambda: member.position, lambda: member.peek(), lambda: member.seek(0), lambda: member.missed_count]
    for call in [*calls, member.take_missed]:
        if remote:
            with pytest.raises(QueueError):
                call()
        else:
            call()


def test_consumers_after_the_queue_is_closed(make, remote):
    queue = make()
    queue.enqueue("a")
    queue.close()
    if remote:
        queue.wait_closed()  # without consumers the connection is closed at once
        with pytest.raises(QueueClosedError):
            queue.stats()
    else:
        assert queue.add_consumer().get() == "a"
        assert queue.stats().total_items == 1


ONLY_HERE = {
    "queue": [
        "consumer_stats disable_expiration enable_expiration expiration_enabled force_expiration get_consumer get_group",
        "group_stats is_empty join max_bytes max_items memory_usage ttl __len__",
    ],
    "consumer": ["group has_more_data history read_where topics"],
    "group": ["missed_count"],
}


def test_names_that_only_a_queue_in_the_process_has(make, remote):
    queue = make()
    parts = {"queue": queue, "consumer": queue.add_consumer(), "group": queue.add_group("workers")}
    for part, names in ONLY_HERE.items():
        for name in " ".join(names).split():
            assert hasattr(type(parts[part]), name) is not remote, f"{part}.{name}"
    public = {
        part: {name for name in dir(kind) if name[0] != "_" and not name.startswith("a")}
        for part, kind in (
            ("queue", mpmc_queue.Queue),
            ("consumer", mpmc_queue.Consumer),
            ("group", mpmc_queue.ConsumerGroup),
        )
    }
    for part, names in public.items():
        there = {name for name in names if hasattr(type(parts[part]), name)}
        if remote:
            assert names - there == {name for name in " ".join(ONLY_HERE[part]).split() if name[0] != "_"}
