"""A backend's bytes -> head: the strict reference reader (RFC 9110, RFC 9112).

Answers are held to the same rules as requests: what two readers could read differently may make
a client take one answer for another's.
"""

from __future__ import annotations

import re

from bgproxy.errors import BadResponse
from bgproxy.protocol.fields import (
    CHUNKED_LINE,
    RESPONSE_KINDS,
    as_lines,
    connection_options,
    is_persistent,
    read_length,
    read_section,
    section_fault,
    with_length,
    without_hop_fields,
)
from bgproxy.protocol.forwarding import without
from bgproxy.protocol.values import (
    CHUNKED,
    RESPONSE_LIMITS,
    UNTIL_CLOSE,
    HeadLimits,
    ResponseHead,
)

_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")


def _beginning_of(*parts: bytes) -> re.Pattern[bytes]:
    """A pattern for every beginning of what the parts make up together."""
    pattern = b""
    for part in reversed(parts):
        pattern = b"(?:%b%b)?" % (part, pattern)
    return re.compile(pattern + rb"\r?")


_STATUS_LINE_SO_FAR = _beginning_of(
    *(b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[0-9]"),
    *(b" ", b"[1-5]", b"[0-9]", b"[0-9]", rb" [\t -~\x80-\xff]*"),
)


def read_response_head(
    data: bytes, method: bytes, limits: HeadLimits = RESPONSE_LIMITS
) -> ResponseHead | None:
    """Read the head that `data` starts with.

    Interim answers (1xx) are heads like any other; the caller reads on behind them.

    Args:
        data: what the backend sent, from the head's first byte on.
        method: of the request; an answer to HEAD has no body, whatever its fields say.
        limits: bounds.

    Returns:
        None if it is not complete yet; call again with all of its bytes and more.

    Raises:
        BadResponse: it breaks a rule; as early as that is certain, with the same reason however
            the bytes were split.
    """
    line_end = data.find(b"\r\n", 0, limits.max_line_bytes + 2)
    if line_end < 0:
        _check_line_so_far(data[: limits.max_line_bytes + 2], limits)
        return None
    match = _STATUS_LINE.fullmatch(data, 0, line_end)
    if match is None:
        raise _bad_status_line()
    end = data.find(b"\r\n\r\n", line_end)
    fault = section_fault(data, 0, line_end + 2, end, limits, is_request=False)
    if fault is not None:
        raise BadResponse(*fault)
    if end < 0:
        return None
    minor, status, phrase = match.groups()
    # A higher minor version is read as the highest known one (RFC 9110 section 2.5).
    return _read_head(data, line_end + 2, end, method, min(int(minor), 1), int(status), phrase)


def _check_line_so_far(line: bytes, limits: HeadLimits) -> None:
    """Refuse a beginning that no status line has: waiting for the rest would help nobody."""
    if not _STATUS_LINE_SO_FAR.fullmatch(line):
        raise _bad_status_line()
    if len(line) > limits.max_line_bytes + 1 or (
        len(line) > limits.max_line_bytes and line[-1:] != b"\r"
    ):
        raise BadResponse("line_too_long", f"a line has at most {limits.max_line_bytes} bytes")


def _bad_status_line() -> BadResponse:
    return BadResponse("bad_status_line", "not HTTP/1.1, a space, a status from 100 to 599")


def _read_head(
    data: bytes, fields: int, end: int, method: bytes, minor: int, status: int, phrase: bytes | None
) -> ResponseHead:
    """Read a head whose status line and field syntax are in order."""
    # The space before a missing phrase is required (RFC 9112 section 4), but many leave it out.
    first_line = b"HTTP/1.1 %d %b" % (status, phrase or b"")
    kept, found, _ = read_section(first_line, data[fields:end], RESPONSE_KINDS)
    length = _read_framing(found, minor)
    options = connection_options(found)
    if length >= 0 and b"content-length" in found:
        kept = with_length(kept, found[b"content-length"], length)
    if status < 200 or status in (204, 304) or method == b"HEAD":
        kept = _without_body_fields(kept, status)
        length = 0
    kept = without_hop_fields(kept, options)
    extras = None
    if status == 101 and found.get(b"upgrade"):
        extras = {b"upgrade": found[b"upgrade"]}
    elif status == 426 and found.get(b"upgrade"):
        # The answer is of no use without it (RFC 9110 section 15.5.22).
        kept += [b"Connection: Upgrade", b"Upgrade: " + found[b"upgrade"]]
    lines = as_lines(kept)
    has_date = b"date" in found
    return ResponseHead(
        end + 4, status, lines, length, minor,
        length != UNTIL_CLOSE and is_persistent(options, minor),
        has_date,
        has_date and length != UNTIL_CLOSE and is_as_sent(data, end, lines, length),
        extras,
    )  # fmt: skip


def _read_framing(found: dict[bytes, bytes], minor: int) -> int:
    """What the fields say about the body's length (RFC 9112 section 6.3)."""
    length = found.get(b"content-length")
    coding = found.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadResponse("bad_framing", "both Content-Length and Transfer-Encoding")
        if not minor:
            raise BadResponse("bad_framing", "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise BadResponse("bad_framing", "Transfer-Encoding is not chunked, once")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    number = read_length(length)
    if number is None:
        raise BadResponse("bad_framing", "Content-Length is not one number")
    return number


def _without_body_fields(kept: list[bytes], status: int) -> list[bytes]:
    """The lines of an answer without a body.

    A coding speaks of this hop only and may be left out (RFC 9112 section 6.1). A length tells
    what GET would give, but must not stand in 1xx and 204 (RFC 9110 section 8.6).
    """
    kept = [line for line in kept if line is not CHUNKED_LINE]
    if status < 200 or status == 204:
        kept = without(kept, {b"content-length"})
    return kept


def is_as_sent(data: bytes, end: int, lines: bytes, length: int) -> bool:
    """Whether nothing was dropped or changed; the spelling of a coding aside."""
    sent = data[: end + 2]
    return lines == sent or (length == CHUNKED and lines.lower() == sent.lower())
