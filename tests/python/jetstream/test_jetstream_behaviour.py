"""The behaviour of queues: the same tests in this process and over JetStream."""

import asyncio
from datetime import UTC, datetime

import pytest

from helpers import PATIENCE
from mpmc_queue import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    QueueClosedError,
    QueueError,
)
from mpmc_queue.protocols import answer

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


async def payloads(consumer, limit=10_000):
    return [message.payload for message in await consumer.aread_batch(limit, timeout=0)]


async def still_waiting(*tasks):
    """Checks that the tasks keep waiting."""
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    assert not done


# reading


def test_every_consumer_reads_every_message_in_order(run):
    async def main(place):
        queue = await place.queue()
        first, second = queue.add_consumer("first"), queue.add_consumer()
        assert [await queue.aenqueue(n) for n in range(5)] == [0, 1, 2, 3, 4]
        for consumer in (first, second):
            messages = [await consumer.aread() for _ in range(5)]
            assert [(m.seq, m.payload, m.missed, m.deliveries) for m in messages] == [(n, n, 0, 1) for n in range(5)]
            assert messages == sorted(messages, key=lambda m: m.created_ns)

    run(main)


def test_a_message_is_the_same_for_every_consumer(run):
    async def main(place):
        queue = await place.queue()
        before = datetime.now(UTC)
        await queue.aenqueue("x")
        one, two = await queue.add_consumer().aread(), await queue.add_consumer().aread()
        assert (one.id, one.seq, one.size, one.created) == (two.id, two.seq, two.size, two.created)
        assert abs((one.created - before).total_seconds()) < 5
        assert one.size > 0

    run(main)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_aread_returns_none_after_the_timeout(run, timeout):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        assert await consumer.aread(timeout=timeout) is None
        assert await consumer.aread_batch(3, timeout=timeout) == []
        await queue.aenqueue(1)
        assert (await consumer.aread(timeout=timeout or PATIENCE)).payload == 1
        assert await consumer.aread(timeout=timeout) is None

    run(main)


def test_readers_wait_for_a_message(run):
    async def main(place):
        queue = await place.queue()
        readers = [queue.add_consumer() for _ in range(3)]
        tasks = [
            asyncio.create_task(readers[0].aread()),
            asyncio.create_task(readers[1].aget()),
            asyncio.create_task(readers[2].aread_batch(5)),
        ]
        await still_waiting(*tasks)
        await queue.aenqueue("x")
        message, payload, batch = await asyncio.gather(*tasks)
        assert message.payload == payload == batch[0].payload == "x"

    run(main)


def test_a_batch_takes_available_messages_up_to_its_limit(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(900))
        assert [m.payload for m in await consumer.aread_batch(4)] == [0, 1, 2, 3]
        assert [m.payload for m in await consumer.aread_batch(600)] == list(range(4, 604))
        assert [m.payload for m in await consumer.aread_batch(600)] == list(range(604, 900))
        assert await consumer.aread_batch(600, timeout=0) == []

    run(main)


def test_tasks_that_share_a_consumer_get_each_message_once(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(consumer.aget()) for _ in range(50)]
        await still_waiting(*tasks)
        await queue.aenqueue_batch(range(50))
        assert sorted(await asyncio.gather(*tasks)) == list(range(50))

    run(main)


