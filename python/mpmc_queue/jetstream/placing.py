"""The server's consumer behind a feed: finds it, makes it, and sets its position."""

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
"""Seconds without reads after which the server deletes a consumer without a name."""
RESET_SINCE: Final = (2, 14)
"""The first server that can reset a consumer's position; on older ones the consumer is deleted and made again."""


class Placing:
    """The consumer on the server. Its position is set again whenever it is uncertain."""

    def __init__(
        self, server: Server, options: Options, name: str | None, topics: Sequence[str] | None, making: Making
    ) -> None:
        self.named = name is not None
        self.name = name if name is not None else uuid4().hex
        # The server need not know the position of an unnamed consumer, unless messages leave once they are read.
        self.acks = self.named or options.retention == "interest"
        """Whether reads are acknowledged to the server."""
        self.made = False
        """Whether the server has the consumer, as far as is known here."""
        self._making = making
        self.bound = not making.create
        """Whether it was made elsewhere (create=False), and is never made here."""
        self.filters = filter_subjects(options.subject, topics, options.filters)
        """The subjects that it delivers; empty: everything."""
        self._server = server
        self._options = options

    async def info(self) -> dict[str, Any]:
        """The server's information about the consumer."""
        return await self._server.insist(f"CONSUMER.INFO.{self._options.name}.{self.name}")

    async def find(self) -> dict[str, Any] | None:
        """The server's information about an existing consumer of this name; raises if that is of another kind."""
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
        """Makes the consumer unless it exists, and sets its position."""
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
            # The server does not answer a reset of a consumer that does not exist.
            if not found:
                await self._create(self.name, deliver_policy="all", **settings)
            return await self._server.ask(f"CONSUMER.RESET.{self._options.name}.{self.name}", seq=position)
        # Older servers: a temporary consumer keeps unread messages in the stream while this one is made again.
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
        """Deletes the consumer on the server."""
        try:
            await self._server.ask(f"CONSUMER.DELETE.{self._options.name}.{self.name}")
        except (NoAnswer, QueueError):
            pass  # it is gone already, or the server will delete it when it is idle
