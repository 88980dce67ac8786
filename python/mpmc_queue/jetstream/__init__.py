"""The same interface over NATS JetStream, for applications that need several processes or machines.

    from mpmc_queue import jetstream

    queue = await jetstream.connect("nats://localhost:4222", "orders", ttl=60, max_bytes=10_000_000)
    billing = queue.add_consumer("billing")
    await queue.aenqueue({"order": 1})
    print(await billing.aget())

`connect` returns the asynchronous half of `mpmc_queue.Queue`, `connect_sync` the synchronous half; both satisfy the types
in `mpmc_queue.protocols`. `local` starts a server of your own. Needs nats-py: `pip install "mpmc-queue[jetstream]"`.
"From one process to many" in the documentation lists what is the same and what cannot be.
"""

try:
    import nats as _nats  # noqa: F401  # pyright: ignore[reportUnusedImport]: looked for, not used
except ImportError as _error:
    raise ImportError('mpmc_queue.jetstream needs nats-py: pip install "mpmc-queue[jetstream]"') from _error

from mpmc_queue.jetstream.codec import BytesCodec, Codec, JsonCodec, PickleCodec, StrCodec
from mpmc_queue.jetstream.connecting import connect
from mpmc_queue.jetstream.consumer import Consumer
from mpmc_queue.jetstream.errors import (
    CodecError,
    ConnectionLostError,
    DeletedError,
    LocalServerError,
    NotAtomicError,
    NotConfirmedError,
    NotPermittedError,
    OptionError,
    ServerError,
)
from mpmc_queue.jetstream.group import Group, GroupStats
from mpmc_queue.jetstream.local_server import LocalServer, local
from mpmc_queue.jetstream.member import Member
from mpmc_queue.jetstream.message import Message
from mpmc_queue.jetstream.queue import Queue
from mpmc_queue.jetstream.stats import ConsumerStats, QueueStats
from mpmc_queue.jetstream.sync import connect_sync
from mpmc_queue.jetstream.sync_group import SyncGroup
from mpmc_queue.jetstream.sync_queue import SyncQueue
from mpmc_queue.jetstream.sync_reader import SyncConsumer, SyncMember, wait_any
from mpmc_queue.jetstream.waiting import await_any

__all__ = [
    "BytesCodec",
    "Codec",
    "CodecError",
    "ConnectionLostError",
    "Consumer",
    "ConsumerStats",
    "DeletedError",
    "Group",
    "GroupStats",
    "JsonCodec",
    "LocalServer",
    "LocalServerError",
    "Member",
    "Message",
    "NotAtomicError",
    "NotConfirmedError",
    "NotPermittedError",
    "OptionError",
    "PickleCodec",
    "Queue",
    "QueueStats",
    "ServerError",
    "StrCodec",
    "SyncConsumer",
    "SyncGroup",
    "SyncMember",
    "SyncQueue",
    "await_any",
    "connect",
    "connect_sync",
    "local",
    "wait_any",
]
