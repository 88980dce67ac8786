"""A delivery: identity, times, audit events; and that it cannot be changed."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from helpers import READS, WALL_SLACK, expire_all, now
from mpmc_queue import CHUNK_SIZE, Event, Message

FIELDS = ("id", "seq", "payload", "size", "created", "created_ns", "events", "missed", "deliveries")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def one_message(queue, payload="a"):
    queue.enqueue(payload)
    return queue.add_consumer(start=queue.stats().next_seq - 1).read()


def test_fields_have_the_documented_types(make_queue):
    message = one_message(make_queue())
    assert type(message) is Message
    assert type(message.id) is uuid.UUID
    assert [type(getattr(message, f)) for f in ("seq", "size", "created_ns", "missed", "deliveries")] == [int] * 5
    assert type(message.created) is datetime
    assert type(message.events) is list
    assert message.deliveries == 1


def test_id_is_a_uuid_version_7_of_the_creation_time(make_queue):
    message = one_message(make_queue())
    assert message.id.version == 7
    assert message.id.variant == uuid.RFC_4122
    assert message.id.int >> 80 == message.created_ns // 1_000_000


def test_id_is_the_same_for_every_consumer_and_every_way_to_read(make_queue):
    queue = make_queue()
    queue.enqueue("a")
    ids = set()
    for _ in range(3):
        consumer = queue.add_consumer()
        ids.add(consumer.peek().id)
        message = consumer.read()
        ids |= {message.id, message.id}
        consumer.seek(0)
        ids.add(consumer.read_batch(1)[0].id)
    assert len(ids) == 1


def test_ids_sort_in_enqueue_order(make_queue):
    queue = make_queue(ttl=None, max_bytes=10_000_000)
    consumer = queue.add_consumer()
    count = 2 * CHUNK_SIZE + 500
    for i in range(500):
        queue.enqueue(i)
    queue.enqueue_batch(range(500, count))
    ids = [m.id for m in consumer.read_batch(count)]
    assert len(set(ids)) == count
    assert ids == sorted(ids)
    assert [str(i) for i in ids] == sorted(str(i) for i in ids)


def test_ids_still_sort_after_messages_have_left(make_queue):
    queue = make_queue(ttl=None)
    ids = []
    for _ in range(20):
        ids.append(one_message(queue).id)
        expire_all(queue)
    assert ids == sorted(set(ids))


def test_ids_of_two_queues_differ(make_queue):
    queues = make_queue("same"), make_queue("same")
    ids = set()
    for queue in queues:
        queue.enqueue_batch(range(100))
        ids |= {m.id for m in queue.add_consumer().read_batch(100)}
    assert len(ids) == 200


def test_created_is_the_time_of_the_enqueue_in_utc(make_queue):
    queue = make_queue()
    before = now()
    message = one_message(queue)
    after = now()
    assert message.created.utcoffset() == timedelta(0)
    assert message.created.tzinfo is UTC
    assert before - WALL_SLACK <= message.created <= after + WALL_SLACK


def test_created_ns_is_the_same_time(make_queue):
    message = one_message(make_queue())
    assert message.created == EPOCH + timedelta(microseconds=message.created_ns // 1000)


def test_created_never_runs_backwards(make_queue):
    queue = make_queue(max_bytes=10_000_000)
    consumer = queue.add_consumer()
    for i in range(CHUNK_SIZE + 500):
        queue.enqueue(i)
    queue.enqueue_batch(range(500))
    times = [m.created_ns for m in consumer.read_batch(10_000)]
    assert times == sorted(times)


@pytest.mark.parametrize("size", [0, 1, 12_345])
def test_size_is_what_the_sizer_returned(make_queue, size):
    queue = make_queue(sizer=lambda payload: size)
    assert one_message(queue).size == size


def test_the_first_event_is_the_enqueue(make_queue):
    message = one_message(make_queue("orders", audit=False))
    (event,) = message.events
    assert type(event) is Event
    assert event.kind == "enqueue"
    assert event.queue == "orders"
    assert event.consumer_id is None
    assert event.timestamp == message.created


def test_the_second_event_is_the_dequeue_of_the_reader(make_queue):
    queue = make_queue("orders")
    consumer = queue.add_consumer()
    queue.enqueue("a")
    before = now()
    message = consumer.read()
    after = now()
    enqueued, dequeued = message.events
    assert (enqueued.kind, dequeued.kind) == ("enqueue", "dequeue")
    assert dequeued.queue == "orders"
    assert dequeued.consumer_id == consumer.id
    assert dequeued.timestamp.tzinfo is UTC
    assert dequeued.timestamp >= message.created
    assert before - WALL_SLACK <= dequeued.timestamp <= after + WALL_SLACK


def test_the_list_of_events_is_a_copy_for_the_caller(make_queue):
    message = one_message(make_queue())
    message.events.clear()
    assert len(message.events) == 2


@pytest.mark.parametrize("field", FIELDS)
def test_a_message_cannot_be_changed(make_queue, field):
    message = one_message(make_queue())
    before = getattr(message, field)
    with pytest.raises(AttributeError):
        setattr(message, field, None)
    with pytest.raises(AttributeError):
        delattr(message, field)
    assert getattr(message, field) == before


def test_a_message_accepts_no_new_attributes(make_queue):
    message = one_message(make_queue())
    with pytest.raises(AttributeError):
        message.extra = 1


@pytest.mark.parametrize("field", ["kind", "timestamp", "queue", "consumer_id"])
def test_an_event_cannot_be_changed(make_queue, field):
    event = one_message(make_queue()).events[0]
    with pytest.raises(AttributeError):
        setattr(event, field, None)


@pytest.mark.parametrize("how", ["read", "peek", "read_batch", "read_where", "next"])
def test_every_way_to_read_returns_the_same_message(make_queue, how):
    queue = make_queue()
    queue.enqueue("a")
    expected = queue.add_consumer().read()
    consumer = queue.add_consumer()
    match how:
        case "read" | "peek":
            message = getattr(consumer, how)()
        case "read_batch":
            message = consumer.read_batch(5)[0]
        case "read_where":
            message = consumer.read_where(lambda m: True)
        case _:
            message = next(consumer)
    for field in ("id", "seq", "payload", "size", "created", "created_ns", "missed", "deliveries"):
        assert getattr(message, field) == getattr(expected, field)


def test_the_predicate_gets_the_message_that_is_returned(make_queue):
    queue = make_queue(sizer=lambda payload: 7)
    consumer = queue.add_consumer()
    queue.enqueue("a")
    seen = []
    message = consumer.read_where(lambda m: seen.append(m) or True)
    for field in ("id", "seq", "payload", "size", "created_ns", "missed"):
        assert getattr(message, field) == getattr(seen[0], field)


def test_a_message_outlives_its_queue_entry(make_queue):
    queue = make_queue(ttl=None)
    message = one_message(queue, payload := object())
    fields = {f: getattr(message, f) for f in ("id", "seq", "size", "created", "created_ns", "missed")}
    expire_all(queue)
    queue.close(immediate=True)
    assert message.payload is payload
    assert {f: getattr(message, f) for f in fields} == fields
    assert message.events[0].kind == "enqueue"


@pytest.mark.parametrize("how", READS)
def test_seqs_count_the_deliveries_of_every_way_to_read(make_queue, how):
    queue = make_queue()
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(5))
    assert [READS[how](consumer, 0.0) for _ in range(5)] == list(range(5))
    assert [seq for seq, _ in consumer.history()] == list(range(5))
