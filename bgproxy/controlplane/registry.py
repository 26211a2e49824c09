"""Every service, environment and backend as they are now, and their places in the ledger.

The configuration file says what there is; state may have other backends for an environment; names
stand for addresses that come and go. Here all that becomes entries with slots, and entries become
the routing table.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bgproxy.controlplane.exchange import Place, ProbeResult
from bgproxy.domain.deployment import Deployment, Standing
from bgproxy.domain.health import Health
from bgproxy.domain.model import COLORS, Backend, Color, Environment, HealthPolicy, Service
from bgproxy.errors import Refused
from bgproxy.state.journal import SaveEnvironment
from bgproxy.state.ledger import MAX_BACKENDS, MAX_SERVICES, Ledger
from bgproxy.state.table import BackendRoute, ServiceRoute

if TYPE_CHECKING:
    from bgproxy.controlplane.rollout import Rollout

Addresses = Callable[[str], Sequence[str]]
"""Looks up what a host name stands for now."""


class Pulse:
    """Wakes everyone who waits; what they wait for they look up themselves."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Return at the next `beat`."""
        future = asyncio.get_running_loop().create_future()
        self._waiters.add(future)
        try:
            await future
        finally:
            self._waiters.discard(future)

    def beat(self) -> None:
        """Wake all who wait now."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class BackendEntry:
    """One address of a backend, its slot and its health.

    Attributes:
        last: the last probe's result.
        unhealthy_at: Unix time at which a probe failed last; 0 for never.
    """

    __slots__ = ("backend", "health", "last", "place", "slot", "unhealthy_at")

    def __init__(self, backend: Backend, place: Place, slot: int) -> None:
        self.backend = backend
        self.place = place
        self.slot = slot
        self.health = Health()
        self.last: ProbeResult | None = None
        self.unhealthy_at = 0.0

    def take(self, result: ProbeResult, policy: HealthPolicy) -> bool:
        """Take a probe's result in; returns whether that changed what is known about it.

        That is so when it flipped `Health.is_ready`, and when the first verdict is not ready.
        """
        before = self.health
        self.health = self.health.after(result.has_passed, policy)
        self.last = result
        if not result.has_passed:
            self.unhealthy_at = result.at
        return (self.health.is_ready, self.health.has_verdict) != (
            before.is_ready,
            before.has_verdict,
        )

    def forget(self) -> None:
        """What runs here is another now: it has to prove itself anew."""
        self.health = Health()
        self.last = None

    def route(self) -> BackendRoute:
        """As workers see it."""
        return BackendRoute(
            slot=self.slot,
            url=self.backend.url,
            scheme=self.backend.scheme,
            host=self.place.host,
            port=self.place.port,
            authority=self.backend.authority,
            is_ready=self.health.is_ready,
            is_proven=self.health.is_proven,
        )


class EnvironmentEntry:
    """One color of a service.

    Attributes:
        saved: what the journal holds about it; `saved.backends` is None where the file rules.
        entries: the addresses that count.
        leaving: addresses that were replaced, kept until one of `entries` is ready.
        retired: slots of addresses that are gone but may still carry something.
    """

    __slots__ = ("color", "entries", "file", "leaving", "retired", "saved")

    def __init__(self, color: Color, file: Environment, saved: SaveEnvironment) -> None:
        self.color = color
        self.file = file
        self.saved = saved
        self.entries: list[BackendEntry] = []
        self.leaving: list[BackendEntry] = []
        self.retired: list[int] = []

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The backends that rule: those set through the API, else the file's."""
        if self.saved.backends is None:
            return self.file.backends
        return tuple(Backend.parse(url) for url in self.saved.backends)

    @property
    def release(self) -> str:
        """The name of what it runs; empty for none."""
        return self.saved.release

    @property
    def routed(self) -> list[BackendEntry]:
        """Every address that workers may use."""
        return self.entries + self.leaving

    @property
    def unresolved(self) -> list[Backend]:
        """Backends whose names stand for nothing now."""
        resolved = {entry.backend for entry in self.entries}
        return [backend for backend in self.backends if backend not in resolved]

    @property
    def count(self) -> int:
        """How many addresses there should be; a name that stands for nothing is one."""
        return len(self.entries) + len(self.unresolved)

    @property
    def ready(self) -> int:
        """How many of the addresses that count are ready."""
        return sum(entry.health.is_ready for entry in self.entries)

    def slots(self) -> tuple[int, ...]:
        """Every slot that may carry something of this environment."""
        return tuple(entry.slot for entry in self.routed) + tuple(self.retired)


