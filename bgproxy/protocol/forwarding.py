"""What a proxy takes out of a message and what it adds: pure functions over names and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
"""Fields that end at every hop, named by Connection or not (RFC 9110 section 7.6.1)."""

END_TO_END = frozenset(
    b"""accept accept-charset accept-encoding accept-language accept-ranges age allow authorization
    cache-control content-encoding content-language content-length content-location content-range
    content-type cookie date etag expect expires forwarded from host if-match if-modified-since
    if-none-match if-range if-unmodified-since last-modified location max-forwards origin pragma
    proxy-authenticate proxy-authorization range referer retry-after server set-cookie trailer
    user-agent vary via warning www-authenticate x-request-id""".split()
)
"""Fields that Connection cannot take out.

A sender must not name a field there that is meant for every recipient (RFC 9110 section 7.6.1);
one who does wants the backend not to see its Cookie or Authorization. nginx and HAProxy never
take a named field out, Go's proxy (Caddy) takes out all, Envoy refuses some: we take out what is
unknown, as the RFC says, and leave what is known to belong to both ends.
"""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=@:-]{1,128}")

_FORWARDED_PREFIX = b"x-forwarded-"
_SET_ASIDE = frozenset({b"forwarded", b"x-bgproxy-preview", b"x-real-ip", b"x-request-start"})

_SHADOWED = HOP_BY_HOP | _SET_ASIDE | END_TO_END | {b"x-request-id"}
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NOT_PLAIN = re.compile(rb"[^0-9a-z]")


def is_set_aside(name: bytes) -> bool:
    """Whether a request's field speaks of the way it came, so that only a trusted peer may send it.

    Args:
        name: in lower case.
    """
    return name in _SET_ASIDE or name.startswith(_FORWARDED_PREFIX)


def shadowed_name(name: bytes) -> bytes | None:
    """The well-known field that a CGI-like backend would take this one for, or None.

    WSGI, PHP and CGI turn ``-`` into ``_`` (RFC 3875 section 4.1.18), old Apaches every odd byte,
    so that ``X_Forwarded_For`` arrives as X-Forwarded-For would.

    Args:
        name: in lower case.
    """
    plain = _NOT_PLAIN.sub(b"-", name)
    if plain == name:
        return None
    return plain if plain in _SHADOWED or is_set_aside(plain) else None


def is_framing(name: bytes) -> bool:
    """Whether two readings of this lower-case name could split a message in two places."""
    return name in _FRAMING


def kept_request_id(extras: dict[bytes, bytes] | None) -> bytes | None:
    """The client's X-Request-Id, if it is one to go on with; else one is made.

    It is taken from everybody, as Heroku, Rails and kamal-proxy do: an id only ties log lines
    together, so that a false one confuses nothing but its sender's own (Envoy, which samples and
    decides by it, takes an edge client's away). What is too long, or has characters that could
    mean something in a log or a query, is replaced.

    Args:
        extras: of the `RequestHead`.
    """
    own = None if extras is None else extras.get(b"x-request-id")
    return own if own is not None and _REQUEST_ID.fullmatch(own) else None


def first_untrusted(
    extras: dict[bytes, bytes] | None, is_trusted: Callable[[str], bool]
) -> str | None:
    """The client that a trusted peer speaks for: in X-Forwarded-For, the last that is a stranger.

    Args:
        extras: of the `RequestHead`.
        is_trusted: whether an address is one of our own load balancers'.

    Returns:
        None where there is none, or what stands there is no address.
    """
    hops = (extras or {}).get(b"x-forwarded-for", b"").decode("latin-1").split(",")
    for hop in reversed(hops):
        address = hop.strip()
        try:
            ip_address(address)
        except ValueError:
            return None
        if not is_trusted(address):
            return address
    return None


def list_members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case, the empty ones left out.

    For lists of tokens only (RFC 9110 section 5.6.1): a comma in quotes would be taken for one
    between members.
    """
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def field_value(lines: bytes, name: bytes) -> bytes:
    """The first value of a field in a head's lines; empty where there is none.

    Args:
        lines: as in `RequestHead.lines`.
        name: in lower case.
    """
    start = lines.lower().find(b"\r\n%b:" % name)
    if start < 0:
        return b""
    start += len(name) + 3
    return lines[start : lines.index(b"\r\n", start)].strip(b" \t")


