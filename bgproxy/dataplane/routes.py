"""The routing table as a worker uses it: cells of the ledger worked out, connections at hand.

A new table is merged into what is there: a backend or service that stays keeps its connections,
its queue and its requests held; one that goes loses its idle connections and answers what waits.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.domain.balance import ejection_pause, may_eject, two_choices
from bgproxy.domain.maintenance import Gate
from bgproxy.domain.model import COLORS, Backend, Color
from bgproxy.domain.outcome import Reason
from bgproxy.domain.routing import Router
from bgproxy.domain.tls import UpstreamTls
from bgproxy.protocol.head import HeadLimits
from bgproxy.state import ledger
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute

if TYPE_CHECKING:
    from bgproxy.dataplane.downstream import Downstream
    from bgproxy.dataplane.upstream import Upstream

_EJECT_AFTER = 5
"""Failures in a row of one backend, while its peers serve, that take it out for a while."""


class BackendState:
    """One backend: where it is, what it carries, its idle connections (last used first)."""

    __slots__ = (
        "address",
        "authority",
        "ejected_until",
        "ejections",
        "failures_in_a_row",
        "gauge",
        "idle",
        "is_known",
        "is_ready",
        "name",
        "scheme",
        "slot",
        "url",
    )

    def __init__(self, route: BackendRoute, worker: int) -> None:
        self.slot = route.slot
        self.gauge = ledger.backend_base(worker, route.slot)
        self.idle: list[Upstream] = []
        self.is_known = True
        self.ejected_until = 0.0
        self.ejections = 0
        self.failures_in_a_row = 0
        self.update(route)

    def update(self, route: BackendRoute) -> None:
        """Take over what a new table says."""
        self.url = route.url
        self.scheme = route.scheme
        self.name = Backend.parse(route.url).host
        self.address = (route.host, route.port)
        self.authority = route.authority.encode("latin-1")
        self.is_ready = route.is_ready

    def close_idle(self) -> None:
        """End the connections that carry nothing."""
        for upstream in self.idle:
            upstream.close()
        self.idle.clear()


class EnvironmentState:
    """One color of a service: who can be chosen, and where its outcomes are counted.

    `codes` and `reasons` are cells of this worker's slab, to be indexed by status and reason.
    Durations are counted here and copied to the slab by `flush`, as they are not worth two
    shared additions per request; a killed worker loses those of its last tick.
    """

    __slots__ = (
        "_base",
        "_sum_flushed",
        "backends",
        "candidates",
        "codes",
        "color",
        "duration_sum",
        "durations",
        "is_open_to_all",
        "reasons",
        "retry_tokens",
    )

    def __init__(self, service_slot: int, color: Color, worker: int) -> None:
        self.color = color
        self._base = ledger.series_base(worker, service_slot, color)
        self.codes = self._base + ledger.CODES - ledger.FIRST_CODE
        self.reasons = self._base + ledger.REASONS
        self.backends: list[BackendState] = []
        self.candidates: list[BackendState] = []
        self.durations = [0] * (len(ledger.DURATION_BOUNDS) + 1)
        self.duration_sum = 0.0
        self.retry_tokens = 10.0

    def refresh(self, now: float) -> None:
        """Work out anew who can be chosen.

        Ready backends, less those ejected; where none is ready, all of them: to fail open is
        better than to answer nobody because a probe is wrong.
        """
        ready = [b for b in self.backends if b.is_ready] or self.backends
        self.candidates = [b for b in ready if b.ejected_until <= now] or ready

    def choose(
        self, cells: memoryview, most: int, tried: tuple[BackendState, ...] = ()
    ) -> BackendState | None:
        """The backend for a request, or None when all carry `most` requests or were tried."""
        candidates = self.candidates
        if len(candidates) == 1 and not tried:
            first = candidates[0]
            return first if cells[first.gauge] < most else None
        if tried:
            candidates = [b for b in candidates if b not in tried]
        if len(candidates) > 1:
            one, two = two_choices(len(candidates), random.random())
            first, second = candidates[one], candidates[two]
            if cells[second.gauge] < cells[first.gauge]:
                first = second
            if cells[first.gauge] < most:
                return first
        return next((b for b in candidates if cells[b.gauge] < most), None)

    def count(self, cells: memoryview, offset: int) -> None:
        """Add one to a cell of this series, such as `ledger.LATE`."""
        cells[self._base + offset] += 1

    def count_answer(self, cells: memoryview, code: int, reason: Reason) -> None:
        """Count an answer of our own to a request that was not claimed."""
        cells[self.codes + code] += 1
        cells[self.reasons + reason] += 1

    def time(self, seconds: float) -> None:
        """Count one exchange's duration."""
        self.durations[bisect_left(ledger.DURATION_BOUNDS, seconds)] += 1
        self.duration_sum += seconds

    def flush(self, cells: memoryview, retry_share: float) -> None:
        """Copy the durations to the slab and earn retries for the exchanges counted."""
        durations = self.durations
        exchanges = sum(durations)
        if not exchanges:
            return
        base = self._base + ledger.DURATIONS
        for bucket, count in enumerate(durations):
            if count:
                cells[base + bucket] += count
                durations[bucket] = 0
        cells[self._base + ledger.DURATION_SUM] += int(self.duration_sum * 1e6)
        self.duration_sum = 0.0
        self.retry_tokens = min(100.0, self.retry_tokens + exchanges * retry_share)

    def note_failure(self, backend: BackendState, now: float) -> None:
        """Take a backend out that fails time after time while its peers do not."""
        backend.failures_in_a_row += 1
        if backend.failures_in_a_row < _EJECT_AFTER:
            return
        ejected = sum(b.ejected_until > now for b in self.backends)
        if any(b.failures_in_a_row == 0 for b in self.backends) and may_eject(
            ejected, len(self.backends)
        ):
            backend.ejections += 1
            backend.failures_in_a_row = 0
            backend.ejected_until = now + ejection_pause(backend.ejections)
            self.refresh(now)


