"""The exceptions that only queues on a server raise."""

from uuid import UUID

from mpmc_queue._errors import QueueError


class ServerError(QueueError):
    """The server refused a request, for a reason that has no exception of its own here.

    `code` is the server's error code (https://github.com/nats-io/nats-server/blob/main/server/errors.json),
    `description` its text.
    """

    def __init__(self, code: int, description: str, *, queue: str | None = None) -> None:
        super().__init__(f"the server refused: {description} (error {code})", queue=queue)
        self.code = code
        self.description = description


class DeletedError(ServerError):
    """The stream or the group has been deleted on the server.

    If the stream is made again, consumers and groups of this handle continue with its first message. If only the group was
    deleted, it has to be added again.
    """


class NotConfirmedError(QueueError, TimeoutError):
    """The server did not confirm in time. It may have stored the message, may still store it, or may never have got it.

    Enqueue the payload again with `id=error.id`: within the dedupe window it is then stored once. `id` is None for
    batches, and for requests other than enqueuing.
    """

    def __init__(self, message: str, id: UUID | None = None, *, queue: str | None = None) -> None:
        super().__init__(message, queue=queue)
        self.id = id


class ConnectionLostError(QueueError, ConnectionError):
    """The connection is lost for good: the client does not reconnect any more.

    This happens when credentials have expired, when the server closes the connection because of a client error, or after
    as many attempts as `connect(connection={"max_reconnect_attempts": ...})` allows. All calls that wait and all later
    calls raise it. `__cause__` is the client's last error. Nothing is lost on the server: connect again.
    """

    def again(self) -> "ConnectionLostError":
        """A copy of the error for another call, so that each call has its own traceback."""
        error = ConnectionLostError(self.message)
        error.__cause__ = self.__cause__
        return error


class NotPermittedError(QueueError, PermissionError):
    """The user has no permission on the server for what the call needs.

    `subject` and `operation` ("publish" or "subscribe") say what an operator has to allow. In rare cases the subject is in
    lower case: the client reports it so, and this package no longer has the original.
    """

    def __init__(self, subject: str, operation: str, *, queue: str | None = None) -> None:
        where = {"publish": "publish to", "subscribe": "subscribe to"}[operation]
        super().__init__(f"the server does not let this user {where} {subject!r}: it takes a permission", queue=queue)
        self.subject = subject
        self.operation = operation

    def again(self) -> "NotPermittedError":
        """A copy of the error for another call, so that each call has its own traceback."""
        return NotPermittedError(self.subject, self.operation, queue=self.queue)


class LocalServerError(QueueError, RuntimeError):
    """`local` cannot start a server, or the running one does not answer. The message says why, and what to do."""


class OptionError(QueueError, ValueError):
    """An option that a JetStream stream cannot have, or that differs from the existing stream's."""


class NotAtomicError(QueueError):
    """The batch cannot be stored atomically: the server is older than 2.12, or the batch is above its limit.

    `aenqueue_batch(..., atomic=False)` works without: an error may then leave some of the messages in the queue.
    """


class CodecError(QueueError, ValueError):
    """The codec cannot encode a payload (`seq` is None), or cannot decode the message `seq`.

    It is raised once for each delivery, and the next read continues with the next message. In an acknowledging group the
    message is redelivered after `ack_wait`, up to `max_deliver` times, and then goes to the dead letter queue with its bytes
    unchanged; in a group without `ack_wait` it is not redelivered.
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
