"""A client's bytes -> head: the strict reference reader (RFC 9110, RFC 9112).

What two readers could read differently is refused, not repaired. Where the RFCs leave a choice,
the comment at the rule says what peers do and why ours is as it is.
"""

from __future__ import annotations

import re

from bgproxy.errors import BadRequest
from bgproxy.protocol.fields import (
    REQUEST_KINDS,
    as_lines,
    connection_options,
    is_persistent,
    read_length,
    read_section,
    section_fault,
    with_length,
    without_hop_fields,
)
from bgproxy.protocol.forwarding import is_set_aside, list_members, without
from bgproxy.protocol.values import CHUNKED, REQUEST_LIMITS, HeadLimits, RequestHead

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_REQUEST_LINE_SO_FAR = re.compile(rb"(?:%b(?: (?:[!-~]+(?: [HTP/.0-9]{0,8})?)?)?)?\r?" % _TOKEN)
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)

# uri-host and port of RFC 3986 section 3.2: a name (unreserved, escaped, sub-delims) or an IP
# literal. No userinfo: a password in a Host is an attack or a mistake (RFC 9110 section 4.2.4).
_NAME_BYTES = rb"[A-Za-z0-9._~!$&'()*+,;=-]"
_NAME = rb"(?=.)%b*(?:%%[0-9A-Fa-f]{2}%b*)*" % (_NAME_BYTES, _NAME_BYTES)
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?!:)%b)(?::[0-9]{0,5})?" % _NAME)

_MOST_EMPTY_LINES = 4
"""Empty lines before a request that are passed over (RFC 9112 section 2.2)."""

_MOST_FORWARDS = b"999999999"

_STATUS_OF = {"head_too_large": 431, "too_many_fields": 431}


def read_request_head(data: bytes, limits: HeadLimits = REQUEST_LIMITS) -> RequestHead | None:
    """Read the head that `data` starts with.

    Returns:
        None if it is not complete yet; call again with all of its bytes and more.

    Raises:
        BadRequest: it breaks a rule; as early as that is certain, with the same reason however the
            bytes were split.
    """
    start = _skip_empty_lines(data)
    line_end = data.find(b"\r\n", start, start + limits.max_line_bytes + 2)
    if line_end < 0:
        _check_line_so_far(data[start : start + limits.max_line_bytes + 2], limits)
        return None
    method, target, minor = _read_request_line(data, start, line_end)
    end = data.find(b"\r\n\r\n", line_end)
    fault = section_fault(data, start, line_end + 2, end, limits, is_request=True)
    if fault is not None:
        raise BadRequest(_STATUS_OF.get(fault.reason, 400), fault.reason, fault.detail)
    if end < 0:
        return None
    return _read_head(data, line_end + 2, end, method, target, minor)


def asks_for_head(data: bytes) -> bool:
    """Whether the refusal of these bytes must have no body (RFC 9110 section 9.3.2).

    Args:
        data: what `read_request_head` was given.
    """
    return data.lstrip(b"\r\n").startswith(b"HEAD ")


def _skip_empty_lines(data: bytes) -> int:
    """Where the request line starts."""
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
        if start > 2 * _MOST_EMPTY_LINES:
            raise BadRequest(400, "bad_request_line", "too many empty lines before the request")
    return start


def _check_line_so_far(line: bytes, limits: HeadLimits) -> None:
    """Refuse a beginning that no request line has: another protocol, or too long a target."""
    if not _REQUEST_LINE_SO_FAR.fullmatch(line):
        raise _bad_request_line()
    if len(line) > limits.max_line_bytes + 1 or (
        len(line) > limits.max_line_bytes and line[-1:] != b"\r"
    ):
        raise BadRequest(414, "line_too_long", f"a line has at most {limits.max_line_bytes} bytes")


def _bad_request_line() -> BadRequest:
    return BadRequest(400, "bad_request_line", "not METHOD, one space, target, one space, HTTP/1.1")


