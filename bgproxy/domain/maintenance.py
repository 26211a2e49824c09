"""Maintenance: a service that is closed to the public, and open to a few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

DEFAULT_MESSAGE = "This service is down for maintenance and will be back soon."

MAX_MESSAGE = 500
MAX_ALLOWED = 100


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What everybody is told meanwhile, and who is let in.

    Args:
        message: one or two sentences for people.
        allow: networks, canonical, whose clients are served as always.
        since: Unix time at which it began.
        by: who began it.
    """

    message: str
    allow: tuple[str, ...]
    since: float
    by: str


def read_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Networks and addresses in their canonical form, each once.

    Raises:
        ValueError: one is neither; one sentence says which, and what would be right.
    """
    networks: dict[str, None] = {}
    for text in texts:
        try:
            networks[str(ip_network(text))] = None
        except ValueError:
            raise ValueError(
                f"{text!r} is not a network; write one such as 10.0.0.0/8, or an address"
            ) from None
    return tuple(networks)


class Gate:
    """Who is let through to a service in maintenance.

    Args:
        allow: networks as in `Maintenance.allow`.
        open_path: a path that is open to everybody: the one that load balancers probe. A query
            that it has plays no part.
    """

    __slots__ = ("_networks", "_open_path")

    def __init__(self, allow: Iterable[str], open_path: str) -> None:
        self._networks = tuple(ip_network(text) for text in allow)
        self._open_path = open_path.partition("?")[0].encode("latin-1")

    def lets_in(self, client: str, target: bytes) -> bool:
        """Whether a request is served as always.

        Args:
            client: an IP address; whatever else it is, it is on no list.
            target: the request's, with its query.
        """
        if target.partition(b"?")[0] == self._open_path:
            return True
        if not self._networks:
            return False
        try:
            address = ip_address(client)
        except ValueError:
            return False
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
