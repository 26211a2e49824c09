"""The routing table: all that a worker must know besides the active pointers.

The supervisor makes a new one, with a number of its own, whenever backends, health, pauses or
limits change; workers acknowledge its number in their slab. It travels pickled over an inherited
socket pair between processes of one program; nothing else can write there.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.error_pages import ErrorPage
from bgproxy.domain.model import Color, ProxyLimits, ServiceLimits, Timeouts
from bgproxy.domain.preview import Preview
from bgproxy.domain.tls import UpstreamTls
from bgproxy.domain.tracing import Tracing


@dataclass(frozen=True, slots=True)
class BackendRoute:
    """One address that requests can be sent to.

    Args:
        slot: its place in the ledger.
        url: the backend as people wrote it (a name may stand for several addresses).
        scheme: ``http``, ``https`` or ``unix``.
        host: an IP address, already resolved; the socket's path for ``unix``.
        authority: ``host:port`` as written.
        is_ready: healthy and enabled.
        is_proven: has been healthy at least once since it was named.
    """

    slot: int
    url: str
    scheme: str
    host: str
    port: int
    authority: str
    is_ready: bool
    is_proven: bool


@dataclass(frozen=True, slots=True)
class Closure:
    """A service in maintenance, as workers see it.

    Args:
        message: for people.
        allow: networks, as text, whose clients are let in.
        open_path: what load balancers probe; open to everybody.
    """

    message: str
    allow: tuple[str, ...]
    open_path: str


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """One service as workers see it.

    Args:
        slot: its place in the ledger's series.
        word: the pointer word it follows; several services may share one.
        environments: the backends of blue and of green.
        held_until: monotonic time at which a pause ends by itself; 0 when not paused.
        exclude_paths: path prefixes whose exchanges the judge does not see.
        error_pages: pages of its own for error answers.
        closure: None unless it is in maintenance.
        preview: None unless its idle environment can be looked at.
        upstream_tls: what its ``https`` backends must show.
        hsts: value of Strict-Transport-Security in answers over TLS; empty for none.
    """

    name: str
    slot: int
    word: int
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    environments: tuple[tuple[BackendRoute, ...], tuple[BackendRoute, ...]]
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    held_until: float = 0.0
    exclude_paths: tuple[str, ...] = ()
    error_pages: tuple[ErrorPage, ...] = ()
    closure: Closure | None = None
    preview: Preview | None = None
    upstream_tls: UpstreamTls = field(default_factory=UpstreamTls)
    hsts: str = ""

    def backends(self, color: Color) -> tuple[BackendRoute, ...]:
        """The backends of one color."""
        return self.environments[color.index]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything a worker routes by.

    Args:
        number: grows by one with every table.
        trusted_proxies: networks, as text, whose forwarding fields are believed.
        access_log: where requests are written down.
        tracing: where spans of requests go.
        request_ring: how many requests that went well each worker remembers.
    """

    number: int
    services: tuple[ServiceRoute, ...]
    limits: ProxyLimits = field(default_factory=ProxyLimits)
    trusted_proxies: tuple[str, ...] = ()
    access_log: AccessLog = field(default_factory=AccessLog)
    tracing: Tracing = field(default_factory=Tracing)
    request_ring: int = 0

    def to_bytes(self) -> bytes:
        """Pack for the socket pair."""
        return pickle.dumps(self, protocol=5)

    @classmethod
    def from_bytes(cls, data: bytes) -> RoutingTable:
        """Unpack what `to_bytes` made."""
        table = pickle.loads(data)
        if not isinstance(table, cls):
            raise TypeError(f"not a routing table: {type(table).__name__}")
        return table
