"""Preview: who is shown the idle environment of a service, before everybody is.

A *key* is something that a request has: it came to a listener of its own, it names a certain host,
it carries a secret header or a signed cookie, it comes from a certain network, or it knows a
user's password. A *way* is a set of keys; a request that has all keys of any way is a *preview*
and is answered by the environment that is idle at that moment, whatever its color, or by nobody.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network

SHORTEST_SECRET = 16
"""Characters below which a secret could be found by trying."""

_DIGEST = "sha256:"


class Key(enum.Flag):
    """What a request may have to show."""

    LISTENER = enum.auto()
    HOST = enum.auto()
    HEADER = enum.auto()
    COOKIE = enum.auto()
    NETWORK = enum.auto()
    USER = enum.auto()

    @property
    def label(self) -> str:
        """As people write it: ``header``, or ``host+network``."""
        return "+".join((key.name or "").lower() for key in Key if key in self)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read what `label` writes.

        Raises:
            ValueError: problem and remedy, parted by a semicolon.
        """
        way = NO_KEY
        for word in text.split("+"):
            key = cls.__members__.get(word.strip().upper())
            if key is None:
                known = ", ".join(key.label for key in cls)
                raise ValueError(f"{word.strip()!r} is no key; write some of {known}, with +")
            way |= key
        return way


NO_KEY = Key(0)

ASKING = Key.LISTENER | Key.HOST
"""Keys that only previews have: what shows them and opens nothing is refused, never served live."""

GUARDS = Key.NETWORK | Key.USER


@dataclass(frozen=True, slots=True)
class PreviewCookie:
    """The cookie that a link sets.

    Args:
        secret: signs links and cookies.
        path: of the link.
        name: of the cookie.
        lifetime: seconds that a cookie is good for.
    """

    secret: str = field(repr=False)
    path: str = "/.well-known/bgproxy-preview"
    name: str = "bgproxy_preview"
    lifetime: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Preview:
    """How a service's idle environment is reached; secrets may be ``sha256:`` and their digest.

    Args:
        listen: listeners of its own, as ``address:port`` or ``unix:PATH``.
        hosts: host names that mean the idle environment.
        header: name and secret value; an empty name for none.
        cookie: None for none.
        networks: where clients must be, as text.
        users: names and passwords.
        ways: any of these opens; empty for `usual_ways`.
        environment_header: the answer's field that tells which environment it comes from.
        marks_live: whether answers of the active environment tell so, too.
    """

    listen: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    header: tuple[str, str] = field(default=("", ""), repr=False)
    cookie: PreviewCookie | None = None
    networks: tuple[str, ...] = ()
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ways: tuple[Key, ...] = ()
    environment_header: str = "X-BGProxy-Environment"
    marks_live: bool = False

    @property
    def configured(self) -> Key:
        """The keys that there are."""
        there = {
            Key.LISTENER: bool(self.listen),
            Key.HOST: bool(self.hosts),
            Key.HEADER: bool(self.header[0]),
            Key.COOKIE: self.cookie is not None,
            Key.NETWORK: bool(self.networks),
            Key.USER: bool(self.users),
        }
        keys = NO_KEY
        for key, is_there in there.items():
            if is_there:
                keys |= key
        return keys

    @property
    def open_ways(self) -> tuple[Key, ...]:
        """The ways in."""
        return self.ways or usual_ways(self.configured)

    def is_strong(self, way: Key, *, is_listener_local: bool) -> bool:
        """Whether a way has a key that nobody finds by trying or asking around.

        Args:
            is_listener_local: whether only this machine reaches the preview's listeners.
        """
        strong = Key.COOKIE
        if is_listener_local:
            strong |= Key.LISTENER
        if is_long(self.header[1]):
            strong |= Key.HEADER
        if all(ip_network(network).prefixlen for network in self.networks):
            strong |= Key.NETWORK
        if all(is_long(password) for _, password in self.users):
            strong |= Key.USER
        return bool(way & strong & self.configured)


def usual_ways(configured: Key) -> tuple[Key, ...]:
    """One way for each key that leads somewhere; networks and users guard all of them."""
    guards = configured & GUARDS
    leading = [key for key in Key if key in configured and key not in GUARDS]
    return tuple(key | guards for key in leading) or ((guards,) if guards else ())


def opened(ways: Iterable[Key], held: Key) -> Key:
    """The first way all of whose keys a request holds; `NO_KEY` if it is no preview."""
    return next((way for way in ways if way in held), NO_KEY)


def is_long(secret: str) -> bool:
    """Whether a secret is too long to be found by trying."""
    return secret.startswith(_DIGEST) or len(secret) >= SHORTEST_SECRET


def digest_of(secret: str) -> bytes:
    """What a presented secret's `digest` must be."""
    if secret.startswith(_DIGEST):
        return bytes.fromhex(secret.removeprefix(_DIGEST))
    return digest(secret.encode())


def digest(presented: bytes) -> bytes:
    """Presented secrets are compared by this: equal in length, so in constant time."""
    return hashlib.sha256(presented).digest()


# -- what is signed -------------------------------------------------------------------------------


class Purpose(enum.StrEnum):
    """What a token is good for; none passes for another."""

    LINK = "link"
    COOKIE = "cookie"


def sign(secret: str, service: str, purpose: Purpose, expires: float) -> str:
    """A token for one service.

    Args:
        expires: Unix time.
    """
    return f"{int(expires)}.{_signature(secret, service, purpose, str(int(expires)))}"


def is_signed(token: str, secret: str, service: str, purpose: Purpose, now: float) -> bool:
    """Whether a token was made by `sign` for this, and is still good at `now` (Unix time)."""
    expires, _, signature = token.partition(".")
    if not (
        expires.isascii() and expires.isdecimal() and len(expires) <= 12 and now < int(expires)
    ):
        return False
    wanted = _signature(secret, service, purpose, expires)
    return hmac.compare_digest(signature.encode(), wanted.encode())


def _signature(secret: str, service: str, purpose: Purpose, expires: str) -> str:
    # A line feed stands in no part, so no two different tokens sign the same text.
    text = f"bgproxy preview\n{purpose}\n{service}\n{expires}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
