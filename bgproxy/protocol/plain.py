"""The quick reader of plain heads where nothing was compiled; every other goes to the reference.

A head is plain if it is complete, within its limits, and made of lines that need no more than to
be kept or dropped. Nothing is refused here: what is not plain, or in any doubt, is read again by
the reference, so that the rules stand in one place. `tests/protocol/test_scan.py` holds this
reader, like the compiled one, to the reference: where it answers, the answer is the same.

The patterns take time in proportion to the bytes and no more: every repetition is possessive,
atomic or bounded, and where a special line is given back, nothing else can take it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bgproxy.protocol import request, response
from bgproxy.protocol.fields import CHUNKED_LINE
from bgproxy.protocol.values import (
    CHUNKED,
    REQUEST_LIMITS,
    RESPONSE_LIMITS,
    UNTIL_CLOSE,
    HeadLimits,
    RequestHead,
    ResponseHead,
)

# Fewer bytes than the RFC allows a name: ``_`` and the like make names that are taken for others.
_NAME = rb"[0-9A-Za-z-]++"
_VALUE = rb"[\t -~\x80-\xff]*+"

# CONNECT and TRACE have rules of their own, so no method that begins as they do is plain.
_REQUEST_LINE = rb"([ABD-SU-Z][A-Z]*+) (/[!\"$-~]*+) HTTP/1\.1\r\n"

# A name or an IPv4 address, with a port or without.
_HOST = rb"[0-9A-Za-z._-]++(?::[0-9]{0,5})?"
_match_host = re.compile(_HOST).fullmatch

# Where most clients send it.
_HOST_LINE = rb"(?:[Hh]ost: (%b)\r\n)?" % _HOST

# Interim answers and 204 lose fields that others keep.
_STATUS_LINE = rb"HTTP/1\.1 (?!204)([2-5][0-9][0-9]) %b\r\n" % _VALUE

_MOST_SPECIAL = 8
"""Lines that are looked at one by one; who sends more of them has time for the reference."""

_LEAST_LINE_BYTES = 4

# More digits are no length of anything.
_match_length = re.compile(rb"0|[1-9][0-9]{0,17}").fullmatch

_IS_KEPT = {b"keep-alive": True, b"close": False}

_KEPT = frozenset({b"date", b"host", b"x-request-id"})
_DROPPED = frozenset({b"keep-alive", b"proxy-connection"})
_ODD = frozenset({b"expect", b"max-forwards", b"te", b"upgrade"})
_FRAMING = _DROPPED | {b"connection", b"content-length", b"transfer-encoding"}
_ASIDE = {
    *(b"forwarded", b"x-bgproxy-preview", b"x-forwarded-[0-9a-z-]*+", b"x-real-ip"),
    b"x-request-start",
}


def _plain_lines(special: Iterable[bytes]) -> bytes:
    """A pattern for all field lines up to the next special one.

    Args:
        special: patterns of names, in lower case.
    """
    names = b"|".join(sorted(special))
    letters = b"".join(sorted({name[:1] + name[:1].upper() for name in special}))
    # One look at its first letter tells most names from the special ones.
    line = rb"(?!(?=[%b])(?i:%b):)%b:%b\r\n" % (letters, names, _NAME, _VALUE)
    # Not `*+`, with which CPython before 3.11.5 takes in what a line that does not fit begins with.
    return rb"(?>(?:%b)*)" % line


def _special_lines(plain: bytes) -> bytes:
    """A pattern for special lines, each with the plain ones behind it; name and value are groups.

    One stands within the other, so that giving one back gives all behind it back.
    """
    lines = b""
    for _ in range(_MOST_SPECIAL):
        lines = rb"(?:(%b):[\t ]*+(%b)\r\n%b%b)?" % (_NAME, _VALUE, plain, lines)
    return lines


def _request_pattern() -> re.Pattern[bytes]:
    plain = _plain_lines(_FRAMING | _ODD | _ASIDE | {b"host", b"x-request-id"})
    parts = (_REQUEST_LINE, _HOST_LINE, plain, _special_lines(plain), rb"\r\n")
    return re.compile(b"".join(parts))


def _response_pattern() -> re.Pattern[bytes]:
    plain = _plain_lines(_FRAMING | {b"date", b"te", b"upgrade"})
    return re.compile(_STATUS_LINE + plain + _special_lines(plain) + rb"\r\n")


_match_request = _request_pattern().match
_match_response = _response_pattern().match


def _is_within(data: bytes, end: int, limits: HeadLimits) -> bool:
    """Whether a head, which is whole, keeps to its limits."""
    line_bytes, head_bytes, fields = limits
    return (
        end <= head_bytes
        and (end <= line_bytes or data.index(b"\r\n") <= line_bytes)
        and (end <= _LEAST_LINE_BYTES * fields or data.count(b"\n", 0, end) - 2 <= fields)
    )


def _read_special(
    data: bytes, head: re.Match[bytes], first: int
) -> tuple[bytes, int | None, bool, dict[bytes, bytes]] | None:
    """Read the special lines of a head.

    Args:
        first: the group of the first one's name.

    Returns:
        The lines to forward with the first one; the body's length, None where none is told;
        whether the connection is kept; lower-case name to value of the lines that only the caller
        understands. None if a line is odd, or comes twice.
    """
    lines = b""
    start = 0
    length: int | None = None
    is_kept: bool | None = None
    others: dict[bytes, bytes] = {}
    for group in range(first, head.lastindex or 0, 2):
        name, value = head.group(group, group + 1)
        name = name.lower()
        if name == b"content-length":
            # Another spelling of a number is made ours by the reference.
            if length is not None or not _match_length(value):
                return None
            length = int(value)
            continue
        if name not in _KEPT:
            lines += data[start : head.start(group)]
            start = head.end(group + 1) + 2
            if name == b"connection":
                known = _IS_KEPT.get(value.lower())
                if is_kept is not None or known is None:
                    return None
                is_kept = known
                continue
            if name in _DROPPED:
                continue
            if name == b"transfer-encoding":
                # White space behind it is for the reference: llhttp takes blanks and no tabs.
                if length is not None or value.lower() != b"chunked":
                    return None
                length = CHUNKED
                lines += CHUNKED_LINE + b"\r\n"
                continue
        if name in others or name in _ODD:
            return None
        others[name] = value.rstrip(b" \t")
    lines += data[start : head.end() - 2]
    return lines, length, is_kept is not False, others


def _read_request(data: bytes, limits: HeadLimits) -> RequestHead | None:
    """A plain head, or None if this is for the reference."""
    head = _match_request(data)
    if head is None or not _is_within(data, head.end(), limits):
        return None
    special = _read_special(data, head, 4)
    if special is None:
        return None
    lines, length, keep_alive, extras = special
    method, target, host = head.group(1, 2, 3)
    if host is None:
        host = extras.pop(b"host", None)
        if host is None or not _match_host(host):
            return None
    elif b"host" in extras:
        return None
    return RequestHead(
        head.end(), method, target, host, lines, length or 0, 1, keep_alive, extras or None
    )  # fmt: skip


def _read_response(data: bytes, method: bytes, limits: HeadLimits) -> ResponseHead | None:
    """A plain head, or None if this is for the reference."""
    head = _match_response(data)
    if head is None or not _is_within(data, head.end(), limits):
        return None
    special = _read_special(data, head, 2)
    if special is None:
        return None
    lines, length, keep_alive, others = special
    end = head.end()
    status = int(head[1])
    if status == 304 or method == b"HEAD":
        if length == CHUNKED:
            return None
        length = 0
    elif length is None:
        length, keep_alive = UNTIL_CLOSE, False
    has_date = b"date" in others
    as_is = has_date and length != UNTIL_CLOSE and response.is_as_sent(data, end - 4, lines, length)
    return ResponseHead(end, status, lines, length, 1, keep_alive, has_date, as_is, None)


def read_request_head(data: bytes, limits: HeadLimits = REQUEST_LIMITS) -> RequestHead | None:
    """As `request.read_request_head`."""
    head = _read_request(data, limits)
    return request.read_request_head(data, limits) if head is None else head


def read_response_head(
    data: bytes, method: bytes, limits: HeadLimits = RESPONSE_LIMITS
) -> ResponseHead | None:
    """As `response.read_response_head`."""
    head = _read_response(data, method, limits)
    return response.read_response_head(data, method, limits) if head is None else head


def is_plain_request(data: bytes, limits: HeadLimits = REQUEST_LIMITS) -> bool:
    """Whether a request's head is read here; for tests and measurements."""
    return _read_request(data, limits) is not None


def is_plain_response(data: bytes, method: bytes, limits: HeadLimits = RESPONSE_LIMITS) -> bool:
    """Whether an answer's head is read here; for tests and measurements."""
    return _read_response(data, method, limits) is not None
