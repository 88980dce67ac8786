"""`connect_sync`: the only line that differs from a queue in this process, for programs with threads."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from mpmc_queue.jetstream.codec import Codec
from mpmc_queue.jetstream.connecting import connect
from mpmc_queue.jetstream.sync_loop import Loop, shared
from mpmc_queue.jetstream.sync_queue import SyncQueue

_T = TypeVar("_T")


class ConnectOptions(TypedDict, total=False):
    """The options of `connect`, except its codec."""

    ttl: float | timedelta | None
    max_bytes: int | None
    max_items: int | None
    retention: Literal["limits", "interest"]
    overflow: Literal["reject", "drop_oldest"]
    subject: str | None
    dedupe: float | timedelta | None
    replicas: int
    storage: Literal["file", "memory"]
    prefetch: int
    patience: float
    domain: str | None
    api: str | None
    connection: Mapping[str, Any] | None
    create: bool
    max_msg_size: int | None
    compression: Literal["none", "s2"] | None
    placement: Mapping[str, Any] | None
    description: str | None


@overload
def connect_sync(
    url: str | Sequence[str], name: str, *, codec: Codec[_T], **options: Unpack[ConnectOptions]
) -> SyncQueue[_T]: ...
@overload
def connect_sync(
    url: str | Sequence[str],
    name: str,
    *,
    codec: Literal["auto", "json", "bytes", "str"] = "auto",
    **options: Unpack[ConnectOptions],
) -> SyncQueue[Any]: ...
def connect_sync(
    url: str | Sequence[str], name: str, *, codec: Codec[Any] | str = "auto", **options: Any
) -> SyncQueue[Any]:
    """Connects to a server (or a cluster) and returns a queue over one of its streams, for threads.

    Arguments and errors are those of `connect`. Callbacks in `connection` run in the thread of the event loop, and must not
    use the queue. If the queue is still open when the program ends, it is closed then.
    """
    loop = shared()
    return loop.run(lambda _: _connect(loop, url, name, {"codec": codec, **options}))


async def _connect(loop: Loop, url: str | Sequence[str], name: str, options: dict[str, Any]) -> SyncQueue[Any]:
    return SyncQueue(loop, await connect(url, name, **options))
