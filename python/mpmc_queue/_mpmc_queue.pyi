"""The extension module: Python bindings of the Rust engine. Import the names from `mpmc_queue`.

Times are seconds, sizes are bytes, sequence numbers start at 0. `timeout=0` never waits and `timeout=None` waits for
ever. An argument of the wrong type raises TypeError and one out of range ValueError; the call then changes nothing.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import GenericAlias
from typing import Any, Final, Generic, Literal, Self, TypeVar, final
from uuid import UUID

from mpmc_queue._types import Start

__all__ = [
    "CHUNK_SIZE",
    "DEFAULT_MAX_BYTES",
    "DEFAULT_TTL",
    "Consumer",
    "ConsumerGroup",
    "ConsumerStats",
    "Event",
    "GroupStats",
    "Message",
    "Queue",
    "QueueStats",
    "await_any",
    "estimate_size",
    "register_sizer",
    "wait_any",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

CHUNK_SIZE: Final = 1000
"""Messages in one chunk of the list that holds them."""

DEFAULT_TTL: Final = 600.0
"""The default `ttl` of a `Queue`, in seconds."""

DEFAULT_MAX_BYTES: Final = 1_048_576
"""The default `max_bytes` of a `Queue`."""

_IS_DEBUG_BUILD: Final[bool]
"""Whether the engine was built without optimisation: benchmarks refuse to run with such a build."""

def estimate_size(payload: object) -> int:
    """The estimated size of a payload in bytes, which `enqueue` uses when the queue has no `sizer`.

    Containers, attributes, closures and the contents of generators are followed, each object once. A view counts as its header
    plus the object whose memory it shows. Classes, modules, functions and interned singletons count as a pointer.

    >>> estimate_size("a" * 1000) > 1000
    True
    >>> estimate_size(memoryview(bytes(1000))[:10]) > 1000
    True
    """

def register_sizer(cls: type[Any], sizer: Callable[[Any], int] | None, /) -> None:
    """Sets the function that sizes instances of exactly this class, anywhere in a payload, in every queue of the process.

    For objects whose memory Python cannot see: images, tensors, messages of C libraries. The result of `sizer` includes the
    attributes and contents of the instance: they are not followed. None removes the sizer, if there is one. A queue's own
    `sizer` takes precedence.

    Raises TypeError when `cls` is not a class or `sizer` not callable. When a payload is sized, a result that is not an
    int >= 0 raises TypeError or ValueError, and exceptions of `sizer` propagate; nothing is enqueued then.

    >>> class Image:
    ...     pass
    >>> register_sizer(Image, lambda image: 1_000_000)
    >>> estimate_size([Image()]) > 1_000_000
    True
    >>> register_sizer(Image, None)
    """

def _check_topic(topic: object) -> str | None:
    """The argument `topic`, checked, for queues on a server; None: without a topic."""

def _check_filters(topics: object) -> tuple[str, ...] | None:
    """The argument `topics`, checked, for queues on a server; None: everything."""

def wait_any(consumers: Iterable[Consumer[Any]], *, timeout: float | None = None) -> list[Consumer[Any]]:
    """Waits until at least one of several consumers, of any queues, is readable; returns the readable ones in the given order.

    Readable means that `read(timeout=0)` would return a message or raise, because there are missed messages to report, the
    queue is closed and drained, or the consumer was removed. Nothing is read. Returns [] when the timeout ends first. A
    consumer that is given twice is returned twice. No polling and no helper thread; Ctrl-C interrupts it.

    Raises ValueError when there are no consumers, and TypeError for a single Consumer instead of an iterable, or for an item
    that is not a Consumer.

    >>> orders, alarms = Queue("orders"), Queue("alarms")
    >>> sources = [orders.add_consumer("orders"), alarms.add_consumer("alarms")]
    >>> _ = alarms.enqueue("fire")
    >>> [consumer.name for consumer in wait_any(sources)]
    ['alarms']
    """

async def await_any(consumers: Iterable[Consumer[Any]], *, timeout: float | None = None) -> list[Consumer[Any]]:
    """`wait_any` for asyncio.

    >>> import asyncio
    >>> async def main():
    ...     reader = Queue("q").add_consumer()
    ...     return await await_any([reader], timeout=0.01)
    >>> asyncio.run(main())
    []
    """

@final
class Event:
    """One entry of a message's audit trail: the message was enqueued, or a consumer read it.

    >>> q = Queue("q")
    >>> _ = q.enqueue("hello")
    >>> [event.kind for event in q.add_consumer().read().events]
    ['enqueue', 'dequeue']
    """

    @property
    def kind(self) -> Literal["enqueue", "dequeue"]:
        """What happened."""
    @property
    def timestamp(self) -> datetime:
        """When it happened, as an aware datetime in UTC. A read may be given a time some milliseconds early, but never one
        before it was enqueued."""
    @property
    def queue(self) -> str:
        """The name of the queue."""
    @property
    def consumer_id(self) -> UUID | None:
        """The id of the consumer that read it; None for "enqueue"."""

@final
class Message(Generic[_T_co]):
    """One delivery: a payload and what is known about it. Immutable, and safe to share between threads.

    >>> q = Queue("q")
    >>> q.enqueue({"order": 1})
    0
    >>> message = q.add_consumer().read()
    >>> message.seq, message.payload
    (0, {'order': 1})

    A message refuses `copy` and `pickle` with a TypeError: pass on its payload.
    """

    @property
    def id(self) -> UUID:
        """A UUIDv7, the same for every consumer, made only when asked for. Ids of one queue sort in enqueue order."""
    @property
    def seq(self) -> int:
        """The position in the queue, gapless from 0 in enqueue order."""
    @property
    def payload(self) -> _T_co:
        """The same object that was enqueued, not a copy: consumers share it."""
    @property
    def topic(self) -> str | None:
        """The topic it was enqueued under; None: without one. A dead letter keeps it."""
    @property
    def size(self) -> int:
        """The bytes accounted for it."""
    @property
    def created(self) -> datetime:
        """When it was enqueued, as an aware datetime in UTC. Never runs backwards within one queue."""
    @property
    def created_ns(self) -> int:
        """The same in nanoseconds since the epoch."""
    @property
    def events(self) -> list[Event]:
        """The audit trail: the enqueue, then every read so far by the registered consumers, in time order.

        With `Queue(audit=False)` it contains only the enqueue.
        """
    @property
    def missed(self) -> int:
        """Messages this consumer lost just before this one, to expiry or overflow.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue("old", ttl=0.001)
        >>> import time; time.sleep(0.002)
        >>> _ = q.enqueue("new")
        >>> reader.read().missed
        1
        """
    @property
    def deliveries(self) -> int:
        """How often it has been delivered: 1, or more after a redelivery by an acknowledging group."""
    def ack(self) -> bool:
        """Settles the message: done, never to be delivered again.

        True: this call settled it. That is possible after its `ack_wait`, too, until another delivery of it is settled. False:
        too late, it has left the queue, or another delivery of it was settled. Each delivery can be settled only once, whether
        the result is True or False.

        Raises QueueError when it does not belong to an acknowledging group, or this delivery has been settled before.

        >>> q = Queue("q")
        >>> member = q.add_group("workers", ack_wait=30).add_consumer()
        >>> _ = q.enqueue("job")
        >>> message = member.read()
        >>> message.ack()
        True
        >>> member.group.pending_count
        0
        """
    def nack(self, delay: float = 0.0) -> bool:
        """Returns the message to the group: after `delay` seconds it is delivered again, to the member that reads next.

        True: it will be delivered again. False: too late, as for `ack`, or it has been delivered again already.

        Raises QueueError as `ack` does, and ValueError for a negative delay.

        >>> q = Queue("q")
        >>> member = q.add_group("workers", ack_wait=30).add_consumer()
        >>> _ = q.enqueue("job")
        >>> member.read().nack()
        True
        >>> member.read().deliveries
        2
        """
    def term(self) -> bool:
        """Ends redelivery: moves the message to the dead letter queue; without one, it counts as read.

        True: this call settled it. False: too late, as for `ack`. Raises QueueError as `ack` does.

        >>> q, dead = Queue("q"), Queue("dead")
        >>> member = q.add_group("workers", ack_wait=30, dead_letter=dead).add_consumer()
        >>> _ = q.enqueue("poison")
        >>> member.read().term()
        True
        >>> dead.add_consumer().get()
        'poison'
        """
    def in_progress(self) -> bool:
        """Reports that work on the message continues: `ack_wait` starts again.

        True: it was restarted. False: too late, as for `nack`. Raises QueueError as `ack` does.

        >>> q = Queue("q")
        >>> member = q.add_group("workers", ack_wait=30).add_consumer()
        >>> _ = q.enqueue("long job")
        >>> message = member.read()
        >>> message.in_progress()
        True
        >>> message.ack()
        True
        """
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@final
class QueueStats:
    """A queue's figures, all taken at the same moment.

    >>> q = Queue("q", max_items=10)
    >>> _ = q.enqueue_batch("abc")
    >>> stats = q.stats()
    >>> stats.total_items, stats.max_items, stats.next_seq
    (3, 10, 3)
    """

    @property
    def name(self) -> str:
        """The queue's name."""
    @property
    def total_items(self) -> int:
        """Messages held."""
    @property
    def memory_usage(self) -> int:
        """Bytes held, payloads and overhead."""
    @property
    def memory_percent(self) -> float:
        """`memory_usage` in percent of `max_bytes`."""
    @property
    def max_bytes(self) -> int:
        """The limit in bytes."""
    @property
    def max_items(self) -> int | None:
        """The limit in messages; None when there is none."""
    @property
    def audit_bytes(self) -> int:
        """Bytes held by the read records, apart from `memory_usage`; never more than `max_bytes`."""
    @property
    def audit_complete(self) -> bool:
        """Whether every read of the messages held is recorded, with its time.

        False: space was short. Reads of a consumer within a millisecond (later, a longer time) were merged into one record,
        or the oldest records were removed.
        """
    @property
    def consumer_count(self) -> int:
        """Consumers registered."""
    @property
    def created_at(self) -> datetime:
        """When the queue was made, as an aware datetime in UTC."""
    @property
    def ttl(self) -> float | None:
        """Seconds a message lives; None: without limit."""
    @property
    def enqueued(self) -> int:
        """Messages enqueued since creation."""
    @property
    def expired(self) -> int:
        """Messages removed by their TTL since creation."""
    @property
    def dropped(self) -> int:
        """Messages removed to make room since creation."""
    @property
    def rejected(self) -> int:
        """Messages refused with QueueFullError since creation; a refused batch counts each of its messages."""
    @property
    def first_seq(self) -> int:
        """The seq of the oldest message held; `next_seq` when there is none."""
    @property
    def next_seq(self) -> int:
        """The seq that the next enqueue returns."""