class ServiceEntry:
    """One service: its settings, slots, environments and deployments.

    Attributes:
        held_until: monotonic time at which a pause ends; 0 when not paused.
        pending, watched: the rollout that has not moved the pointer yet; the one that did last
            and still drains or bakes.
        last: the deployment that made the present generation.
        moving: held while the pointer moves.
        probed: beats with every probe result of this service's backends.
    """

    __slots__ = (
        "environments",
        "held_until",
        "last",
        "moving",
        "pending",
        "probed",
        "settings",
        "slot",
        "watched",
        "word",
    )

    def __init__(
        self, settings: Service, slot: int, environments: tuple[EnvironmentEntry, EnvironmentEntry]
    ) -> None:
        self.settings = settings
        self.slot = slot
        self.word = slot
        self.environments = environments
        self.held_until = 0.0
        self.pending: Rollout | None = None
        self.watched: Rollout | None = None
        self.last: Deployment | None = None
        self.moving = asyncio.Lock()
        self.probed = Pulse()

    @property
    def name(self) -> str:
        """The service's name."""
        return self.settings.name

    def environment(self, color: Color) -> EnvironmentEntry:
        """The environment of that color."""
        return self.environments[color.index]

    def standing(self, ledger: Ledger) -> Standing:
        """What a request to move the pointer is held against."""
        pointer = ledger.pointer(self.word)
        last = self.last
        is_intact = (
            last is not None
            and last.applied_at is not None
            and self.environment(last.from_color).saved.changed_at <= last.applied_at
        )
        locks = ((e.color, e.saved.locked_by) for e in self.environments)
        return Standing(
            active=pointer.color,
            generation=pointer.generation,
            pending=self.pending.deployment if self.pending else None,
            watched=self.watched.deployment if self.watched else None,
            last=last,
            is_way_back_intact=is_intact,
            locked={color: id for color, id in locks if id is not None},
        )

    def route(self) -> ServiceRoute:
        """As workers see it."""
        settings = self.settings
        blue, green = (
            tuple(entry.route() for entry in environment.routed)
            for environment in self.environments
        )
        return ServiceRoute(
            name=settings.name,
            slot=self.slot,
            word=self.word,
            hosts=settings.hosts,
            paths=settings.paths,
            environments=(blue, green),
            timeouts=settings.timeouts,
            limits=settings.limits,
            held_until=self.held_until,
            exclude_paths=settings.rollback.exclude_paths,
        )


