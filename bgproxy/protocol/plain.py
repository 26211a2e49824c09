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
import sys
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
_REST = rb"[0-9A-Za-z-]*+:%b\r\n" % _VALUE

# CONNECT and TRACE have rules of their own, so no method that begins as they do is plain.
_REQUEST_LINE = rb"([ABD-SU-Z][A-Z]*+) (/[!\"$-~]*+) HTTP/1\.1\r\n"

# A name or an IPv4 address, with a port or without.
_HOST = rb"[0-9A-Za-z._-]++(?::[0-9]{0,5})?"
_match_host = re.compile(_HOST).fullmatch

# Where most clients send it.
_HOST_LINE = rb"(?:[Hh]ost: (%b)\r\n)?" % _HOST

# Interim answers and 204 lose fields that others keep.
_STATUS_LINE = rb"HTTP/1\.1 (?!204)([2-5][0-9][0-9]) %b\r\n" % _VALUE

# More digits are no length of anything.
_DIGITS = rb"0|[1-9][0-9]{0,17}"
_match_length = re.compile(_DIGITS).fullmatch

# Groups of both patterns, behind three of their own.
_LENGTH, _HOP, _SPECIAL = 4, 5, 6

# Special lines as they nearly always are. Each may come once: a group that is entered again would
# begin behind its end, if the line then does not fit. A second one is looked at below.
_DATE_LINE = rb"[Dd]ate:%b\r\n()" % _VALUE
_CODING_LINE = rb"[Tt](?(3)(?!))ransfer-[Ee]ncoding: chunked\r\n()"
_LENGTH_LINE = rb"[Cc](?(4)(?!))ontent-[Ll]ength: (%b)\r\n" % _DIGITS
_CLOSE_LINE = rb"[Cc]onnection: [Cc]lose\r\n"
_KEEP_LINE = rb"[Cc]onnection: [Kk]eep-[Aa]live\r\n"
_DETAILS = rb"(?:Keep-Alive:%b\r\n)?" % _VALUE
_HOP_LINES = rb"(?(5)(?!))(%b%b%b|%b)" % (_DETAILS, _KEEP_LINE, _DETAILS, _CLOSE_LINE)

_CODING = CHUNKED_LINE + b"\r\n"
_CLOSE_BYTES = len(b"Connection: close\r\n")

_MOST_LINES = 64
_MOST_UNCOUNTED = _MOST_LINES + 3
"""Fields of a head without special lines: a Host before, a Keep-Alive on both sides of one."""

_MOST_SPECIAL = 8
"""Lines that are looked at one by one; who sends more of them has time for the reference."""

_IS_KEPT = {b"keep-alive": True, b"close": False}

_KEPT = frozenset({b"date", b"host", b"x-request-id"})
_ODD = frozenset({b"expect", b"max-forwards", b"te", b"upgrade"})
_FRAMING = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"transfer-encoding"}
)
_ASIDE = {
    *(b"forwarded", b"x-bgproxy-preview", b"x-forwarded-[0-9a-z-]*+", b"x-real-ip"),
    b"x-request-start",
}

# Nine slots written one by one cost less than an `__init__` with nine arguments.
_new_request = RequestHead.__new__
_new_response = ResponseHead.__new__

_STATUSES = {b"%d" % status: status for status in range(200, 600)}


def _plain_starts(special: Iterable[bytes]) -> list[bytes]:
    """Patterns of what field lines begin with, but for the special ones: a byte, and a look on.

    Args:
        special: patterns of names, in lower case.
    """
    tails: dict[bytes, list[bytes]] = {}
    for name in sorted(special):
        tails.setdefault(name[:1], []).append(name[1:] + b":")
    # First letters tell most names from the special ones, so these come first. A pattern that
    # begins with a set of bytes costs no attempt where the next byte is not among them.
    others = bytes(set(b"abcdefghijklmnopqrstuvwxyz") - set(b"".join(tails)))
    return [b"[0-9%b%b-]" % (others, others.upper())] + [
        b"[%b%b](?!(?i:%b))" % (letter, letter.upper(), b"|".join(names))
        for letter, names in tails.items()
    ]