@final
class ConsumerStats:
    """A consumer's figures, all taken at the same moment, in O(1) however much is unread.

    `total_items_read + missed_items + unread_items` is always the number of messages enqueued since the consumer's start
    (until it seeks).

    >>> q = Queue("q")
    >>> reader = q.add_consumer("reader")
    >>> _ = q.enqueue_batch("abc")
    >>> _ = reader.get()
    >>> stats = reader.stats()
    >>> stats.total_items_read, stats.missed_items, stats.unread_items
    (1, 0, 2)
    """

    @property
    def id(self) -> UUID:
        """The consumer's id."""
    @property
    def name(self) -> str | None:
        """Its name, if it was given one."""
    @property
    def group(self) -> str | None:
        """The name of its group, if it is a member of one."""
    @property
    def total_items_read(self) -> int:
        """Messages read, including those passed over by `read_where` or by seeking forward; for a member of a group, its
        deliveries.
        """
    @property
    def passed_items(self) -> int:
        """Those of `total_items_read` that `read_where`, `read_latest` or a seek forward passed over, not returned."""
    @property
    def topics(self) -> tuple[str, ...] | None:
        """Its filters, as they were given (those of its group, for a member); None: it reads everything."""
    @property
    def filtered_items(self) -> int:
        """Messages that did not match `topics`, and were held when a read or a seek went past them: in no other figure."""
    @property
    def unread_items(self) -> int:
        """Messages that reading on would deliver now."""
    @property
    def unread_bytes(self) -> int:
        """Their size in bytes."""
    @property
    def lag(self) -> float:
        """Seconds since the oldest unread message was enqueued; 0.0 when there is none."""
    @property
    def missed_items(self) -> int:
        """Messages that left before this consumer read them."""
    @property
    def dropped_items(self) -> int:
        """Those of `missed_items` that were dropped to make room. The others expired; of a member of a group, see
        `GroupStats`."""
    @property
    def last_read_time(self) -> datetime | None:
        """When it last read, as an aware datetime in UTC, or some milliseconds before; None before the first read."""

