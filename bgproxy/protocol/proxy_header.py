"""The PROXY protocol, versions 1 and 2: a load balancer says whom it speaks for.

Source: HAProxy's ``doc/proxy-protocol.txt``. Only for listeners where it is configured and peers
that are listed: whoever may send one can claim any address.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from bgproxy.errors import BadRequest

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES = 16
_MOST_V1_BYTES = 107
_MOST_V2_BYTES = _FIXED_BYTES + 4096
"""Addresses take at most 216 bytes; the rest is for extensions (TLVs), such as a certificate's
name. The protocol allows 64 KiB, which nobody sends."""

_PORT = rb"(0|[1-9][0-9]{0,4})"
_V1_ADDRESSES = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b" % (_PORT, _PORT)
)
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")

_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {1: 12, 2: 36, 3: 216}
"""By the family, the upper four bits of the fourteenth byte: IPv4, IPv6, unix."""


class ProxyHeader(NamedTuple):
    """What a PROXY header says.

    Args:
        end: offset of the first byte behind it.
        source, destination: addresses without brackets; empty if the header names none (a health
            check of the load balancer's own, or no IP connection), and then the peer's count.
        source_port, destination_port: 0 where there is no address.
    """

    end: int
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read the header that a connection's first bytes are.

    Returns:
        None if it is not complete yet; call again with all bytes and more.

    Raises:
        BadRequest: it is none. The connection must be closed, as nothing says who is there.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _read_v2(data) if len(data) >= _FIXED_BYTES else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _read_v1(data)
    raise _bad("the connection does not begin with a PROXY header")


def _bad(detail: str) -> BadRequest:
    return BadRequest(400, "bad_proxy_header", detail)


def _read_v1(data: bytes) -> ProxyHeader | None:
    """One line for people (section 2.1)."""
    end = data.find(b"\r\n", 0, _MOST_V1_BYTES)
    if end < 0:
        if len(data) >= _MOST_V1_BYTES:
            raise _bad(f"the line has more than {_MOST_V1_BYTES} bytes")
        return None
    if _V1_UNKNOWN.fullmatch(data, 0, end):
        return ProxyHeader(end + 2)
    match = _V1_ADDRESSES.fullmatch(data, 0, end)
    if match is None:
        raise _bad("not PROXY TCP4 or TCP6, two addresses and two ports")
    family, source, destination, source_port, destination_port = match.groups()
    address_type = IPv4Address if family == b"4" else IPv6Address
    try:
        source_address = address_type(source.decode("ascii"))
        destination_address = address_type(destination.decode("ascii"))
    except ValueError as error:
        raise _bad(str(error)) from None
    ports = int(source_port), int(destination_port)
    if max(ports) > 65535:
        raise _bad("a port is above 65535")
    return ProxyHeader(end + 2, str(source_address), ports[0], str(destination_address), ports[1])


def _read_v2(data: bytes) -> ProxyHeader | None:
    """Sixteen bytes, addresses, extensions (section 2.2)."""
    command, family_and_transport, size = struct.unpack_from("!BBH", data, 12)
    if command not in (_LOCAL, _PROXY):
        raise _bad("neither LOCAL nor PROXY of version 2")
    family, transport = divmod(family_and_transport, 16)
    if family > 3 or transport > 2:
        raise _bad("unknown address family or transport")
    end = _FIXED_BYTES + size
    if end > _MOST_V2_BYTES:
        raise _bad(f"the header has more than {_MOST_V2_BYTES} bytes")
    if command == _PROXY and size < _ADDRESS_BYTES.get(family, 0):
        raise _bad("the addresses are cut short")
    if len(data) < end:
        return None
    if command == _LOCAL or family not in (1, 2):
        return ProxyHeader(end)
    address_bytes = 4 if family == 1 else 16
    source, destination, source_port, destination_port = struct.unpack_from(
        f"!{address_bytes}s{address_bytes}sHH", data, _FIXED_BYTES
    )
    address_type = IPv4Address if family == 1 else IPv6Address
    return ProxyHeader(
        end,
        str(address_type(source)),
        source_port,
        str(address_type(destination)),
        destination_port,
    )