def _read_request_line(data: bytes, start: int, line_end: int) -> tuple[bytes, bytes, int]:
    """Method, target as sent, and minor version of a request line that is whole.

    Methods are any token: a backend may know one that we do not. Targets are visible ASCII;
    browsers send a few of those unescaped that RFC 3986 does not allow, and all peers pass them
    on. Bytes from 0x80 on are refused as by HAProxy, Apache and Node, since what a backend makes
    of them is anyone's guess, and so is ``#``, which cut targets differently in peers
    (CVE-2023-45539).
    """
    match = _REQUEST_LINE.fullmatch(data, start, line_end)
    if match is None:
        raise _bad_request_line()
    method, target, major, minor = match.groups()
    if major != b"1":
        # Also the preface of HTTP/2, "PRI * HTTP/2.0".
        raise BadRequest(505, "unsupported_version", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method == b"CONNECT":
        raise BadRequest(501, "unsupported_method", "CONNECT is for forward proxies")
    if b"#" in target:
        raise BadRequest(400, "bad_target", "a request's target has no fragment")
    # A higher minor version is to be read as the highest known one (RFC 9110 section 2.5); so do
    # nginx, HAProxy and Go.
    return method, target, 0 if minor == b"0" else 1


def _read_head(
    data: bytes, fields: int, end: int, method: bytes, target: bytes, minor: int
) -> RequestHead:
    """Read a head whose request line and field syntax are in order."""
    kept, found, refused = read_section(b"", data[fields:end], REQUEST_KINDS)
    if refused:
        detail = f"{refused.decode('latin-1')} could be taken for a field that frames the message"
        raise BadRequest(400, "bad_framing", detail)
    target, host = _read_target(method, target)
    host = _read_host(kept, found, host, minor)
    length = _read_body_length(found, minor)
    if length and method == b"TRACE":
        raise BadRequest(400, "bad_framing", "TRACE has no body (RFC 9110 section 9.3.8)")
    if length > 0:
        kept = with_length(kept, found[b"content-length"], length)
    options = connection_options(found)
    kept = without_hop_fields(kept, options)
    if b"expect" in found:
        kept = _read_expectation(kept, found, minor)
    extras = _read_extras(found, options, method, minor)
    kept[0] = b"%b %b HTTP/1.1" % (method, target)
    return RequestHead(
        end + 4, method, target, host, as_lines(kept), length, minor,
        is_persistent(options, minor), extras,
    )  # fmt: skip


def _read_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target to send on, and the authority that absolute-form names (RFC 9112 section 3.2)."""
    if target.startswith(b"/"):
        return target, None
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest(400, "bad_target", "only OPTIONS asks for *")
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadRequest(400, "bad_target", "a target begins with / or with http://")
    authority, rest = match.groups()
    if not _AUTHORITY.fullmatch(authority):
        raise BadRequest(400, "bad_target", "the target's authority is not host or host:port")
    if not rest:
        return b"*" if method == b"OPTIONS" else b"/", authority
    return rest if rest.startswith(b"/") else b"/" + rest, authority


def _read_host(
    kept: list[bytes], found: dict[bytes, bytes], authority: bytes | None, minor: int
) -> bytes:
    """The authority that routes; `kept` is made to say the same.

    Exactly one Host, a valid one, on HTTP/1.1 (RFC 9112 section 3.2). An empty one is refused as
    by nginx: http URIs have an authority (RFC 9110 section 4.2.1).
    """
    host = found.pop(b"host", None)
    if host is None and minor:
        raise BadRequest(400, "bad_host", "HTTP/1.1 requires a Host")
    if host is not None and not _AUTHORITY.fullmatch(host):
        raise BadRequest(400, "bad_host", "Host is not one host or host:port")
    if authority is None:
        return host or b""
    # The target's word goes, and Host must agree with it (RFC 9112 section 3.2.2).
    line = b"Host: " + authority
    if host is None:
        kept.insert(1, line)
    else:
        place = next(n for n, entry in enumerate(kept) if entry[:5].lower() == b"host:")
        kept[place] = line
    return authority


def _read_body_length(found: dict[bytes, bytes], minor: int) -> int:
    """How long the body is (RFC 9112 section 6.3)."""
    length = found.get(b"content-length")
    coding = found.pop(b"transfer-encoding", None)
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "bad_framing", "both Content-Length and Transfer-Encoding")
        if not minor:
            raise BadRequest(400, "bad_framing", "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise _bad_coding(coding)
        return CHUNKED
    if length is None:
        return 0
    number = read_length(length)
    if number is None:
        raise BadRequest(400, "bad_framing", "Content-Length is not one number")
    return number


def _bad_coding(coding: bytes) -> BadRequest:
    """501 for codings that could be right elsewhere, 400 for what leaves the end unclear."""
    members = list_members(coding)
    if len(members) > 1 and b"chunked" not in members[:-1] and members[-1] == b"chunked":
        return BadRequest(501, "unsupported_coding", "the only transfer coding here is chunked")
    return BadRequest(400, "bad_framing", "Transfer-Encoding is not chunked, once")


def _read_expectation(kept: list[bytes], found: dict[bytes, bytes], minor: int) -> list[bytes]:
    """100-continue is the backend's to answer; HTTP/1.0 does not know it (RFC 9110 10.1.1)."""
    members = set(list_members(found[b"expect"]))
    if not minor or not members:
        # An empty list asks for nothing (RFC 9110 section 5.6.1), but Node answers 417 to it.
        del found[b"expect"]
        return without(kept, {b"expect"})
    if members != {b"100-continue"}:
        raise BadRequest(417, "expectation_failed", "the only expectation known is 100-continue")
    return kept


def _read_extras(
    found: dict[bytes, bytes], options: list[bytes], method: bytes, minor: int
) -> dict[bytes, bytes] | None:
    """What the relay has to look at, or put back in its own words."""
    if len(found) == (b"connection" in found) + (b"content-length" in found):
        return None
    extras = {
        name: value
        for name, value in found.items()
        if name in (b"expect", b"x-request-id") or is_set_aside(name)
    }
    protocols = _protocols(found.get(b"upgrade", b""))
    if minor and protocols and b"upgrade" in options:
        # Of an HTTP/1.0 client, and without the option, it must be ignored (RFC 9110 7.8).
        extras[b"upgrade"] = protocols
    if b"te" in found and b"trailers" in list_members(found[b"te"]):
        extras[b"te"] = b"trailers"
    if b"max-forwards" in found and method in (b"TRACE", b"OPTIONS"):
        if not found[b"max-forwards"].isdigit():
            raise BadRequest(400, "bad_field", "Max-Forwards is not a number")
        # A larger number than we know goes on as the largest (RFC 9110 section 7.6.2).
        is_large = len(found[b"max-forwards"].lstrip(b"0")) > len(_MOST_FORWARDS)
        extras[b"max-forwards"] = _MOST_FORWARDS if is_large else found[b"max-forwards"]
    return extras or None


def _protocols(upgrade: bytes) -> bytes:
    """The protocols that may be asked for: all but HTTP/2 in the clear.

    It is gone since RFC 9113, and a tunnel of it would carry requests that nobody routes, limits
    or counts, past the rules for this one ("h2c smuggling"); Envoy leaves it out as well.
    """
    if b"h2c" not in upgrade.lower():
        return upgrade
    members = (member.strip(b" \t") for member in upgrade.split(b","))
    return b", ".join(member for member in members if not member.lower().startswith(b"h2c"))
