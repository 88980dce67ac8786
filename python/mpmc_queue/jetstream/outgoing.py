"""Messages to be published."""

from typing import Final, NamedTuple

from mpmc_queue.jetstream.headers import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, header_bytes

OVERHEAD: Final = 30
"""Bytes that the server's store adds to a message."""


class Outgoing(NamedTuple):
    """A message to be published. Messages of a batch may share their headers."""

    subject: str
    data: bytes
    headers: dict[str, str]

    @property
    def size(self) -> int:
        """Approximate bytes that the server counts for it."""
        return len(self.subject.encode()) + len(self.data) + header_bytes(self.headers) + OVERHEAD


def batch_headers(batch: str, number: int, *, last: bool = False) -> dict[str, str]:
    """The headers of one message in an atomic batch."""
    headers = {BATCH_ID: batch, BATCH_SEQUENCE: str(number)}
    return headers | {BATCH_COMMIT: "1"} if last else headers
