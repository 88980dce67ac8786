"""`create=False`: streams and consumers that were made elsewhere are used as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mpmc_queue.jetstream.errors import OptionError, ServerError
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.server import Server
from mpmc_queue.jetstream.starts import NO_CONSUMER
from mpmc_queue.jetstream.topics import covers, overlap

WORK_QUEUE: Final = "workqueue"
"""The retention of a stream that removes a message once it is settled; such a stream has groups only."""


async def look(server: Server, options: Options, *, patient: bool = True, **body: Any) -> dict[str, Any]:
    """Asks the server about the stream, and updates the queue's limits. patient: retries until there is an answer."""
    ask = server.insist if patient else server.ask
    info = await ask(f"STREAM.INFO.{options.name}", **body)
    options.see(info["config"])
    return info


def bound(asked: Options, subject: str | None, config: Mapping[str, Any]) -> Options:
    """The options of a queue over an existing stream. subject: the argument of `connect`."""
    subjects: list[str] = list(config.get("subjects") or ())
    filters: tuple[str, ...] = ()
    if subject is None:
        subject = _base(subjects)
    else:
        own = (subject, f"{subject}.>")
        filters = tuple(each for each in own if any(overlap(each, other) for other in subjects))
        if not filters:
            raise OptionError(
                f"stream {asked.name!r} has other subjects than {subject!r}: {', '.join(subjects) or 'none'}"
            )
        if all(any(covers(each, other) for each in own) for other in subjects):
            filters = ()
    options = replace(
        asked,
        subject=subject,
        filters=filters,
        retention=str(config["retention"]),
        overflow="reject" if config["discard"] == "new" else "drop_oldest",
        bound=True,
    )
    options.see(config)
    return options


def _base(subjects: Sequence[str]) -> str:
    """The queue's subject, from the subjects of the stream; "" if there are several, or wildcards."""
    if len(subjects) == 1 and not {"*", ">"} & set(subjects[0].split(".")):
        return subjects[0]
    first = min(subjects, key=len, default="")
    return first if set(subjects) == {first, f"{first}.>"} else ""


async def existing(server: Server, stream: str, name: str, policy: str) -> dict[str, Any]:
    """Information about an existing consumer, whoever made it. Raises if there is none, or it is of another kind."""
    try:
        info = await server.ask(f"CONSUMER.INFO.{stream}.{name}")
    except ServerError as error:
        if error.code != NO_CONSUMER:
            raise
        words = f"there is no consumer {name!r}, and with create=False none is made"
        raise ServerError(error.code, words, queue=stream) from None
    config = info["config"]
    if config.get("deliver_subject"):
        raise OptionError(f"consumer {name!r} is one that the server pushes to: it takes one that is pulled from")
    if (found := config["ack_policy"]) != policy:
        how = {"explicit": "add_group", "all": "add_consumer"}.get(found)
        instead = f": {how}({name!r}, create=False) reads it" if how else ""
        raise OptionError(f"consumer {name!r} has the ack policy {found!r}, not {policy!r}{instead}")
    return info