def test_cancelling_a_read_loses_nothing(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        seen = []
        for number in range(200):
            task = asyncio.create_task(consumer.aread())
            await asyncio.sleep(0)
            await queue.aenqueue(number)
            if number % 3:
                task.cancel()
            try:
                seen.append((await task).payload)
            except asyncio.CancelledError:
                pass
        seen += await payloads(consumer)
        assert seen == list(range(200))

    run(main)


def test_a_timeout_that_races_with_a_message_loses_nothing(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()

        async def produce():
            for number in range(100):
                await queue.aenqueue(number)
                await asyncio.sleep(0.002)

        task = asyncio.create_task(produce())
        seen = []
        while len(seen) < 100:
            message = await consumer.aread(timeout=0.002)
            if message is not None:
                seen.append(message.payload)
        await task
        assert seen == list(range(100))

    run(main)


def test_peek_does_not_take_the_message(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        assert await answer(consumer.peek()) is None
        await queue.aenqueue_batch("ab")
        assert (await answer(consumer.peek())).payload == "a"
        assert (await answer(consumer.peek())).payload == "a"
        assert await payloads(consumer) == ["a", "b"]
        assert await answer(consumer.peek()) is None

    run(main)


# positions


def test_unread_count_is_what_can_be_read(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        assert await answer(consumer.unread_count) == 0
        await queue.aenqueue_batch(range(10))
        assert await answer(consumer.unread_count) == 10
        await consumer.aread_batch(4)
        assert await answer(consumer.unread_count) == 6
        assert consumer.position == 4
        assert await payloads(consumer) == list(range(4, 10))
        assert await answer(consumer.unread_count) == 0

    run(main)


def test_consumers_start_at_the_given_position(run):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue_batch(range(3))
        await asyncio.sleep(0.01)  # so that the batches have different times
        message = None
        await queue.aenqueue_batch(range(3, 6))
        for start, expected in (("earliest", [0, 1, 2, 3, 4, 5]), (4, [4, 5]), (6, []), ("latest", [])):
            assert await payloads(queue.add_consumer(start=start)) == expected
        message = (await queue.add_consumer(start=3).aread()).created
        assert await payloads(queue.add_consumer(start=message)) == [3, 4, 5]

    run(main)


def test_latest_is_resolved_when_the_consumer_is_added(run):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue("before")
        consumer = queue.add_consumer(start="latest")
        await queue.aenqueue("after")
        assert await consumer.aget() == "after"

    run(main)


def test_seek_moves_back_and_forth(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer("seeker")
        await queue.aenqueue_batch(range(6))
        assert await payloads(consumer) == list(range(6))
        consumer.seek(2)
        assert (await consumer.aread()).payload == 2
        consumer.seek("earliest")
        assert await payloads(consumer, 3) == [0, 1, 2]
        consumer.seek("latest")
        await queue.aenqueue(6)
        assert await payloads(consumer) == [6]
        consumer.seek(5)
        assert await payloads(consumer) == [5, 6]
        assert consumer.missed_count == 0

    run(main)


def test_a_reader_that_waits_during_a_seek_gets_a_message(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(3))
        assert await payloads(consumer) == [0, 1, 2]
        task = asyncio.create_task(consumer.aread())
        await still_waiting(task)
        consumer.seek(1)
        await queue.aenqueue(3)
        assert (await task).payload in (1, 3)

    run(main)


def test_a_start_beyond_the_next_seq_is_a_value_error(run):
    async def main(place):
        queue = await place.queue()
        await queue.aenqueue(0)
        with pytest.raises(ValueError, match="2"):
            await queue.add_consumer(start=2).aread(timeout=0)
        consumer = queue.add_consumer()
        with pytest.raises(ValueError, match="7"):
            consumer.seek(7)
            await consumer.aread(timeout=0)
        consumer.seek(0)
        assert await consumer.aget() == 0

    run(main)


# limits and losses


def test_a_batch_is_stored_together_or_not_at_all(run):
    async def main(place):
        queue = await place.queue(max_items=5)
        assert list(await queue.aenqueue_batch("abc")) == [0, 1, 2]
        with pytest.raises(ItemLimitError) as caught:
            await queue.aenqueue_batch("def", timeout=0)
        assert (caught.value.current, caught.value.max, caught.value.needed) == (3, 5, 3)
        assert (await answer(queue.stats())).total_items == 3
        assert list(await queue.aenqueue_batch("de")) == [3, 4]
        assert list(await queue.aenqueue_batch("", timeout=0)) == []

    run(main)


def test_batches_of_many_producers_do_not_mix(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        ranges = await asyncio.gather(*(queue.aenqueue_batch([n] * 20) for n in range(10)))
        messages = await consumer.aread_batch(200)
        for number, seqs in enumerate(ranges):
            assert [messages[seq].payload for seq in seqs] == [number] * 20

    run(main)


def test_a_payload_that_could_never_fit_fails_at_once(run):
    async def main(place):
        queue = await place.queue(max_items=5, max_bytes=20_000)
        with pytest.raises(ItemLimitError):
            await queue.aenqueue_batch(range(6))
        with pytest.raises(MemoryLimitError):
            await queue.aenqueue("x" * 50_000)
        with pytest.raises(MemoryLimitError):
            await queue.aenqueue_batch(["x" * 9_000] * 4)
        assert (await answer(queue.stats())).total_items == 0

    run(main)


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest"])
def test_an_endless_batch_fails(run, overflow):
    async def main(place):
        queue = await place.queue(overflow=overflow)

        def endless():
            while True:
                yield "x" * 1000

        with pytest.raises(MemoryLimitError):
            await queue.aenqueue_batch(endless())

    run(main)


def test_a_full_queue_refuses_after_the_timeout(run):
    async def main(place):
        queue = await place.queue(max_items=2)
        await queue.aenqueue_batch("ab")
        for timeout in (0, 0.05):
            with pytest.raises(ItemLimitError) as caught:
                await queue.aenqueue("c", timeout=timeout)
            assert (caught.value.current, caught.value.max, caught.value.needed) == (2, 2, 1)

    run(main)


def test_bytes_are_limited_too(run):
    async def main(place):
        queue = await place.queue(max_bytes=40_000)
        with pytest.raises(MemoryLimitError) as caught:
            for _ in range(100):
                await queue.aenqueue(b"x" * 1000, timeout=0)
        assert caught.value.max == 40_000
        assert 0 < caught.value.current <= 40_000
        assert caught.value.needed > 1000
        stats = await answer(queue.stats())
        assert stats.memory_usage <= stats.max_bytes == 40_000
        assert 30 < stats.total_items < 40

    run(main)


def test_a_producer_waits_for_the_space_that_a_reader_makes(run):
    async def main(place):
        queue = await place.queue(max_items=3, retention="interest")
        consumer = queue.add_consumer("reader")
        await queue.aenqueue_batch(range(3))
        task = asyncio.create_task(queue.aenqueue(3))
        await still_waiting(task)
        assert await consumer.aget() == 0
        assert await task == 3
        assert await payloads(consumer) == [1, 2, 3]

    run(main)


def test_dropped_messages_are_counted_exactly_as_missed(run):
    async def main(place):
        queue = await place.queue(max_items=10, overflow="drop_oldest")
        consumer = queue.add_consumer(start="latest")
        for number in range(25):
            await queue.aenqueue(number)
        late = queue.add_consumer()
        assert (await late.aread()).missed == 0  # it starts with the oldest message held
        late.seek(0)
        messages = await late.aread_batch(100)
        assert [m.payload for m in messages] == list(range(15, 25))
        assert (late.missed_count, messages[0].missed) == (0, 0)
        # The first consumer may have prefetched some messages, and has missed the others.
        messages = await consumer.aread_batch(100)
        assert [m.payload for m in messages][-10:] == list(range(15, 25))
        assert len(messages) + consumer.missed_count == 25
        assert sum(m.missed for m in messages) == consumer.missed_count == await consumer.atake_missed(timeout=0)
        assert await consumer.atake_missed(timeout=0) == 0

    run(main)


def test_interest_removes_what_all_have_read(run):
    async def main(place):
        queue = await place.queue(retention="interest")
        one, two = queue.add_consumer("one"), queue.add_consumer("two")
        await queue.aenqueue_batch(range(4))
        assert await payloads(one) == [0, 1, 2, 3]
        assert (await answer(queue.stats())).total_items == 4
        assert await payloads(two, 3) == [0, 1, 2]
        async with asyncio.timeout(PATIENCE):
            while (await answer(queue.stats())).total_items != 1:  # there is no event to wait for
                await asyncio.sleep(0.01)
        assert await payloads(two) == [3]

    run(main)


def test_messages_that_expire_unread_are_missed(run):
    async def main(place):
        queue = await place.queue(ttl=0.3)
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(3))
        assert await consumer.aget() == 0
        assert await consumer.atake_missed(timeout=0) == 0
        taken = 0
        while taken < 2:
            taken += await consumer.atake_missed(timeout=PATIENCE)
        assert taken == 2 == consumer.missed_count
        assert await consumer.aread(timeout=0) is None
        await queue.aenqueue("new")
        message = await consumer.aread()
        assert (message.payload, message.missed) == ("new", 2)

    run(main)


def test_expired_messages_are_not_delivered(run):
    async def main(place):
        queue = await place.queue(ttl=0.2)
        consumer = queue.add_consumer()
        await queue.aenqueue("old")
        assert (await answer(consumer.peek())).payload == "old"  # so it has arrived here, even from a server
        await asyncio.sleep(0.25)
        assert await consumer.aread(timeout=0) is None

    run(main)


def test_a_message_can_have_its_own_ttl(run):
    async def main(place):
        queue = await place.queue(ttl=60)
        consumer = queue.add_consumer()
        await queue.aenqueue("short", ttl=1)
        await queue.aenqueue_batch(["long"], ttl=30)
        await queue.aenqueue("endless", ttl=None)
        assert await consumer.atake_missed(timeout=PATIENCE) == 1
        assert await payloads(consumer) == ["long", "endless"]

    run(main)


def test_on_missed_raises_once_and_the_next_read_continues(run):
    async def main(place):
        queue = await place.queue(ttl=0.2)
        told = []
        raising, calling = queue.add_consumer(on_missed="raise"), queue.add_consumer(on_missed=told.append)
        await queue.aenqueue_batch(range(2))
        await queue.aenqueue_batch(["late"], ttl=None)
        await raising.atake_missed(timeout=PATIENCE)
        assert await calling.atake_missed(timeout=PATIENCE) > 0
        with pytest.raises(MessagesMissedError) as caught:
            await raising.aread()
        assert caught.value.count == 2
        assert await raising.aget() == "late"
        assert (await calling.aread()).missed == 2
        assert told == [2]

    run(main)


# groups


def test_a_group_gives_each_message_to_one_member(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        members = [group.add_consumer() for _ in range(3)]
        await queue.aenqueue_batch(range(30))
        seen = []
        for turn in range(30):
            message = await members[turn % 3].aread()
            seen.append(message.payload)
            message.ack()
        assert seen == list(range(30))
        assert await answer(group.unread_count) == 0
        async with asyncio.timeout(PATIENCE):
            while await answer(group.pending_count):  # acks are sent without waiting for the server
                await asyncio.sleep(0.01)
        assert await members[0].aread(timeout=0) is None
        assert len(group.members) == 3

    run(main)


def test_an_unacked_message_is_redelivered(run):
    async def main(place):
        queue = await place.queue()
        member = queue.add_group("workers", ack_wait=0.3).add_consumer()
        await queue.aenqueue("job")
        assert (await member.aread()).deliveries == 1
        again = await member.aread(timeout=PATIENCE)
        assert (again.payload, again.deliveries) == ("job", 2)
        again.ack()
        assert await member.aread(timeout=0.6) is None

    run(main)


def test_in_progress_restarts_ack_wait(run):
    async def main(place):
        queue = await place.queue()
        member = queue.add_group("workers", ack_wait=0.5).add_consumer()
        await queue.aenqueue("job")
        message = await member.aread()
        for _ in range(4):
            await asyncio.sleep(0.2)
            message.in_progress()
        assert await member.aread(timeout=0) is None
        message.ack()
        assert await member.aread(timeout=0.8) is None

    run(main)


def test_nack_redelivers_after_its_delay(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        one, two = group.add_consumer(), group.add_consumer()
        await queue.aenqueue("job")
        (await one.aread()).nack()
        message = await two.aread(timeout=PATIENCE)
        assert message.deliveries == 2
        message.nack(0.3)
        assert await one.aread(timeout=0.1) is None
        assert (await one.aread(timeout=PATIENCE)).deliveries == 3

    run(main)


def test_a_message_is_dead_lettered_after_max_deliver(run):
    async def main(place):
        queue, dead = await place.queue(), await place.queue()
        member = queue.add_group("workers", ack_wait=30, max_deliver=2, dead_letter=dead).add_consumer()
        graveyard = dead.add_consumer()
        await queue.aenqueue({"job": 1})
        for expected in (1, 2):
            message = await member.aread(timeout=PATIENCE)
            assert message.deliveries == expected
            message.nack()
        assert await asyncio.wait_for(graveyard.aget(), PATIENCE) == {"job": 1}
        assert await member.aread(timeout=0.2) is None

    run(main)


def test_an_unsettled_message_is_dead_lettered_too(run):
    async def main(place):
        queue, dead = await place.queue(), await place.queue()
        member = queue.add_group("workers", ack_wait=0.2, max_deliver=2, dead_letter=dead).add_consumer()
        graveyard = dead.add_consumer()
        await queue.aenqueue("job")
        assert (await member.aread(timeout=PATIENCE)).deliveries == 1
        assert (await member.aread(timeout=PATIENCE)).deliveries == 2
        waiting = asyncio.create_task(member.aread())
        assert await asyncio.wait_for(graveyard.aget(), PATIENCE) == "job"
        await still_waiting(waiting)
        waiting.cancel()

    run(main)


def test_term_dead_letters_at_once(run):
    async def main(place):
        queue, dead = await place.queue(), await place.queue()
        member = queue.add_group("workers", ack_wait=30, dead_letter=dead).add_consumer()
        graveyard = dead.add_consumer()
        await queue.aenqueue("poison")
        (await member.aread()).term()
        assert await asyncio.wait_for(graveyard.aget(), PATIENCE) == "poison"
        assert await member.aread(timeout=0.1) is None

    run(main)


def test_backoff_sets_the_time_of_each_redelivery(run):
    async def main(place):
        queue = await place.queue()
        member = queue.add_group("workers", ack_wait=30, backoff=[0.1, 0.5]).add_consumer()
        await queue.aenqueue("job")
        loop = asyncio.get_running_loop()
        waits = []
        message = await member.aread()
        for _ in range(3):
            nacked = loop.time()
            message.nack()
            message = await member.aread(timeout=PATIENCE)
            waits.append(loop.time() - nacked)
        assert 0.09 < waits[0] < 0.45
        assert waits[1] > 0.49
        assert waits[2] > 0.49

    run(main)


def test_max_ack_pending_holds_new_messages_back(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30, max_ack_pending=2)
        member = group.add_consumer()
        await queue.aenqueue_batch(range(4))
        first, second = await member.aread(), await member.aread()
        assert await member.aread(timeout=0.1) is None
        assert await answer(group.pending_count) == 2
        first.ack()
        third = await member.aread(timeout=PATIENCE)
        assert third.payload == 2
        second.ack()
        third.ack()

    run(main)


def test_messages_of_a_closed_member_go_to_others(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        one, two = group.add_consumer(), group.add_consumer()
        await queue.aenqueue_batch("ab")
        assert {m.payload for m in await one.aread_batch(2)} == {"a", "b"}
        one.close()
        got = {(await two.aread(timeout=PATIENCE)).payload for _ in range(2)}
        assert got == {"a", "b"}

    run(main)


def test_a_cancelled_read_of_a_member_loses_nothing(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers", ack_wait=30)
        one, two = group.add_consumer(), group.add_consumer()
        for number in range(30):
            task = asyncio.create_task(one.aread())
            await asyncio.sleep(0.003 * (number % 3))
            await queue.aenqueue(number)
            task.cancel()
            try:
                message = await task
            except asyncio.CancelledError:
                message = await two.aread(timeout=PATIENCE)
            assert message.payload == number
            message.ack()

    run(main)


def test_a_group_without_ack_wait_delivers_once(run):
    async def main(place):
        queue = await place.queue()
        group = queue.add_group("workers")
        one, two = group.add_consumer(), group.add_consumer()
        await queue.aenqueue_batch(range(10))
        seen = [m.payload for m in await one.aread_batch(4)] + [m.payload for m in await two.aread_batch(100)]
        assert seen == list(range(10))
        with pytest.raises(QueueError, match=r"group with ack_wait|acknowledging group"):
            await queue.aenqueue("x")
            (await one.aread()).ack()

    run(main)


def test_settling_twice_is_an_error(run):
    async def main(place):
        queue = await place.queue()
        member = queue.add_group("workers", ack_wait=30).add_consumer()
        await queue.aenqueue("x")
        message = await member.aread()
        message.ack()
        for again in (message.ack, message.nack, message.term, message.in_progress):
            with pytest.raises(QueueError, match="settled"):
                again()

    run(main)


# ending


def test_async_for_ends_when_the_queue_is_closed_and_drained(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(3))

        async def collect():
            return [message.payload async for message in consumer]

        task = asyncio.create_task(collect())
        await queue.aenqueue_batch(range(3, 6))
        queue.close()
        assert await asyncio.wait_for(task, PATIENCE) == [0, 1, 2, 3, 4, 5]
        with pytest.raises(QueueClosedError):
            await consumer.aread()
        assert queue.closed

    run(main)


def test_closing_wakes_every_waiting_reader(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        tasks = [asyncio.create_task(call) for call in (consumer.aread(), consumer.aread_batch(2), consumer.aget())]
        await still_waiting(*tasks)
        queue.close()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert [type(result) for result in results] == [QueueClosedError] * 3

    run(main)


def test_an_immediate_close_leaves_nothing_to_read(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        await queue.aenqueue_batch(range(3))
        queue.close(immediate=True)
        with pytest.raises((QueueClosedError, ConsumerClosedError)):
            await consumer.aread()

    run(main)


def test_producers_of_a_closed_queue_fail(run):
    async def main(place):
        queue = await place.queue()
        queue.close()
        for call in (queue.aenqueue(1), queue.aenqueue_batch([1]), queue.aenqueue_batch([])):
            with pytest.raises(QueueClosedError):
                await call
        queue.close()

    run(main)


def test_closing_wakes_a_producer_that_waits_for_space(run):
    async def main(place):
        queue = await place.queue(max_items=1)
        await queue.aenqueue(1)
        task = asyncio.create_task(queue.aenqueue(2))
        await still_waiting(task)
        queue.close()
        with pytest.raises(QueueClosedError):
            await asyncio.wait_for(task, PATIENCE)

    run(main)


def test_closing_a_consumer_wakes_its_readers_and_no_others(run):
    async def main(place):
        queue = await place.queue()
        removed, kept = queue.add_consumer(), queue.add_consumer()
        gone = [asyncio.create_task(call) for call in (removed.aread(), removed.aget(), removed.atake_missed())]
        stays = asyncio.create_task(kept.aread())
        await still_waiting(*gone, stays)
        removed.close()
        results = await asyncio.wait_for(asyncio.gather(*gone, return_exceptions=True), PATIENCE)
        assert [type(result) for result in results] == [ConsumerClosedError] * 3
        await still_waiting(stays)
        await queue.aenqueue(1)
        assert (await stays).payload == 1

    run(main)


# arguments


@pytest.mark.parametrize("bad", [-1, float("nan")])
def test_a_bad_timeout_is_a_value_error(run, bad):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        calls = (
            lambda: consumer.aread(timeout=bad),
            lambda: consumer.aread_batch(1, timeout=bad),
            lambda: consumer.atake_missed(timeout=bad),
            lambda: queue.aenqueue(1, timeout=bad),
            lambda: queue.aenqueue_batch([1], timeout=bad),
        )
        for call in calls:
            with pytest.raises(ValueError, match="timeout"):
                await call()
        assert (await answer(queue.stats())).total_items == 0

    run(main)


def test_a_bool_is_not_a_number(run):
    async def main(place):
        queue = await place.queue()
        consumer = queue.add_consumer()
        for call in (
            lambda: consumer.aread(timeout=True),
            lambda: consumer.aread_batch(True),
            lambda: queue.aenqueue(1, ttl=True),
            lambda: queue.aenqueue(1, timeout=False),
        ):
            with pytest.raises(TypeError):
                await call()
        with pytest.raises(TypeError):
            queue.add_consumer(start=True)
        with pytest.raises(TypeError):
            consumer.seek(False)

    run(main)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ttl": 0}, ValueError),
        ({"ttl": -1}, ValueError),
        ({"ttl": "1"}, TypeError),
        ({"max_bytes": 0}, ValueError),
        ({"max_bytes": 1.5}, TypeError),
        ({"max_items": 0}, ValueError),
        ({"max_items": 2**63}, OverflowError),
        ({"retention": "all"}, ValueError),
        ({"overflow": "block"}, ValueError),
        ({"name": 5}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_a_bad_option_is_named(run, options, error):
    async def main(place):
        with pytest.raises(error, match=next(iter(options))):
            await place.queue(**options)

    run(main)


def test_naive_datetimes_are_refused(run):
    async def main(place):
        queue = await place.queue()
        with pytest.raises(ValueError, match=r"aware|naive|time zone"):
            queue.add_consumer(start=datetime.now())

    run(main)
