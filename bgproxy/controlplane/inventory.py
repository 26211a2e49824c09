"""Everything there is, kept up to date: names resolved, backends probed, workers told."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from bgproxy.controlplane.entries import BackendEntry, EnvironmentEntry, ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.exchange import ProbeResult
from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.probes import Probes
from bgproxy.controlplane.publisher import Publisher
from bgproxy.controlplane.registry import Registry
from bgproxy.controlplane.resolver import Resolver
from bgproxy.controlplane.trouble_log import TroubleLog
from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.model import COLORS, Backend, Color, ProxyLimits
from bgproxy.domain.outcome import Reason
from bgproxy.domain.tracing import Tracing
from bgproxy.state.channel import FailureSample
from bgproxy.state.table import RoutingTable

_LOOK_UP_TIMEOUT = 2.0
"""Seconds that a change waits for names that are new; a late one follows by itself."""


class Inventory:
    """Joins the registry with those who keep it true and those who must know.

    Attributes:
        limits, trusted_proxies, access_log, tracing, request_ring: what of the configuration goes
            into every table besides services.
    """

    def __init__(self, fleet: Fleet, events: EventHub) -> None:
        self._fleet = fleet
        self._events = events
        self._resolver = Resolver(self._addresses_changed)
        self._is_running = False
        self._troubles = TroubleLog()
        self.registry = Registry(fleet.ledger)
        self.publisher = Publisher(fleet, self.table)
        self.probes = Probes(self._probed)
        self.limits = ProxyLimits()
        self.trusted_proxies: tuple[str, ...] = ()
        self.access_log = AccessLog()
        self.tracing = Tracing()
        self.request_ring = 0

    def start(self) -> None:
        """Begin to probe, resolve and publish; the workers have table 1."""
        self._is_running = True
        self._fleet.on_backend_trouble = self._backend_trouble
        self._fleet.on_worker_died = self._worker_died
        self._fleet.on_failure_sample = self._failure_sampled
        self.publisher.start()
        self._follow()

    async def stop(self) -> None:
        """Keep nothing up to date any more."""
        self._is_running = False
        self._fleet.on_backend_trouble = None
        self._fleet.on_worker_died = None
        self._fleet.on_failure_sample = None
        await self.probes.stop()
        await self._resolver.stop()
        await self.publisher.stop()

    def table(self, number: int) -> RoutingTable:
        """The routing table as of now."""
        return RoutingTable(
            number,
            self.registry.routes(),
            self.limits,
            self.trusted_proxies,
            self.access_log,
            self.tracing,
            self.request_ring,
        )

    async def look_up(self, backends: Iterable[Backend]) -> None:
        """Resolve the names of backends that are new, for a bounded time."""
        names = {backend.host for backend in backends if backend.is_name}
        await self._resolver.look_up(names, _LOOK_UP_TIMEOUT)

    def refused_addresses(self, backend: Backend) -> list[str]:
        """Of what a backend's name stands for now, what it may not lead to if the API set it."""
        found = self._resolver.addresses(backend.host) if backend.is_name else ()
        usable = self.registry.backend_allow.usable(backend, found)
        return [address for address in found if address not in usable]

    def update(self, services: Iterable[ServiceEntry]) -> None:
        """Bring services' entries in line with their backends; workers are told separately."""
        for service in services:
            for color in COLORS:
                self._refresh(service, color)
        if self._is_running:
            self._follow()

    async def publish(self) -> None:
        """Return when every worker has a table that shows what there is now."""
        self.publisher.request()
        await self.publisher.settle()

    def collect(self) -> None:
        """Free slots that nobody needs any more."""
        self.registry.collect(self.publisher.acknowledged)

    def _refresh(self, service: ServiceEntry, color: Color) -> bool:
        return self.registry.refresh(
            service,
            color,
            self._resolver.addresses,
            self.publisher.next_number,
            is_active=self.is_active(service, color),
        )

    def is_active(self, service: ServiceEntry, color: Color) -> bool:
        """Whether a color gets the service's traffic."""
        return self._fleet.ledger.pointer(service.word).color is color

    def _follow(self) -> None:
        """Probe and resolve what there is now, and nothing else."""
        self._resolver.watch(self.registry.names())
        self.probes.follow(self.registry.services.values())

    # -- what comes from below --------------------------------------------------------------------

    def _probed(self, service: ServiceEntry, entry: BackendEntry, result: ProbeResult) -> None:
        """A probe's result: tell the workers and the world if it changed something."""
        environment = next((e for e in service.environments if entry in e.routed), None)
        if entry.take(result, service.settings.health) and environment is not None:
            self._events.publish(
                "health",
                service.name,
                environment=str(environment.color),
                backend=entry.backend.url,
                address=str(entry.place),
                healthy=entry.health.is_ready,
                answered=result.detail,
            )
            if environment.leaving and self.registry.may_drop_leaving(environment):
                self.registry.drop_leaving(environment, self.publisher.next_number)
                self._follow()
            self.publisher.request()
            self._check_fail_open(service, environment)
        service.probed.beat()

    def _check_fail_open(self, service: ServiceEntry, environment: EnvironmentEntry) -> None:
        """All backends of the active environment look down: traffic goes on, but say so loudly."""
        if not self.is_active(service, environment.color):
            return
        if any(entry.health.is_ready for entry in environment.routed):
            return
        detail = "no backend of the active environment is healthy; traffic is sent to all of them"
        color = str(environment.color)
        self._events.publish("fail_open", service.name, environment=color, detail=detail)

    def _addresses_changed(self, name: str) -> None:
        """A name stands for other addresses now."""
        has_changed = False
        for service in self.registry.services.values():
            for environment in service.environments:
                named = [each for each in environment.backends if each.host == name]
                if named:
                    self._tell_of_refused(service, environment, named)
                    has_changed |= self._refresh(service, environment.color)
        if has_changed and self._is_running:
            self._follow()
            self.publisher.request()

    def _tell_of_refused(
        self, service: ServiceEntry, environment: EnvironmentEntry, named: Iterable[Backend]
    ) -> None:
        """A name leads somewhere it may not: that address gets nothing, and people should know."""
        for backend in named if environment.saved.backends is not None else ():
            if refused := self.refused_addresses(backend):
                self._events.publish(
                    "backend_not_allowed",
                    service.name,
                    environment=str(environment.color),
                    backend=backend.url,
                    addresses=refused,
                )

    def _backend_trouble(self, slot: int, reason: Reason, detail: str) -> None:
        """A worker could not connect: look for ourselves, and whether the name moved."""
        owner = self.registry.owner(slot)
        if owner is not None:
            service, entry = owner
            self._troubles.note(service.name, entry.backend.url, reason, detail, monotonic())
            self.probes.poke((entry,))
            self._resolver.poke(entry.backend.host)

    def _worker_died(self, place: int) -> None:
        self._events.publish("worker_died", "", worker=place)

    def _failure_sampled(self, sample: FailureSample) -> None:
        """A failed exchange, for the explanation of what the judge finds."""
        service = self.registry.services.get(sample.service)
        if service is not None and service.watched is not None:
            service.watched.keep_sample(sample)
