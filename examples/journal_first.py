"""Journal, then replicate, then act: each step sees a message only once the steps before it are done with it."""

import threading

from mpmc_queue import Consumer, Queue

ORDERS = 1_000


class Steps:
    """What each step has done, and whether it ever ran ahead of the one before."""

    def __init__(self) -> None:
        self.journal: list[int] = []
        self.replica: set[int] = set()
        self.acted = 0
        self.ran_ahead = 0

    def write(self, orders: Consumer[int]) -> None:
        for order in orders:
            self.journal.append(order.payload)

    def replicate(self, orders: Consumer[int]) -> None:
        for order in orders:
            self.replica.add(order.payload)

    def act(self, orders: Consumer[int]) -> None:
        for order in orders:
            # A step is done with a message when it asks for the next: with `ack_wait` groups say so by `ack`.
            self.ran_ahead += order.payload >= len(self.journal) + 1
            self.acted += 1


def main() -> None:
    queue = Queue[int]("orders", ttl=None, retention="interest")
    journal = queue.add_consumer("journal")
    replica = queue.add_consumer("replica")
    business = queue.add_consumer("business", after=[journal, replica])
    steps = Steps()
    work = [(steps.write, journal), (steps.replicate, replica), (steps.act, business)]
    threads = [threading.Thread(target=step, args=(consumer,)) for step, consumer in work]
    for thread in threads:
        thread.start()
    for order in range(ORDERS):
        queue.put(order)
    queue.close()
    for thread in threads:
        thread.join()
    print(f"{len(steps.journal)} written, {len(steps.replica)} replicated, {steps.acted} acted upon")
    print("ran ahead of the journal:", steps.ran_ahead, "times")


if __name__ == "__main__":
    main()
