"""The field section: verdicts that do not depend on reads, and names that cost one look-up."""

from __future__ import annotations

from bgproxy.protocol.fields import (
    ASIDE,
    CODING,
    DROPPED,
    NOTED,
    PLAIN,
    REFUSED,
    REQUEST_KINDS,
    RESPONSE_KINDS,
    Kinds,
    read_length,
    read_section,
    section_fault,
)
from bgproxy.protocol.values import HeadLimits


def test_kinds_do_not_depend_on_spelling() -> None:
    """Names are case-insensitive (RFC 9110 section 5.1)."""
    for name, kind in (
        (b"host", NOTED),
        (b"transfer-encoding", CODING),
        (b"connection", ASIDE),
        (b"x-forwarded-for", ASIDE),
        (b"x_forwarded_for", DROPPED),
        (b"content_length", REFUSED),
        (b"cookie", PLAIN),
    ):
        assert {REQUEST_KINDS[spelled] for spelled in (name, name.upper(), name.title())} == {kind}
    assert RESPONSE_KINDS[b"Host"] == PLAIN
    assert RESPONSE_KINDS[b"X_Forwarded_For"] == PLAIN


def test_invented_names_do_not_fill_memory() -> None:
    """The table stops growing, and goes on giving the right answers."""
    kinds = Kinds(len)
    for number in range(10000):
        assert kinds[b"%d" % number] == len(str(number))
    assert len(kinds) == 4096


def test_first_fault_in_reading_order_is_told() -> None:
    """Syntax and size are judged at the byte where reading byte by byte would stop."""
    limits = HeadLimits(max_head_bytes=30, max_fields=2)
    first = b"X\r\n"

    def reason(section: bytes, end: int = -1) -> str:
        fault = section_fault(first + section, 0, len(first), end, limits, is_request=True)
        return fault.reason if fault else ""

    assert reason(b"A: b\r\nC: d\r\n") == ""
    assert reason(b"A: b\r\nC: d\r\nE: f\r\n") == "too_many_fields"
    assert reason(b"A: b\r\nC: d\r\nE: f\r\n\0") == "too_many_fields"
    assert reason(b"A: b\r\n\0\r\nE: f\r\n") == "bad_field"
    assert reason(b"A: " + b"b" * 30) == "head_too_large"
    assert reason(b"A: " + b"b" * 30 + b"\0") == "head_too_large"
    assert reason(b"A: b\0" + b"b" * 30) == "bad_field"
    assert reason(b"Content-Length: x") == "bad_framing"
    assert reason(b"A: b\r\n\r\n" + b"x" * 99, end=len(first) + 4) == ""


def test_special_fields_are_found_and_joined() -> None:
    """A second length or host is malformed when it is joined with the first one."""
    kept, found, refused = read_section(
        b"first", b"Host: a\r\nB: c\r\nhost: b \r\nContent_Length: 1\r\nTE:x", REQUEST_KINDS
    )
    assert kept == [b"first", b"Host: a", b"B: c", b"host: b "]
    assert found == {b"host": b"a, b", b"te": b"x"}
    assert refused == b"Content_Length"
    assert read_section(b"first", b"", REQUEST_KINDS) == ([b"first"], {}, b"")


def test_lengths_are_digits() -> None:
    """RFC 9110 section 8.6; nothing that int() would take besides."""
    assert read_length(b"0") == 0
    assert read_length(b"00012") == 12
    assert read_length(b"0" * 40 + b"1") == 1
    assert read_length(b"9" * 18) == 10**18 - 1
    for value in (b"", b"+1", b"1_0", b" 1", b"1\n", b"\xb2", b"9" * 19, b"0x1", b"\xef\xbc\x91"):
        assert read_length(value) is None
