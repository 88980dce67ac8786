"""`connect`: the only line that differs from a queue in this process."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar, overload

from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.binding import bound
from mpmc_queue.jetstream.codec import Codec
from mpmc_queue.jetstream.errors import DeletedError, NotConfirmedError, OptionError, ServerError
from mpmc_queue.jetstream.options import Options, differences, options
from mpmc_queue.jetstream.queue import Queue
from mpmc_queue.jetstream.server import Server

_T = TypeVar("_T")


NAME_IN_USE = 10058


@overload
async def connect(
    url: str | Sequence[str],
    name: str,
    *,
    codec: Codec[_T],
    ttl: float | timedelta | None = 600.0,
    max_bytes: int | None = 1_048_576,
    max_items: int | None = None,
    retention: Literal["limits", "interest"] = "limits",
    overflow: Literal["reject", "drop_oldest"] = "reject",
    subject: str | None = None,
    dedupe: float | timedelta | None = None,
    replicas: int = 1,
    storage: Literal["file", "memory"] = "file",
    prefetch: int = 256,
    patience: float = 5.0,
    domain: str | None = None,
    api: str | None = None,
    connection: Mapping[str, Any] | None = None,
    create: bool = True,
    max_msg_size: int | None = None,
    compression: Literal["none", "s2"] | None = None,
    placement: Mapping[str, Any] | None = None,
    description: str | None = None,
) -> Queue[_T]: ...
@overload
async def connect(
    url: str | Sequence[str],
    name: str,
    *,
    codec: Literal["auto", "json", "bytes", "str"] = "auto",
    ttl: float | timedelta | None = 600.0,
    max_bytes: int | None = 1_048_576,
    max_items: int | None = None,
    retention: Literal["limits", "interest"] = "limits",
    overflow: Literal["reject", "drop_oldest"] = "reject",
    subject: str | None = None,
    dedupe: float | timedelta | None = None,
    replicas: int = 1,
    storage: Literal["file", "memory"] = "file",
    prefetch: int = 256,
    patience: float = 5.0,
    domain: str | None = None,
    api: str | None = None,
    connection: Mapping[str, Any] | None = None,
    create: bool = True,
    max_msg_size: int | None = None,
    compression: Literal["none", "s2"] | None = None,
    placement: Mapping[str, Any] | None = None,
    description: str | None = None,
) -> Queue[Any]: ...
async def connect(
    url: str | Sequence[str],
    name: str,
    *,
    ttl: float | timedelta | None = 600.0,
    max_bytes: int | None = 1_048_576,
    max_items: int | None = None,
    retention: Literal["limits", "interest"] = "limits",
    overflow: Literal["reject", "drop_oldest"] = "reject",
    codec: Codec[Any] | str = "auto",
    subject: str | None = None,
    dedupe: float | timedelta | None = None,
    replicas: int = 1,
    storage: Literal["file", "memory"] = "file",
    prefetch: int = 256,
    patience: float = 5.0,
    domain: str | None = None,
    api: str | None = None,
    connection: Mapping[str, Any] | None = None,
    create: bool = True,
    max_msg_size: int | None = None,
    compression: Literal["none", "s2"] | None = None,
    placement: Mapping[str, Any] | None = None,
    description: str | None = None,
    **others: object,
) -> Queue[Any]:
    """Connects to a server (or a cluster) and returns a queue over one of its streams, which it makes unless it exists.

    url         where the server is, "nats://host:4222", or several of a cluster.
    name        of the queue, and of the stream.
    ttl, max_bytes, max_items, retention, overflow
                as `mpmc_queue.Queue` has them; the server keeps them, and counts bytes as it stores them. A ttl of at least
                0.1 s. max_bytes=None: only the server's own limit. An operator may change the first three at any time.
    codec       how payloads are serialized: "auto" (bytes, str and JSON), "bytes", "str", "json", or an object
                with `encode` and `decode`.
    subject     the subject of messages; "mpmc_queue.NAME" by default. Messages with a topic have subjects below it, and no
                other stream may have subjects there.
    dedupe      seconds that the server remembers ids, so that a repeated publish is stored once; by default 120, or the
                ttl if that is shorter.
    replicas    number of servers in a cluster that have a copy.
    storage     "file", or "memory", which is empty after a restart.
    max_msg_size, compression, placement, description
                of the stream: the largest message in bytes, including headers; "s2" for compressed files; {"cluster": name}
                or {"tags": [...]}; a text for operators. By default the server decides.
    prefetch    messages that each consumer fetches ahead.
    patience    seconds to wait for each answer of the server, and for the connection.
    domain      the JetStream domain of the stream, if it differs from that of the connected server: the hub's, when
                connected to a leaf node.
    api         the prefix of the JetStream API, if the account has its own; instead of domain. Default: "$JS.API".
    connection  more arguments for `nats.connect`, such as user_credentials or tls. Callbacks given here are called, too.
    create      False: the stream exists, made by any tool, and is used as it is, with its own limits, subjects and
                retention, which may be "workqueue". Without `subject`, the queue takes the stream's subject. If the stream
                has several subjects or wildcards, the queue has no subject, and topics are whole subjects.

    Raises OptionError for options that a stream cannot have (`sizer`, `audit`, a ttl that is too short), or that differ
    from the existing stream's; ServerError when the server refuses. When there is no connection within `patience`, raises
    the client's last error, such as `nats.errors.Error` for a wrong password, `ssl.SSLError` for a certificate or
    `OSError` when no server listens; NotConfirmedError when there is none. A server that refuses is not tried again.
    """
    if not create:
        _check_left_out(
            ttl=(ttl, 600.0),
            max_bytes=(max_bytes, 1_048_576),
            max_items=(max_items, None),
            retention=(retention, "limits"),
            overflow=(overflow, "reject"),
            dedupe=(dedupe, None),
            replicas=(replicas, 1),
            storage=(storage, "file"),
            max_msg_size=(max_msg_size, None),
            compression=(compression, None),
            placement=(placement, None),
            description=(description, None),
        )
    asked = options(
        name,
        ttl=ttl,
        max_bytes=max_bytes,
        max_items=max_items,
        retention=retention,
        overflow=overflow,
        codec=codec,
        subject=subject,
        dedupe=dedupe,
        replicas=replicas,
        storage=storage,
        prefetch=prefetch,
        patience=patience,
        max_msg_size=max_msg_size,
        compression=compression,
        placement=placement,
        description=description,
        others=others,
    )
    server = Server(asked.patience, arguments.api_of(domain, api))
    deadline = asyncio.get_running_loop().time() + asked.patience
    try:
        await server.connect(url, connection or {})
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                if create:
                    info = await _stream(server, asked)
                    asked.see(info["config"])
                else:
                    info = await _existing(server, asked.name)
                    asked = bound(asked, subject, info["config"])
        except TimeoutError:
            if not scope.expired():
                raise
            raise NotConfirmedError(f"no answer from the server in {asked.patience:g} s") from None
    except BaseException:
        await server.close(deadline=0.0)
        raise
    stamp = info["created"][:19]
    return Queue(
        server,
        asked,
        datetime.fromisoformat(stamp).replace(tzinfo=UTC),
        own_ttls=bool(info["config"].get("allow_msg_ttl")),
        atomic=bool(info["config"].get("allow_atomic")),
    )


def _check_left_out(**given: tuple[object, object]) -> None:
    """Raises if an option that is only for making a stream was given. Each comes as (value, default)."""
    for argument, (value, default) in given.items():
        if value != default:
            raise OptionError(
                f"with create=False the stream has its own {argument}: leave it out, instead of {value!r}"
            )


async def _existing(server: Server, name: str) -> dict[str, Any]:
    """The server's information about an existing stream."""
    try:
        return await server.insist(f"STREAM.INFO.{name}")
    except DeletedError as error:
        words = f"there is no stream {name!r}, and with create=False none is made"
        raise ServerError(error.code, words, queue=name) from None


async def _stream(server: Server, asked: Options) -> dict[str, Any]:
    """The server's information about the stream, which is made if it does not exist."""
    config = asked.stream(msg_ttl=server.version >= (2, 11), atomic=server.version >= (2, 12))
    try:
        return await server.insist(f"STREAM.CREATE.{asked.name}", **config)
    except ServerError as error:
        if error.code != NAME_IN_USE:
            raise
    info = await server.insist(f"STREAM.INFO.{asked.name}")
    basic = asked.stream(msg_ttl=False, atomic=False)
    if asked.subject in info["config"].get("subjects", ()):
        # A stream that was made without subjects for topics can still store messages without a topic.
        del basic["subjects"]
    if different := differences(basic, info["config"]):
        raise OptionError(f"queue {asked.name!r} exists with other options: {'; '.join(different)}")
    return info
