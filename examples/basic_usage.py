"""The basics: every consumer reads every message, at its own pace, and a full queue says so."""

from mpmc_queue import Queue, QueueFullError


def main() -> None:
    # The queue closes at the end of the block: what is left can still be read.
    with Queue[dict[str, object]]("orders", ttl=60, max_items=4) as orders:
        billing = orders.add_consumer("billing")
        shipping = orders.add_consumer("shipping")

        orders.enqueue({"order": 1, "item": "tea"})
        orders.enqueue_batch([{"order": 2, "item": "cups"}, {"order": 3, "item": "milk"}])

        # One message with all that is known about it; None when there is none.
        message = billing.read()
        assert message is not None
        print(f"billing reads seq {message.seq}, {message.size} bytes: {message.payload}")

        # A batch, and bare payloads.
        print("billing goes on:", [message.payload["order"] for message in billing.read_batch(10)])
        print("shipping gets:", shipping.get()["item"])
        print("still unread by shipping:", shipping.unread_count)

        # The limit is hard: what does not fit is refused as a whole.
        try:
            orders.enqueue_batch([{"order": 4}, {"order": 5}])
        except QueueFullError as error:
            print(f"refused: {error.needed} more do not fit, {error.current} of {error.max} are held")

    # A consumer that comes later starts at the oldest message held, and iterating ends with the closed queue.
    late = orders.add_consumer("late")
    print("the late one reads", [message.seq for message in late])

    stats = orders.stats()
    print(f"{stats.enqueued} enqueued, {stats.rejected} refused, {stats.consumer_count} consumers")
    for consumer in orders.consumer_stats():
        print(f"{consumer.name}: {consumer.total_items_read} read, {consumer.unread_items} unread")


if __name__ == "__main__":
    main()
