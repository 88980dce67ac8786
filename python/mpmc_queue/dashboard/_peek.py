"""The messages of a queue as plain data, without reading them: no position, count or audit trail changes."""

import time
from typing import Any, Final

from mpmc_queue import Message, Queue
from mpmc_queue.dashboard._reprs import class_of, texts_of, whole_of

PAGE: Final = 50
"""Messages per page."""
TRAIL: Final = 200
"""How many reads of a message are shown: the latest ones."""


def messages(queue: Queue[Any], start: int | None, show_payloads: bool) -> dict[str, object]:
    """A page of messages from a seq on; None: the newest."""
    stats = queue.stats()
    if start is None:
        start = max(0, stats.next_seq - PAGE)
    found = queue._look(start, PAGE)
    return {
        "first_seq": stats.first_seq,
        "next_seq": stats.next_seq,
        "start": start,
        "shows_payloads": show_payloads,
        "messages": _rows(found, show_payloads=show_payloads),
    }


def message(queue: Queue[Any], seq: int, show_payloads: bool) -> dict[str, object] | None:
    """A message with its audit trail and its whole payload; None when it is not held."""
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
    row = _rows(found, show_payloads=False)[0] | {"events": trail, "left_out": left_out}
    return row | {"payload": whole_of(found[0].payload)} if show_payloads else row


def _rows(found: list[Message[Any]], *, show_payloads: bool) -> list[dict[str, object]]:
    now = time.time_ns()
    rows: list[dict[str, object]] = [
        {
            "seq": message.seq,
            "age": max(0.0, round((now - message.created_ns) / 1e9, 3)),
            "size": message.size,
            "topic": message.topic,
            "type": class_of(message.payload),
        }
        for message in found
    ]
    if show_payloads:
        for row, text in zip(rows, texts_of([message.payload for message in found]), strict=True):
            row["payload"] = text
    return rows