@final
class GroupStats:
    """A group's figures, all taken at the same moment.

    `total_items_read + unread_items + pending_items + missed_items + dead_lettered_items` is always the number of messages
    enqueued since the group's start (until it seeks).

    >>> q = Queue("q")
    >>> workers = q.add_group("workers", ack_wait=30)
    >>> worker = workers.add_consumer()
    >>> _ = q.enqueue_batch("abc")
    >>> worker.read().ack()
    True
    >>> message = worker.read()
    >>> stats = workers.stats()
    >>> stats.total_items_read, stats.pending_items, stats.unread_items
    (1, 1, 1)
    """

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def member_count(self) -> int:
        """The number of members."""
    @property
    def total_items_read(self) -> int:
        """Messages settled: acked, or termed where there is no dead letter queue; without ack_wait, delivered."""
    @property
    def unread_items(self) -> int:
        """Messages that wait to be delivered: new ones, and those ready to be delivered again."""
    @property
    def unread_bytes(self) -> int:
        """Their size in bytes."""
    @property
    def lag(self) -> float:
        """Seconds since the oldest unread message was enqueued; 0.0 when there is none."""
    @property
    def pending_items(self) -> int:
        """Messages delivered, not settled, and not ready to be delivered again."""
    @property
    def missed_items(self) -> int:
        """Messages that expired or were dropped, or that were delivered max_deliver times and have no dead letter queue."""
    @property
    def dropped_items(self) -> int:
        """Those of `missed_items` that were dropped to make room."""
    @property
    def undeliverable_items(self) -> int:
        """Those of `missed_items` that were delivered max_deliver times, and that no dead letter queue could take. What was
        neither dropped nor undeliverable expired."""
    @property
    def refused_dead_letters(self) -> int:
        """Those of `missed_items` that were too large for the dead letter queue."""
    @property
    def redelivered_items(self) -> int:
        """Deliveries that were not the first of their message."""
    @property
    def dead_lettered_items(self) -> int:
        """Messages moved to the dead letter queue."""
    @property
    def topics(self) -> tuple[str, ...] | None:
        """Its filters, as they were given; None: it reads everything."""
    @property
    def filtered_items(self) -> int:
        """Messages that did not match `topics`, and were held when a read or a seek went past them: in no other figure."""

