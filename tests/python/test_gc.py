"""No object outlives its last holder: cycles are collected, payloads are freed at once, nothing accumulates."""

import gc
import json
import weakref
from pathlib import Path

import pytest

from harness import eventually, output_of
from helpers import expire_all
from mpmc_queue import Queue, QueueFullError


class Payload:
    """An object that supports weak references."""


def collected(*refs):
    """Whether the garbage collector frees them. A second pass frees what the finalizers of the first one released."""
    for _ in range(3):
        gc.collect()
        if all(ref() is None for ref in refs):
            return True
    return False


# Cycles. Each function makes one and returns weak references to what must be freed; nothing else holds it.


def through_a_payload():
    queue, payload = Queue("q"), Payload()
    queue.enqueue(payload)
    payload.queue = queue
    return weakref.ref(payload), weakref.ref(queue)


def through_a_consumer():
    queue, payload = Queue("q"), Payload()
    payload.consumer = queue.add_consumer()
    queue.enqueue(payload)
    return weakref.ref(payload), weakref.ref(queue), weakref.ref(payload.consumer)


def through_a_message():
    queue, payload = Queue("q"), Payload()
    consumer = queue.add_consumer()
    queue.enqueue(payload)
    payload.message = consumer.read()
    return weakref.ref(payload), weakref.ref(queue), weakref.ref(payload.message)


def through_a_message_alone():
    queue, payload = Queue("q", ttl=None), Payload()
    consumer = queue.add_consumer()
    queue.enqueue(payload)
    payload.message = consumer.read()
    expire_all(queue)
    return weakref.ref(payload), weakref.ref(payload.message)


def through_the_sizer():
    def sizer(payload):
        return 1 if queue else 0

    queue = Queue("q", sizer=sizer)
    return weakref.ref(sizer), weakref.ref(queue)


def through_on_missed():
    queue = Queue("q")

    def on_missed(count):
        consumer.seek("latest")

    consumer = queue.add_consumer(on_missed=on_missed)
    return weakref.ref(on_missed), weakref.ref(queue), weakref.ref(consumer)


def through_on_missed_of_a_consumer_nobody_holds():
    queue, payload = Queue("q"), Payload()
    payload.queue = queue
    payload.on_missed = lambda count: payload
    queue.add_consumer(on_missed=payload.on_missed)
    return weakref.ref(payload), weakref.ref(queue)


def through_a_group():
    queue, payload = Queue("q"), Payload()
    payload.group = queue.add_group("g", ack_wait=60)
    payload.member = payload.group.add_consumer()
    queue.enqueue(payload)
    payload.message = payload.member.read()
    return weakref.ref(payload), weakref.ref(queue), weakref.ref(payload.group), weakref.ref(payload.member)


def through_a_dead_letter_queue():
    queue, dead = Queue("q"), Queue("dead")
    queue.add_group("g", ack_wait=60, max_deliver=1, dead_letter=dead)
    dead.enqueue(queue)
    return weakref.ref(queue), weakref.ref(dead)


def through_an_iterator():
    queue, payload = Queue("q"), Payload()
    payload.iterator = iter(queue.add_consumer())
    queue.enqueue(payload)
    return weakref.ref(payload), weakref.ref(queue)


def through_a_coroutine():
    queue, payload = Queue("q"), Payload()
    payload.coroutine = queue.aenqueue(payload)
    payload.coroutine.close()
    return weakref.ref(payload), weakref.ref(queue)


def through_two_queues():
    first, second = Queue("first"), Queue("second")
    first.enqueue(second)
    second.enqueue(first.add_consumer())
    return weakref.ref(first), weakref.ref(second)


@pytest.mark.parametrize(
    "cycle",
    [
        through_a_payload,
        through_a_consumer,
        through_a_message,
        through_a_message_alone,
        through_the_sizer,
        through_on_missed,
        through_on_missed_of_a_consumer_nobody_holds,
        through_a_group,
        through_a_dead_letter_queue,
        through_an_iterator,
        through_a_coroutine,
        through_two_queues,
    ],
    ids=lambda cycle: cycle.__name__,
)
def test_a_cycle_is_collected(cycle):
    assert collected(*cycle())