def field_values(lines: bytes, name: bytes) -> list[bytes]:
    """Every value of a field in a head's lines, one for each line; arguments as `field_value`."""
    marker = b"\r\n%b:" % name
    lower = lines.lower()
    values = []
    start = lower.find(marker)
    while start >= 0:
        start += len(marker)
        end = lines.index(b"\r\n", start)
        values.append(lines[start:end].strip(b" \t"))
        start = lower.find(marker, end)
    return values


def forwarded_lines(
    client: str,
    scheme: bytes,
    host: bytes,
    extras: dict[bytes, bytes] | None,
    *,
    is_trusted: bool,
) -> bytes:
    """The lines that stand behind a request's own: who asked, how, and what this hop wants.

    Args:
        client: the peer's address; empty if it has none (a unix socket).
        scheme: ``b"http"`` or ``b"https"``, as the client spoke to us.
        host: the request's authority; empty if it named none.
        extras: of the `RequestHead`.
        is_trusted: whether the peer's own forwarding fields are kept and extended, or replaced.

    Returns:
        Lines, each ending in CRLF.
    """
    if extras is None:
        return _plain_lines(client.encode("latin-1"), scheme, host)
    if is_trusted:
        lines = _extended_lines(client.encode("latin-1"), scheme, host, extras)
    else:
        lines = _plain_lines(client.encode("latin-1"), scheme, host)
    return lines + _hop_lines(extras)


def _plain_lines(client: bytes, scheme: bytes, host: bytes) -> bytes:
    """The fields for a peer that nobody vouches for."""
    lines = b"X-Forwarded-Proto: %b\r\n" % scheme
    if client:
        lines = b"X-Forwarded-For: %b\r\n%b" % (client, lines)
    return b"%bX-Forwarded-Host: %b\r\n" % (lines, host) if host else lines


def _extended_lines(client: bytes, scheme: bytes, host: bytes, extras: dict[bytes, bytes]) -> bytes:
    """The fields of a trusted peer: its own, with this hop behind where they are lists."""
    fields = {name: value for name, value in extras.items() if name.startswith(_FORWARDED_PREFIX)}
    chain = [value for value in (fields.pop(b"x-forwarded-for", b""), client) if value]
    fields.setdefault(b"x-forwarded-proto", scheme)
    if host:
        fields.setdefault(b"x-forwarded-host", host)
    lines = [b"X-Forwarded-For: %b\r\n" % b", ".join(chain)] if chain else []
    lines += [b"%b: %b\r\n" % (_spelled(name), value) for name, value in fields.items()]
    if b"x-real-ip" in extras:
        lines.append(b"X-Real-IP: %b\r\n" % extras[b"x-real-ip"])
    if b"forwarded" in extras:
        hop = _forwarded_element(client, scheme, host)
        lines.append(b"Forwarded: %b, %b\r\n" % (extras[b"forwarded"], hop))
    return b"".join(lines)


def _forwarded_element(client: bytes, scheme: bytes, host: bytes) -> bytes:
    """This hop in the words of RFC 7239 section 4; IPv6 addresses in brackets and quotes."""
    shown = b'"[%b]"' % client if b":" in client else client or b"unknown"
    element = b"for=%b;proto=%b" % (shown, scheme)
    return b'%b;host="%b"' % (element, host) if host else element


def _hop_lines(extras: dict[bytes, bytes]) -> bytes:
    """Connection, TE, Upgrade and Max-Forwards as this hop sends them on."""
    lines = b""
    options: list[bytes] = []
    if b"upgrade" in extras:
        options.append(b"Upgrade")
        lines += b"Upgrade: %b\r\n" % extras[b"upgrade"]
    if b"te" in extras:
        options.append(b"TE")
        lines += b"TE: trailers\r\n"
    if options:
        lines = b"Connection: %b\r\n%b" % (b", ".join(options), lines)
    if b"max-forwards" in extras:
        lines += b"Max-Forwards: %d\r\n" % max(0, int(extras[b"max-forwards"]) - 1)
    return lines


def _spelled(name: bytes) -> bytes:
    """A lower-case name as people write it: ``X-Forwarded-Proto``."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))


def without(lines: Iterable[bytes], names: frozenset[bytes] | set[bytes]) -> list[bytes]:
    """Those of a head's lines whose field is not named; the first one is no field and stays."""
    first, *rest = lines
    return [first, *(line for line in rest if line.partition(b":")[0].lower() not in names)]
