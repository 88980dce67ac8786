"""The permissions that the guide lists are enough, and each of them is needed."""

import asyncio
import re
from pathlib import Path

import pytest

import servers
from helpers import PATIENCE
from mpmc_queue import QueueError

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ADMIN = {"user": "admin", "password": "a"}
LIMITED = {"user": "limited", "password": "b"}

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "jetstream.md").read_text(encoding="utf-8")
[TABLE] = re.findall(r"^\| to \|.*\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
LIST = {
    cells[1].strip(): re.findall(r"`([^`]*)`", cells[2]) for cells in (row.split("|") for row in TABLE.splitlines())
}
CONNECT = LIST["`connect(create=False)`"]


class PositionLost(QueueError):
    """The server does not have the position of the consumer."""

    def __init__(self):
        super().__init__("the position is lost")


async def enqueue(queue):
    assert await queue.aenqueue("tea", timeout=5) == 0
    assert await queue.aenqueue("milk", topic="eu", timeout=5) == 1
    assert list(await queue.aenqueue_batch(["a", "b"])) == [2, 3]


async def read_as_group(queue):
    group = queue.add_group("workers", create=False)
    member = group.add_consumer()
    for _ in range(2):
        message = await member.aread(timeout=5)
        assert message.payload == "there"
        await message.ack(confirm=True)
    assert await group.pending_count == 0


async def read_as_consumer(queue, *, create=False):
    reader = queue.add_consumer("billing", create=create)
    assert (await reader.aread(timeout=5)).payload == "there"
    assert await reader.unread_count == 1
    reader._feed._told.flush()
    assert (await reader.aread(timeout=5)).payload == "there"
    reader.close()  # waits until the server has the final position
    await queue._leaving["billing"]
    again = await queue.add_consumer("billing", create=False)
    if again.position != 2:
        raise PositionLost


async def make(queue):
    await read_as_consumer(queue, create=True)


async def read_without_a_name(queue):
    reader = queue.add_consumer()
    assert [(await reader.aread(timeout=5)).payload for _ in range(2)] == ["there"] * 2
    queue.remove_consumer(reader)


GROUP = LIST["read as the group `workers` that is there"]
CONSUMER = LIST["read as the consumer `billing` that is there"]
PARTS = {
    "enqueue": (enqueue, LIST["enqueue"]),
    "group": (read_as_group, GROUP),
    "consumer": (read_as_consumer, CONSUMER),
    "make": (make, CONSUMER + LIST["make the one or the other"]),
    "no name": (read_without_a_name, LIST["read without a name"]),
}


async def attempt(directory, part, granted):
    """Does the work with only these permissions. Returns what was raised, and the server's errors to the client."""
    work, _ = PARTS[part]
    permissions = {"publish": {"allow": granted}, "subscribe": {"allow": ["_INBOX.>"]}}
    authorization = {"users": [ADMIN, {**LIMITED, "permissions": permissions}]}
    with servers.NatsServer(directory / "server", authorization=authorization) as server:
        async with await jetstream.connect(server.url, "Orders", connection=ADMIN) as queue:
            for name, policy in {"workers": "explicit", "billing": "all"}.items():
                if (part, name) != ("make", "billing"):
                    config = {"name": name, "durable_name": name, "ack_policy": policy}
                    await queue._server.insist(
                        f"CONSUMER.CREATE.Orders.{name}", stream_name="Orders", config=config, action=""
                    )
            if part != "enqueue":
                await queue.aenqueue_batch(["there", "there"])
        told = []

        async def note(error):
            told.append(str(error))

        raised = None
        try:
            connection = LIMITED | {"error_cb": note}
            own = await jetstream.connect(server.url, "Orders", create=False, connection=connection, patience=1)
            async with asyncio.timeout(PATIENCE), own:
                await work(own)
        except QueueError as error:
            raised = error
        return raised, [each for each in told if "ermissions" in each]


@pytest.mark.parametrize("part", PARTS)
def test_the_permissions_of_the_guide_are_enough(directory, part):
    assert asyncio.run(attempt(directory, part, CONNECT + PARTS[part][1])) == (None, [])


@pytest.mark.parametrize(
    ("part", "missing"), [(part, missing) for part, (_, needed) in PARTS.items() for missing in CONNECT + needed]
)
def test_without_one_of_them_it_does_not_work(directory, part, missing):
    granted = [each for each in CONNECT + PARTS[part][1] if each != missing]
    raised, told = asyncio.run(attempt(directory, part, granted))
    assert any(missing.rstrip("*>").lower() in each.lower() for each in told)
    if raised is not None:
        assert isinstance(raised, (jetstream.NotPermittedError, jetstream.NotConfirmedError, PositionLost))
    else:
        assert missing.startswith(("$JS.ACK", "$JS.API.CONSUMER.DELETE"))  # a consumer does not wait for these
