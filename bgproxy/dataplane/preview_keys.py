"""Which keys to a service's preview a request holds, and the request without them."""

from __future__ import annotations

import base64
import binascii
from hmac import compare_digest
from ipaddress import ip_address, ip_network

from bgproxy.domain.preview import (
    NO_KEY,
    Key,
    Preview,
    Purpose,
    digest,
    digest_of,
    is_signed,
)
from bgproxy.domain.routing import host_name
from bgproxy.protocol.forwarding import field_values, without
from bgproxy.protocol.values import RequestHead

_AUTHORIZATION = b"authorization"
_MOST_COOKIES = 8
"""Cookies of the right name that are looked at; a browser has one for every path and domain."""


class PreviewKeys:
    """The keys of one service, ready to be held against requests."""

    __slots__ = ("_cookie_name", "_header", "_networks", "_service", "_users", "policy", "ways")

    def __init__(self, policy: Preview, service: str) -> None:
        self.policy = policy
        self.ways = policy.open_ways
        self._service = service
        name, value = policy.header
        self._header = name.lower().encode(), digest_of(value)
        self._cookie_name = b"" if policy.cookie is None else policy.cookie.name.encode()
        self._networks = tuple(ip_network(network) for network in policy.networks)
        self._users = {user.encode(): digest_of(password) for user, password in policy.users}

    def held_by(self, head: RequestHead, address: str, now: float, *, is_apart: bool) -> Key:
        """The keys that a request holds.

        What stands there twice is no key: two readers could take different ones of them.

        Args:
            address: of who asks; whatever is none lies in no network.
            now: Unix time.
            is_apart: whether it came to a listener of the preview.
        """
        keys = Key.LISTENER if is_apart else NO_KEY
        policy = self.policy
        if policy.hosts and host_name(head.host).decode("latin-1") in policy.hosts:
            keys |= Key.HOST
        if self._header[0] and self._has_header(head.lines):
            keys |= Key.HEADER
        if self._cookie_name and self._has_cookie(head.lines, now):
            keys |= Key.COOKIE
        if self._networks and self._is_near(address):
            keys |= Key.NETWORK
        if self._users and self._is_user(head.lines):
            keys |= Key.USER
        return keys

    def forget(self, lines: bytes, held: Key) -> bytes:
        """A head's lines without the keys: a backend has no use for them, and they are secret.

        The header and the cookie go whether they are right or not; Authorization may be the
        backend's own and goes only if it was a key.
        """
        names = {self._header[0]} if self._header[0] else set()
        if Key.USER in held:
            names.add(_AUTHORIZATION)
        lower = lines.lower()
        if any(b"\r\n%b:" % name in lower for name in names):
            lines = b"\r\n".join(without(lines.split(b"\r\n"), names))
        if self._cookie_name and self._cookie_name in lines:
            lines = b"\r\n".join(filter(None, map(self._without_cookie, lines.split(b"\r\n"))))
            lines += b"\r\n"
        return lines

    def _has_header(self, lines: bytes) -> bool:
        name, wanted = self._header
        values = field_values(lines, name)
        return len(values) == 1 and compare_digest(digest(values[0]), wanted)

    def _has_cookie(self, lines: bytes, now: float) -> bool:
        cookie = self.policy.cookie
        assert cookie is not None
        pairs = (pair for field in field_values(lines, b"cookie") for pair in field.split(b";"))
        values = [pair.partition(b"=")[2] for pair in pairs if self._is_ours(pair)]
        return any(
            is_signed(
                value.strip(b' \t"').decode("latin-1"),
                cookie.secret,
                self._service,
                Purpose.COOKIE,
                now,
            )
            for value in values[:_MOST_COOKIES]
        )

    def _is_ours(self, pair: bytes) -> bool:
        return pair.partition(b"=")[0].strip(b" \t") == self._cookie_name

    def _without_cookie(self, line: bytes) -> bytes:
        """A field line without our cookie; empty if nothing else was in it."""
        name, _, value = line.partition(b":")
        if name.lower() != b"cookie":
            return line
        pairs = [pair.strip(b" \t") for pair in value.split(b";") if not self._is_ours(pair)]
        others = b"; ".join(filter(None, pairs))
        return b"%b: %b" % (name, others) if others else b""

    def _is_near(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)

    def _is_user(self, lines: bytes) -> bool:
        """Whether the request has a user's name and password (RFC 7617)."""
        values = field_values(lines, _AUTHORIZATION)
        scheme, _, token = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        if scheme.lower() != b"basic":
            return False
        try:
            name, _, password = base64.b64decode(token.strip(), validate=True).partition(b":")
        except binascii.Error:
            return False
        # An unknown name takes as long as a known one.
        wanted = self._users.get(name, b"\0" * 32)
        return compare_digest(digest(password), wanted)
