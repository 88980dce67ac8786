"""Groups, for threads."""

from typing import Generic, Self, TypeVar, final

from mpmc_queue.jetstream.group import Group, GroupStats
from mpmc_queue.jetstream.sync_loop import Loop
from mpmc_queue.jetstream.sync_reader import Handing, SyncMember
from mpmc_queue.protocols import SyncQueue

_T = TypeVar("_T")


@final
class SyncGroup(Generic[_T]):
    """A group, for threads: members in one or more processes share a position. `SyncQueue.add_group` makes or joins one."""

    def __init__(self, loop: Loop, queue: SyncQueue[_T], group: Group[_T]) -> None:
        self._loop = loop
        self._queue = queue
        self._group = group
        self._members: list[SyncMember[_T]] = []

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._group.name

    @property
    def queue(self) -> SyncQueue[_T]:
        """The queue it reads."""
        return self._queue

    @property
    def members(self) -> tuple[SyncMember[_T], ...]:
        """The members in this process."""
        return self._loop.do(self._open_members)

    def _open_members(self) -> tuple[SyncMember[_T], ...]:
        there = self._group.members
        self._members = [member for member in self._members if member._reader in there]
        return tuple(self._members)

    @property
    def pending_count(self) -> int:
        """Messages delivered but not settled, in all processes. Asks the server."""
        return self.stats().pending_items

    @property
    def unread_count(self) -> int:
        """Messages that have not been delivered to any member. Asks the server."""
        return self.stats().unread_items

    def stats(self) -> GroupStats:
        """The group's figures, all at the same moment."""
        return self._loop.run(lambda _: self._group.stats())

    def add_consumer(self, name: str | None = None) -> SyncMember[_T]:
        """Adds a member in this process."""
        return self._loop.do(lambda: self._add(name))

    def _add(self, name: str | None) -> SyncMember[_T]:
        member = self._group.add_consumer(name)
        member.settling = Handing(self._loop, member)
        added = SyncMember(self._loop, self._queue, member)
        self._members.append(added)
        return added

    def close(self) -> None:
        """Closes the members in this process; their pending messages are redelivered to others. The server keeps the group."""
        self._loop.do(self._close)

    def _close(self) -> None:
        self._loop.settle()
        self._group.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SyncGroup {self.name!r} of {self._group.queue.name!r}>"
