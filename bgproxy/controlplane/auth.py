"""Who may do what on the admin API: tokens, roles, and a bound on wrong guesses.

Tokens are compared as digests, all of them every time, so that neither the time taken nor an early
exit tells how much of a guess was right. Nothing here logs or returns a token.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bgproxy.config.settings import AdminSettings, Role, Token

_HASHED = "sha256:"
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 4.0
_MOST_SEEN = 4096
_log = structlog.get_logger("bgproxy.admin")
_RANK = {Role.READ: 0, Role.ROLLBACK: 1, Role.SWITCH: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the token's name as the history shows it, and what it may do."""

    name: str
    role: Role

    def may(self, needed: Role) -> bool:
        """Whether this role reaches as far as `needed`; each role includes those before it."""
        return _RANK[self.role] >= _RANK[needed]


LOCAL = Principal("local", Role.ADMIN)
"""Who asks over loopback where no tokens are set."""


class Authenticator:
    """Finds the principal of an ``Authorization`` field.

    Args:
        tokens: the configured ones; none means that everyone who can connect is `LOCAL`. A secret
            written as ``sha256:HEX`` is the digest of a token that is kept elsewhere.
    """

    __slots__ = ("_digests", "is_open")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.is_open = not tokens
        self._digests = tuple(
            (_digest_of_secret(token.secret), Principal(token.name, token.role)) for token in tokens
        )

    def principal(self, authorization: str) -> Principal | None:
        """Who presents this field (RFC 6750 section 2.1), or None for nobody we know."""
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = hashlib.sha256(presented.strip().encode("utf-8", "surrogateescape")).digest()
        found: Principal | None = None
        for known, principal in self._digests:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def _digest_of_secret(secret: str) -> bytes:
    if secret.startswith(_HASHED):
        return bytes.fromhex(secret.removeprefix(_HASHED))
    return hashlib.sha256(secret.encode()).digest()


class FailureLimit:
    """Counts wrong tokens by address and says when an address has had enough.

    Args:
        most: wrong tokens an address may present within `period`.
        period: seconds after which its count starts anew.
        addresses: how many addresses are remembered; the longest unseen is forgotten first.
    """

    __slots__ = ("_addresses", "_most", "_period", "_seen")

    def __init__(self, most: int = 20, period: float = 60.0, addresses: int = 4096) -> None:
        self._most = most
        self._period = period
        self._addresses = addresses
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def retry_after(self, address: str, now: float) -> float:
        """Seconds that `address` has to wait; 0 when it may try."""
        began, failures = self._seen.get(address, (now, 0))
        ends = began + self._period
        return ends - now if failures >= self._most and ends > now else 0.0

    def delay(self, address: str) -> float:
        """Seconds to wait before the next refusal, twice as many for each further `most`."""
        _, failures = self._seen.get(address, (0.0, 0))
        doublings = min(failures // self._most - 1, 10)
        return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**doublings)

    def count(self, address: str, now: float) -> bool:
        """Record a wrong token; True when this one used up what the address had."""
        began, failures = self._seen.pop(address, (now, 0))
        if began + self._period <= now:
            began, failures = now, 0
        self._seen[address] = (began, failures + 1)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)
        return failures + 1 == self._most


class Access:
    """Who is let in, as the configuration last said; changes hold from the next request on.

    Attributes:
        authenticator: knows the tokens.
        hosts: names by which the listeners may be addressed, lower case.
        limit: counts wrong tokens, also over changes of the configuration.
    """

    __slots__ = ("_seen", "authenticator", "hosts", "limit")

    def __init__(self, settings: AdminSettings) -> None:
        self.limit = FailureLimit()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.take(settings)

    def take(self, settings: AdminSettings) -> None:
        """Let in whom these settings say."""
        self.authenticator = Authenticator(settings.tokens)
        self.hosts = frozenset(name.lower().rstrip(".") for name in settings.allowed_hosts)

    def count_wrong(self, key: str, connection: str, now: float) -> float:
        """Count a wrong token before anything serves it; once for a connection's first request.

        Args:
            key: what wrong tokens are counted by.
            connection: its name, by which `count_served` knows it again.

        Returns:
            Seconds for which wrong tokens are refused unserved; 0 to serve this one.
        """
        if connection not in self._seen and self.limit.count(key, now):
            _log.warning("admin_tokens_refused", address=key)
        wait = self.limit.retry_after(key, now)
        if not wait:
            self._seen[connection] = None
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
        return wait

    def count_served(self, key: str, connection: str, now: float) -> float:
        """Count a wrong token of a request that is served, unless it was; returns the same."""
        if connection in self._seen:
            del self._seen[connection]
        elif self.limit.count(key, now):
            _log.warning("admin_tokens_refused", address=key)
        return self.limit.retry_after(key, now)
