"""Defaults that are no value of their own, as `help()` and `inspect.signature` show them."""


class _QueueTtl(float):
    """Not a number, but a float: `inspect` takes only plain values from the signature of a method that C has made."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "queue.ttl"


QUEUE_TTL = _QueueTtl("nan")
"""A message lives as long as its queue says."""