class Route:
    """One service: its pointer word, both environments, and the requests that wait."""

    __slots__ = (
        "closure",
        "environments",
        "error_pages",
        "exclude_paths",
        "gate",
        "held",
        "held_until",
        "hsts",
        "limits",
        "name",
        "queue",
        "slot",
        "timeouts",
        "upstream_tls",
        "word",
    )

    def __init__(self, service: ServiceRoute, worker: int) -> None:
        self.name = service.name
        self.slot = service.slot
        self.environments = (
            EnvironmentState(service.slot, Color.BLUE, worker),
            EnvironmentState(service.slot, Color.GREEN, worker),
        )
        self.held: deque[Downstream] = deque()
        self.queue: deque[Downstream] = deque()
        self.held_until = 0.0
        self.upstream_tls = UpstreamTls()

    def update(self, service: ServiceRoute, backends: dict[int, BackendState]) -> None:
        """Take over what a new table says; `backends` are this worker's by slot."""
        self.word = ledger.word_cell(service.word)
        self.timeouts = service.timeouts
        self.limits = service.limits
        self.held_until = service.held_until
        self.hsts = (
            b"Strict-Transport-Security: %b\r\n" % service.hsts.encode() if service.hsts else b""
        )
        self.error_pages = service.error_pages
        self.closure = closure = service.closure
        self.gate = None if closure is None else Gate(closure.allow, closure.open_path)
        self.exclude_paths = tuple(path.encode("latin-1") for path in service.exclude_paths)
        is_trust_other = service.upstream_tls != self.upstream_tls
        self.upstream_tls = service.upstream_tls
        now = monotonic()
        for color in COLORS:
            environment = self.environments[color.index]
            environment.backends = [backends[b.slot] for b in service.backends(color)]
            environment.refresh(now)
            if is_trust_other:
                for backend in environment.backends:
                    backend.close_idle()


class Routes:
    """All that a worker routes by; `apply` merges a new table in."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._services: dict[int, Route] = {}
        self._backends: dict[int, BackendState] = {}
        self.router: Router[Route] = Router(())
        self.limits = HeadLimits()
        self.table = RoutingTable(0, ())
        self.trusted: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def services(self) -> list[Route]:
        """Every service of the present table."""
        return list(self._services.values())

    def apply(self, table: RoutingTable) -> list[Downstream]:
        """Merge a table in.

        Returns:
            Requests that waited for a service which is gone.
        """
        self._merge_backends(table)
        orphans: list[Downstream] = []
        services: dict[int, Route] = {}
        for service in table.services:
            route = self._services.pop(service.slot, None)
            if route is None or route.name != service.name:
                route = Route(service, self._worker)
            route.update(service, self._backends)
            services[service.slot] = route
        for gone in self._services.values():
            orphans += [*gone.held, *gone.queue]
            gone.held.clear()
            gone.queue.clear()
        self._services = services
        self.router = Router([(s.hosts, s.paths, services[s.slot]) for s in table.services])
        limits = table.limits
        self.limits = HeadLimits(limits.max_line_bytes, limits.max_head_bytes, limits.max_fields)
        self.trusted = tuple(ip_network(network) for network in table.trusted_proxies)
        self.table = table
        return orphans

    def _merge_backends(self, table: RoutingTable) -> None:
        present: dict[int, BackendState] = {}
        for service in table.services:
            for route in (*service.environments[0], *service.environments[1]):
                backend = self._backends.pop(route.slot, None)
                if backend is None or backend.url != route.url:
                    backend = BackendState(route, self._worker)
                elif (route.host, route.port) != backend.address:
                    backend.close_idle()
                backend.update(route)
                present[route.slot] = backend
        for gone in self._backends.values():
            gone.is_known = False
            gone.close_idle()
        self._backends = present

    def trusts(self, address: str) -> bool:
        """Whether forwarding fields from this address are believed."""
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.trusted)

    def end_idle(self, now: float) -> None:
        """Close backend connections unused for long, and let ejected backends back in."""
        for route in self._services.values():
            oldest = now - route.timeouts.upstream_idle
            for environment in route.environments:
                environment.refresh(now)
                for backend in environment.backends:
                    while backend.idle and backend.idle[0].idle_since < oldest:
                        backend.idle.pop(0).close()