@final
class Queue(Generic[_T]):
    """A named, thread-safe, memory-bounded broadcast log: every consumer reads every message, at its own pace.

    A message is removed when it is older than its TTL. When the queue is full, `enqueue` raises an error or waits.

    name        its name in errors, stats and events.
    ttl         seconds (or a timedelta) a message lives; None: without limit.
    max_bytes   hard limit on what the queue holds, payloads and overhead, in bytes.
    max_items   hard limit on how many messages it holds; None: no limit but max_bytes.
    retention   "limits": kept until TTL or overflow removes it (the default).
                "interest": also removed once every consumer and group that wants it has read (or acked) it; at once if there
                are consumers or groups, but none of them wants its topic.
    overflow    "reject": a full queue raises QueueFullError, or waits as long as `timeout` allows (the default).
                "drop_oldest": the oldest messages make room; consumers count them as missed.
    sizer       called with each payload, returns its bytes (int >= 0); None: the built-in estimate, which follows
                containers, dataclasses and attributes.
    audit       False: reads leave no records; `Message.events` is the enqueue alone and `history()` is empty.

    Raises TypeError or ValueError for an argument that is not one of these. A queue cannot be copied or pickled.

    >>> q = Queue("orders", ttl=60, max_bytes=10_000_000)
    >>> billing = q.add_consumer("billing")
    >>> shipping = q.add_consumer("shipping")
    >>> q.enqueue({"order": 1})
    0
    >>> billing.get(), shipping.get()
    ({'order': 1}, {'order': 1})
    """

    def __new__(
        cls,
        name: str,
        *,
        ttl: float | timedelta | None = 600.0,
        max_bytes: int = 1_048_576,
        max_items: int | None = None,
        retention: Literal["limits", "interest"] = "limits",
        overflow: Literal["reject", "drop_oldest"] = "reject",
        sizer: Callable[[_T], int] | None = None,
        audit: bool = True,
    ) -> Self: ...
    @property
    def name(self) -> str:
        """The name it was given."""
    @property
    def max_bytes(self) -> int:
        """The limit in bytes, payloads and overhead.

        Can be set at any time, also below the bytes held: then nothing fits until enough messages have left. Raising it wakes
        producers that wait for space. ValueError unless it is positive.

        >>> q = Queue("q")
        >>> q.max_bytes = 2_000_000
        >>> q.max_bytes
        2000000
        """
    @max_bytes.setter
    def max_bytes(self, value: int) -> None: ...
    @property
    def max_items(self) -> int | None:
        """The limit in messages; None when there is none. Settable like `max_bytes`.

        >>> q = Queue("q", max_items=100)
        >>> q.max_items = None
        """
    @max_items.setter
    def max_items(self, value: int | None) -> None: ...
    @property
    def created_at(self) -> datetime:
        """When the queue was made, as an aware datetime in UTC."""

    # producing
    def enqueue(
        self,
        payload: _T,
        *,
        topic: str | None = None,
        ttl: float | timedelta | None = ...,
        timeout: float | None = 0.0,
    ) -> int:
        """Adds a message and returns its seq.

        topic       what it is about: tokens joined by ".", such as "orders.eu.new", at most 255 bytes of UTF-8, without
                    white space, "*" or ">". Consumers with `topics=` read it if it matches. None: no topic; only
                    consumers without `topics=` read it.
        ttl         seconds (or a timedelta) that this message lives, instead of the queue's ttl, shorter or longer;
                    None: without limit.
        timeout     seconds to wait for space; 0: not at all (the default), None: without limit.

        Raises MemoryLimitError or ItemLimitError when it does not fit in time (at once if it could never fit),
        QueueClosedError when the queue is closed, and exceptions of `sizer`. The queue is unchanged then.

        >>> q = Queue("q")
        >>> q.enqueue("a"), q.enqueue("b", ttl=5), q.enqueue("c", topic="orders.eu.new")
        (0, 1, 2)
        """
    def enqueue_batch(
        self,
        payloads: Iterable[_T],
        *,
        topic: str | None = None,
        ttl: float | timedelta | None = ...,
        timeout: float | None = 0.0,
    ) -> range:
        """Adds all of the payloads, with consecutive seqs, or none; returns their seqs.

        topic       the topic of every message, as for `enqueue`.
        ttl         seconds (or a timedelta) that these messages live, instead of the queue's ttl; None: without limit.
        timeout     seconds to wait for space; 0: not at all (the default), None: without limit. A batch that could never
                    fit fails at once, an endless iterable as soon as it is past max_bytes.

        Raises what `enqueue` raises, and exceptions of the iterable. The queue is unchanged then.

        >>> q = Queue("q")
        >>> q.enqueue_batch(["a", "b", "c"])
        range(0, 3)
        """
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """`enqueue` with the signature of the standard library's `queue.Queue.put`: waits for space unless told not to.

        block       false: do not wait; no timeout is looked at.
        timeout     seconds to wait for space; None: without limit (the default).

        Raises what `enqueue` raises; its errors for a full queue are also `queue.Full`.

        >>> q = Queue("q")
        >>> q.put("a")
        """
    def put_nowait(self, item: _T) -> None:
        """`put` without waiting.

        >>> q = Queue("q", max_items=1)
        >>> q.put_nowait("a")
        >>> q.put_nowait("b")
        Traceback (most recent call last):
        mpmc_queue.ItemLimitError: ...
        """
    async def aenqueue(
        self,
        payload: _T,
        *,
        topic: str | None = None,
        ttl: float | timedelta | None = ...,
        timeout: float | None = None,
    ) -> int:
        """`enqueue` for asyncio: waits for space (without limit, unless told otherwise) without holding up the loop.

        Cancelled while it waits, it has added nothing.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     return await q.aenqueue("a")
        >>> asyncio.run(main())
        0
        """
    async def aenqueue_batch(
        self,
        payloads: Iterable[_T],
        *,
        topic: str | None = None,
        ttl: float | timedelta | None = ...,
        timeout: float | None = None,
    ) -> range:
        """`enqueue_batch` for asyncio: waits for space (without limit, unless told otherwise) without holding up the loop.

        Cancelled while it waits, it has added nothing.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     return await q.aenqueue_batch("abc")
        >>> asyncio.run(main())
        range(0, 3)
        """

    # consumers
    def add_consumer(
        self,
        name: str | None = None,
        *,
        start: Start = "earliest",
        on_missed: Literal["skip", "raise"] | Callable[[int], None] = "skip",
        topics: str | Iterable[str] | None = None,
        ephemeral: bool = False,
        after: Iterable[Consumer[_T] | ConsumerGroup[_T]] = (),
    ) -> Consumer[_T]:
        """A new consumer with a position of its own. It stays registered until it is closed or removed.

        name        its name in stats; None: it has only its id.
        start       "earliest": at the oldest message held (the default). "latest": at the next one enqueued.
                    An int: at that seq, or the oldest held if it is gone; beyond `next_seq` it is a ValueError.
                    An aware datetime: at the first message created then or later; a naive one is a ValueError.
        on_missed   what happens when messages left unread: "skip": the read continues, and they are counted (the default).
                    "raise": the next read raises MessagesMissedError, once per gap. A callable: called with the
                    count, in the reading thread, before the next message.
        topics      a filter, or several: it reads only messages whose topic matches one of them, each once, and its figures
                    count only those. In a filter "*" stands for one token and ">", at the end, for one or more:
                    "orders.*.new", "orders.>". A message without a topic matches none. None: everything (the default).
        ephemeral   True: it is also removed when nothing refers to it any more, as if it were closed. A call in progress, a
                    task or an iterator refers to it; its messages, its stats and the queue do not.
        after       consumers and groups of this queue: this one gets a message only after each of them has read it
                    (with `ack_wait`: settled it), or missed it, or does not want it (`topics`), or started behind it, or is
                    gone. A member stands for its group. One that seeks back delays messages that this one has not read yet.
                    `read`, `has_more_data`, `peek` and waiting respect the order, `unread_count` does not. `after` does not
                    keep consumers or groups alive. ValueError for one of another queue.

        Works on a closed queue too, to drain it.

        >>> q = Queue("q")
        >>> _ = q.enqueue_batch(["a", "b"])
        >>> q.add_consumer().get()
        'a'
        >>> q.add_consumer("tail", start="latest").read() is None
        True
        >>> orders = q.add_consumer("orders", topics="orders.>")
        >>> _ = q.enqueue("c", topic="orders.eu.new"), q.enqueue("d", topic="news")
        >>> orders.get(), orders.unread_count
        ('c', 0)
        """
    def add_group(
        self,
        name: str,
        *,
        start: Start = "earliest",
        ack_wait: float | timedelta | None = None,
        max_deliver: int | None = None,
        backoff: Sequence[float] | None = None,
        max_ack_pending: int | None = None,
        dead_letter: Queue[_T] | None = None,
        dead_letter_missed: bool = False,
        topics: str | Iterable[str] | None = None,
        after: Iterable[Consumer[_T] | ConsumerGroup[_T]] = (),
    ) -> ConsumerGroup[_T]:
        """A new group: its members share one position, so that each message goes to one of them.

        start           where it begins, as for `add_consumer`.
        ack_wait        seconds (or a timedelta) a member has to `ack` a message before it is delivered again;
                        None: a delivery settles itself (the default).
        max_deliver     deliveries before it is moved to `dead_letter` (or counted as missed); None: no limit.
        backoff         seconds that each redelivery waits, the last one repeated; None: no wait.
        max_ack_pending the maximum number of unsettled deliveries, at which new ones stop; None: no limit.
        dead_letter     the queue for messages that were delivered too often, or refused with `term`.
        dead_letter_missed  True: messages that the group would miss (expired or dropped, pending or unread) are moved to
                        `dead_letter`, too, before the call that removed them returns. If that queue is full or closed, they
                        count as missed.
        topics          a filter, or several: the group reads only messages whose topic matches, as for `add_consumer`.
        after           consumers and groups of this queue that have to be done with a message first, as for `add_consumer`.

        Raises ValueError when the name is in use.

        >>> q = Queue("q")
        >>> workers = q.add_group("workers")
        >>> one, two = workers.add_consumer(), workers.add_consumer()
        >>> _ = q.enqueue_batch(["a", "b"])
        >>> one.get(), two.get()
        ('a', 'b')
        """
    def get_consumer(self, id: UUID | str) -> Consumer[_T] | None:
        """The consumer with this id, or None.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> q.get_consumer(reader.id).id == reader.id
        True
        """
    def get_group(self, name: str) -> ConsumerGroup[_T] | None:
        """The group with this name, or None.

        >>> q = Queue("q")
        >>> _ = q.add_group("workers")
        >>> q.get_group("workers").name
        'workers'
        """
    def remove_consumer(self, consumer: Consumer[_T] | UUID | str) -> bool:
        """Removes a consumer, given itself or its id; False when this queue has no such consumer.

        Calls blocked on it wake with ConsumerClosedError, and its read records leave the audit trail.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> q.remove_consumer(reader), q.remove_consumer(reader)
        (True, False)
        """
    @property
    def consumers(self) -> tuple[Consumer[_T], ...]:
        """The consumers registered now."""

    # expiration
    @property
    def ttl(self) -> float | None:
        """Seconds a message lives; None: without limit.

        Can be set; a new value applies at once to messages already held, and to waiting producers and readers. ttl=0 is a
        ValueError.

        >>> q = Queue("q", ttl=60)
        >>> q.ttl = None
        """
    @ttl.setter
    def ttl(self, value: float | timedelta | None) -> None: ...
    @property
    def expiration_enabled(self) -> bool:
        """Whether messages expire; True until `disable_expiration`."""
    def enable_expiration(self) -> None:
        """Lets messages expire again. Messages older than their TTL are removed at once.

        >>> q = Queue("q")
        >>> q.disable_expiration()
        >>> q.enable_expiration()
        """
    def disable_expiration(self) -> None:
        """Keeps messages past their TTL, and delivers them, until `enable_expiration`.

        >>> q = Queue("q", ttl=0.001)
        >>> q.disable_expiration()
        >>> q.expiration_enabled
        False
        """
    def force_expiration(self) -> int:
        """Removes expired messages now, and returns how many; 0 while expiration is disabled.

        Never needed for correctness: expired messages are not delivered, and a thread removes them in time.

        >>> Queue("q").force_expiration()
        0
        """

    # looking
    def stats(self) -> QueueStats:
        """The queue's figures, all taken at the same moment.

        >>> Queue("q").stats().total_items
        0
        """
    def consumer_stats(self) -> list[ConsumerStats]:
        """The figures of every consumer.

        >>> q = Queue("q")
        >>> _ = q.add_consumer("reader")
        >>> [stats.name for stats in q.consumer_stats()]
        ['reader']
        """
    def group_stats(self) -> list[GroupStats]:
        """The figures of every group.

        >>> q = Queue("q")
        >>> _ = q.add_group("workers")
        >>> [stats.name for stats in q.group_stats()]
        ['workers']
        """
    def _figures(
        self,
    ) -> tuple[
        QueueStats,
        float,  # age of the oldest message held
        list[ConsumerStats],
        list[GroupStats],
        list[tuple[str | None, str | None, int, int, int]],  # see _figures.Departed
        tuple[str, str],  # retention and overflow
        int,  # producers that wait for room
        list[tuple[UUID | str, UUID | str]],  # who follows whom (`after=`): consumers by id, groups by name
    ]:
        """Everything at once, for the metrics and the dashboard: the queue's figures, the age of the oldest message, those
        of consumers, those of groups, what removed consumers had read and missed (group, name, read, missed), the settings,
        how many producers wait, and which reader follows which.
        """
    def _look(self, start: int, limit: int) -> list[Message[_T]]:
        """Up to `limit` of the messages held, from the first at or after `start` on, for the dashboard. This does not count as
        reading: positions, counts and audit trails do not change.
        """
    def is_empty(self) -> bool:
        """Whether no message is held. (As a truth value a queue is always True.)

        >>> Queue("q").is_empty()
        True
        """
    @property
    def memory_usage(self) -> int:
        """Bytes held, payloads and overhead: never above `max_bytes`, unless that was lowered since."""
    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
    def __len__(self) -> int:
        """Messages held."""
    def __bool__(self) -> bool:
        """Always True: an empty queue is still a queue."""

    # ending
    def close(self, *, immediate: bool = False) -> None:
        """Closes the queue: producers fail from now on, and all waiting calls wake. May be called again.

        Consumers may read the messages left. With `immediate` these are discarded (not counted as missed) and memory is freed.

        >>> q = Queue("q")
        >>> _ = q.enqueue("last")
        >>> q.close()
        >>> [message.payload for message in q.add_consumer()]
        ['last']
        """
    def shutdown(self, immediate: bool = False) -> None:
        """The standard library's name for `close`.

        >>> Queue("q").shutdown()
        """
    def join(self, timeout: float | None = None) -> bool:
        """Waits until every consumer and group has read (with ack_wait: settled) all messages held; False: not in time.

        timeout     seconds to wait; None: without limit (the default).

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue("a")
        >>> q.join(timeout=0)
        False
        >>> _ = reader.get()
        >>> q.join()
        True
        """
    async def ajoin(self, timeout: float | None = None) -> bool:
        """`join` for asyncio.

        >>> import asyncio
        >>> async def main():
        ...     return await Queue("q").ajoin()
        >>> asyncio.run(main())
        True
        """
    def __enter__(self) -> Self:
        """`with Queue(...) as q:` closes the queue on exit."""
    def __exit__(self, *exc: object) -> None: ...
    async def __aenter__(self) -> Self:
        """`async with Queue(...) as q:` closes the queue on exit."""
    async def __aexit__(self, *exc: object) -> None: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@final
