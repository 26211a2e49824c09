"""The routing table as a worker uses it: cells of the ledger worked out, connections at hand.

A new table is merged into what is there: a backend or service that stays keeps its connections,
its queue and its requests held; one that goes loses its idle connections and answers what waits.
"""

from __future__ import annotations

import random
from collections import deque
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane.durations import Durations
from bgproxy.dataplane.preview_keys import PreviewKeys
from bgproxy.domain.balance import ejection_pause, may_eject, two_choices
from bgproxy.domain.maintenance import Gate
from bgproxy.domain.model import COLORS, Backend, Color
from bgproxy.domain.outcome import Reason
from bgproxy.domain.preview import Preview
from bgproxy.domain.routing import Router
from bgproxy.domain.tls import UpstreamTls
from bgproxy.protocol.forwarding import without
from bgproxy.protocol.head import HeadLimits
from bgproxy.state import ledger
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute

if TYPE_CHECKING:
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.shared import Shared
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.protocol.values import RequestHead

_EJECT_AFTER = 5
"""Failures in a row of one backend, while its peers serve, that take it out for a while."""

_CACHING = frozenset(
    {b"cache-control", b"expires", b"pragma", b"surrogate-control", b"cdn-cache-control"}
)
"""Fields by which a backend tells caches to keep an answer."""


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
        self.name = Backend.parse(route.url).host.removesuffix(".")  # as certificates have it
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
    Durations are copied there by `flush`.
    """

    is_judged = True
    """Whether its failures speak of a release that users are served by."""

    __slots__ = (
        "_base",
        "_clients",
        "_replaced",
        "answer_fields",
        "backends",
        "candidates",
        "codes",
        "color",
        "durations",
        "noted_at",
        "reasons",
        "retry_tokens",
    )

    def __init__(self, service_slot: int, color: Color, worker: int) -> None:
        self.color = color
        self._clients = ledger.clients_base(worker, service_slot, color)
        self._count_at(ledger.series_base(worker, service_slot, color))
        self.answer_fields = b""
        """Lines that every answer gets; see `mark_answers`."""
        self._replaced: frozenset[bytes] = frozenset()
        self.backends: list[BackendState] = []
        self.candidates: list[BackendState] = []
        self.durations = Durations()
        self.retry_tokens = 10.0
        self.noted_at = 0.0
        """The tick whose visit is counted already."""

    def _count_at(self, base: int) -> None:
        self._base = base
        self.codes = base + ledger.CODES - ledger.FIRST_CODE
        self.reasons = base + ledger.REASONS

    def mark_answers(self, fields: bytes, replaced: frozenset[bytes] = frozenset()) -> None:
        """Add lines to every answer from now on.

        Args:
            fields: each with its CRLF; empty for none.
            replaced: lower-case names of fields that a backend's answer loses for them.
        """
        self.answer_fields = fields
        self._replaced = replaced

    def marked(self, lines: bytes) -> bytes:
        """An answer's lines with those that it gets."""
        return b"\r\n".join(without(lines.split(b"\r\n"), self._replaced)) + self.answer_fields

    def refresh(self, now: float) -> None:
        """Work out anew who can be chosen.

        Ready backends, less those ejected; where none is ready, all of them: to fail open is
        better than to answer nobody because a probe is wrong.
        """
        ready = [b for b in self.backends if b.is_ready] or self.backends
        self.candidates = [b for b in ready if b.ejected_until <= now] or ready

    def choose(
        self, shared: Shared, most: int, tried: tuple[BackendState, ...] = ()
    ) -> BackendState | None:
        """The backend for a request, or None when all carry `most` requests or were tried."""
        candidates = self.candidates
        if len(candidates) == 1 and not tried:
            first = candidates[0]
            return first if shared.cell(first.gauge) < most else None
        return self._choose_of_many(shared.cells, most, tried)

    def _choose_of_many(
        self, cells: memoryview, most: int, tried: tuple[BackendState, ...]
    ) -> BackendState | None:
        candidates = [b for b in self.candidates if b not in tried] if tried else self.candidates
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

    def count_client(self, cells: memoryview, slot: int) -> None:
        """Count a judged failure by its client; `slot` is of `Ledger.client_slot`."""
        cells[self._clients + ledger.CLIENT_FAILURES + slot] += 1

    def count_visit(self, cells: memoryview, slot: int, now: float) -> None:
        """Count a judged request by its client, the first one of the tick `now`."""
        self.noted_at = now
        cells[self._clients + ledger.CLIENT_VISITS + slot] += 1

    def count_answer(self, cells: memoryview, code: int, reason: Reason) -> None:
        """Count an answer of our own to a request that was not claimed."""
        cells[self.codes + code] += 1
        cells[self.reasons + reason] += 1

    def flush(self, cells: memoryview, retry_share: float) -> None:
        """Copy the durations to the slab and earn retries for the exchanges counted."""
        counts, seconds = self.durations.take()
        exchanges = sum(counts)
        if not exchanges:
            return
        base = self._base + ledger.DURATIONS
        for bucket, count in enumerate(counts):
            if count:
                cells[base + bucket] += count
        cells[self._base + ledger.DURATION_SUM] += int(seconds * 1e6)
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