def test_a_cycle_with_an_outside_reference_is_not_collected():
    queue, payload = Queue("q"), Payload()
    payload.queue = queue
    queue.enqueue(payload)
    seen = weakref.ref(payload)
    del payload
    gc.collect()
    assert seen() is not None
    assert queue.add_consumer().get() is seen()


# Which objects keep which alive.


def test_a_consumer_keeps_its_queue_alive_and_open():
    consumer = Queue("q").add_consumer()
    gc.collect()
    assert not consumer.queue.closed
    consumer.queue.enqueue(1)
    assert consumer.get() == 1


def test_a_group_keeps_its_queue_alive_and_open():
    group = Queue("q").add_group("g")
    gc.collect()
    assert not group.queue.closed
    group.queue.enqueue(1)
    assert group.add_consumer().get() == 1


def test_a_consumer_without_references_stays_registered():
    queue = Queue("q")
    told = []
    identity = queue.add_consumer("name", on_missed=told.append).id
    queue.enqueue_batch([1, 2])
    queue.get_consumer(identity).read()
    gc.collect()
    consumer = queue.get_consumer(identity)
    assert (consumer.id, consumer.name, consumer.position, consumer.queue) == (identity, "name", 1, queue)
    assert [other.id for other in queue.consumers] == [identity]
    expire_all(queue)
    queue.enqueue(3)
    assert (consumer.get(), told) == (3, [1])


def test_a_group_without_references_stays_registered():
    queue = Queue("q")
    queue.add_group("g", ack_wait=60).add_consumer("m")
    queue.enqueue_batch([1, 2])
    queue.get_group("g").members[0].read()
    gc.collect()
    group = queue.get_group("g")
    assert (group.name, group.pending_count, group.unread_count) == ("g", 1, 1)
    assert [member.name for member in group.members] == ["m"]


def test_a_freed_queue_frees_its_consumers_and_payloads():
    queue, payload = Queue("q"), Payload()
    consumer = queue.add_consumer()
    queue.add_group("g").add_consumer()
    queue.enqueue(payload)
    refs = [weakref.ref(thing) for thing in (queue, payload, consumer)]
    del queue, payload, consumer
    assert collected(*refs)


# Payloads are freed when the last holder releases them, not at the next collection.


def force_expiration(queue, consumer):
    queue.ttl = 1e-9
    queue.force_expiration()


def close_immediately(queue, consumer):
    queue.close(immediate=True)


