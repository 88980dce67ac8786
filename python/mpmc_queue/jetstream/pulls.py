"""How much is asked for at once: so many messages for each consumer, and so many bytes for all of a connection.

A server keeps up to 64 MB for a client that is slow to take it, and then ends the connection. So what all pull requests
of a connection may bring together is far less. A message that is larger than a consumer's share of that is sent for alone,
and one consumer after the other.
"""

import asyncio
from typing import Final

TOTAL: Final = 32 * 1024 * 1024
"""Bytes that the pull requests of a connection may bring together."""
LEAST: Final = 16 * 1024
"""Bytes that a consumer may send for, however many there are."""
BESIDES: Final = 200
"""Bytes that a delivery takes besides its payload, about."""
TOO_LARGE: Final = "Message Size Exceeds MaxBytes"
COMPLETE: Final = "Batch Completed"


class Room:
    """What the consumers of one connection share."""

    def __init__(self) -> None:
        self.readers = 0
        """Consumers, and members of groups."""
        self.large = asyncio.Lock()
        """Whose turn it is to send for a message that is larger than its share."""

    @property
    def share(self) -> int:
        """Bytes that each of them may have under way."""
        return max(LEAST, TOTAL // max(1, self.readers))


class Pulls:
    """The pull requests of one consumer."""

    def __init__(self, room: Room, ahead: int) -> None:
        """ahead: messages to fetch ahead."""
        self._room = room
        self.ahead = ahead
        self._numbers = 0
        self._requests: dict[int, tuple[int, int]] = {}
        self.messages = 0
        """Messages that have been asked for and not come."""
        self.too_large = False
        """Whether the next message is larger than a share."""
        self.arrived = asyncio.Event()
        """Set whenever a message comes, or a request ends."""
        self._short = False

    def forget(self) -> None:
        """None of them counts any more."""
        self._requests.clear()
        self.messages = 0
        self.too_large = False
        self.arrived.set()

    def has_room(self, size: int) -> bool:
        """Whether bytes do not stand against it to send for more when so many are here."""
        return not self._short or size * 2 <= self._room.share

    def next(self, count: int, size: int, most: int) -> tuple[int, int, int] | None:
        """The request to send now: its number, messages and bytes.

        count, size     what is here already.
        most            messages that somebody waits for.
        """
        on_hand, share = count + self.messages, self._room.share
        if on_hand * 2 > self.ahead and on_hand >= most:
            return None
        self._short = size * 2 > share
        if self._short and on_hand >= most:
            return None
        room = share - sum(size for _, size in self._requests.values())
        if room * 4 < share:
            return None  # one that is under way has to end first
        return self._new(max(self.ahead, most) - on_hand, min(room, share // 2))

    def alone(self) -> tuple[int, int]:
        """The request for one message of whatever size: its number and messages."""
        self.arrived.clear()
        number, messages, _ = self._new(1, 0)
        return number, messages

    def _new(self, messages: int, size: int) -> tuple[int, int, int]:
        self._numbers += 1
        self._requests[self._numbers] = messages, size
        self.messages += messages
        return self._numbers, messages, size

    def came(self) -> None:
        """A message has come that is the last, or too large for a share."""
        if self.messages <= 0:
            self._requests.clear()
        self.arrived.set()

    def ended(self, number: int, status: str, words: str, left: int) -> bool:
        """A request has ended; False: because something is wrong."""
        messages, size = self._requests.pop(number, (0, 0))
        self.messages -= left
        self.arrived.set()
        if words == TOO_LARGE:
            self.too_large = left == messages and size == self._room.share // 2
            return True
        return status == "408" or words == COMPLETE
