"""Finds and makes consumers on the server, and resolves where they start."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from mpmc_queue._types import Start
from mpmc_queue.jetstream.errors import OptionError, ServerError
from mpmc_queue.jetstream.server import PAUSES, Server

KIND: Final = "mpmc_queue"
"""The metadata that distinguishes consumers from groups."""
NO_CONSUMER: Final = 10014
"""The error code for a consumer that does not exist."""
FILTERS_SINCE: Final = (2, 10)
"""The first server with several filters; an older one would deliver everything."""
NOT_CREATED: Final = 10012
"""The error code for any failure while the server makes a consumer."""


async def create(server: Server, stream: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a consumer, unless it exists with this configuration.

    It is tried several times, because a server that is still removing the files of another consumer of that name fails.
    """
    if "filter_subjects" in settings and server.version < FILTERS_SINCE:
        raise OptionError(
            "several topics take nats-server {}.{}: one filter is all that this one knows".format(*FILTERS_SINCE)
        )
    question, config = f"CONSUMER.CREATE.{stream}.{name}", {"name": name, **settings}
    for wait in PAUSES:
        try:
            return await server.ask(question, stream_name=stream, config=config, action="")
        except ServerError as error:
            if error.code != NOT_CREATED:
                raise
        await asyncio.sleep(wait)
    return await server.ask(question, stream_name=stream, config=config, action="")


async def find(server: Server, stream: str, name: str, kind: str) -> dict[str, Any] | None:
    """The server's information about a consumer; None if there is none, an OptionError if it is of another kind."""
    try:
        info = await server.ask(f"CONSUMER.INFO.{stream}.{name}")
    except ServerError as error:
        if error.code == NO_CONSUMER:
            return None
        raise
    metadata: dict[str, str] = info["config"].get("metadata") or {}
    found = metadata.get(KIND)
    if found != kind:
        taken = f"a {found}" if found else "a consumer that was made elsewhere: create=False reads it as it is"
        raise OptionError(f"name {name!r} is taken by {taken}")
    return info


async def resolve(server: Server, stream: str, start: Start) -> int:
    """The sequence in the stream for a start."""
    state = (await server.ask(f"STREAM.INFO.{stream}"))["state"]
    first, end = max(1, int(state["first_seq"])), int(state["last_seq"]) + 1
    if start == "earliest":
        return first
    if start == "latest":
        return end
    if isinstance(start, datetime):
        return await _at(server, stream, start)
    assert isinstance(start, int)
    if start + 1 > end:
        raise ValueError(f"start must not be beyond the next seq, {end - 1:,}: {start!r}")
    return max(start + 1, first)


async def _at(server: Server, stream: str, moment: datetime) -> int:
    """The sequence of the first message created at or after a time, found by a temporary consumer."""
    name = uuid4().hex
    settings = {
        "deliver_policy": "by_start_time",
        "opt_start_time": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "ack_policy": "none",
        "inactive_threshold": 5_000_000_000,
        "mem_storage": True,
        "num_replicas": 1,
    }
    info = await create(server, stream, name, settings)
    await server.ask(f"CONSUMER.DELETE.{stream}.{name}")
    return int(info["delivered"]["stream_seq"]) + 1