def _repeated(lines: Iterable[bytes], times: bytes) -> bytes:
    """A pattern for so many of these lines, with nothing given back."""
    once = b"(?:%b)" % b"|".join(lines)
    if sys.version_info >= (3, 11, 5):
        return once + times + b"+"
    # There CPython takes in what a line that does not fit begins with.
    return b"(?>%b%b)" % (once, times)


def _special_lines(plain: bytes) -> bytes:
    """A pattern for special lines, each with the plain ones behind it; name and value are groups.

    One stands within the other, so that giving one back gives all behind it back.
    """
    lines = b""
    for _ in range(_MOST_SPECIAL):
        lines = rb"(?:(%b):[\t ]*+(%b)\r\n%b%b)?" % (_NAME, _VALUE, plain, lines)
    return lines


def _section(special: Iterable[bytes], usual: Iterable[bytes]) -> bytes:
    """A pattern for all field lines and the empty one.

    Args:
        special: as for `_plain_starts`.
        usual: patterns of special lines that may stand among the first plain ones, those of
            `_LENGTH_LINE` and `_HOP_LINES` apart.
    """
    starts = _plain_starts(special)
    most, *others = (start + _REST for start in starts)
    lines = (most, *usual, _LENGTH_LINE, *others, _HOP_LINES)
    # Shorter, as it is there so many times, and a little slower.
    plain = b"(?:%b)%b" % (b"|".join(starts), _REST)
    return (
        _repeated(lines, b"{0,%d}" % _MOST_LINES)
        + _special_lines(_repeated([plain], b"*"))
        + rb"\r\n"
    )


def _request_pattern() -> re.Pattern[bytes]:
    special = _FRAMING | _ODD | _ASIDE | {b"host", b"x-request-id"}
    return re.compile(_REQUEST_LINE + _HOST_LINE + _section(special, ()))


def _response_pattern() -> re.Pattern[bytes]:
    special = _FRAMING | {b"date", b"te", b"upgrade"}
    return re.compile(_STATUS_LINE + _section(special, (_DATE_LINE, _CODING_LINE)))


_match_request = _request_pattern().match
_match_response = _response_pattern().match


def _is_within(data: bytes, end: int, limits: HeadLimits, special: bytes | None) -> bool:
    """Whether a head, which is whole, keeps to its limits, and to ours."""
    line_bytes, head_bytes, most_fields = limits
    if end > head_bytes or (end > line_bytes and data.index(b"\r\n") > line_bytes):
        return False
    if special is None and most_fields >= _MOST_UNCOUNTED:
        return True
    # Behind so many lines, a plain one could have been taken for the first special one.
    fields = data.count(b"\n", 0, end) - 2
    return fields <= most_fields and fields <= _MOST_LINES


def _read_special(
    data: bytes, head: re.Match[bytes], length: int | None
) -> tuple[bytes, int | None, bool, dict[bytes, bytes]] | None:
    """Read the special lines of a head.

    Args:
        length: what the usual ones among them say.

    Returns:
        The lines to forward with the first one; the body's length, None where none is told;
        whether the connection is kept; lower-case name to value of the lines that only the caller
        understands. None if a line is odd, or comes twice.
    """
    lines = b""
    start = 0
    is_kept: bool | None = None
    if head[_HOP] is not None:
        lines = data[: head.start(_HOP)]
        start = head.end(_HOP)
        is_kept = len(head[_HOP]) != _CLOSE_BYTES
    others: dict[bytes, bytes] = {}
    for group in range(_SPECIAL, head.lastindex or 0, 2):
        name, value = head.group(group, group + 1)
        name = name.lower()
        if name not in _FRAMING:
            if name in others or name in _ODD:
                return None
            others[name] = value.rstrip(b" \t")
            if name in _KEPT:
                continue
        elif name == b"content-length":
            # Another spelling of a number is made ours by the reference.
            if length is not None or not _match_length(value):
                return None
            length = int(value)
            continue
        lines += data[start : head.start(group)]
        start = head.end(group + 1) + 2
        if name == b"connection":
            known = _IS_KEPT.get(value.lower())
            if is_kept is not None or known is None:
                return None
            is_kept = known
        elif name == b"transfer-encoding":
            # White space behind it is for the reference: llhttp takes blanks and no tabs.
            if length is not None or value.lower() != b"chunked":
                return None
            length = CHUNKED
            lines += _CODING
    lines += data[start : head.end() - 2]
    return lines, length, is_kept is not False, others


