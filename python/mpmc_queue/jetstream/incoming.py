"""A parser of what the server sends, for clients that hand messages over at once.

nats-py's parser matches each line with up to seven expressions, and takes each line and each message out of its buffer
singly. This one does neither for messages, and leaves all other lines to nats-py's.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from nats.protocol.parser import AWAITING_CONTROL_LINE, MAX_CONTROL_LINE_SIZE, Parser

Deliver: TypeAlias = Callable[[int, bytes, bytes, bytes, bytes | None], Coroutine[Any, Any, None] | None]
"""A function that gets a message: the number of its subscription, its subject, its reply subject, its data, and its
header block. What it returns is awaited before the next message."""

_MESSAGES: Final = (b"HMSG ", b"MSG ")
_END: Final = b"\r\n"


class IncomingParser(Parser):
    """nats-py's parser, quicker for messages."""

    def __init__(self, client: Any, deliver: Deliver) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]: its argument has no type
        self._deliver = deliver

    async def parse(self, data: bytes = b"") -> None:
        if self.state != AWAITING_CONTROL_LINE:  # nats-py's parser has begun with a message
            await super().parse(data)
            return
        buffer = self.buf
        buffer += data
        while buffer:
            if await self._take_messages(buffer):
                return  # the rest of a message has still to come
            end = buffer.find(_END)
            if not buffer or self.buf is not buffer:
                return
            rest = bytes(buffer[end + 2 :]) if end >= 0 else b""
            del buffer[len(buffer) - len(rest) :]
            await super().parse()
            if self.buf is not buffer:  # the client has connected anew
                return
            if buffer or self.state != AWAITING_CONTROL_LINE:
                await super().parse(rest)
                return
            buffer += rest

    async def _take_messages(self, buffer: bytearray) -> bool:
        """Delivers the messages at the beginning. Returns whether the buffer then begins with a part of a message."""
        deliver = self._deliver
        start = 0
        while buffer.startswith(_MESSAGES, start):
            line_end = buffer.find(_END, start, start + MAX_CONTROL_LINE_SIZE)
            if line_end < 0:
                break
            words = bytes(buffer[start:line_end]).split()
            has_headers = words[0] == b"HMSG"
            places = len(words) - has_headers
            try:
                number, size = int(words[2]), int(words[-1])
                of_headers = int(words[-2]) if has_headers else 0
            except (IndexError, ValueError):
                break
            if not 4 <= places <= 5:
                break
            body = line_end + 2
            after = body + size
            if len(buffer) < after + 2:
                del buffer[:start]
                return True
            split = body + of_headers
            headers = bytes(buffer[body:split]) if of_headers else None
            reply = words[3] if places == 5 else b""
            message = bytes(buffer[split:after])
            start = after + 2
            waits = deliver(number, words[1], reply, message, headers)
            if waits is not None:
                del buffer[:start]
                start = 0
                await waits
                if self.buf is not buffer:  # the client has connected anew
                    return True
        del buffer[:start]
        return False
