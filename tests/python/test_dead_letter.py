"""Messages that cannot be delivered go to the dead letter queue, and none is lost on the way."""

from harness import LONG, acking_group, eventually, ledger
from helpers import PATIENCE, expire_all, payloads
from mpmc_queue import Queue


def test_after_max_deliver_deliveries_the_payload_moves(make_queue):
    dead = make_queue("dead")
    payload = object()
    group = acking_group(payload, "next", max_deliver=2, dead_letter=dead)
    member, at_dead = group.add_consumer(), dead.add_consumer()
    member.read().nack()
    assert at_dead.read() is None
    message = member.read()
    assert message.deliveries == 2
    message.nack()
    assert at_dead.get(timeout=PATIENCE) is payload
    assert ledger(group) == (0, 1, 0)
    assert member.read().payload == "next"


def test_term_moves_it_to_the_dead_letter_queue_at_once(make_queue):
    dead = make_queue("dead")
    at_dead = dead.add_consumer()
    group = acking_group("a", "b", dead_letter=dead)
    member = group.add_consumer()
    member.read().term()
    member.read().ack()
    assert at_dead.get(timeout=PATIENCE) == "a"
    assert at_dead.read() is None
    assert ledger(group) == (0, 0, 0)


def test_the_last_ack_wait_dead_letters_without_a_read(make_queue):
    dead = make_queue("dead")
    at_dead = dead.add_consumer()
    group = acking_group("a", ack_wait=0.05, max_deliver=1, dead_letter=dead)
    assert group.add_consumer().read().deliveries == 1
    assert at_dead.get(timeout=PATIENCE) == "a"
    eventually(lambda: group.pending_count == 0)
    assert ledger(group) == (0, 0, 0)
    assert group.queue.join(timeout=PATIENCE)


def test_pending_messages_of_a_closed_member_are_dead_lettered_after_the_last_delivery(make_queue):
    dead = make_queue("dead")
    at_dead = dead.add_consumer()
    group = acking_group("a", "b", max_deliver=1, dead_letter=dead)
    group.add_consumer().read()
    group.members[0].close()
    assert at_dead.get(timeout=PATIENCE) == "a"
    assert payloads(group.add_consumer()) == ["b"]


def test_a_message_acked_in_its_last_delivery_is_not_dead_lettered(make_queue):
    dead = make_queue("dead")
    group = acking_group("a", max_deliver=2, dead_letter=dead)
    member = group.add_consumer()
    member.read().nack()
    member.read().ack()
    member.close()
    group.close()
    assert dead.stats().enqueued == 0


def test_a_dead_letter_is_a_new_message(make_queue):
    dead = make_queue("dead", ttl=None, sizer=lambda payload: 123)
    at_dead = dead.add_consumer()
    dead.enqueue("before")
    group = acking_group("a", dead_letter=dead)
    group.add_consumer().read().term()
    before, message = at_dead.read_batch(2)
    assert before.payload == "before"
    assert (message.payload, message.seq, message.deliveries) == ("a", 1, 1)
    assert len(message.events) == 2
    expire_all(group.queue)
    assert len(dead) == 2


def test_groups_may_share_a_dead_letter_queue(make_queue):
    dead = make_queue("dead")
    at_dead = dead.add_consumer()
    queue = make_queue()
    groups = [queue.add_group(name, ack_wait=LONG, dead_letter=dead) for name in "ab"]
    queue.enqueue(1)
    for group in groups:
        group.add_consumer().read().term()
    assert payloads(at_dead) == [1, 1]


def test_while_the_dead_letter_queue_is_full_the_message_stays_pending(make_queue):
    dead = make_queue("dead", max_items=1, retention="interest")
    at_dead = dead.add_consumer()
    dead.enqueue("in the way")
    group = acking_group("a", max_deliver=1, backoff=[0.02], dead_letter=dead)
    member = group.add_consumer()
    member.read().nack()
    assert ledger(group) == (1, 0, 0)
    assert member.read(timeout=0.1) is None
    assert ledger(group) == (1, 0, 0)
    assert at_dead.get() == "in the way"
    assert at_dead.get(timeout=PATIENCE) == "a"
    eventually(lambda: ledger(group) == (0, 0, 0))


def test_a_term_that_finds_the_dead_letter_queue_full_is_not_lost(make_queue):
    dead = make_queue("dead", max_items=1, retention="interest")
    at_dead = dead.add_consumer()
    dead.enqueue("in the way")
    group = acking_group("a", backoff=[0.02], dead_letter=dead)
    group.add_consumer().read().term()
    assert group.pending_count == 1
    assert at_dead.get() == "in the way"
    assert at_dead.get(timeout=PATIENCE) == "a"
    eventually(lambda: group.pending_count == 0)


def test_a_message_stays_pending_when_the_dead_letter_queue_is_closed(make_queue):
    dead = make_queue("dead")
    dead.close()
    group = acking_group("a", max_deliver=1, backoff=[0.02], dead_letter=dead)
    member = group.add_consumer()
    member.read().nack()
    assert member.read(timeout=0.1) is None
    assert ledger(group) == (1, 0, 0)
    assert dead.stats().enqueued == 0
    expire_all(group.queue)
    assert ledger(group) == (0, 0, 1)


def test_with_interest_a_dead_lettered_message_frees_its_space(make_queue):
    dead = make_queue("dead")
    group = acking_group("a", retention="interest", dead_letter=dead)
    group.add_consumer().read().term()
    assert (len(group.queue), group.queue.memory_usage) == (0, 0)
    assert dead.add_consumer().get() == "a"


def test_a_blocked_reader_of_the_dead_letter_queue_wakes(make_queue, run_thread):
    dead = make_queue("dead")
    waiting = run_thread(dead.add_consumer().get)
    group = acking_group("a", dead_letter=dead)
    message = group.add_consumer().read()
    waiting.assert_waiting()
    message.term()
    assert waiting.result() == "a"


def test_two_queues_may_be_each_others_dead_letter_queue(make_queue):
    there, back = make_queue("there"), make_queue("back")
    ping = there.add_group("g", ack_wait=LONG, dead_letter=back).add_consumer()
    pong = back.add_group("g", ack_wait=LONG, dead_letter=there).add_consumer()
    there.enqueue("ball")
    for _ in range(5):
        ping.read(timeout=PATIENCE).term()
        pong.read(timeout=PATIENCE).term()
    assert ping.read(timeout=PATIENCE).seq == 5


def test_a_group_keeps_its_dead_letter_queue_alive():
    group = acking_group("a", dead_letter=Queue("nobody else holds it"))
    group.add_consumer().read().term()
    assert group.pending_count == 0
