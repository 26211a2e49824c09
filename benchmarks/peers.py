"""The proxies that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

from benchmarks import peer_files
from benchmarks.programs import version_of
from benchmarks.site import Site


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy.

    Args:
        name: for tables and the command line.
        command: writes what the program reads, and returns what starts it.
        program: the name of a program that is not ours, or "".
        version: the option that makes the program print its version; without a program, the
            distribution whose version counts.
        cannot: the workloads that are not for it.
        is_variant: whether it is another one with something changed, measured on fewer workloads.
    """

    name: str
    command: Callable[[Site], Sequence[str]]
    program: str
    version: str
    cannot: frozenset[str] = frozenset()
    is_variant: bool = False

    def version_text(self) -> str:
        """The version, for the report."""
        if self.program:
            return version_of(self.program, self.version)
        return metadata.version(self.version)


PEERS = (
    Peer("bgproxy", peer_files.bgproxy, "", "bgproxy"),
    Peer("bgproxy-plain", peer_files.bgproxy_plain, "", "bgproxy", is_variant=True),
    Peer("bgproxy-logging", peer_files.bgproxy_logging, "", "bgproxy", is_variant=True),
    Peer("nginx", peer_files.nginx, "nginx", "-v"),
    Peer("nginx-logging", peer_files.nginx_logging, "nginx", "-v", is_variant=True),
    Peer("HAProxy", peer_files.haproxy, "haproxy", "-v"),
    Peer("HAProxy-logging", peer_files.haproxy_logging, "haproxy", "-v", is_variant=True),
    Peer("Envoy", peer_files.envoy, "envoy", "--version"),
    Peer("Traefik", peer_files.traefik, "traefik", "version"),
    Peer("Caddy", peer_files.caddy, "caddy", "version"),
    Peer("aiohttp", peer_files.aiohttp, "", "aiohttp", cannot=frozenset({"websocket"})),
    Peer("relay", peer_files.relay, "", "uvloop", cannot=frozenset({"tls", "tls-connect"})),
)
"""Everything that can be compared; `bgproxy-plain` does without its compiled scanner, `-logging`
writes an access log, `relay` is the floor, `aiohttp` the usual Python proxy."""
