"""What a tunnel must know of WebSocket: where frames end, and the frame that closes (RFC 6455)."""

from __future__ import annotations

import struct

_CLOSE = 0x88
_MOST_REASON_BYTES = 123


class FrameTracker:
    """Follows the frames of one direction, so that a frame of ours can be put between two.

    Only heads are looked at (RFC 6455 section 5.2); payload is skipped however large it is.

    Attributes:
        at_boundary: whether the last byte fed was the last of a frame, or none has come.
    """

    __slots__ = ("_head", "_left", "at_boundary")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.at_boundary = True

    def feed(self, data: bytes) -> None:
        """Follow the bytes that the direction has carried next."""
        size = len(data)
        position = self._left
        while position < size:
            head = self._head + data[position : position + 14 - len(self._head)]
            taken = _head_size(head)
            if taken > len(head):
                self._head = head
                self._left = 0
                self.at_boundary = False
                return
            position += taken - len(self._head) + _payload_size(head)
            self._head = b""
        self._left = position - size
        self.at_boundary = not self._left


def _head_size(head: bytes) -> int:
    """Bytes of a frame's head, as far as its beginning tells: 2 to 14."""
    if len(head) < 2:
        return 2
    mask = 4 if head[1] & 0x80 else 0
    length = head[1] & 0x7F
    return 2 + mask + (2 if length == 126 else 8 if length == 127 else 0)


def _payload_size(head: bytes) -> int:
    """Bytes of payload behind a frame's whole head."""
    length = head[1] & 0x7F
    if length == 126:
        return int.from_bytes(head[2:4], "big")
    if length == 127:
        return int.from_bytes(head[2:10], "big")
    return length


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A server's close frame, which is not masked (RFC 6455 sections 5.1 and 5.5.1).

    Args:
        code: as in RFC 6455 section 7.4, such as 1001 for "going away".
        reason: UTF-8, for people; what is too long for a control frame is cut off.
    """
    text = reason[:_MOST_REASON_BYTES].decode("utf-8", "ignore").encode()
    return struct.pack("!BBH", _CLOSE, 2 + len(text), code) + text