class PreviewState(EnvironmentState):
    """One color as previews see it while it is idle: counted apart, and only what is ready serves.

    Its users want to see this environment: no answer at all tells them more than one of a backend
    that is known not to be ready.
    """

    is_judged = False

    __slots__ = ()

    def __init__(self, service_slot: int, color: Color, worker: int) -> None:
        super().__init__(service_slot, color, worker)
        self._count_at(ledger.preview_base(worker, service_slot, color))

    def refresh(self, now: float) -> None:
        """Ready backends, and never the others."""
        self.candidates = [b for b in self.backends if b.is_ready]

    def mark_previews(self, policy: Preview) -> None:
        """Have every answer tell where it comes from, and no cache keep it for anybody else."""
        name = policy.environment_header
        keys = (
            policy.header[0],
            "Cookie" if policy.cookie is not None else "",
            "Authorization" if policy.users else "",
        )
        vary = ", ".join(filter(None, keys)) or "*"
        self.mark_answers(
            f"{name}: {self.color}\r\nCache-Control: private, no-store\r\n"
            f"Vary: {vary}\r\n".encode(),
            _CACHING | {name.lower().encode()},
        )


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
        "idle_timeout",
        "limits",
        "max_in_flight",
        "name",
        "preview",
        "previews",
        "queue",
        "response_timeout",
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
        self.previews = (
            PreviewState(service.slot, Color.BLUE, worker),
            PreviewState(service.slot, Color.GREEN, worker),
        )
        self.held: deque[Exchange] = deque()
        self.queue: deque[Exchange] = deque()
        self.held_until = 0.0
        self.upstream_tls = UpstreamTls()

    def update(self, service: ServiceRoute, backends: dict[int, BackendState]) -> None:
        """Take over what a new table says; `backends` are this worker's by slot."""
        self.word = ledger.word_cell(service.word)
        self.timeouts = service.timeouts
        self.limits = service.limits
        # Looked at for every request, where a policy's own fields are two steps away.
        self.max_in_flight = service.limits.max_in_flight
        self.response_timeout = service.timeouts.response
        self.idle_timeout = service.timeouts.idle
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
            self.previews[color.index].backends = environment.backends
            self.previews[color.index].refresh(now)
            if is_trust_other:
                for backend in environment.backends:
                    backend.close_idle()
        self._take_preview(service.preview)

    def _take_preview(self, policy: Preview | None) -> None:
        self.preview = None if policy is None else PreviewKeys(policy, self.name)
        for live, idle in zip(self.environments, self.previews, strict=True):
            if policy is not None:
                idle.mark_previews(policy)
            if policy is not None and policy.marks_live:
                name = policy.environment_header
                live.mark_answers(
                    f"{name}: {live.color}\r\n".encode(), frozenset({name.lower().encode()})
                )
            else:
                live.mark_answers(b"")

    @property
    def counted(self) -> tuple[EnvironmentState, ...]:
        """Everything that counts for this service."""
        return self.environments + self.previews


class Routing:
    """What a connection asks for the service that its requests go to."""

    __slots__ = ()
    is_apart = False

    def find(self, head: RequestHead) -> Route | None:
        """The service for a request, or None where there is none."""
        raise NotImplementedError


class Routes(Routing):
    """All that a worker routes by; `apply` merges a new table in."""

    __slots__ = (
        *("_apart", "_backends", "_only", "_router", "_services", "_worker"),
        *("limits", "table", "trusted"),
    )

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._services: dict[int, Route] = {}
        self._backends: dict[int, BackendState] = {}
        self._router: Router[Route] = Router(())
        self._only: Route | None = None
        self._apart: dict[str, Router[Route]] = {}
        self.limits = HeadLimits()
        self.table = RoutingTable(0, ())
        self.trusted: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def services(self) -> list[Route]:
        """Every service of the present table."""
        return list(self._services.values())

    def apply(self, table: RoutingTable) -> list[Exchange]:
        """Merge a table in.

        Returns:
            Requests that waited for a service which is gone.
        """
        self._merge_backends(table)
        orphans: list[Exchange] = []
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
        self._router = Router([(*_rule_of(s), services[s.slot]) for s in table.services])
        self._only = self._router.only
        self._apart = {
            address: Router([(("*",), ("/",), services[service.slot])])
            for service in table.services
            if service.preview is not None
            for address in service.preview.listen
        }
        limits = table.limits
        self.limits = HeadLimits(limits.max_line_bytes, limits.max_head_bytes, limits.max_fields)
        self.trusted = tuple(ip_network(network) for network in table.trusted_proxies)
        self.table = table
        return orphans

    def find(self, head: RequestHead) -> Route | None:
        """By host and path, where there is more than one service."""
        only = self._only
        return self._router.find(head.host, head.target) if only is None else only

    def router_at(self, address: str) -> Router[Route]:
        """Where requests go that come to a listener of a preview; nowhere if it is nobody's now."""
        return self._apart.get(address) or Router(())

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


class RoutesApart(Routing):
    """What `Routes` is to the connections of a preview's listener: all leads to one service."""

    __slots__ = ("_address", "_routes")
    is_apart = True

    def __init__(self, routes: Routes, address: str) -> None:
        self._routes = routes
        self._address = address

    def find(self, head: RequestHead) -> Route | None:
        """The preview's service, whatever the host and the path."""
        return self._routes.router_at(self._address).find(head.host, head.target)


def _rule_of(service: ServiceRoute) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hosts and paths that lead to a service, those of its preview among them."""
    hosts, paths, preview = service.hosts, service.paths, service.preview
    if preview is not None:
        hosts += preview.hosts
        paths += (preview.cookie.path,) if preview.cookie is not None else ()
    return hosts, paths
