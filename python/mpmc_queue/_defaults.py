"""Sentinels for defaults, with a readable repr for `help()` and `inspect.signature`."""


class _QueueTtl(float):
    """A float with the value NaN: in signatures of compiled methods, `inspect` accepts only plain values as defaults."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "queue.ttl"


QUEUE_TTL = _QueueTtl("nan")
"""Use the queue's ttl."""
