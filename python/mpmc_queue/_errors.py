"""The exceptions of the package. The engine returns errors as plain values; the extension module raises them as these.

Where the standard library's `queue` has an exception for the same case, ours is a subclass of it, so that
`except queue.Full` keeps working. Each exception has its figures as attributes, and can be pickled and copied.
"""

import queue
import sys


class QueueError(Exception):
    """Base of every error this package raises.

    `message` says which queue it was, what went wrong and what to do about it; `str()` returns the same. `queue` is the
    name of the queue, or None if there is none.
    """

    message: str
    queue: str | None

    def __init__(self, message: str, *, queue: str | None = None) -> None:
        super().__init__(message if queue is None else f"queue {queue!r}: {message}")
        self.message = self.args[0]
        self.queue = queue

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the constructor with `args`, which has only the message.
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(cls: type[QueueError], args: tuple[object, ...]) -> QueueError:
    """An error of this class without its attributes; `pickle` and `copy` add them afterwards."""
    error = cls.__new__(cls, *args)
    error.args = args  # an OSError would set them only in its constructor
    return error


class QueueFullError(QueueError, queue.Full):
    """The message (or the whole batch) does not fit. Nothing was added.

    Also a `queue.Full`. `current` is what the queue held, `max` its limit, and `needed` what this call asked for:
    bytes in a `MemoryLimitError`, messages in an `ItemLimitError`. If other producers wait for space before this one,
    there must be room for them first: `ahead` is what they asked for, and `needed` includes it.
    """

    current: int
    max: int
    needed: int
    ahead: int

    def __init__(self, current: int, max: int, needed: int, *, ahead: int = 0, queue: str | None = None) -> None:
        super().__init__(self._describe(current, max, needed - ahead, ahead), queue=queue)
        self.current = current
        self.max = max
        self.needed = needed
        self.ahead = ahead

    def _add_hint(self, hint: str) -> None:
        self.message = f"{self.message}; {hint}"
        self.args = (self.message,)

    def _is_all_read(self) -> None:
        """Rewrites the message for a queue full of messages that all consumers have read."""
        refused, _, remedies = self.message.rpartition("; ")
        self.message = (
            f'{refused}, and everyone has read what is held; make the queue with retention="interest" to free messages '
            f'once all have read them, or with overflow="drop_oldest" to replace the oldest; or {remedies}'
        )
        self.args = (self.message,)

    @staticmethod
    def _describe(current: int, max: int, own: int, ahead: int) -> str:
        return f"it is full: this call needs {own:,}{_waiting(ahead)}, and {current:,} of {max:,} are taken"


class MemoryLimitError(QueueFullError):
    """The message does not fit into `max_bytes`; the figures are bytes, including overhead."""

    @staticmethod
    def _describe(current: int, max: int, own: int, ahead: int) -> str:
        if own > max:
            return (
                f"this can never fit: it needs {own:,} bytes, overhead included, and max_bytes is {max:,} "
                f"({current:,} are taken); raise max_bytes, or send it in smaller pieces"
            )
        return (
            f"no room: this call needs {own:,} bytes, overhead included{_waiting(ahead)}, and {current:,} of {max:,} are "
            "taken; wait for space with timeout=, raise max_bytes, or shorten the ttl"
        )


class ItemLimitError(QueueFullError):
    """The message does not fit into `max_items`; the figures are messages."""

    @staticmethod
    def _describe(current: int, max: int, own: int, ahead: int) -> str:
        if own > max:
            return (
                f"this can never fit: it is {_messages(own)}, and max_items is {max:,} ({current:,} are held); "
                "raise max_items, or send it in smaller batches"
            )
        return (
            f"no room: this call adds {_messages(own)}{_waiting(ahead)}, and {current:,} of {max:,} are held; "
            "wait for space with timeout=, raise max_items, or shorten the ttl"
        )


class MessagesMissedError(QueueError):
    """Messages left before this consumer read them (`on_missed="raise"`).

    Raised once per gap; the next read continues with the oldest message held. `count` is how many were missed.
    """

    count: int

    def __init__(self, count: int, *, queue: str | None = None) -> None:
        super().__init__(
            f"{_messages(count)} left the queue before this consumer read {'it' if count == 1 else 'them'}; "
            "the next read goes on with the oldest message held. Read faster, or give messages a longer ttl",
            queue=queue,
        )
        self.count = count


if sys.version_info >= (3, 13):

    class QueueClosedError(QueueError, queue.ShutDown):
        """Enqueue on a closed queue, or read from a closed queue with nothing left. Also a `queue.ShutDown`."""

else:

    class QueueClosedError(QueueError):
        """Enqueue on a closed queue, or read from a closed queue with nothing left.

        Also a `queue.ShutDown` where the standard library has it (Python 3.13 and newer).
        """


class ConsumerClosedError(QueueError):
    """The consumer was removed from its queue."""


def _waiting(ahead: int) -> str:
    """What the producers that wait before this one asked for, if there are any."""
    return f", others wait ahead in line for {ahead:,}" if ahead else ""


def _messages(count: int) -> str:
    """The count as words: 1 message, 2,000 messages."""
    return f"{count:,} message{'' if count == 1 else 's'}"


# Tracebacks and pickles then name the public module, which does not change if this file moves.
for _error in (
    QueueError,
    QueueFullError,
    MemoryLimitError,
    ItemLimitError,
    MessagesMissedError,
    QueueClosedError,
    ConsumerClosedError,
):
    _error.__module__ = "mpmc_queue"
del _error
