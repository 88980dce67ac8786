"""Requests in one queue, responses in another: each client picks out the answers to its own."""

import threading
from dataclasses import dataclass

from mpmc_queue import Queue

CLIENTS, REQUESTS, SERVERS = 3, 200, 2


@dataclass(frozen=True, slots=True)
class Request:
    client: int
    number: int


@dataclass(frozen=True, slots=True)
class Response:
    request: Request
    answer: int


requests = Queue[Request]("requests", retention="interest", max_items=50)
responses = Queue[Response]("responses", retention="interest", max_items=50)
servers = requests.add_group("servers")


def serve(name: str) -> None:
    """Members of the group share the work: each request goes to one of them."""
    with servers.add_consumer(name) as inbox:
        for message in inbox:
            request = message.payload
            responses.enqueue(Response(request, request.number**2), timeout=None)


def ask(client: int, total: list[int]) -> None:
    # Listening before asking: no answer can come in between.
    with responses.add_consumer(f"client {client}", start="latest") as inbox:
        for number in range(REQUESTS):
            requests.enqueue(Request(client, number), timeout=None)
            answer = inbox.read_where(lambda message: message.payload.request.client == client, timeout=10)
            assert answer is not None, "no answer within ten seconds"
            assert answer.payload == Response(Request(client, number), number**2)
            total[client] += answer.payload.answer


def main() -> None:
    total = [0] * CLIENTS
    pool = [threading.Thread(target=serve, args=(f"server {n}",)) for n in range(SERVERS)]
    clients = [threading.Thread(target=ask, args=(n, total)) for n in range(CLIENTS)]
    for thread in (*pool, *clients):
        thread.start()
    for thread in clients:
        thread.join()
    requests.close()
    for thread in pool:
        thread.join()
    print(f"{CLIENTS} clients, {REQUESTS} requests each, sums: {total}")
    # Every request was settled by a server. What the last client had not come to when it left may still be in `responses`.
    print("left over:", len(requests), "requests")


if __name__ == "__main__":
    main()
