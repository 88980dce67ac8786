"""Flow control: limits the messages each consumer requests, and the bytes all consumers of a connection request.

A server buffers up to 64 MB for a slow client, and then closes the connection. So all pull requests of a connection together
are limited to far less. A message that is larger than a consumer's share of that limit is requested alone, and only one
consumer at a time does so.
"""

import asyncio
from typing import Final

TOTAL: Final = 32 * 1024 * 1024
"""Maximum bytes that all pull requests of a connection may bring together."""
LEAST: Final = 16 * 1024
"""Bytes that a consumer may always request, however many consumers there are."""
BESIDES: Final = 200
"""Approximate bytes of a delivery besides its payload."""
TOO_LARGE: Final = "Message Size Exceeds MaxBytes"
COMPLETE: Final = "Batch Completed"


class Room:
    """The limit that the consumers of one connection share."""

    def __init__(self) -> None:
        self.readers = 0
        """Number of consumers and members of groups."""
        self.large = asyncio.Lock()
        """Held by the consumer that requests a message larger than its share."""

    @property
    def share(self) -> int:
        """Bytes that each of them may have requested and not received."""
        return max(LEAST, TOTAL // max(1, self.readers))


class Pulls:
    """The pull requests of one consumer."""

    def __init__(self, room: Room, ahead: int) -> None:
        """ahead: messages to prefetch."""
        self._room = room
        self.ahead = ahead
        self._numbers = 0
        self._requests: dict[int, tuple[int, int]] = {}
        self.messages = 0
        """Messages that have been requested and have not arrived."""
        self.too_large = False
        """Whether the next message is larger than a share."""
        self.arrived = asyncio.Event()
        """Set whenever a message arrives or a request ends."""
        self._short = False

    def forget(self) -> None:
        """Forgets all requests."""
        self._requests.clear()
        self.messages = 0
        self.too_large = False
        self.arrived.set()

    def has_room(self, size: int) -> bool:
        """Whether the byte limit allows another request when this many bytes are in the buffer."""
        return not self._short or size * 2 <= self._room.share

    def next(self, count: int, size: int, most: int) -> tuple[int, int, int] | None:
        """The request to send now: its number, messages and bytes; None: none.

        count, size     messages and bytes in the buffer.
        most            the highest number of messages that a task waits for.
        """
        on_hand, share = count + self.messages, self._room.share
        if on_hand * 2 > self.ahead and on_hand >= most:
            return None
        self._short = size * 2 > share
        if self._short and on_hand >= most:
            return None
        room = share - sum(size for _, size in self._requests.values())
        if room * 4 < share:
            return None  # an open request has to end first
        return self._new(max(self.ahead, most) - on_hand, min(room, share // 2))

    def alone(self) -> tuple[int, int]:
        """The request for one message of any size: its number and messages."""
        self.arrived.clear()
        number, messages, _ = self._new(1, 0)
        return number, messages

    def _new(self, messages: int, size: int) -> tuple[int, int, int]:
        self._numbers += 1
        self._requests[self._numbers] = messages, size
        self.messages += messages
        return self._numbers, messages, size

    def came(self) -> None:
        """The last requested message has arrived, or one that is larger than a share."""
        if self.messages <= 0:
            self._requests.clear()
        self.arrived.set()

    def ended(self, number: int, status: str, words: str, left: int) -> bool:
        """A request has ended. Returns False if the reason is an error."""
        messages, size = self._requests.pop(number, (0, 0))
        self.messages -= left
        self.arrived.set()
        if words == TOO_LARGE:
            self.too_large = left == messages and size == self._room.share // 2
            return True
        return status == "408" or words == COMPLETE
