"""The control plane as the admin API and the supervisor see it: every read and every change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from bgproxy.controlplane import views
from bgproxy.controlplane.bake import Sampler
from bgproxy.controlplane.conductor import Conductor
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.exchange import ProbeResult
from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.probes import Probes
from bgproxy.controlplane.publisher import Publisher
from bgproxy.controlplane.registry import (
    BackendEntry,
    EnvironmentEntry,
    Registry,
    ServiceEntry,
    reconcile,
    unlocked,
)
from bgproxy.controlplane.resolver import Resolver
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.deployment import Deployment, Kind, admit_switch
from bgproxy.domain.model import COLORS, Backend, Color, Service
from bgproxy.domain.outcome import Reason
from bgproxy.errors import Refused, StateError
from bgproxy.state.channel import FailureSample
from bgproxy.state.journal import (
    Audit,
    Change,
    Journal,
    SaveDeployment,
    SaveEnvironment,
    SavePointer,
)
from bgproxy.state.table import RoutingTable

if TYPE_CHECKING:
    from bgproxy.config.settings import Settings

_FIRST_LOOK_UP = 2.0
"""Seconds that the start waits for names; a service whose names are late starts without them."""

_LAST_MOVE = 5.0
"""Seconds that `stop` waits for pointers on their way to disk."""

_WAITS = ("applied", "drained", "finished")

_log = structlog.get_logger("bgproxy.coordinator")


class Coordinator:
    """One for each proxy. `restore`, then `start`; in the end `stop`.

    Documents are ready for JSON, as the interface describes SERVICE and DEPLOYMENT. Every refusal
    is a `Refused`. `actor` is the name of the token that asks, or ``local``.
    """

    def __init__(
        self, settings: Settings, journal: Journal, fleet: Fleet, events: EventHub
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._fleet = fleet
        self._events = events
        self._tasks = Tasks()
        self._registry = Registry(fleet.ledger)
        self._resolver = Resolver(self._addresses_changed)
        self._publisher = Publisher(fleet, self._table)
        self._probes = Probes(self._probed)
        self._sampler = Sampler(fleet.ledger, self._registry.services.values, self._on_second)
        self._conductor = Conductor(
            journal, fleet, events, self._publisher, self._probes, self._sampler, self._tasks
        )
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._reconfiguring = asyncio.Lock()
        self._interrupted: list[tuple[ServiceEntry, Deployment]] = []
        self._copy_trouble = ""
        self._is_running = False

    # -- life -------------------------------------------------------------------------------------

    async def restore(self) -> RoutingTable:
        """Put back what the journal holds and build table 1; workers start afterwards.

        Raises:
            StateError: the journal cannot be read or written.
        """
        snapshot = await self._journal.load()
        now = time.time()
        changes: list[Change] = []
        for settings in self._settings.services:
            kept = snapshot.environments
            saved, fresh = self._reconcile(
                settings, {color: kept.get((settings.name, color)) for color in COLORS}, now
            )
            changes += fresh
            service = self._registry.add(settings, saved)
            pointer = snapshot.pointers.get(settings.name)
            if pointer is None:
                pointer = SavePointer(settings.name, 1, settings.active)
                changes.append(pointer)
            self._fleet.ledger.store_pointer(service.word, pointer.generation, pointer.color)
            service.last = snapshot.last.get(settings.name)
            if service.last is not None and service.last.applied_at is None:
                # The crash came between the commit and its bookkeeping; the store above made up.
                service.last = replace(service.last, applied_at=now)
                changes.append(SaveDeployment(service.last))
        if changes:
            await self._journal.write(*changes)
        await self._resolver.look_up(self._registry.names(), _FIRST_LOOK_UP)
        for service in self._registry.services.values():
            for color in COLORS:
                self._refresh(service, color)
        self._conductor.continue_after(snapshot.last_id)
        for deployment in snapshot.under_way:
            if (found := self._registry.services.get(deployment.service)) is not None:
                self._interrupted.append((found, deployment))
        return self._table(1)

    async def start(self) -> None:
        """Begin to probe, resolve and watch; go on with what a restart interrupted."""
        self._is_running = True
        self._fleet.on_backend_trouble = self._backend_trouble
        self._fleet.on_worker_died = self._worker_died
        self._fleet.on_failure_sample = self._failure_sampled
        for warning in self._journal.warnings:
            _log.error("state_recovered", detail=warning)
            self._events.publish("state_recovered", "", detail=warning)
        self._publisher.start()
        self._follow()
        self._sampler.start()
        for service, deployment in self._interrupted:
            self._conductor.resume(service, deployment)
        self._interrupted.clear()

    async def stop(self) -> None:
        """End every task; deployments under way stay in the journal and are resumed next time."""
        self._is_running = False
        self._fleet.on_backend_trouble = self._fleet.on_worker_died = None
        self._fleet.on_failure_sample = None
        for timer in self._pauses.values():
            timer.cancel()
        # A pointer on its way to disk must also become live; after that none may move any more.
        with contextlib.suppress(TimeoutError):  # a disk that hangs must not hold up the end
            async with asyncio.timeout(_LAST_MOVE):
                for service in self._registry.services.values():
                    await service.moving.acquire()
        await self._tasks.stop()
        await self._sampler.stop()
        await self._probes.stop()
        await self._resolver.stop()
        await self._publisher.stop()
        await self._conductor.verifier.close()
        try:
            await self._journal.flush()
        except StateError as error:
            _log.error("state_unwritable", error=str(error))

    async def reconfigure(self, settings: Settings) -> None:
        """Take over another configuration; what services have in common with before stays.

        Raises:
            StateError: the journal cannot be written; nothing has changed.
            Refused: there is no room for so many services or backends.
        """
        async with self._reconfiguring:
            wanted = {service.name: service for service in settings.services}
            now = time.time()
            snapshot = await self._journal.load()
            changes: list[Change] = []
            plans: list[tuple[Service, tuple[SaveEnvironment, ...]]] = []
            for name, service in wanted.items():
                present = self._registry.services.get(name)
                kept = {
                    color: present.environment(color).saved
                    if present
                    else snapshot.environments.get((name, color))
                    for color in COLORS
                }
                saved, fresh = self._reconcile(service, kept, now)
                changes += fresh
                plans.append((service, saved))
                if present is None and name not in snapshot.pointers:
                    changes.append(SavePointer(name, 1, service.active))
            if changes:
                await self._journal.write(*changes)
            await self._resolver.look_up(_names(settings), _FIRST_LOOK_UP)
            for name in self._registry.services.keys() - wanted.keys():
                self._remove(name)
            for service, saved in plans:
                pointer = snapshot.pointers.get(service.name)
                self._adopt(service, saved, pointer or SavePointer(service.name, 1, service.active))
                if (added := self._registry.services[service.name]).last is None:
                    added.last = snapshot.last.get(service.name)
            self._settings = settings
            self._follow()
            self._publisher.request()
            await self._publisher.settle()
            self._events.publish("reload", "", services=list(wanted))

    def _adopt(
        self, settings: Service, saved: tuple[SaveEnvironment, ...], pointer: SavePointer
    ) -> None:
        """Add a service, or give one that is there its new settings."""
        service = self._registry.services.get(settings.name)
        if service is None:
            service = self._registry.add(settings, saved)
            self._fleet.ledger.store_pointer(service.word, pointer.generation, pointer.color)
        else:
            service.settings = settings
            for environment, kept in zip(service.environments, saved, strict=True):
                environment.file = settings.environment(environment.color)
                if environment.saved != kept:
                    environment.saved = kept
                    self._environment_changed(service, environment, "the file changed it")
        for color in COLORS:
            self._refresh(service, color)

    def _remove(self, name: str) -> None:
        """A service is gone from the configuration; its pointer stays in the journal."""
        service = self._registry.remove(name, self._publisher.next_number)
        if name in self._pauses:
            self._pauses.pop(name).cancel()
        self._conductor.abandon(service)

    @staticmethod
    def _reconcile(
        service: Service, kept: dict[Color, SaveEnvironment | None], now: float
    ) -> tuple[tuple[SaveEnvironment, ...], list[SaveEnvironment]]:
        """What holds for both environments, and which of that has to be saved."""
        both = [reconcile(service, color, kept[color], now) for color in COLORS]
        return tuple(saved for saved, _ in both), [saved for saved, is_new in both if is_new]

    # -- reads ------------------------------------------------------------------------------------

    def service_names(self) -> list[str]:
        """The names of all services, in the configuration's order."""
        return [service.name for service in self._settings.services]

    def service(self, name: str) -> dict[str, Any]:
        """The SERVICE document."""
        return views.service_view(self._find(name), self._fleet.ledger)

    async def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The last DEPLOYMENT documents, newest first."""
        service = self._find(name)
        await self._flush()
        deployments = await self._journal.history(name, limit)
        return [views.deployment_view(d, service, self._fleet.ledger) for d in deployments]

    async def deployment(self, name: str, id: int | str) -> dict[str, Any]:
        """A DEPLOYMENT document with its ``explanation``: why things went as they did."""
        service = self._find(name)
        number = int(id) if str(id).isdecimal() and len(str(id)) < 19 else -1
        for rollout in (service.pending, service.watched):
            if rollout is not None and rollout.deployment.id == number:
                return self._explained(service, rollout)
        await self._flush()
        deployment = await self._journal.deployment(name, number)
        if deployment is None:
            raise Refused(404, "unknown-deployment", f"{name} has no deployment {id}.")
        view = views.deployment_view(deployment, service, self._fleet.ledger)
        return view | {"explanation": dict(deployment.details)}

    def _explained(self, service: ServiceEntry, rollout: Rollout) -> dict[str, Any]:
        view = views.deployment_view(rollout.deployment, service, self._fleet.ledger)
        return view | {"explanation": rollout.explanation()}

    async def audit(self, name: str, limit: int) -> list[dict[str, Any]]:
        """Who changed what, newest first."""
        self._find(name)
        await self._flush()
        return [
            {
                "at": rfc3339(row.at),
                "service": row.service,
                "actor": row.actor,
                "action": row.action,
                "before": dict(row.before),
                "after": dict(row.after),
            }
            for row in await self._journal.audit(name, limit)
        ]

    def diff(self, name: str) -> dict[str, Any]:
        """Where the configuration file and the state differ."""
        return views.diff_view(self._find(name))

    def is_ready(self) -> tuple[bool, str]:
        """Whether traffic and changes are possible, and if not, why."""
        if not self._is_running:
            return False, "the control plane is not running"
        if self._journal.trouble:
            return False, f"the state cannot be written: {self._journal.trouble}"
        if not self._fleet.is_complete():
            return False, "a worker is missing or has no routing table yet"
        return True, ""

    async def _flush(self) -> None:
        """Have reads see what is only waiting to be written; where it cannot be, they go on."""
        try:
            await self._journal.flush()
        except StateError as error:
            _log.warning("state_unwritable", error=str(error))

    def _find(self, name: str) -> ServiceEntry:
        service = self._registry.services.get(name)
        if service is None:
            known = ", ".join(self._registry.services) or "none"
            raise Refused(
                404, "unknown-service", f"There is no service {name!r}; there are {known}."
            )
        return service

    # -- changes of the pointer -------------------------------------------------------------------

    async def switch(
        self,
        name: str,
        *,
        to: Color | None,
        verify: bool = True,
        force: bool = False,
        wait: str = "applied",
        reason: str = "",
        expected_generation: int | None = None,
        release: str | None = None,
        actor: str,
    ) -> dict[str, Any]:
        """Move the active pointer; returns the DEPLOYMENT when `wait` is reached.

        Args:
            to: the target; None for the idle environment.
            verify: run the configured checks first.
            force: neither health nor checks nor a lock stand in the way.
            wait: ``applied``, ``drained`` or ``finished``.
            release: what the target runs, if it is to be named anew.

        Raises:
            Refused: see `admit_switch`; or the target is not fit, or the state cannot be written.
        """
        service = self._find(name)
        _check_wait(wait)
        standing = service.standing(self._fleet.ledger)
        if release is not None and _is_another_release(
            service, to or standing.active.other, release
        ):
            standing = replace(standing, locked={})
        target = admit_switch(standing, to, force=force, expected_generation=expected_generation)
        rollout = self._conductor.begin(
            service, Kind.SWITCH, target, reason=reason, actor=actor, release=release
        )
        await self._tasks.carry_out(
            self._conductor.switch(service, rollout, verify=verify, force=force), "switch"
        )
        return await self._reached(service, rollout, wait)

    async def rollback(
        self,
        name: str,
        *,
        reason: str = "",
        wait: str = "applied",
        expected_generation: int | None = None,
        actor: str,
    ) -> dict[str, Any]:
        """Move the pointer back to the environment that was active before; verifies nothing.

        Raises:
            Refused: see `admit_rollback`; or the state cannot be written.
        """
        service = self._find(name)
        _check_wait(wait)
        rollout = await self._tasks.carry_out(
            self._conductor.roll_back(
                service,
                Kind.ROLLBACK,
                reason=reason,
                actor=actor,
                expected_generation=expected_generation,
            ),
            "rollback",
        )
        return await self._reached(service, rollout, wait)

    async def _reached(self, service: ServiceEntry, rollout: Rollout, wait: str) -> dict[str, Any]:
        await rollout.reach(wait)
        return views.deployment_view(rollout.deployment, service, self._fleet.ledger)

    async def verify(self, name: str, color: Color | None, actor: str) -> dict[str, Any]:
        """Run the checks against an environment, the idle one unless named.

        Its backends' health is reported as one check more.

        Returns:
            ``passed``, ``environment`` and ``checks``, one entry for each check and address.
        """
        service = self._find(name)
        active = self._fleet.ledger.pointer(service.word).color
        environment = service.environment(color or active.other)
        fresh = await self._probes.probe_now(environment.entries)
        health = [
            {
                "name": "health",
                "kind": "health",
                "backend": entry.backend.url,
                "address": str(entry.place),
                "passed": result.has_passed,
                "attempts": 1,
                "failures": [] if result.has_passed else [result.detail],
            }
            for entry, result in fresh
        ]
        health += [
            {
                "name": "health",
                "kind": "health",
                "backend": backend.url,
                "address": None,
                "passed": False,
                "attempts": 1,
                "failures": ["its name does not resolve"],
            }
            for backend in environment.unresolved
        ]
        checks = health + await self._conductor.verifier.run(service, environment)
        passed = bool(environment.entries) and all(check["passed"] for check in checks)
        shown = str(environment.color)
        self._events.publish("verify", name, environment=shown, passed=passed, actor=actor)
        self._journal.write_later(
            Audit(time.time(), name, actor, "verify", {}, {"environment": shown, "passed": passed})
        )
        return {"passed": passed, "environment": shown, "checks": checks}

    # -- changes of environments ------------------------------------------------------------------

    async def set_backends(
        self,
        name: str,
        color: Color,
        backends: list[str],
        *,
        release: str | None,
        force: bool = False,
        actor: str,
    ) -> dict[str, Any]:
        """Point an environment at other backends, or name what it runs anew; returns the SERVICE.

        They stay, over reloads and restarts, until the file's own value for it changes.

        Raises:
            Refused: an address is wrong, the environment is in use and `force` is not given, or
                the state cannot be written.
        """
        service = self._find(name)
        urls = _parse_backends(backends)
        self._check_use(service, color, force=force)
        environment = service.environment(color)
        before = environment.saved
        now = time.time()
        after = unlocked(
            before,
            backends=urls,
            release=before.release if release is None else release,
            changed_at=now,
            changed_by=actor,
        )
        audit = Audit(
            now, name, actor, "backends", _environment_facts(environment), _saved_facts(after)
        )
        try:
            await self._journal.write(after, audit)
        except StateError as error:
            raise _unwritable(error) from error
        environment.saved = after
        self._environment_changed(service, environment, f"{color} was given other backends")
        names = [b.host for b in environment.backends if b.is_name]
        await self._resolver.look_up(names, _FIRST_LOOK_UP)
        self._refresh(service, color)
        self._follow()
        self._publisher.request()
        await self._publisher.settle()
        shown = {"environment": str(color), "backends": list(urls), "release": after.release}
        self._events.publish("backends", name, actor=actor, **shown)
        return self.service(name)

    def _check_use(self, service: ServiceEntry, color: Color, *, force: bool) -> None:
        pending, watched = service.pending, service.watched
        if pending is not None and pending.deployment.to_color is color:
            raise Refused(
                409,
                "deployment-in-progress",
                f"Deployment {pending.deployment.id} is checking {color} as it is now.",
                {"deployment": pending.deployment.id},
            )
        if force:
            return
        if self._fleet.ledger.pointer(service.word).color is color:
            detail = f"{color} is active; use force to change what users are served by."
            raise Refused(409, "environment-in-use", detail)
        if watched is not None and watched.deployment.from_color is color:
            raise Refused(
                409,
                "environment-in-use",
                f"{color} still drains or may be rolled back to (deployment "
                f"{watched.deployment.id}); use force, which ends the bake.",
                {"deployment": watched.deployment.id},
            )

    def _environment_changed(
        self, service: ServiceEntry, environment: EnvironmentEntry, detail: str
    ) -> None:
        """What an environment is has changed: no bake goes on over that, health is proven anew."""
        watched = service.watched
        if watched is not None:
            self._conductor.end_watch(service, detail)
        if self._fleet.ledger.pointer(service.word).color is not environment.color:
            for entry in environment.entries:
                entry.forget()
            self._probes.poke(environment.entries)

    async def pause(self, name: str, timeout: float, actor: str) -> dict[str, Any]:
        """Hold new requests for at most `timeout` seconds; returns the SERVICE."""
        service = self._find(name)
        service.held_until = time.monotonic() + timeout
        if name in self._pauses:
            self._pauses[name].cancel()
        loop = asyncio.get_running_loop()
        self._pauses[name] = loop.call_later(timeout, self._end_pause, service, "time is over")
        await self._publish_hold(service, "pause", actor, {"timeout": timeout})
        return self.service(name)

    async def resume(self, name: str, actor: str) -> dict[str, Any]:
        """Let held requests go on; returns the SERVICE."""
        service = self._find(name)
        if name in self._pauses:
            self._pauses.pop(name).cancel()
        service.held_until = 0.0
        await self._publish_hold(service, "resume", actor, {})
        return self.service(name)

    async def _publish_hold(
        self, service: ServiceEntry, action: str, actor: str, facts: dict[str, Any]
    ) -> None:
        self._publisher.request()
        await self._publisher.settle()
        self._events.publish(action, service.name, actor=actor, **facts)
        self._journal.write_later(Audit(time.time(), service.name, actor, action, {}, facts))

    def _end_pause(self, service: ServiceEntry, reason: str) -> None:
        self._pauses.pop(service.name, None)
        service.held_until = 0.0
        self._publisher.request()
        self._events.publish("resume", service.name, actor="", reason=reason)

    # -- what comes from below --------------------------------------------------------------------

    def _probed(self, service: ServiceEntry, entry: BackendEntry, result: ProbeResult) -> None:
        """A probe's result: tell the workers and the world if it flipped something."""
        has_flipped = entry.take(result, service.settings.health)
        if has_flipped:
            environment = next(e for e in service.environments if entry in e.routed)
            self._events.publish(
                "health",
                service.name,
                environment=str(environment.color),
                backend=entry.backend.url,
                address=str(entry.place),
                healthy=entry.health.is_ready,
                answered=result.detail,
            )
            if environment.leaving and self._registry.may_drop_leaving(environment):
                self._registry.drop_leaving(environment, self._publisher.next_number)
                self._follow()
            self._publisher.request()
            self._check_fail_open(service, environment)
        service.probed.beat()

    def _check_fail_open(self, service: ServiceEntry, environment: EnvironmentEntry) -> None:
        """All backends of the active environment look down: traffic goes on, but say so loudly."""
        if self._fleet.ledger.pointer(service.word).color is not environment.color:
            return
        if any(entry.health.is_ready for entry in environment.routed):
            return
        detail = "no backend of the active environment is healthy; traffic is sent to all of them"
        self._events.publish(
            "fail_open", service.name, environment=str(environment.color), detail=detail
        )
        _log.error("fail_open", service=service.name, environment=str(environment.color))

    def _backend_trouble(self, slot: int, reason: Reason) -> None:
        """A worker could not connect: look for ourselves, and whether the name moved."""
        owner = self._registry.owner(slot)
        if owner is not None:
            _, entry = owner
            self._probes.poke((entry,))
            self._resolver.poke(entry.backend.host)

    def _worker_died(self, place: int) -> None:
        self._events.publish("worker_died", "", worker=place)

    def _failure_sampled(self, sample: FailureSample) -> None:
        """A failed exchange, for the explanation of what the judge finds."""
        service = self._registry.services.get(sample.service)
        if service is not None and service.watched is not None:
            service.watched.keep_sample(sample)

    def _addresses_changed(self, name: str) -> None:
        """A name stands for other addresses now."""
        has_changed = False
        for service in self._registry.services.values():
            for environment in service.environments:
                if any(backend.host == name for backend in environment.backends):
                    has_changed |= self._refresh(service, environment.color)
        if has_changed and self._is_running:
            self._follow()
            self._publisher.request()

    def _refresh(self, service: ServiceEntry, color: Color) -> bool:
        is_active = self._fleet.ledger.pointer(service.word).color is color
        return self._registry.refresh(
            service,
            color,
            self._resolver.addresses,
            self._publisher.next_number,
            is_active=is_active,
        )

    def _follow(self) -> None:
        """Probe and resolve what there is now."""
        self._resolver.watch(self._registry.names())
        self._probes.follow(self._registry.services.values())

    def _on_second(self) -> None:
        self._registry.collect(self._publisher.acknowledged)
        if self._journal.copy_trouble != self._copy_trouble:
            self._copy_trouble = self._journal.copy_trouble
            _log.error("state_copy", detail=self._copy_trouble or "is written again")

    def _table(self, number: int) -> RoutingTable:
        proxy = self._settings.proxy
        return RoutingTable(
            number,
            self._registry.routes(),
            proxy.limits,
            tuple(str(network) for network in proxy.trusted_proxies),
        )


