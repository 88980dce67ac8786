"""Time to live, what expires unread, and many threads at once: the books balance all the same."""

import threading

from mpmc_queue import Queue, QueueFullError

PRODUCERS, READERS, EACH = 4, 3, 5000


def expiration() -> None:
    queue = Queue[str]("readings", ttl=None)
    attentive = queue.add_consumer("attentive")
    absent = queue.add_consumer("absent", on_missed=lambda count: print(f"absent is told of {count} missed"))
    queue.enqueue("first", ttl=0.05)  # this message's own time to live
    queue.enqueue_batch(["second", "third"], ttl=0.05)
    queue.enqueue("lasting")
    print("attentive reads", attentive.get_batch(2))

    # No polling: this wakes when the first unread message has expired.
    while queue.stats().expired < 3:
        attentive.take_missed(timeout=1)
    message = absent.read()
    assert message is not None
    print(f"absent reads {message.payload!r}, having missed {message.missed}")
    print("attentive missed", attentive.missed_count, "and absent", absent.missed_count)
    print("audit trail:", [event.kind for event in message.events])

    queue.ttl = 0.01  # applies to what is held, too
    print("attentive misses", attentive.take_missed(timeout=5), "more, held:", len(queue))


def concurrency() -> None:
    queue = Queue[tuple[int, int]]("numbers", max_bytes=300_000, retention="interest")
    consumers = [queue.add_consumer(f"reader {n}") for n in range(READERS)]
    refused = [0] * PRODUCERS

    def produce(number: int) -> None:
        for n in range(EACH):
            try:
                queue.enqueue((number, n))
            except QueueFullError:
                refused[number] += 1
                queue.enqueue((number, n), timeout=None)  # now wait until the slowest has read enough

    def read(number: int) -> None:
        received[number] = [message.payload for message in consumers[number]]

    received: list[list[tuple[int, int]]] = [[]] * READERS
    readers = [threading.Thread(target=read, args=(n,)) for n in range(READERS)]
    producers = [threading.Thread(target=produce, args=(n,)) for n in range(PRODUCERS)]
    for thread in (*readers, *producers):
        thread.start()
    for thread in producers:
        thread.join()
    queue.close()
    for thread in readers:
        thread.join()

    same = all(one == received[0] for one in received)
    in_order = all([n for who, n in received[0] if who == number] == list(range(EACH)) for number in range(PRODUCERS))
    print(f"{READERS} readers got {len(received[0])} messages each, the same: {same}, in order: {in_order}")
    assert queue.stats().rejected >= sum(refused)
    print("memory in use at the end:", queue.memory_usage)


if __name__ == "__main__":
    expiration()
    concurrency()
