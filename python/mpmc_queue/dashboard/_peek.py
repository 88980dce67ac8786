"""A look at the messages of a queue, as plain data. It reads nothing: no position, count or trail changes."""

import reprlib
import time
from typing import Any, Final

from mpmc_queue import Message, Queue

PAGE: Final = 50
"""Messages shown at once."""
TRAIL: Final = 200
"""Reads of a message shown at once, the latest."""

_REPR = reprlib.Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 300
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = _REPR.maxdeque = 20
MOST_TEXT: Final = 1000
"""Characters of a payload's repr."""


def messages(queue: Queue[Any], start: int | None, show_payloads: bool) -> dict[str, object]:
    """A page of messages from a seq on; None: the newest."""
    stats = queue.stats()
    if start is None:
        start = max(0, stats.next_seq - PAGE)
    now = time.time_ns()
    found = queue._look(start, PAGE)
    return {
        "first_seq": stats.first_seq,
        "next_seq": stats.next_seq,
        "start": start,
        "shows_payloads": show_payloads,
        "messages": [_row(message, now, show_payloads) for message in found],
    }


def message(queue: Queue[Any], seq: int, show_payloads: bool) -> dict[str, object] | None:
    """A message with its audit trail; None when it is not held."""
    found = queue._look(seq, 1)
    if not found or found[0].seq != seq:
        return None
    names = {consumer.id: (consumer.name, consumer.group) for consumer in queue.consumer_stats()}
    events = found[0].events
    reads = events[1:]
    trail: list[dict[str, object]] = []
    for event in events[:1] + reads[-TRAIL:]:
        name, group = names.get(event.consumer_id, (None, None)) if event.consumer_id else (None, None)
        trail.append(
            {
                "kind": event.kind,
                "time": event.timestamp.timestamp(),
                "consumer": name or (str(event.consumer_id) if event.consumer_id else None),
                "group": group,
            }
        )
    left_out = max(0, len(reads) - TRAIL)
    return _row(found[0], time.time_ns(), show_payloads) | {"events": trail, "left_out": left_out}


def _row(message: Message[Any], now: int, show_payloads: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "seq": message.seq,
        "age": max(0.0, round((now - message.created_ns) / 1e9, 3)),
        "size": message.size,
        "type": _type(message.payload),
    }
    if show_payloads:
        row["payload"] = _text(message.payload)
    return row


def _type(payload: object) -> str:
    kind = type(payload)
    # The class's own name, whatever a metaclass makes of it.
    module, name = (type.__dict__[attribute].__get__(kind) for attribute in ("__module__", "__qualname__"))
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)


def _text(payload: object) -> str:
    """The payload's repr, cut short where it is long. What it raises is its own affair, and is told."""
    try:
        text = _REPR.repr(payload)
    except Exception as error:
        text = f"<its repr raised {_type(error)}>"
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
