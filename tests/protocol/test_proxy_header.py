"""The PROXY protocol, both versions."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from bgproxy.errors import BadRequest
from bgproxy.protocol.proxy_header import ProxyHeader, read_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([1, 2, 3, 4, 5, 6, 7, 8]) + struct.pack("!HH", 1000, 443)
V6 = IPv6Address("2001:db8::1").packed + IPv6Address("::1").packed + struct.pack("!HH", 1, 2)


def v2(command: int, family: int, addresses: bytes) -> bytes:
    """A version 2 header."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


HEADERS = {
    "TCP4": (
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 443\r\n",
        ("1.2.3.4", 1000, "5.6.7.8", 443),
    ),
    "TCP6": (
        b"PROXY TCP6 2001:DB8::1 ::1 1 65535\r\n",
        ("2001:db8::1", 1, "::1", 65535),
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ("", 0, "", 0)),
    "UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ("", 0, "", 0)),
    "v2 IPv4": (v2(0x21, 0x11, V4), ("1.2.3.4", 1000, "5.6.7.8", 443)),
    "v2 IPv4 with extensions": (
        v2(0x21, 0x11, V4 + b"\x03\0\x04abcd"),
        ("1.2.3.4", 1000, "5.6.7.8", 443),
    ),
    "v2 IPv6": (v2(0x21, 0x21, V6), ("2001:db8::1", 1, "::1", 2)),
    "v2 unix": (v2(0x21, 0x31, bytes(216)), ("", 0, "", 0)),
    "v2 unspecified": (v2(0x21, 0x00, b""), ("", 0, "", 0)),
    "v2 LOCAL": (v2(0x20, 0x11, V4), ("", 0, "", 0)),
    "v2 LOCAL, empty": (v2(0x20, 0x00, b""), ("", 0, "", 0)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_is_read_at_any_split(name: str) -> None:
    """Sections 2.1 and 2.2 of the specification; what follows is not looked at."""
    data, said = HEADERS[name]
    for end in range(len(data)):
        assert read_proxy_header(data[:end]) is None
    assert read_proxy_header(data) == ProxyHeader(len(data), *said)
    assert read_proxy_header(data + b"GET / HTTP/1.1\r\n") == ProxyHeader(len(data), *said)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"GET / HTTP/1.1\r\n",
            b"proxy TCP4",
            b"PROXY\r\n",
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        ),
        *(b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n"),
        *(b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY \r\n"),
        *(b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n"),
        *(b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n"),
        *(b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n"),
        *(b"PROXY UNKNOWNX\r\n", b"PROXY UNKNOWN \0\r\n", b"PROXY UNKNOWN " + b"a" * 100 + b"\r\n"),
        *(b"PROXY TCP4 1.2.3.4" + b" " * 100, SIGNATURE[:5] + b"x", b"\r\nGET", b"\0", b"P\r\n"),
        v2(0x11, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x41, V4),
        v2(0x21, 0x13, V4),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x21, 0x31, V4),
        v2(0x21, 0x11, bytes(5000)),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    """Nothing says then who is there, so the connection must end."""
    with pytest.raises(BadRequest) as refused:
        read_proxy_header(data)
    assert (refused.value.status, refused.value.reason) == (400, "bad_proxy_header")


def test_line_without_an_end_is_bounded() -> None:
    """107 bytes at most, CRLF included (section 2.1)."""
    line = b"PROXY UNKNOWN " + b"a" * (107 - 16)
    assert read_proxy_header(line + b"\r\n") == ProxyHeader(107)
    assert read_proxy_header(line) is None
    with pytest.raises(BadRequest):
        read_proxy_header(line + b"aa")