def _is_another_release(service: ServiceEntry, target: Color, release: str) -> bool:
    """Whether naming that release makes the target another than the one that was rolled back."""
    return service.environment(target).release != release


def _check_wait(wait: str) -> None:
    if wait not in _WAITS:
        raise Refused(422, "invalid", f"wait is one of {', '.join(_WAITS)}, not {wait!r}.")


def _parse_backends(backends: Sequence[str]) -> tuple[str, ...]:
    try:
        urls = tuple(Backend.parse(text).url for text in backends)
    except ValueError as error:
        raise Refused(422, "invalid", f"{error}.") from None
    if not urls:
        raise Refused(422, "invalid", "An environment needs at least one backend.")
    if len(set(urls)) < len(urls):
        raise Refused(422, "invalid", "A backend is named twice.")
    return urls


def _names(settings: Settings) -> set[str]:
    return {
        backend.host
        for service in settings.services
        for environment in service.environments
        for backend in environment.backends
        if backend.is_name
    }


def _environment_facts(environment: EnvironmentEntry) -> dict[str, Any]:
    return {
        "environment": str(environment.color),
        "backends": [backend.url for backend in environment.backends],
        "release": environment.release,
    }


def _saved_facts(saved: SaveEnvironment) -> dict[str, Any]:
    return {
        "environment": str(saved.color),
        "backends": list(saved.backends or ()),
        "release": saved.release,
    }


def _unwritable(error: StateError) -> Refused:
    detail = f"The state cannot be written, so nothing was changed: {error}"
    return Refused(503, "state-unwritable", detail)
