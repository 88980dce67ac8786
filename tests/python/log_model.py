"""The expected state of a queue after each operation, in the simplest Python: a list of the held messages.

Nothing expires by itself here. A message is `mortal` if its own ttl is over. It leaves at the next expiration.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Held:
    seq: int
    payload: int
    own_ttl: bool
    mortal: bool


@dataclass(eq=False)
class Reader:
    """A consumer, or a group as a whole."""

    position: int
    read: int = 0  # delivered; with acks: settled, and not dead-lettered
    dead_lettered: int = 0
    missed: int = 0
    untaken: int = 0
    ahead: set[int] = field(default_factory=set)  # lost, at or after the position
    behind: int = 0  # lost, and to be reported by the next delivery
    tells: bool = False  # losses are also reported by an error or a callback
    untold: int = 0  # lost and passed, and not yet reported that way
    reads: list[int] = field(default_factory=list)  # seqs, in the order of reading
    sought_back: bool = False
    acks: bool = False
    pending: dict[int, "Pending"] = field(default_factory=dict)
    max_pending: int | None = None
    max_deliver: int | None = None
    expected: int = 0  # the sum that all counts must have

    def lose(self, seq: int) -> None:
        if self.pending.pop(seq, None) is None:
            if seq < self.position:
                return
            self.ahead.add(seq)
        self.missed += 1
        self.untaken += 1

    def pass_over(self, seq: int) -> int:
        """Moves past seq. Returns what was lost up to there, to be reported now or with the next delivery."""
        self.move_to(seq)
        self.position = seq + 1
        return self.behind

    def move_to(self, seq: int) -> None:
        passed = sum(other < seq for other in self.ahead)
        self.ahead = {other for other in self.ahead if other >= seq}
        self.position, self.behind, self.untold = seq, self.behind + passed, self.untold + passed

    def deliver(self, seq: int) -> int:
        """The `missed` of the message."""
        lost = self.pass_over(seq)
        self.behind = 0
        self.reads.append(seq)
        if not self.acks:
            self.read += 1
        return lost

    def interested_in(self, seq: int) -> bool:
        return seq >= self.position or seq in self.pending

    def redeliverable(self) -> set[int]:
        return {seq for seq, pending in self.pending.items() if pending.holder is None and not pending.delayed}

    def allowance(self) -> int:
        """How many new deliveries max_ack_pending allows."""
        return 1_000_000 if self.max_pending is None else max(0, self.max_pending - len(self.pending))

    @property
    def books(self) -> int:
        return self.read + self.missed + self.dead_lettered + len(self.pending)


@dataclass(eq=False)
class Pending:
    holder: object | None
    deliveries: int = 1
    delayed: bool = False


class Log:
    def __init__(self, *, interest: bool, drop: bool, max_items: int | None) -> None:
        self.interest, self.drop, self.max_items = interest, drop, max_items
        self.held: list[Held] = []
        self.next_seq = self.expired = self.dropped = self.rejected = 0
        self.readers: list[Reader] = []

    @property
    def first_seq(self) -> int:
        return self.held[0].seq if self.held else self.next_seq

    def unread(self, reader: Reader) -> list[Held]:
        return [message for message in self.held if message.seq >= reader.position]

    def all_read(self) -> bool:
        return not any(self.unread(reader) or reader.pending for reader in self.readers)

    # changes

    def admits(self, count: int) -> bool:
        """Whether `count` messages may be added now. If so, the messages that have to leave for them have left."""
        if self.max_items is not None and len(self.held) + count > self.max_items and count:
            if not self.drop or count > self.max_items:
                self.rejected += count
                return False
            surplus = len(self.held) + count - self.max_items
            self.dropped += surplus
            self.lose(self.held[:surplus])
        return True

    def append(self, payloads: list[int], own_ttl: bool, mortal: bool) -> None:
        for payload in payloads:
            self.held.append(Held(self.next_seq, payload, own_ttl, mortal))
            self.next_seq += 1
        for reader in self.readers:
            reader.expected += len(payloads)

    def lose(self, messages: list[Held]) -> None:
        gone = {message.seq for message in messages}
        self.held = [message for message in self.held if message.seq not in gone]
        for reader in self.readers:
            for seq in gone:
                reader.lose(seq)

    def expire(self, which: Callable[[Held], bool]) -> None:
        messages = [message for message in self.held if which(message)]
        self.expired += len(messages)
        self.lose(messages)

    def let_go(self) -> None:
        """With retention by interest, messages that no reader needs leave. Without readers, none leave."""
        if self.interest and self.readers:
            self.held = [m for m in self.held if any(reader.interested_in(m.seq) for reader in self.readers)]

    def add(self, reader: Reader, missed_already: int) -> None:
        """What had left before the reader was added may count as missed from the start, or not at all."""
        holes = set(range(reader.position, self.next_seq)) - {message.seq for message in self.held}
        assert missed_already in (0, len(holes))
        if missed_already:
            reader.ahead, reader.missed, reader.untaken = holes, len(holes), len(holes)
        reader.expected = missed_already + len(self.unread(reader))
        self.readers.append(reader)
        self.let_go()

    def seek(self, reader: Reader, target: int) -> None:
        target = max(target, self.first_seq)
        if target >= reader.position:
            reader.read += sum(message.seq < target for message in self.unread(reader))
        else:
            reader.sought_back = True
        reader.move_to(target)
        self.let_go()
