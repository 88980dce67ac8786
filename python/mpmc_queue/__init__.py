"""An in-process, memory-bounded broadcast queue: every consumer reads every message at its own pace.

>>> from mpmc_queue import Queue
>>> queue = Queue("orders", ttl=60)
>>> billing, shipping = queue.add_consumer("billing"), queue.add_consumer("shipping")
>>> queue.enqueue({"order": 1})
0
>>> billing.get(), shipping.get()
({'order': 1}, {'order': 1})

Start with `help(mpmc_queue.Queue)`. `python -m mpmc_queue demo` shows a queue at work.
"""

from mpmc_queue import _defaults as _defaults
from mpmc_queue._errors import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    QueueClosedError,
    QueueError,
    QueueFullError,
)
from mpmc_queue._mpmc_queue import (
    CHUNK_SIZE,
    DEFAULT_MAX_BYTES,
    DEFAULT_TTL,
    Consumer,
    ConsumerGroup,
    ConsumerStats,
    Event,
    GroupStats,
    Message,
    Queue,
    QueueStats,
    await_any,
    estimate_size,
    register_sizer,
    wait_any,
)

TYPE_CHECKING = False  # importing `typing` only for this constant would slow the import down
if TYPE_CHECKING:
    from mpmc_queue._types import Start
else:

    def __getattr__(name):
        """Imports `Start` on first use: only annotations need it, and it loads `typing`."""
        if name == "Start":
            from mpmc_queue._types import Start

            return Start
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "CHUNK_SIZE",
    "DEFAULT_MAX_BYTES",
    "DEFAULT_TTL",
    "Consumer",
    "ConsumerClosedError",
    "ConsumerGroup",
    "ConsumerStats",
    "Event",
    "GroupStats",
    "ItemLimitError",
    "MemoryLimitError",
    "Message",
    "MessagesMissedError",
    "Queue",
    "QueueClosedError",
    "QueueError",
    "QueueFullError",
    "QueueStats",
    "Start",
    "__version__",
    "await_any",
    "estimate_size",
    "register_sizer",
    "wait_any",
]
