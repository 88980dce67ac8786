"""One thread that reads from several queues at once, the most urgent first."""

import threading
import time

from mpmc_queue import Consumer, Queue, wait_any


def produce(queue: Queue[str], pause: float, count: int) -> None:
    for number in range(count):
        queue.enqueue(f"{queue.name} {number}")
        time.sleep(pause)
    queue.close()


def serve(sources: list[Consumer[str]]) -> list[str]:
    """Serves the sources in their order until all of them are closed and drained."""
    served: list[str] = []
    while sources:
        # One wake-up, however many sources there are; nothing is read by waiting.
        urgent = wait_any(sources)[0]
        if urgent.has_more_data():
            served.append(urgent.get())
        else:  # closed, and nothing left
            sources.remove(urgent)
    return served


def main() -> None:
    alarms, jobs, reports = Queue[str]("alarm"), Queue[str]("job"), Queue[str]("report")
    sources = [queue.add_consumer(queue.name) for queue in (alarms, jobs, reports)]
    jobs.enqueue("job at the start")
    alarms.enqueue("alarm at the start")
    plan = [(alarms, 0.02, 5), (jobs, 0.005, 20), (reports, 0.001, 100)]
    threads = [threading.Thread(target=produce, args=arguments) for arguments in plan]
    for thread in threads:
        thread.start()
    served = serve(sources)
    for thread in threads:
        thread.join()
    print(f"{len(served)} messages, the first is {served[0]!r}")
    for queue in (alarms, jobs, reports):
        mine = [text for text in served if text.startswith(queue.name)]
        produced = [text for text in mine if not text.endswith("start")]
        in_order = produced == [f"{queue.name} {number}" for number in range(len(produced))]
        print(f"{queue.name}: {len(mine)} of {queue.stats().enqueued}, in order: {in_order}")


if __name__ == "__main__":
    main()
