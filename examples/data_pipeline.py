"""Three stages and bounded queues between them: the slowest sets the pace, and memory stays where it is."""

import threading
from collections import Counter

from mpmc_queue import Queue, QueueClosedError

LINES = 50_000
LIMIT = 200_000  # bytes that each queue may hold

# With retention="interest" a message leaves when the next stage has read it, which makes room for the stage before.
raw = Queue[str]("raw", max_bytes=LIMIT, retention="interest", ttl=None)
parsed = Queue[tuple[str, int]]("parsed", max_bytes=LIMIT, retention="interest", ttl=None)
to_parse, to_add = raw.add_consumer("parse"), parsed.add_consumer("add up")


def read() -> None:
    with raw:  # closing it is what tells the next stage that there is no more
        for n in range(LINES):
            raw.enqueue(f"sensor-{n % 7},{n}", timeout=None)  # backpressure: waits for space


def parse() -> None:
    with parsed:
        while True:
            try:
                lines = to_parse.get_batch(200, timeout=None)
            except QueueClosedError:  # and nothing is left in it
                return
            fields = (line.split(",") for line in lines)
            parsed.enqueue_batch([(name, int(value)) for name, value in fields], timeout=None)


def add_up(totals: Counter[str]) -> None:
    for message in to_add:
        name, value = message.payload
        totals[name] += value


def main() -> None:
    totals = Counter[str]()
    stages = [threading.Thread(target=read), threading.Thread(target=parse)]
    stages.append(threading.Thread(target=add_up, args=(totals,)))
    most = 0
    for thread in stages:
        thread.start()
    while stages[-1].is_alive():
        most = max(most, raw.memory_usage, parsed.memory_usage)
        stages[-1].join(0.005)
    for thread in stages:
        thread.join()

    print(f"{LINES} lines of {len(totals)} sensors, sum {totals.total()}, right: {totals.total() == sum(range(LINES))}")
    print(f"the fuller queue held {most} bytes at most, within its limit: {most <= LIMIT}")


if __name__ == "__main__":
    main()
