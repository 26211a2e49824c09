"""The field section of a head: syntax checked by llhttp, special fields picked out of the rest.

llhttp in its strict default refuses what two readers could read differently: folded lines, white
space before a colon, bare CR, LF and NUL, control characters, names that are no tokens, both
lengths, malformed lengths. What it knows about first lines is of no use here (it takes RTSP for
HTTP and knows a list of methods), so it is given one of ours, and the readers check the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from bgproxy.protocol.forwarding import (
    END_TO_END,
    HOP_BY_HOP,
    is_framing,
    is_set_aside,
    list_members,
    shadowed_name,
    without,
)
from bgproxy.protocol.values import HeadLimits

CHUNKED_LINE = b"Transfer-Encoding: chunked"
"""How chunked framing is written by us, wherever and however it was asked for."""

_MOST_LENGTH_DIGITS = 18
"""More is no length of anything, and 19 could overflow a reader's 64 bits."""


# What becomes of a field line. Plain numbers: a member of an enum costs as much to look up as all
# else that is done for a line.
PLAIN, NOTED, ASIDE, CODING, DROPPED, REFUSED = range(6)

_NOTED_IN_REQUEST = frozenset({b"host", b"content-length", b"expect", b"x-request-id"})
_NOTED_IN_RESPONSE = frozenset({b"content-length", b"date"})
_ASIDE_IN_REQUEST = HOP_BY_HOP | {b"max-forwards"}

_MOST_KNOWN_NAMES = 4096


class Kinds(dict[bytes, int]):
    """Field names as they are spelled, and what becomes of such a line.

    Filled as names are met, up to a bound, so that a line costs one look-up; nobody can make it
    grow by inventing names.
    """

    __slots__ = ("_kind_of",)

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of

    def __missing__(self, name: bytes) -> int:
        """Work a kind out, and remember it if there is room."""
        kind = self._kind_of(name.lower())
        if len(self) < _MOST_KNOWN_NAMES:
            self[name] = kind
        return kind


def _request_kind(name: bytes) -> int:
    """What becomes of a client's field of this lower-case name."""
    if name == b"transfer-encoding":
        return CODING
    if name in _NOTED_IN_REQUEST:
        return NOTED
    if name in _ASIDE_IN_REQUEST or is_set_aside(name):
        return ASIDE
    shadowed = shadowed_name(name)
    if shadowed is None:
        return PLAIN
    return REFUSED if is_framing(shadowed) else DROPPED


def _response_kind(name: bytes) -> int:
    """What becomes of a backend's field of this lower-case name."""
    if name == b"transfer-encoding":
        return CODING
    if name in _NOTED_IN_RESPONSE:
        return NOTED
    return ASIDE if name in HOP_BY_HOP else PLAIN


REQUEST_KINDS = Kinds(_request_kind)
RESPONSE_KINDS = Kinds(_response_kind)


class _SilentListener:
    """Takes llhttp's events and wants none."""

    __slots__ = ()


_LISTENER = _SilentListener()


class Fault(NamedTuple):
    """What is wrong with a field section: a stable word, and a sentence for people."""

    reason: str
    detail: str


def section_fault(
    data: bytes, start: int, fields: int, end: int, limits: HeadLimits, *, is_request: bool
) -> Fault | None:
    """What is wrong with the syntax or the size of a field section, or of its beginning.

    The verdict is that on the first byte at which reading byte by byte would stop, so however a
    head is cut into pieces it is refused for the same fault.

    Args:
        data: bytes that hold a head, or its beginning.
        start: where its first line starts.
        fields: where its first field line starts.
        end: where the CRLF CRLF starts that ends it; -1 if that has not come yet.
    """
    stop = cut = len(data) if end < 0 else end + 4
    fault = None
    if stop - start > limits.max_head_bytes:
        cut = start + limits.max_head_bytes + 1
        fault = Fault("head_too_large", f"a head has at most {limits.max_head_bytes} bytes")
    is_whole = end >= 0 and cut == stop
    # LFs are cheaper to count, and there are at least as many.
    if (
        data.count(b"\n", fields, cut) - is_whole > limits.max_fields
        and data.count(b"\r\n", fields, cut) - is_whole > limits.max_fields
    ):
        one_too_many = fields
        for _ in range(limits.max_fields + 1):
            one_too_many = data.index(b"\r\n", one_too_many) + 2
        if one_too_many < cut or fault is None:
            cut = one_too_many
            fault = Fault("too_many_fields", f"a head has at most {limits.max_fields} fields")
    syntax = _syntax_fault(data[fields:cut], is_request=is_request)
    if not syntax:
        return fault
    is_framing_fault = "Content-Length" in syntax or "Transfer-Encoding" in syntax
    return Fault("bad_framing" if is_framing_fault else "bad_field", syntax)


