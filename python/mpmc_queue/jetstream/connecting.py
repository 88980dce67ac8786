"""`connect`: the one line that differs from a queue in this process."""

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
                0.1 s. max_bytes=None: no limit but the server's. An operator may change the first three at any time.
    codec       how payloads travel: "auto" (bytes, str, and what JSON can say), "bytes", "str", "json", or an object
                with `encode` and `decode`.
    subject     what messages are published under; "mpmc_queue.NAME" unless given. Those with a topic are below it, and no
                other stream may have subjects there.
    dedupe      seconds that the server remembers ids, so that a repeated publish is stored once; 120, or the ttl if
                that is shorter, unless given.
    replicas    servers of a cluster that each have a copy.
    storage     "file", or "memory" which a restart empties.
    max_msg_size, compression, placement, description
                of the stream: the largest message in bytes, headers included; "s2" for compressed files; {"cluster": name}
                or {"tags": [...]}; a text for operators. As the server has them unless given.
    prefetch    messages that each consumer fetches ahead.
    patience    seconds to wait for one answer of the server; for the connection, too.
    domain      the JetStream domain that has the stream, when it is not that of the server connected to: the hub, seen
                from a leaf node.
    api         the prefix of the JetStream API, where an account's differs; instead of domain. "$JS.API" unless given.
    connection  more arguments for `nats.connect`, such as user_credentials or tls. Its callbacks are called, too.
    create      False: the stream is there, made by whatever tool, and taken as it is; with limits, subjects and a retention
                of its own, also "workqueue". Without `subject`, its own is that of the queue where it has one; a stream
                with several subjects or wildcards has none, and topics are then whole subjects.

    Raises OptionError for what a stream cannot have (`sizer`, `audit`, a ttl that is too short), or has otherwise
    already; ServerError when the server refuses. When there is no connection within `patience`: what the client said
    last, such as `nats.errors.Error` for a wrong password, `ssl.SSLError` for a certificate and `OSError` when nobody
    listens; NotConfirmedError when it said nothing. A server that refuses is not tried again.
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
    """Raises when one of the options that make a stream has been given: each with what it is otherwise."""
    for argument, (value, default) in given.items():
        if value != default:
            raise OptionError(
                f"with create=False the stream has its own {argument}: leave it out, instead of {value!r}"
            )


async def _existing(server: Server, name: str) -> dict[str, Any]:
    """What the server says of a stream that is there."""
    try:
        return await server.insist(f"STREAM.INFO.{name}")
    except DeletedError as error:
        words = f"there is no stream {name!r}, and with create=False none is made"
        raise ServerError(error.code, words, queue=name) from None


async def _stream(server: Server, asked: Options) -> dict[str, Any]:
    """What the server says of the stream, which is made unless it is there."""
    config = asked.stream(msg_ttl=server.version >= (2, 11), atomic=server.version >= (2, 12))
    try:
        return await server.insist(f"STREAM.CREATE.{asked.name}", **config)
    except ServerError as error:
        if error.code != NAME_IN_USE:
            raise
    info = await server.insist(f"STREAM.INFO.{asked.name}")
    basic = asked.stream(msg_ttl=False, atomic=False)
    if asked.subject in info["config"].get("subjects", ()):
        del basic["subjects"]  # one that was made without subjects for topics has messages without one
    if different := differences(basic, info["config"]):
        raise OptionError(f"queue {asked.name!r} exists with other options: {'; '.join(different)}")
    return info
