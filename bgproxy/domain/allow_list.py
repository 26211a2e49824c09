"""Which addresses the admin API may make backends: a list of networks, names and socket paths.

A name is looked up again and again while it is a backend, and whoever owns it decides what it
stands for. So a name has to be on the list, and what it stands for too, each time anew: a name that
is rebound to the metadata service of a cloud, or to this machine's own ports, leads nowhere.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bgproxy.domain.model import Backend

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9*]([a-z0-9*_.-]{0,250}[a-z0-9*])?")
_EVERY_PORT = (1, 65535)


@dataclass(frozen=True, slots=True)
class AllowRule:
    """One entry of the list; `parse` makes one.

    Args:
        text: as it was written.
        network: of addresses; None where the entry is a name or a path.
        name: a pattern of host names, lower case; empty where it is not about names.
        path: a pattern of unix sockets' paths; empty likewise.
        ports: the lowest and the highest.
    """

    text: str
    network: Network | None = None
    name: str = ""
    path: str = ""
    ports: tuple[int, int] = _EVERY_PORT

    @classmethod
    def parse(cls, text: str) -> AllowRule:
        """Read ``10.0.0.0/8``, ``10.1.2.3:9000-9099``, ``*.internal:80`` or ``unix:/run/*``.

        An IPv6 network that has ports stands in brackets: ``[fd00::/8]:80``.

        Raises:
            ValueError: with one sentence, problem and remedy parted by a semicolon.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or posixpath.normpath(path) != path:
                raise ValueError(f"{text!r} is no path; write unix:/absolute/path, * for any part")
            return cls(text, path=path)
        where, ports = _split_ports(text)
        if where.startswith("[") and where.endswith("]"):
            where = where[1:-1]
        try:
            network = ipaddress.ip_network(where, strict=False)
        except ValueError:
            name = where.lower().rstrip(".")
            if not _NAME.fullmatch(name) or re.fullmatch(r"[0-9.]+(/.*)?", name):
                raise ValueError(
                    f"{text!r} is no network, name or path; write 10.0.0.0/8, *.internal:8080, "
                    "10.0.0.7:9000-9099 or unix:/run/apps/*"
                ) from None
            return cls(text, name=name, ports=ports)
        if "/" in where and str(network.network_address) != where.partition("/")[0]:
            raise ValueError(f"{text!r} has bits set beyond its length; write {network}")
        return cls(text, network=network, ports=ports)

    def takes_port(self, port: int) -> bool:
        """Whether a port is among those of the entry."""
        return self.ports[0] <= port <= self.ports[1]


def _split_ports(text: str) -> tuple[str, tuple[int, int]]:
    """What stands before the ports, and the ports; a bare IPv6 network has none."""
    where, separator, ports = text.rpartition(":")
    if not separator or ("]" not in where and ":" in where):
        return text, _EVERY_PORT
    found = _PORTS.fullmatch(ports)
    if found is None:
        if "]" not in ports:
            raise ValueError(f"{ports!r} are no ports; write 8080 or 8000-8099")
        return text, _EVERY_PORT
    low = int(found[1])
    high = int(found[2]) if found[2] else low
    if not 1 <= low <= high <= _EVERY_PORT[1]:
        raise ValueError(f"{ports!r} are no ports; write them from 1 to 65535, the lower one first")
    return where, (low, high)


@dataclass(frozen=True, slots=True)
class AllowList:
    """All entries; without any, everything is allowed."""

    rules: tuple[AllowRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def allows(self, backend: Backend) -> bool:
        """Whether a backend may be set, as far as that shows before its name is looked up."""
        if not self.rules:
            return True
        if backend.scheme == "unix":
            return any(_path_fits(rule.path, backend.path) for rule in self.rules if rule.path)
        if not backend.is_name:
            return self._allows_address(ipaddress.ip_address(backend.host), backend.port)
        names = [rule for rule in self.rules if rule.name]
        if not names:  # then what it stands for decides alone
            return any(rule.network is not None for rule in self.rules)
        host = backend.host.lower().rstrip(".")
        return any(fnmatchcase(host, r.name) and r.takes_port(backend.port) for r in names)

    def usable(self, backend: Backend, addresses: Iterable[str]) -> tuple[str, ...]:
        """Of the addresses that a backend's name stands for, those it may lead to."""
        if not self.rules:
            return tuple(addresses)
        return tuple(a for a in addresses if self._allows_resolved(backend, a))

    def _allows_resolved(self, backend: Backend, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        if any(rule.network is not None for rule in self.rules):
            return self._allows_address(found, backend.port)
        return not _is_special(_unmapped(found))

    def _allows_address(self, address: _IpAddress, port: int) -> bool:
        address = _unmapped(address)
        return any(
            rule.network is not None and address in rule.network and rule.takes_port(port)
            for rule in self.rules
        )


def _unmapped(address: _IpAddress) -> _IpAddress:
    """An IPv4 address in the clothes of IPv6 is the IPv4 address (RFC 4291 section 2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_special(address: _IpAddress) -> bool:
    """Whether no name of another machine stands for it: this machine's, the link's, nobody's."""
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )


def _path_fits(pattern: str, path: str) -> bool:
    """Whether a path is of a pattern whose ``*`` stands for a part between two slashes."""
    if posixpath.normpath(path) != path:
        return False
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
