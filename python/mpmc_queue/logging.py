"""Logging without blocking: a listener that hands the records of a queue to handlers, in a thread of its own.

The standard library's `QueueHandler` puts records into a `Queue` as it is. Its `QueueListener` wants a queue to put to and to get
from at once; `Listener` is one that reads from a `Queue` or a `Consumer`.
"""

import logging
from logging.handlers import QueueListener
from typing import Any

from mpmc_queue import Consumer, ConsumerClosedError, Queue, QueueClosedError, wait_any

__all__ = ["Listener"]


class Listener(QueueListener):
    """Hands the log records of a queue to handlers, in a thread of its own.

    source                  a Queue: the listener gets a consumer of its own there, from the oldest record held on. Or a
                            Consumer, which other options were chosen for (`start`, `on_missed`, a member of a group).
    handlers                what handles the records, as in `logging.handlers.QueueListener`.
    respect_handler_level   True: a handler gets only records of its level or above.

    `start()` and `stop()` are those of the standard library: `stop` waits until every record that is there has been handled. The
    thread also ends when the queue is closed and drained, or the consumer is removed. Put records in with
    `logging.handlers.QueueHandler(queue)`. In `logging.config.dictConfig` (Python 3.12 and later) its name is
    "mpmc_queue.logging.Listener".

    >>> import logging.handlers
    >>> queue = Queue("log", overflow="drop_oldest")
    >>> listener = Listener(queue, logging.StreamHandler())
    >>> listener.start()
    >>> handler = logging.handlers.QueueHandler(queue)  # add it to a logger
    >>> listener.stop()
    """

    def __init__(
        self, source: Queue[Any] | Consumer[Any], *handlers: logging.Handler, respect_handler_level: bool = False
    ) -> None:
        if isinstance(source, Queue):
            source = source.add_consumer("logging", ephemeral=True)
        elif not isinstance(source, Consumer):
            raise TypeError(f"source must be a Queue or a Consumer, not {type(source).__name__}")
        super().__init__(source, *handlers, respect_handler_level=respect_handler_level)  # type: ignore[arg-type]
        self._consumer: Consumer[Any] = source
        # Wakes the thread to stop: the queue of the records is for records alone, for others may read it, too.
        self._stop_queue = Queue[None]("stop")
        self._stopping = self._stop_queue.add_consumer()
        self._end: Any = getattr(self, "_sentinel", None)

    def dequeue(self, block: bool) -> Any:
        """The next record. After `stop`, once there is none, what ends the thread."""
        try:
            if block and wait_any([self._consumer, self._stopping]) == [self._stopping]:
                self._stopping.get_nowait()
                return self._end
            return self._consumer.get(block)
        except (QueueClosedError, ConsumerClosedError):
            return self._end

    def enqueue_sentinel(self) -> None:
        """Has the thread end once it has handled what is there."""
        self._stop_queue.put_nowait(None)
