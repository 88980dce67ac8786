"""The server's consumer that a feed reads by: found, made, and set to a position."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from mpmc_queue._errors import QueueError
from mpmc_queue.jetstream.binding import existing
from mpmc_queue.jetstream.errors import OptionError
from mpmc_queue.jetstream.making import Making
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.server import NoAnswer, Server
from mpmc_queue.jetstream.starts import KIND, create, find
from mpmc_queue.jetstream.topics import filter_settings, filter_subjects, filters_in

IDLE: Final = 300.0
"""Seconds after which the server forgets a consumer without a name that nobody reads any more."""
RESET_SINCE: Final = (2, 14)
"""The first server that can set a consumer to a position; before it, one is deleted and made again."""


class Placing:
    """The consumer on the server. It is a means: its position is set anew whenever there is doubt about it."""

    def __init__(
        self, server: Server, options: Options, name: str | None, topics: Sequence[str] | None, making: Making
    ) -> None:
        self.named = name is not None
        self.name = name if name is not None else uuid4().hex
        # Unless messages leave by what is read, the server need not know what an unnamed consumer has read.
        self.acks = self.named or options.retention == "interest"
        """Whether the server hears of what is read."""
        self.made = False
        """Whether the server has it, as far as is known here."""
        self._making = making
        self.bound = not making.create
        """Whether it is one that is there, and never made here."""
        self.filters = filter_subjects(options.subject, topics, options.filters)
        """The subjects that it delivers; none: everything."""
        self._server = server
        self._options = options

    async def info(self) -> dict[str, Any]:
        """What the server says of it."""
        return await self._server.insist(f"CONSUMER.INFO.{self._options.name}.{self.name}")

    async def find(self) -> dict[str, Any] | None:
        """What the server has under its name; raises when that is something else."""
        if self.bound:
            if self._server.version < RESET_SINCE:
                raise OptionError("reading a consumer of others takes nats-server {}.{}".format(*RESET_SINCE))
            there = await existing(self._server, self._options.name, self.name, "all")
            self.filters = sorted(filters_in(there["config"]))
            return there
        info = await find(self._server, self._options.name, self.name, "consumer")
        if info is not None and (found := filters_in(info["config"])) != set(self.filters):
            theirs, ours = sorted(found) or "everything", sorted(self.filters) or "everything"
            raise OptionError(f"consumer {self.name!r} exists with other options: it reads {theirs}, not {ours}")
        if info is not None:
            self._making.compare(self.name, info["config"])
        return info

    async def place(self, position: int, *, found: bool) -> dict[str, Any]:
        """Makes the consumer unless it is there, and sets it to the position."""
        if not self.acks:
            if self.made:
                await self.delete()
            info = await self._create(
                self.name, deliver_policy="by_start_sequence", opt_start_seq=position, ack_policy="none"
            )
        else:
            info = await self._place_acking(position, found=found)
        self.made = True
        return info

    async def _place_acking(self, position: int, *, found: bool) -> dict[str, Any]:
        settings: dict[str, Any] = {"ack_policy": "all", "ack_wait": 10**18, "max_ack_pending": -1}
        settings["metadata"] = {KIND: "consumer"}
        if self.named:
            settings["durable_name"] = self.name
        if self._server.version >= RESET_SINCE:
            # (The server does not answer about a consumer that does not exist.)
            if not found:
                await self._create(self.name, deliver_policy="all", **settings)
            return await self._server.ask(f"CONSUMER.RESET.{self._options.name}.{self.name}", seq=position)
        # With an older server another consumer keeps unread messages from leaving while this one is made again.
        keeper = uuid4().hex
        await self._create(keeper, deliver_policy="by_start_sequence", opt_start_seq=position, ack_policy="all")
        await self.delete()
        info = await self._create(self.name, deliver_policy="by_start_sequence", opt_start_seq=position, **settings)
        await self._server.ask(f"CONSUMER.DELETE.{self._options.name}.{keeper}")
        return info

    async def _create(self, name: str, **settings: Any) -> dict[str, Any]:
        if "durable_name" not in settings:
            settings["inactive_threshold"] = round(IDLE * 1e9)
        if settings["ack_policy"] == "none":
            settings |= {"mem_storage": True, "num_replicas": 1}
        return await create(
            self._server,
            self._options.name,
            name,
            {**settings, **filter_settings(self.filters), **self._making.settings},
        )

    async def delete(self) -> None:
        """Has the server forget it."""
        try:
            await self._server.ask(f"CONSUMER.DELETE.{self._options.name}.{self.name}")
        except (NoAnswer, QueueError):
            pass  # gone already, or forgotten by the server in time