class Consumer(Generic[_T]):
    """An independent reader with a position of its own; `Queue.add_consumer` makes one. Safe to share between threads:
    each message then goes to one of them.

    Reading advances the position. Iterating waits for the next message, and ends when the queue is closed and drained:

    >>> q = Queue("q")
    >>> reader = q.add_consumer("reader")
    >>> _ = q.enqueue_batch(["a", "b"])
    >>> q.close()
    >>> for message in reader:
    ...     print(message.seq, message.payload)
    0 a
    1 b

    Once the consumer is closed or removed, its calls raise ConsumerClosedError. Once the queue is closed and drained,
    reading raises QueueClosedError. A consumer cannot be copied or pickled.
    """

    @property
    def id(self) -> UUID:
        """The id by which `Queue.get_consumer` finds it."""
    @property
    def name(self) -> str | None:
        """The name it was given, if any."""
    @property
    def queue(self) -> Queue[_T]:
        """The queue it reads. A consumer keeps its queue alive."""
    @property
    def group(self) -> ConsumerGroup[_T] | None:
        """The group it is a member of, if any."""
    @property
    def topics(self) -> tuple[str, ...] | None:
        """Its filters, as they were given (those of its group, for a member); None: it reads everything."""

    # messages
    def read(self, *, timeout: float | None = 0.0) -> Message[_T] | None:
        """The next message, or None when there is none in time.

        timeout     seconds to wait for one; 0: not at all (the default), None: without limit.

        Raises QueueClosedError when the queue is closed and drained, ConsumerClosedError when this consumer is
        removed, and, depending on `on_missed`, MessagesMissedError or an exception of the callback; no message is lost then.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> reader.read(timeout=0.01) is None
        True
        >>> _ = q.enqueue("a")
        >>> reader.read().payload
        'a'
        """
    def read_batch(
        self, limit: int, *, timeout: float | None = 0.0, linger: float = 0.0, max_bytes: int | None = None
    ) -> list[Message[_T]]:
        """Waits for the first message as `read` does, then takes all available ones, up to `limit`; [] when there is none.

        linger      seconds to wait for the batch to fill after its first message is available. The wait ends early when the
                    batch is full, the queue is closed, or missed messages have to be reported first. Nothing is taken before
                    the call returns: until then messages can expire, other threads that share the consumer may read them,
                    and an interrupt leaves them unread.
        max_bytes   the maximum of payload bytes (their `size`) in the batch, but always one message; None: no limit.

        Raises TypeError or ValueError for a bad argument, which it names, and ConsumerClosedError when the consumer is
        removed meanwhile.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue_batch(["a", "b", "c"])
        >>> [message.payload for message in reader.read_batch(2)]
        ['a', 'b']
        >>> len(reader.read_batch(500, timeout=1, linger=0.05, max_bytes=1_000_000))
        1
        """
    def read_latest(self, *, timeout: float | None = 0.0) -> Message[_T] | None:
        """The newest message, or None when there is none in time; older ones are passed over.

        Messages passed over count as read (`ConsumerStats.passed_items` counts them separately) and are in the audit trail.
        Messages missed before are reported with this message. QueueError for a member of a group, which has no position of
        its own. Otherwise as `read`.

        >>> q = Queue("q")
        >>> viewer = q.add_consumer()
        >>> _ = q.enqueue_batch(["frame 1", "frame 2", "frame 3"])
        >>> viewer.read_latest().payload
        'frame 3'
        >>> viewer.stats().passed_items
        2
        """
    def read_where(
        self, predicate: Callable[[Message[_T]], bool], *, timeout: float | None = 0.0
    ) -> Message[_T] | None:
        """The next message for which `predicate` holds, or None when there is none in time.

        Messages that do not match are passed over permanently, and count as read. So does a message for which `predicate`
        raises; that exception propagates. TypeError when `predicate` is not callable. Otherwise as `read`.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue_batch([1, 2, 3])
        >>> reader.read_where(lambda message: message.payload > 1).payload
        2
        >>> reader.position
        2
        """
    def peek(self) -> Message[_T] | None:
        """The message that `read` would return now, without reading it; None when there is none.

        Does not change the position, the counts or the audit trail.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue("a")
        >>> reader.peek().payload, reader.get()
        ('a', 'a')
        """

    # payloads
    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """The next payload, with the signature of the standard library's `queue.Queue.get`: waits unless told not to.

        block       false: do not wait; no timeout is looked at.
        timeout     seconds to wait for one; None: without limit (the default).

        Raises `queue.Empty` when there is none in time; otherwise what `read` raises.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> q.put("a")
        >>> reader.get()
        'a'
        """
    def get_nowait(self) -> _T:
        """`get` without waiting.

        >>> Queue("q").add_consumer().get_nowait()
        Traceback (most recent call last):
        _queue.Empty
        """
    def get_batch(
        self, limit: int, *, timeout: float | None = 0.0, linger: float = 0.0, max_bytes: int | None = None
    ) -> list[_T]:
        """`read_batch` for payloads.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue_batch(["a", "b", "c"])
        >>> reader.get_batch(100)
        ['a', 'b', 'c']
        """

    # asyncio
    async def aread(self, *, timeout: float | None = None) -> Message[_T] | None:
        """`read` for asyncio: waits (without limit, unless told otherwise) without holding up the loop.

        No polling and no helper thread. Cancelling it never loses a message.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     reader = q.add_consumer()
        ...     _ = q.enqueue("a")
        ...     return (await reader.aread()).payload
        >>> asyncio.run(main())
        'a'
        """
    async def aread_batch(
        self, limit: int, *, timeout: float | None = None, linger: float = 0.0, max_bytes: int | None = None
    ) -> list[Message[_T]]:
        """`read_batch` for asyncio.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     reader = q.add_consumer()
        ...     _ = q.enqueue_batch("abc")
        ...     return len(await reader.aread_batch(2))
        >>> asyncio.run(main())
        2
        """
    async def aread_latest(self, *, timeout: float | None = None) -> Message[_T] | None:
        """`read_latest` for asyncio.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     viewer = q.add_consumer()
        ...     _ = q.enqueue_batch(["frame 1", "frame 2"])
        ...     return (await viewer.aread_latest()).payload
        >>> asyncio.run(main())
        'frame 2'
        """
    async def aget(self, *, timeout: float | None = None) -> _T:
        """`get` for asyncio: queue.Empty when there is none in time.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     reader = q.add_consumer()
        ...     _ = q.enqueue("a")
        ...     return await reader.aget()
        >>> asyncio.run(main())
        'a'
        """

    async def aget_batch(
        self, limit: int, *, timeout: float | None = None, linger: float = 0.0, max_bytes: int | None = None
    ) -> list[_T]:
        """`get_batch` for asyncio.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q")
        ...     reader = q.add_consumer()
        ...     _ = q.enqueue_batch("abc")
        ...     return await reader.aget_batch(2)
        >>> asyncio.run(main())
        ['a', 'b']
        """

    # iterating
    def __iter__(self) -> Iterator[Message[_T]]:
        """Iterating waits for the next message, and ends when the queue is closed and drained."""
    def __next__(self) -> Message[_T]: ...
    def __aiter__(self) -> AsyncIterator[Message[_T]]:
        """`async for` waits for the next message, and ends when the queue is closed and drained."""
    async def __anext__(self) -> Message[_T]: ...

    # position
    @property
    def position(self) -> int:
        """The seq of the next message to read; never below the oldest message held."""
    @property
    def unread_count(self) -> int:
        """Messages that reading on would deliver now."""
    def has_more_data(self) -> bool:
        """Whether a read would find a message now.

        >>> q = Queue("q")
        >>> q.add_consumer().has_more_data()
        False
        """
    def seek(self, to: Start) -> None:
        """Moves the position.

        to          "earliest", "latest", a seq or an aware datetime, as `start` of `Queue.add_consumer`.

        Going back reads messages again; going forward counts what it skips as read. A seq below the oldest message
        held means that message, and nothing counts as missed; one beyond `next_seq` is a ValueError.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue_batch(["a", "b"])
        >>> reader.get(), reader.get()
        ('a', 'b')
        >>> reader.seek("earliest")
        >>> reader.get()
        'a'
        """

    # what left before this consumer read it
    @property
    def missed_count(self) -> int:
        """Messages that left before this consumer read them, since it was added: an exact count."""
    def take_missed(self, *, timeout: float | None = 0.0) -> int:
        """How many messages were missed since the last call; waits for the first one; 0 when there is none in time.

        timeout     seconds to wait for one; 0: not at all (the default), None: without limit. On a closed queue with
                    nothing to take it returns 0 at once.

        >>> q = Queue("q", ttl=0.01)
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue("too late")
        >>> reader.take_missed(timeout=None)
        1
        """
    async def atake_missed(self, *, timeout: float | None = None) -> int:
        """`take_missed` for asyncio: waits (without limit, unless told otherwise) without holding up the loop.

        >>> import asyncio
        >>> async def main():
        ...     q = Queue("q", ttl=0.01)
        ...     reader = q.add_consumer()
        ...     _ = q.enqueue("too late")
        ...     return await reader.atake_missed()
        >>> asyncio.run(main())
        1
        """
    def history(self, limit: int | None = None) -> list[tuple[int, datetime]]:
        """What this consumer has read of the messages still held, as (seq, read at), oldest first.

        limit       only the last `limit` entries; None: all.

        Empty with `Queue(audit=False)`.

        >>> q = Queue("q")
        >>> reader = q.add_consumer()
        >>> _ = q.enqueue("a")
        >>> _ = reader.get()
        >>> [seq for seq, read_at in reader.history()]
        [0]
        """
    def stats(self) -> ConsumerStats:
        """The consumer's figures, all taken at the same moment.

        >>> Queue("q").add_consumer("reader").stats().name
        'reader'
        """
    def close(self) -> None:
        """The same as `queue.remove_consumer(self)`.

        >>> q = Queue("q")
        >>> with q.add_consumer() as reader:
        ...     pass
        >>> q.consumers
        ()
        """
    def __enter__(self) -> Self:
        """`with queue.add_consumer() as consumer:` closes the consumer on exit."""
    def __exit__(self, *exc: object) -> None: ...
    async def __aenter__(self) -> Self:
        """`async with queue.add_consumer() as consumer:` closes the consumer on exit."""
    async def __aexit__(self, *exc: object) -> None: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@final
