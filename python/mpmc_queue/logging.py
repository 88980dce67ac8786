"""Logging without blocking: a listener that passes the records of a queue to handlers, in its own thread.

The standard library's `QueueHandler` can put records into a `Queue` without changes. Its `QueueListener` needs one object for
both put and get; `Listener` is a `QueueListener` that reads from a `Queue` or a `Consumer`.
"""

import logging
from logging.handlers import QueueListener
from typing import Any

from mpmc_queue import Consumer, ConsumerClosedError, Queue, QueueClosedError, wait_any

__all__ = ["Listener"]


class Listener(QueueListener):
    """Passes the log records of a queue to handlers, in its own thread.

    source                  a Queue: the listener adds its own consumer, which starts with the oldest record held. Or a
                            Consumer, if it needs other options (`start`, `on_missed`) or is a member of a group.
    handlers                the handlers of the records, as in `logging.handlers.QueueListener`.
    respect_handler_level   True: a handler gets only records of its level or above.

    `start()` and `stop()` work as in the standard library: `stop` waits until every record in the queue has been handled.
    The thread also ends when the queue is closed and drained, or the consumer is removed. Add records with
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
        # Tells the thread to stop. A queue of its own, because other consumers may read the queue of the records.
        self._stop_queue = Queue[None]("stop")
        self._stopping = self._stop_queue.add_consumer()
        self._end: Any = getattr(self, "_sentinel", None)

    def dequeue(self, block: bool) -> Any:
        """The next record. After `stop`, once there is none left, the sentinel that ends the thread."""
        try:
            if block and wait_any([self._consumer, self._stopping]) == [self._stopping]:
                self._stopping.get_nowait()
                return self._end
            return self._consumer.get(block)
        except (QueueClosedError, ConsumerClosedError):
            return self._end

    def enqueue_sentinel(self) -> None:
        """Ends the thread once it has handled the records in the queue."""
        self._stop_queue.put_nowait(None)
