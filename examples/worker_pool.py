"""A pool of workers: each job goes to one of them, again to another if it fails, and in the end to a dead letter queue."""

import threading
from collections import Counter

from mpmc_queue import Consumer, Message, Queue

WORKERS = 4
done = Counter[str]()
lock = threading.Lock()


def resize(job: str) -> None:
    if job == "broken.png":
        raise ValueError("not a picture")


def work(jobs: Consumer[str]) -> None:
    """Reads until the queue is closed and nothing is pending any more, so that no redelivery is left behind."""
    for message in jobs:
        try:
            resize(message.payload)
        except ValueError as error:
            give_up_or_retry(message, error)
        else:
            message.ack()
            with lock:
                done[message.payload] += 1


def give_up_or_retry(message: Message[str], error: Exception) -> None:
    print(f"delivery {message.deliveries} of {message.payload}: {error}")
    message.nack(delay=0.01)  # after the third delivery it is moved to the dead letter queue


def main() -> None:
    failed = Queue[str]("failed", ttl=None)
    # With retention="interest" a job is gone, and its memory is free, as soon as it is acknowledged.
    jobs = Queue[str]("jobs", ttl=None, max_items=100, retention="interest")
    pool = jobs.add_group("pool", ack_wait=30, max_deliver=3, dead_letter=failed)
    threads = [threading.Thread(target=work, args=(pool.add_consumer(f"worker {n}"),)) for n in range(WORKERS)]
    for thread in threads:
        thread.start()

    for n in range(500):
        jobs.enqueue(f"{n}.png", timeout=None)  # waits while 100 jobs are not yet done
    jobs.enqueue("broken.png", timeout=None)

    jobs.join()
    jobs.close()
    for thread in threads:
        thread.join()
    print(f"{len(done)} jobs done, each once: {set(done.values()) == {1}}")
    print("dead letters:", failed.add_consumer().get_batch(10))


if __name__ == "__main__":
    main()
