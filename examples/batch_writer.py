"""Write rows to a database in batches: up to 500 rows, or what came within 50 ms of the first, or 100 kB."""

import sqlite3
import threading
import time

from mpmc_queue import Queue, QueueClosedError

ROWS = 2_000


def write(queue: Queue[str], database: sqlite3.Connection) -> list[int]:
    """Writes until the queue is closed and drained; returns how many rows each transaction had."""
    batches: list[int] = []
    with queue.add_group("writers").add_consumer() as member:
        try:
            while True:
                rows = member.get_batch(500, timeout=None, linger=0.05, max_bytes=100_000)
                with database:
                    database.executemany("insert into readings values (?)", [(row,) for row in rows])
                batches.append(len(rows))
        except QueueClosedError:
            return batches


def measure(queue: Queue[str]) -> None:
    """A burst, then a trickle."""
    queue.enqueue_batch([f"reading {number}" for number in range(ROWS)])
    for number in range(5):
        time.sleep(0.01)
        queue.enqueue(f"late reading {number}")
    queue.close()


def main() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("create table readings (text)")
    # Rows leave once they are written, and the producer waits where the writer is behind.
    queue = Queue[str]("readings", ttl=None, retention="interest")
    queue.enqueue("first")
    producer = threading.Thread(target=measure, args=(queue,))
    producer.start()
    batches = write(queue, database)
    producer.join()
    (count,) = database.execute("select count(*) from readings").fetchone()
    print(f"{count} rows in {len(batches)} transactions, the largest of {max(batches)}")
    database.close()
    assert count == ROWS + 6
    assert len(batches) < 20


if __name__ == "__main__":
    main()
