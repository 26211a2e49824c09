"""Services, environments and backends as they are now: what the configuration says, and what is.

The configuration file says what there is; state may have other backends for an environment; names
stand for addresses that come and go.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from bgproxy.controlplane.exchange import Place, ProbeResult
from bgproxy.controlplane.pulse import Pulse
from bgproxy.domain.deployment import Deployment, Standing
from bgproxy.domain.health import Health
from bgproxy.domain.lock import Lock
from bgproxy.domain.maintenance import Maintenance
from bgproxy.domain.model import Backend, Color, Environment, HealthPolicy, Service
from bgproxy.state.changes import SaveEnvironment
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import BackendRoute, Closure, ServiceRoute

if TYPE_CHECKING:
    from bgproxy.controlplane.rollout import Rollout


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
        maintenance: None unless it is closed to the public.
        lock: why it may not be switched; None if it may.
        pending, watched: the rollout that has not moved the pointer yet; the one that did last
            and still drains or bakes.
        last: the deployment that made the present generation.
        moving: held while the pointer moves.
        changing: held while an environment becomes another, and while a switch is admitted.
        probed: beats with every probe result of this service's backends.
    """

    __slots__ = (
        "changing",
        "environments",
        "held_until",
        "last",
        "lock",
        "maintenance",
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
        self.maintenance: Maintenance | None = None
        self.lock: Lock | None = None
        self.pending: Rollout | None = None
        self.watched: Rollout | None = None
        self.last: Deployment | None = None
        self.moving = asyncio.Lock()
        self.changing = asyncio.Lock()
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
            error_pages=settings.error_pages,
            closure=self._closure(),
            preview=settings.preview,
            upstream_tls=settings.upstream_tls,
            hsts=settings.hsts,
        )

    def _closure(self) -> Closure | None:
        """Who is told what while the service is in maintenance."""
        maintenance = self.maintenance
        if maintenance is None:
            return None
        return Closure(maintenance.message, maintenance.allow, self.settings.health.path)


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
