"""A request that may go no further: answered here, as its final recipient (RFC 9110 7.6.2)."""

from __future__ import annotations

import re

from bgproxy.protocol.values import RequestHead

_SENSITIVE = re.compile(rb"\r\n(?:authorization|cookie|proxy-authorization):[^\r]*", re.IGNORECASE)
"""What a reflected request must not show (RFC 9110 section 9.3.8)."""


def is_last_hop(head: RequestHead) -> bool:
    """Whether the request's Max-Forwards, which only TRACE and OPTIONS have, is used up."""
    return head.extras is not None and not head.extras.get(b"max-forwards", b"1").strip(b"0")


def last_hop_answer(method: bytes, sent: bytes, date: bytes) -> bytes:
    """A whole answer, after which the connection is closed.

    Args:
        method: ``b"TRACE"`` or ``b"OPTIONS"``.
        sent: the request's head as it came.
        date: the Date field's line.
    """
    if method == b"TRACE":
        seen = _SENSITIVE.sub(b"", sent)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: %d\r\n" % len(
            seen
        )
        return b"%b%bConnection: close\r\n\r\n%b" % (head, date, seen)
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%bConnection: close\r\n\r\n" % date
