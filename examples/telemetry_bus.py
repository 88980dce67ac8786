"""A telemetry bus: one queue, a topic for each sensor, and readers that each choose what concerns them."""

import time
from concurrent.futures import ThreadPoolExecutor

from mpmc_queue import Consumer, Queue, QueueClosedError

ROOMS = ("attic", "cellar", "kitchen")
READINGS = 1_000  # of each sensor


def measure(bus: Queue[float], room: str) -> None:
    """The sensors of a room. They never wait: in a full queue the oldest readings make room."""
    for number in range(READINGS):
        bus.enqueue(20 + number % 5, topic=f"{room}.temperature")
        bus.enqueue(40 + number % 9, topic=f"{room}.humidity")


def watch(temperatures: Consumer[float]) -> list[str]:
    """The alarm: wakes up for temperatures, and for nothing else."""
    return [f"{message.topic} is {message.payload}" for message in temperatures if message.payload > 60]


def record(everything: Consumer[float]) -> int:
    """The recorder: all topics, in batches of up to 500, or what came within 10 ms of the first."""
    recorded = 0
    try:
        while True:
            recorded += len(everything.read_batch(500, timeout=None, linger=0.01))
    except QueueClosedError:
        return recorded


def display(kitchen: Consumer[float]) -> int:
    """A slow reader."""
    shown = 0
    for _ in kitchen:
        shown += 1
        time.sleep(0.001)
    return shown


def main() -> None:
    bus = Queue[float]("telemetry", ttl=60, max_items=1_000, overflow="drop_oldest")
    alarm = bus.add_consumer("alarm", topics="*.temperature")
    recorder = bus.add_consumer("recorder")
    slow = bus.add_consumer("display", topics="kitchen.>")
    with ThreadPoolExecutor(max_workers=6) as pool:
        alarms, recorded, shown = pool.submit(watch, alarm), pool.submit(record, recorder), pool.submit(display, slow)
        for sensors in [pool.submit(measure, bus, room) for room in ROOMS]:
            sensors.result()
        bus.enqueue(80, topic="cellar.temperature")
        bus.close()
    print(f"alarm: {', '.join(alarms.result())}")
    # Whatever the threads did: what a consumer did not read it has missed, and only of its own topics.
    print(f"alarm: read and missed are {alarm.stats().total_items_read + alarm.missed_count} of {3 * READINGS + 1}")
    print(f"recorder: read and missed are {recorded.result() + recorder.missed_count} of {6 * READINGS + 1}")
    print(f"display: {shown.result()} shown, {slow.missed_count} missed, of {2 * READINGS}")
    assert shown.result() + slow.missed_count == 2 * READINGS


if __name__ == "__main__":
    main()
