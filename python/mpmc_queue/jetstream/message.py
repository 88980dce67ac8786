"""Deliveries and messages; their metadata comes from the server's headers and reply subject."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, cast, final, overload
from uuid import NAMESPACE_URL, UUID, uuid5

from mpmc_queue._errors import QueueError
from mpmc_queue.jetstream.errors import NotPermittedError
from mpmc_queue.jetstream.headers import BATCH_ID, BATCH_SEQUENCE, MSG_ID, own_headers
from mpmc_queue.jetstream.options import Options
from mpmc_queue.jetstream.topics import topic_in

_T_co = TypeVar("_T_co", covariant=True)


class Delivery(NamedTuple):
    """A message as the server sent it, not decoded yet. Sequences are the stream's own, which start at 1."""

    stream_seq: int
    consumer_seq: int
    deliveries: int
    created_ns: int
    pending: int
    reply: str
    headers: Mapping[str, str] | None
    data: bytes
    subject: str


# The constructor of a named tuple is three times as slow.
_new = cast("Callable[[type[Delivery], tuple[object, ...]], Delivery]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]


def delivery(reply: str, headers: Mapping[str, str] | None, data: bytes, subject: str) -> Delivery:
    """Parses the reply subject: $JS.ACK.[domain.account.]stream.consumer.deliveries.seq.seq.time.pending[.token]."""
    words = reply.split(".")
    if len(words) == 9:
        _, _, _, _, deliveries, stream_seq, consumer_seq, created_ns, pending = words
    else:
        deliveries, stream_seq, consumer_seq, created_ns, pending = words[6:11]
    numbers = (int(stream_seq), int(consumer_seq), int(deliveries), int(created_ns), int(pending))
    return _new(Delivery, (*numbers, reply, headers, data, subject))


def denied_ack(error: NotPermittedError, stream: str, consumer: str) -> NotPermittedError | None:
    """The error to raise if the server denies acknowledgements of this consumer; None if it is about something else."""
    if not error.subject.startswith("$js.ack.") or f".{stream}.{consumer}.".lower() not in error.subject:
        return None
    return NotPermittedError(f"$JS.ACK.{stream}.{consumer}.>", "publish")


class Settling(Protocol):
    """Settles messages: a member of an acknowledging group."""

    def settle(self, delivery: Delivery, how: str, delay: float = 0.0) -> None: ...
    def confirm(self, delivery: Delivery) -> Awaitable[None]: ...


@final
class Message(Generic[_T_co]):
    """One delivery: a payload and its metadata, as `mpmc_queue.Message`, without the audit trail.

    `id` is the id it was published under. In a batch it is made from the batch's id and the place in the batch; if another
    client published the message without a UUID, from stream and seq. It is the same for every consumer.
    """

    __slots__ = ("__weakref__", "_delivery", "_missed", "_options", "_payload", "_settled", "_settling")

    def __init__(
        self, options: Options, delivery: Delivery, payload: _T_co, missed: int, settling: Settling | None = None
    ) -> None:
        self._options = options
        self._delivery = delivery
        self._payload = payload
        self._missed = missed
        self._settling = settling
        self._settled = False

    @property
    def id(self) -> UUID:
        """The id of the message, the same for every consumer."""
        headers = self._delivery.headers or {}
        try:
            if (given := headers.get(MSG_ID)) is not None:
                return UUID(given)
            return UUID(int=UUID(headers[BATCH_ID]).int + int(headers[BATCH_SEQUENCE]))
        except (KeyError, ValueError):
            return uuid5(NAMESPACE_URL, f"nats:{self._options.name}:{self._delivery.stream_seq}")

    @property
    def seq(self) -> int:
        """The position in the queue, from 0: the stream's sequence number less 1."""
        return self._delivery.stream_seq - 1

    @property
    def payload(self) -> _T_co:
        """What was enqueued, as the codec decodes it: every consumer has its own copy."""
        return self._payload

    @property
    def topic(self) -> str | None:
        """The topic it was enqueued with: the part of its subject after the queue's subject."""
        return topic_in(self._options.subject, self._delivery.subject)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers from `aenqueue(headers=)` or another client, and the trace context. The server's headers (Nats-...)
        and the Content-Type are left out."""
        return own_headers(self._delivery.headers)

    @property
    def size(self) -> int:
        """The payload's size on the wire, in bytes."""
        return len(self._delivery.data)

    @property
    def created(self) -> datetime:
        """When the server stored it, as an aware datetime in UTC."""
        seconds, nanoseconds = divmod(self._delivery.created_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)

    @property
    def created_ns(self) -> int:
        """When the server stored it, in nanoseconds since the epoch."""
        return self._delivery.created_ns

    @property
    def missed(self) -> int:
        """Messages this consumer missed just before this one. 0 in groups, whose members do not know."""
        return self._missed

    @property
    def deliveries(self) -> int:
        """How often it has been delivered: 1, or more after a redelivery by an acknowledging group."""
        return self._delivery.deliveries if self._settling is not None else 1

    @overload
    def ack(self, *, confirm: Literal[False] = False) -> None: ...
    @overload
    def ack(self, *, confirm: Literal[True]) -> Awaitable[None]: ...
    def ack(self, *, confirm: bool = False) -> Awaitable[None] | None:
        """Acknowledges the message: it is done. Does not wait for the server.

        confirm     True: returns an awaitable that waits for the server's confirmation. It raises NotConfirmedError if there
                    is none within `patience`; the message may then be redelivered.
        """
        if not confirm:
            self._settle("+ACK")
            return None
        self._check_settling()
        assert self._settling is not None
        self._settled = True
        return self._settling.confirm(self._delivery)

    def nack(self, delay: float = 0.0) -> None:
        """Gives the message back: it is redelivered to the next member that reads, after at least `delay` seconds."""
        from mpmc_queue.jetstream.arguments import seconds

        wait = seconds(delay, "delay")
        if wait is None:
            raise ValueError("delay must be finite")
        self._settle("-NAK", wait)

    def term(self) -> None:
        """Prevents redelivery: the message goes to the dead letter queue, if there is one."""
        self._settle("+TERM")

    def in_progress(self) -> None:
        """Says that the work goes on: `ack_wait` starts again."""
        self._settle("+WPI")

    def _settle(self, how: str, delay: float = 0.0) -> None:
        self._check_settling()
        assert self._settling is not None
        self._settling.settle(self._delivery, how, delay)
        self._settled = how != "+WPI"

    def _check_settling(self) -> None:
        if self._settling is None:
            raise QueueError("this message does not belong to an acknowledging group: there is nothing to settle")
        if self._settled:
            raise QueueError("this message has been settled before")

    def __repr__(self) -> str:
        return f"<Message {self.seq} of {self._options.name!r}: {self._payload!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a message cannot be copied or pickled: pass on its payload")