class Registry:
    """All services by name, and the slots they have in the ledger.

    A service's slot stays its own as long as this process runs, also while the configuration does
    not name it: its counters must not become another's.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.services: dict[str, ServiceEntry] = {}
        self._ledger = ledger
        self._service_slots: dict[str, int] = {}
        self._free: list[int] = []
        self._used = 0
        self._retired: dict[int, tuple[int, EnvironmentEntry]] = {}
        self._owners: dict[int, tuple[ServiceEntry, BackendEntry]] = {}

    def add(self, service: Service, saved: Iterable[SaveEnvironment]) -> ServiceEntry:
        """Take a service in.

        Args:
            saved: what the journal holds about blue and green, see `reconcile`.

        Raises:
            Refused: there are more services than the ledger has room for.
        """
        slot = self._service_slots.setdefault(service.name, len(self._service_slots))
        if slot >= MAX_SERVICES:
            raise Refused(409, "invalid", f"At most {MAX_SERVICES} services are possible.")
        blue, green = (
            EnvironmentEntry(color, service.environment(color), kept)
            for color, kept in zip(COLORS, saved, strict=True)
        )
        entry = self.services[service.name] = ServiceEntry(service, slot, (blue, green))
        return entry

    def remove(self, name: str, next_table: int) -> ServiceEntry:
        """Take a service out; `next_table` is the first table that does not name it."""
        entry = self.services.pop(name)
        for environment in entry.environments:
            for backend in environment.routed:
                self._retire(environment, backend, next_table)
            environment.entries, environment.leaving = [], []
        return entry

    def owner(self, slot: int) -> tuple[ServiceEntry, BackendEntry] | None:
        """Whose backend slot this is, unless it is nobody's any more."""
        return self._owners.get(slot)

    def names(self) -> set[str]:
        """Every host name that has to be resolved."""
        return {
            backend.host
            for service in self.services.values()
            for environment in service.environments
            for backend in environment.backends
            if backend.is_name
        }

    def refresh(
        self,
        service: ServiceEntry,
        color: Color,
        addresses: Addresses,
        next_table: int,
        *,
        is_active: bool,
    ) -> bool:
        """Bring an environment's entries in line with its backends and what their names stand for.

        What the active environment loses is kept until something that counts is ready, so that
        traffic never goes to unproven backends while proven ones are there.

        Returns:
            Whether anything changed.
        """
        environment = service.environment(color)
        wanted = _places(environment.backends, addresses)
        present = {(e.backend, e.place): e for e in (*environment.entries, *environment.leaving)}
        entries = [
            present.pop(key) if key in present else BackendEntry(*key, self._take_slot())
            for key in wanted
        ]
        has_changed = entries != environment.entries or bool(
            set(map(id, present.values())) - set(map(id, environment.leaving))
        )
        environment.entries = entries
        environment.leaving = list(present.values())
        for entry in entries:
            self._owners[entry.slot] = (service, entry)
        if not is_active or self.may_drop_leaving(environment):
            self.drop_leaving(environment, next_table)
        self._ledger.use(len(self._service_slots), self._used)
        return has_changed

    def may_drop_leaving(self, environment: EnvironmentEntry) -> bool:
        """Whether replaced addresses are no longer needed: a new one is ready, or none of them."""
        return environment.ready > 0 or not any(e.health.is_ready for e in environment.leaving)

    def drop_leaving(self, environment: EnvironmentEntry, next_table: int) -> None:
        """Retire the addresses that were replaced."""
        for entry in environment.leaving:
            self._retire(environment, entry, next_table)
        environment.leaving = []

    def routes(self) -> tuple[ServiceRoute, ...]:
        """Every service as workers see it."""
        return tuple(service.route() for service in self.services.values())

    # -- slots ------------------------------------------------------------------------------------

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used == MAX_BACKENDS:
            detail = f"At most {MAX_BACKENDS} backend addresses are possible."
            raise Refused(409, "invalid", detail)
        self._used += 1
        return self._used - 1

    def _retire(self, environment: EnvironmentEntry, entry: BackendEntry, next_table: int) -> None:
        environment.retired.append(entry.slot)
        self._retired[entry.slot] = (next_table, environment)
        self._owners.pop(entry.slot, None)

    def collect(self, acknowledged: int) -> None:
        """Free the slots that no worker's table names any more and that carry nothing.

        Args:
            acknowledged: the newest table that every worker has.
        """
        for slot, (table, environment) in list(self._retired.items()):
            if table <= acknowledged and self._ledger.in_flight((slot,)) == (0, 0):
                self._ledger.clear_backend(slot)
                environment.retired.remove(slot)
                del self._retired[slot]
                self._free.append(slot)


def _places(backends: Iterable[Backend], addresses: Addresses) -> list[tuple[Backend, Place]]:
    """Every address of every backend, each once."""
    places: dict[tuple[Backend, Place], None] = {}
    for backend in backends:
        if backend.scheme == "unix":
            places[backend, Place("unix", backend.path)] = None
            continue
        hosts = addresses(backend.host) if backend.is_name else (backend.host,)
        for host in hosts:
            name = backend.host if backend.scheme == "https" else ""
            places[backend, Place(backend.scheme, host, backend.port, name)] = None
    return list(places)


def fingerprint(environment: Environment) -> str:
    """A text that changes when the file's value for an environment does."""
    return json.dumps([[backend.url for backend in environment.backends], environment.release])


def reconcile(
    service: Service, color: Color, kept: SaveEnvironment | None, now: float
) -> tuple[SaveEnvironment, bool]:
    """What holds for an environment, given the file and what the journal has kept.

    Backends set through the API stay until the file's own value for the environment changes.

    Returns:
        What holds, and whether that has to be saved.
    """
    file = service.environment(color)
    now_fingerprint = fingerprint(file)
    if kept is not None and kept.fingerprint == now_fingerprint:
        return kept, False
    # Before the first row there was nothing that could have changed.
    changed_at = now if kept is not None else 0.0
    return (
        SaveEnvironment(
            service.name, color, None, file.release, now_fingerprint, changed_at, "file"
        ),
        True,
    )


def unlocked(saved: SaveEnvironment, **changes: object) -> SaveEnvironment:
    """A saved environment with changes, free to be switched to again."""
    return replace(saved, locked_by=None, **changes)  # type: ignore[arg-type]