WAYS_OUT = {
    "force_expiration": ({"ttl": None}, force_expiration),
    "close(immediate=True)": ({}, close_immediately),
    "drop_oldest": ({"max_items": 1, "overflow": "drop_oldest"}, lambda queue, consumer: queue.enqueue(0)),
    "the last read": ({"retention": "interest"}, lambda queue, consumer: consumer.read() and None),
    "the last get": ({"retention": "interest"}, lambda queue, consumer: consumer.get() and None),
    "the last get_batch": ({"retention": "interest"}, lambda queue, consumer: consumer.get_batch(9) and None),
    "read_where passing over": (
        {"retention": "interest"},
        lambda queue, consumer: consumer.read_where(lambda message: False),
    ),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_payload_is_freed_at_once_by(way):
    arguments, leave = WAYS_OUT[way]
    queue = Queue("q", **arguments)
    consumer = queue.add_consumer()
    payload = Payload()
    seen = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    assert seen() is not None
    leave(queue, consumer)
    assert seen() is None


def test_a_payload_is_freed_at_once_by_removing_the_slowest_consumer():
    queue = Queue("q", retention="interest")
    fast, slow = queue.add_consumer(), queue.add_consumer()
    payload = Payload()
    seen = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    fast.read()
    assert seen() is not None
    slow.close()
    assert seen() is None


@pytest.mark.parametrize("settle", ["ack", "term"])
def test_a_payload_is_freed_at_once_by_settling(settle):
    queue = Queue("q", retention="interest")
    member = queue.add_group("g", ack_wait=1000).add_consumer()
    payload = Payload()
    seen = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    message = member.read()
    getattr(message, settle)()
    assert (len(queue), queue.memory_usage) == (0, 0)
    del message
    assert seen() is None


def test_a_payload_is_freed_when_the_expiration_thread_removes_it():
    queue = Queue("q", ttl=0.01)
    payload = Payload()
    seen = weakref.ref(payload)
    queue.enqueue(payload)
    del payload
    eventually(lambda: seen() is None)


def test_a_payload_lives_as_long_as_its_message():
    queue = Queue("q", retention="interest")
    consumer = queue.add_consumer()
    payload = Payload()
    seen = weakref.ref(payload)
    queue.enqueue(payload)
    message = consumer.read()
    assert len(queue) == 0
    del payload
    assert message.payload is seen()
    del message
    assert seen() is None


def test_a_payload_that_was_refused_is_not_kept():
    queue = Queue("q", max_items=1)
    queue.enqueue(0)
    payload = Payload()
    seen = weakref.ref(payload)
    with pytest.raises(QueueFullError):
        queue.enqueue(payload, timeout=0.001)
    del payload
    gc.collect()  # frees the traceback
    assert seen() is None


def test_messages_of_a_freed_queue_keep_only_their_payload():
    queue = Queue("q")
    consumer = queue.add_consumer()
    others = [Payload() for _ in range(3)]
    refs = [weakref.ref(other) for other in others]
    queue.enqueue_batch(["mine", *others])
    message = consumer.read()
    del queue, consumer, others
    assert collected(*refs)
    assert message.payload == "mine"
    assert message.events


# Nothing accumulates.

FOOTPRINT = """
import gc, json, os, sys
from mpmc_queue import Queue

def footprint():
    gc.collect()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/task"))

queue = Queue("q")
queue.enqueue_batch(range(100))

def consumers():
    for number in range(10_000):
        consumer = queue.add_consumer(f"c{number}")
        consumer.read_batch(3)
        consumer.close()
    assert queue.consumers == ()

def groups():
    for number in range(3000):
        group = queue.add_group(f"g{number}", ack_wait=60)
        group.add_consumer().read_batch(3)
        group.close()
    assert queue.consumers == ()

def queues():
    for number in range(10_000):
        one = Queue("q", ttl=None if number % 2 else 1000)
        one.enqueue(number)
        one.add_consumer().read()

what = {"consumers": consumers, "groups": groups, "queues": queues}[sys.argv[1]]
what()
before = footprint()
what()
print(json.dumps([before, footprint()]))
"""


@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures through /proc")
@pytest.mark.parametrize("what", ["consumers", "groups", "queues"])
def test_thousands_of_objects_leave_no_memory_and_no_thread_behind(what):
    (before, threads_before), (after, threads_after) = json.loads(output_of(FOOTPRINT, what))
    assert threads_after == threads_before <= 2  # the main thread and the expiration thread
    assert after - before < 2_000_000


CHAIN = """
import threading
from mpmc_queue import Queue

queue = Queue("q", retention="interest", sizer=lambda _: 1)
consumer = queue.add_consumer()
queue.enqueue(None)
holder = [consumer.read()]
for _ in range(200_000):
    queue.enqueue(holder.pop())
    holder.append(consumer.read())
threading.stack_size(256 * 1024)
thread = threading.Thread(target=holder.clear)
thread.start()
thread.join()
print("freed")
"""


def test_a_long_chain_of_messages_that_carry_messages_is_freed_on_a_small_stack():
    assert output_of(CHAIN) == "freed\n"


def test_each_message_of_a_chain_is_freed_at_once():
    queue, payload = Queue("q", retention="interest"), Payload()
    consumer, gone = queue.add_consumer(), [weakref.ref(payload)]
    for _ in range(5):
        queue.enqueue(payload)
        payload = consumer.read()
        gone.append(weakref.ref(payload))
    del payload
    assert [ref() for ref in gone] == [None] * 6
