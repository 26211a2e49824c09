"""Host and path to service: the most specific host wins, within it the longest path prefix.

A host pattern is a name, ``*.example.com`` for any name below, or ``*``. A path prefix matches
whole segments of the target's path as it was sent: ``/app`` matches ``/app`` and ``/app/x``, not
``/apple``; escapes and dot segments are the backend's to read. Where a more specific host has no
fitting prefix, the next less specific one is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_CACHED_HOSTS = 1024


class Router(Generic[T]):
    """Finds the value for a request; look-ups cost the same however many services there are.

    Args:
        rules: hosts, path prefixes and the value these lead to; the first of equal rules wins.
    """

    def __init__(self, rules: Iterable[tuple[Sequence[str], Sequence[str], T]]) -> None:
        self._hosts: dict[bytes, dict[bytes, T]] = {}
        self._cache: dict[bytes, tuple[dict[bytes, T], ...]] = {}
        for hosts, paths, value in rules:
            for host in hosts:
                prefixes = self._hosts.setdefault(host.lower().encode("latin-1"), {})
                for path in paths:
                    prefixes.setdefault(path.rstrip("/").encode("latin-1"), value)
        anything = self._hosts.get(b"*", {})
        is_plain = list(self._hosts) == [b"*"] and list(anything) == [b""]
        self.only: T | None = anything[b""] if is_plain else None
        """The one value that every request leads to, where that is so."""

    def find(self, host: bytes, target: bytes) -> T | None:
        """The value for a request, or None where no rule fits.

        Args:
            host: authority as sent, with or without a port, in any case.
            target: origin-form as sent, or ``*``.
        """
        tables = self._cache.get(host)
        if tables is None:
            tables = self._tables(host)
        path = target.partition(b"?")[0]
        for prefixes in tables:
            prefix = path
            while True:
                if prefix in prefixes:
                    return prefixes[prefix]
                if not prefix:
                    break
                prefix = prefix.rpartition(b"/")[0]
        return None

    def _tables(self, host: bytes) -> tuple[dict[bytes, T], ...]:
        """The prefix tables that may serve a host, most specific first; remembered, bounded."""
        name = host_name(host)
        patterns = [name]
        rest = name
        while rest := rest.partition(b".")[2]:
            patterns.append(b"*." + rest)
        patterns.append(b"*")
        tables = tuple(self._hosts[p] for p in patterns if p in self._hosts)
        if len(self._cache) >= _CACHED_HOSTS:
            self._cache.clear()
        self._cache[host] = tables
        return tables


def host_name(host: bytes) -> bytes:
    """The name that an authority means: in lower case, without its port and a final dot."""
    if host.startswith(b"["):
        return host.lower().partition(b"]")[0] + b"]"
    return host.partition(b":")[0].lower().rstrip(b".")
