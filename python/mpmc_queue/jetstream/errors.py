"""What can go wrong on the way to a server, besides what can go wrong with any queue."""

from uuid import UUID

from mpmc_queue._errors import QueueError


class ServerError(QueueError):
    """The server refused, for a reason that no other error here names.

    `code` is its error code (https://github.com/nats-io/nats-server/blob/main/server/errors.json), `description` its
    words.
    """

    def __init__(self, code: int, description: str, *, queue: str | None = None) -> None:
        super().__init__(f"the server refused: {description} (error {code})", queue=queue)
        self.code = code
        self.description = description


class DeletedError(ServerError):
    """The stream or the group has been deleted on the server, by whomever.

    When the stream is made again, consumers and groups of this handle go on with its first message. A group that was
    deleted alone stays so until it is added again.
    """


class NotConfirmedError(QueueError, TimeoutError):
    """The server did not confirm in time. It may have stored the message, or not, and may yet.

    Enqueue the payload again with `id=error.id`: within the dedupe window it then appears once. A batch has no such id,
    nor has a question.
    """

    def __init__(self, message: str, id: UUID | None = None, *, queue: str | None = None) -> None:
        super().__init__(message, queue=queue)
        self.id = id


class ConnectionLostError(QueueError, ConnectionError):
    """The connection is gone for good: the client does not try any more.

    So it is when credentials have expired, when the server ends the connection because of something this side did, or
    when the attempts are used up that `connect(connection={"max_reconnect_attempts": ...})` allows. Every call that waits
    raises it, and every later one. `__cause__` is the client's last error. Nothing is lost on the server: connect again.
    """

    def again(self) -> "ConnectionLostError":
        """The same error for one more call: each has a traceback of its own."""
        error = ConnectionLostError(self.message)
        error.__cause__ = self.__cause__
        return error


class NotPermittedError(QueueError, PermissionError):
    """The server does not let this user do what it takes.

    `subject` is what it is about, and `operation` "publish" or "subscribe": that is what an operator has to allow. In the
    rare case that this side has not kept the subject as it was sent, it is in small letters, as the client reports it.
    """

    def __init__(self, subject: str, operation: str, *, queue: str | None = None) -> None:
        where = {"publish": "publish to", "subscribe": "subscribe to"}[operation]
        super().__init__(f"the server does not let this user {where} {subject!r}: it takes a permission", queue=queue)
        self.subject = subject
        self.operation = operation

    def again(self) -> "NotPermittedError":
        """The same error for one more call: each has a traceback of its own."""
        return NotPermittedError(self.subject, self.operation, queue=self.queue)


class LocalServerError(QueueError, RuntimeError):
    """`local` cannot start a server, or finds one that does not answer. It says why, and what to do."""


class OptionError(QueueError, ValueError):
    """An option that a JetStream stream cannot have, or has otherwise already."""


class NotAtomicError(QueueError):
    """The batch cannot be stored all or nothing: the server is older than 2.12, or the batch is above its limit.

    `aenqueue_batch(..., atomic=False)` does without: an error may then leave some of the messages in the queue.
    """


class CodecError(QueueError, ValueError):
    """A payload that the codec cannot encode, or a message that it cannot decode: `seq` tells which, else it is None.

    It is told once for each delivery, and reading goes on with the next message. In an acknowledging group the message is
    delivered again when `ack_wait` is over, up to `max_deliver` times, and its bytes then go to the dead letter queue as
    they are; in a group without `ack_wait` it is not delivered again.
    """

    def __init__(self, message: str, seq: int | None = None, *, queue: str | None = None) -> None:
        super().__init__(message, queue=queue)
        self.seq = seq


for _error in (
    ServerError,
    DeletedError,
    NotPermittedError,
    NotConfirmedError,
    ConnectionLostError,
    LocalServerError,
    OptionError,
    NotAtomicError,
    CodecError,
):
    _error.__module__ = "mpmc_queue.jetstream"
del _error
