"""Many threads at once: order for each consumer, each message to exactly one reader of a shared consumer, no loss."""

import itertools
import queue as stdlib_queue
import threading

import pytest

from helpers import PATIENCE, assert_books_balance
from mpmc_queue import ConsumerClosedError, QueueClosedError, QueueFullError

EACH = 1500


def produce(queue, name, batch):
    """Enqueues (name, 0), (name, 1), ... one by one or in batches."""
    if batch == 1:
        return [queue.enqueue((name, i), timeout=None) for i in range(EACH)]
    seqs = []
    for start in range(0, EACH, batch):
        seqs += queue.enqueue_batch([(name, i) for i in range(start, min(start + batch, EACH))], timeout=None)
    return seqs


def consume(consumer, how):
    """Reads (seq, payload) until the queue is closed and drained."""
    got = []
    try:
        while True:
            match how:
                case "read":
                    messages = [consumer.read(timeout=None)]
                case "read_batch":
                    messages = consumer.read_batch(7, timeout=None)
                case _:
                    messages = [consumer.read_where(lambda m: True, timeout=None)]
            got += [(m.seq, m.payload) for m in messages]
    except QueueClosedError:
        return got


@pytest.mark.parametrize("producers", [1, 3])
@pytest.mark.parametrize("batch", [1, 40])
def test_every_consumer_sees_all_messages_in_seq_order(make_queue, run_thread, producers, batch):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    readers = [run_thread(consume, queue.add_consumer(), how) for how in ("read", "read_batch", "read_where")]
    writers = [run_thread(produce, queue, name, batch) for name in range(producers)]
    seqs = [writer.result() for writer in writers]
    queue.close()
    everything = readers[0].result()
    assert [seq for seq, _ in everything] == list(range(producers * EACH))
    for reader in readers[1:]:
        assert reader.result() == everything
    for name in range(producers):
        mine = [(seq, payload) for seq, payload in everything if payload[0] == name]
        assert [seq for seq, _ in mine] == seqs[name]
        assert [payload for _, payload in mine] == [(name, i) for i in range(EACH)]


@pytest.mark.parametrize("how", ["read", "read_batch", "read_where"])
def test_a_shared_consumer_delivers_each_message_to_exactly_one_thread(make_queue, run_thread, how):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    consumer = queue.add_consumer()
    readers = [run_thread(consume, consumer, how) for _ in range(4)]
    writers = [run_thread(produce, queue, name, 1) for name in range(2)]
    for writer in writers:
        writer.result()
    queue.close()
    shares = [reader.result() for reader in readers]
    for share in shares:
        assert [seq for seq, _ in share] == sorted(seq for seq, _ in share)
    assert sorted(seq for share in shares for seq, _ in share) == list(range(2 * EACH))
    assert_books_balance(consumer, 2 * EACH)
    assert sorted(seq for seq, _ in consumer.history()) == list(range(2 * EACH))


def test_a_bounded_queue_delivers_everything_while_messages_expire(make_queue, run_thread):
    queue = make_queue(ttl=0.005, max_items=100)
    consumer = queue.add_consumer()
    reader = run_thread(consume, consumer, "read_batch")
    writers = [run_thread(produce, queue, name, 50) for name in range(2)]
    seqs = sorted(seq for writer in writers for seq in writer.result())
    queue.close()
    got = [seq for seq, _ in reader.result()]
    assert seqs == list(range(2 * EACH))
    assert got == sorted(set(got))
    assert len(got) + consumer.missed_count == 2 * EACH


def test_consumers_may_come_and_go_while_messages_pass(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    writer = run_thread(produce, queue, "a", 1)

    def come_and_go():
        visits = 0
        while not queue.closed:
            with queue.add_consumer() as consumer:
                got = [m.seq for m in consumer.read_batch(50, timeout=0.01)]
                assert got == list(range(len(got)))
            visits += 1
        return visits

    visitors = [run_thread(come_and_go) for _ in range(3)]
    writer.result()
    queue.close()
    assert sum(visitor.result() for visitor in visitors) > 0
    assert queue.consumers == ()
    assert queue.stats().audit_bytes == 0


def test_removing_a_consumer_during_reads_ends_all_its_readers(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    consumer, other = queue.add_consumer(), queue.add_consumer()
    readers = [run_thread(consume, consumer, "read") for _ in range(3)]
    writer = run_thread(produce, queue, "a", 1)
    while other.position < EACH // 2:
        other.read(timeout=PATIENCE)
    consumer.close()
    for reader in readers:
        with pytest.raises(ConsumerClosedError):
            reader.result()
    writer.result()
    assert other.position + len(other.read_batch(EACH)) == EACH


def test_seeking_while_others_read_keeps_every_delivery_whole(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    consumer = queue.add_consumer()
    queue.enqueue_batch(range(2500))
    stop = threading.Event()

    def read():
        while not stop.is_set():
            for message in consumer.read_batch(20):
                assert message.seq == message.payload

    readers = [run_thread(read) for _ in range(2)]
    for to in itertools.islice(itertools.cycle([0, 999, 1000, 1001, "latest", 2400, "earliest"]), 700):
        consumer.seek(to)
    stop.set()
    for reader in readers:
        reader.result()
    assert 0 <= consumer.position <= 2500


def test_settings_may_change_while_threads_work(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=200_000)
    consumer = queue.add_consumer()
    stop = threading.Event()

    def write():
        sent = 0
        while not stop.is_set():
            try:
                queue.put(sent, timeout=0.01)
                sent += 1
            except QueueFullError:
                pass
        return sent

    def read():
        got = 0
        while not stop.is_set():
            try:
                consumer.get(timeout=0.01)
                got += 1
            except stdlib_queue.Empty:
                pass
        return got

    writers, readers = [run_thread(write) for _ in range(2)], [run_thread(read) for _ in range(2)]
    for i in range(300):
        queue.max_items = [None, 5, 1000][i % 3]
        queue.max_bytes = [200_000, 50_000][i % 2]
        queue.ttl = [None, 0.001, 600][i % 3]
        queue.disable_expiration() if i % 5 else queue.enable_expiration()
        queue.force_expiration()
        queue.stats()
    queue.enable_expiration()
    stop.set()
    sent = sum(writer.result() for writer in writers)
    got = sum(reader.result() for reader in readers)
    assert queue.stats().enqueued == sent
    assert consumer.stats().total_items_read == got
    assert_books_balance(consumer, sent)


def test_closing_while_threads_work_loses_no_accepted_message(make_queue, run_thread):
    queue = make_queue(ttl=None, max_bytes=50_000_000)
    consumer = queue.add_consumer()
    reader = run_thread(consume, consumer, "read_batch")

    def write():
        seqs = []
        try:
            while True:
                seqs.append(queue.enqueue("a", timeout=None))
        except QueueClosedError:
            return seqs

    writers = [run_thread(write) for _ in range(3)]
    while queue.stats().next_seq < 500:
        pass
    queue.close()
    seqs = sorted(seq for writer in writers for seq in writer.result())
    assert seqs == list(range(len(seqs)))
    assert [seq for seq, _ in reader.result()] == seqs