def _syntax_fault(section: bytes, *, is_request: bool) -> str:
    """What llhttp has against a field section, or its beginning; empty if nothing."""
    parser: HttpRequestParser | HttpResponseParser
    if is_request:
        parser, first_line = HttpRequestParser(_LISTENER), b"POST / HTTP/1.1\r\n"
    else:
        parser, first_line = HttpResponseParser(_LISTENER), b"HTTP/1.1 200 OK\r\n"
    try:
        parser.feed_data(first_line)
        parser.feed_data(section)
    except HttpParserUpgrade:
        # llhttp ends a message there and takes its body for another protocol; bodies are framed
        # by us, so that is no fault.
        return ""
    except HttpParserError as error:
        return str(error)
    return ""


def read_section(
    first_line: bytes, section: bytes, kinds: Kinds
) -> tuple[list[bytes], dict[bytes, bytes], bytes]:
    """Sort the lines of a field section that has no `section_fault`.

    Args:
        first_line: what stands before the section, without CRLF.
        section: field lines, with CRLF between them and none at the end.
        kinds: `REQUEST_KINDS` or `RESPONSE_KINDS`.

    Returns:
        The lines to forward, without CRLF, in their order. The special fields, lower-case name to
        value; repeated ones are joined with ``", "``, which makes a second length or host
        malformed without a count. A name that must not be sent, or nothing.
    """
    kept = [first_line]
    found: dict[bytes, bytes] = {}
    refused = b""
    for line in section.split(b"\r\n") if section else ():
        name, _, value = line.partition(b":")
        kind = kinds[name]
        if kind == PLAIN:
            kept.append(line)
            continue
        if kind == NOTED:
            kept.append(line)
        elif kind == CODING:
            # Once, where the first one stood; whether it says what it must is seen to later.
            if b"transfer-encoding" not in found:
                kept.append(CHUNKED_LINE)
        elif kind != ASIDE:
            refused = refused or (name if kind == REFUSED else b"")
            continue
        name, value = name.lower(), value.strip(b" \t")
        found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return kept, found, refused


def connection_options(found: dict[bytes, bytes]) -> list[bytes]:
    """The options that Connection names, in lower case (RFC 9110 section 7.6.1)."""
    value = found.get(b"connection")
    return list_members(value) if value else []


def is_persistent(options: list[bytes], minor: int) -> bool:
    """Whether a connection outlives the message (RFC 9112 section 9.3)."""
    return b"close" not in options and (minor > 0 or b"keep-alive" in options)


_OWN_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


def without_hop_fields(kept: list[bytes], options: list[bytes]) -> list[bytes]:
    """The lines without those that Connection names; what belongs to both ends stays."""
    if not options:
        return kept
    named = set(options) - _OWN_OPTIONS - END_TO_END
    return without(kept, named) if named else kept


def read_length(value: bytes) -> int | None:
    """The number that a Content-Length says; None if it is none (RFC 9110 section 8.6)."""
    if not value.isdigit() or len(value.lstrip(b"0")) > _MOST_LENGTH_DIGITS:
        return None
    return int(value)


def with_length(kept: list[bytes], value: bytes, length: int) -> list[bytes]:
    """The lines with the length written in one way only.

    ``010`` is ten by the RFC and eight by a reader that lets C guess the base.
    """
    canonical = b"%d" % length
    if value == canonical:
        return kept
    line = b"Content-Length: " + canonical
    return [line if entry[:15].lower() == b"content-length:" else entry for entry in kept]


def as_lines(kept: list[bytes]) -> bytes:
    """Lines as they go out, each with its CRLF."""
    return b"\r\n".join(kept) + b"\r\n"