def _read_request(data: bytes, limits: HeadLimits) -> RequestHead | None:
    """A plain head, or None if this is for the reference."""
    match = _match_request(data)
    if match is None:
        return None
    method, target, host, digits, hop, special = match.group(1, 2, 3, _LENGTH, _HOP, _SPECIAL)
    end = match.end()
    if not _is_within(data, end, limits, special):
        return None
    length = None if digits is None else int(digits)
    extras = None
    if special is not None:
        read = _read_special(data, match, length)
        if read is None:
            return None
        lines, length, keep_alive, extras = read
        if host is None:
            host = extras.pop(b"host", None)
            if host is None or not _match_host(host):
                return None
        elif b"host" in extras:
            return None
    elif host is None:
        return None
    elif hop is None:
        keep_alive = True
        lines = data[: end - 2]
    else:
        keep_alive = len(hop) != _CLOSE_BYTES
        start, stop = match.span(_HOP)
        lines = data[:start] + data[stop : end - 2]
    head = _new_request(RequestHead)
    head.end = end
    head.method = method
    head.target = target
    head.host = host
    head.lines = lines
    head.length = length or 0
    head.minor = 1
    head.keep_alive = keep_alive
    head.extras = extras or None
    return head


def _read_response(data: bytes, method: bytes, limits: HeadLimits) -> ResponseHead | None:
    """A plain head, or None if this is for the reference."""
    match = _match_response(data)
    if match is None:
        return None
    status, date, coding, digits, hop, special = match.group(1, 2, 3, _LENGTH, _HOP, _SPECIAL)
    end = match.end()
    if not _is_within(data, end, limits, special) or (coding is not None and digits is not None):
        return None
    length = int(digits) if digits is not None else None if coding is None else CHUNKED
    has_date = date is not None
    if special is not None:
        read = _read_special(data, match, length)
        if read is None:
            return None
        lines, length, keep_alive, others = read
        has_date = has_date or b"date" in others
        as_is = (
            has_date and length is not None and response.is_as_sent(data, end - 4, lines, length)
        )
    elif hop is None:
        keep_alive = True
        lines = data[: end - 2]
        as_is = has_date
    else:
        keep_alive = len(hop) != _CLOSE_BYTES
        start, stop = match.span(_HOP)
        lines = data[:start] + data[stop : end - 2]
        as_is = False
    if coding is not None:
        stop = match.end(3)
        # Names stand behind an LF, and values hold none.
        sent = data[stop - len(_CODING) - 1 : stop]
        lines = lines.replace(sent, b"\n" + _CODING, 1)
    code = _STATUSES[status]
    if code == 304 or method == b"HEAD":
        if length == CHUNKED:
            return None
        length = 0
    elif length is None:
        length, keep_alive, as_is = UNTIL_CLOSE, False, False
    head = _new_response(ResponseHead)
    head.end = end
    head.status = code
    head.lines = lines
    head.length = length
    head.minor = 1
    head.keep_alive = keep_alive
    head.has_date = has_date
    head.as_is = as_is
    head.extras = None
    return head


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
