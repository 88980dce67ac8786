"""The same queue in a program of trio: a producer thread, tasks that read, and cancellation that loses nothing."""

import threading

import trio

from mpmc_queue import Consumer, Queue

READINGS = 200


def measure(queue: Queue[int]) -> None:
    """A thread that knows nothing of trio."""
    for number in range(READINGS):
        queue.put(number)
    queue.close()


async def add_up(readings: Consumer[int], sums: list[int]) -> None:
    total = 0
    async for reading in readings:
        total += reading.payload
    sums.append(total)


async def main() -> None:
    queue = Queue[int]("readings", ttl=None)
    sums: list[int] = []
    consumers = [queue.add_consumer(f"task {number}") for number in range(3)]

    with trio.move_on_after(0.01):  # nothing is there yet
        await consumers[0].aread()
    print("cancelled, and nothing is lost:", consumers[0].unread_count, "unread")

    threading.Thread(target=measure, args=(queue,)).start()
    async with trio.open_nursery() as nursery:
        for consumer in consumers:
            nursery.start_soon(add_up, consumer, sums)
    print("sums:", sums)


if __name__ == "__main__":
    trio.run(main)