class ConsumerGroup(Generic[_T]):
    """Members share one position: each message goes to one of them. `Queue.add_group` makes one.

    With ack_wait, a message not acked within it (or nacked, or held by a member that closed) is delivered again, to
    the member that reads next; after max_deliver deliveries it is moved to dead_letter (or counted as missed).
    A pending message that expires is counted as missed, and its late ack does nothing. `stats()` has all counts.

    >>> q = Queue("jobs")
    >>> workers = q.add_group("workers", ack_wait=30)
    >>> worker = workers.add_consumer()
    >>> _ = q.enqueue("job")
    >>> message = worker.read()
    >>> workers.pending_count
    1
    >>> message.ack()
    True
    >>> workers.pending_count
    0
    """

    @property
    def name(self) -> str:
        """The name it was given."""
    @property
    def queue(self) -> Queue[_T]:
        """The queue it reads. A group keeps its queue alive."""
    @property
    def members(self) -> tuple[Consumer[_T], ...]:
        """The consumers that share it now."""
    @property
    def pending_count(self) -> int:
        """Messages delivered and not settled, except those ready to be delivered again, which count as unread."""
    @property
    def unread_count(self) -> int:
        """Messages that wait to be delivered: new ones, and those ready to be delivered again."""
    @property
    def missed_count(self) -> int:
        """Messages that left before a member read (with ack_wait: settled) them, or were given up without a dead_letter."""
    def add_consumer(self, name: str | None = None, *, ephemeral: bool = False) -> Consumer[_T]:
        """A new member.

        ephemeral   True: it is also removed when nothing refers to it any more; its unsettled messages are delivered again.

        >>> q = Queue("q")
        >>> q.add_group("workers").add_consumer("one").group.name
        'workers'
        """
    def stats(self) -> GroupStats:
        """The group's figures, all taken at the same moment.

        >>> Queue("q").add_group("workers").stats().member_count
        0
        """
    def close(self) -> None:
        """Removes the group and its members from the queue.

        >>> q = Queue("q")
        >>> q.add_group("workers").close()
        >>> q.get_group("workers") is None
        True
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    async def __aenter__(self) -> Self:
        """`async with queue.add_group(...) as group:` closes the group on exit."""
    async def __aexit__(self, *exc: object) -> None: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...
