"""Changes of environments: other backends, other settings, pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from bgproxy.controlplane.conductor import Conductor
from bgproxy.controlplane.entries import EnvironmentEntry, ServiceEntry, unlocked
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.inventory import Inventory
from bgproxy.domain.model import Backend, Color, Service
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import Audit, SaveEnvironment
from bgproxy.state.journal import Journal


class Environments:
    """Carries changes of environments out."""

    def __init__(
        self,
        journal: Journal,
        events: EventHub,
        inventory: Inventory,
        conductor: Conductor,
    ) -> None:
        self._journal = journal
        self._events = events
        self._inventory = inventory
        self._conductor = conductor
        self._pauses: dict[str, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        """End no pause any more; workers end theirs by themselves."""
        for timer in self._pauses.values():
            timer.cancel()

    def forget(self, service: ServiceEntry) -> None:
        """The service is gone."""
        if timer := self._pauses.pop(service.name, None):
            timer.cancel()

    # -- backends ---------------------------------------------------------------------------------

    async def set_backends(
        self,
        service: ServiceEntry,
        color: Color,
        backends: Sequence[str],
        *,
        release: str | None,
        force: bool,
        actor: str,
    ) -> None:
        """Point an environment at other backends; returns when every worker knows.

        Args:
            release: what they run. None keeps the name only if the backends stay the same ones:
                what others run is not known.

        Raises:
            Refused: an address is wrong or not allowed, the environment is in use, or the state
                cannot be written.
        """
        parsed = _parse_backends(backends)
        urls = tuple(backend.url for backend in parsed)
        environment = service.environment(color)
        self._check_allowed(parsed)
        await self._inventory.look_up(parsed)  # not under the locks: a rollback waits for nothing
        self._check_resolved(parsed)
        # No switch may be admitted for, and no pointer move to, what is just becoming another.
        async with service.changing, service.moving:
            self._check_use(service, color, force=force)
            now = time.time()
            if release is None:
                is_same = set(parsed) == set(environment.backends)
                release = environment.release if is_same else ""
            after = unlocked(
                environment.saved,
                backends=urls,
                release=release,
                changed_at=now,
                changed_by=actor,
            )
            before = _facts(environment.saved, environment)
            audit = Audit(now, service.name, actor, "backends", before, _facts(after, environment))
            try:
                await self._journal.write(after, audit)
            except StateError as error:
                detail = f"The state cannot be written, so nothing was changed: {error}"
                raise Refused(503, "state-unwritable", detail) from error
            self._take(service, environment, after, f"{color} was given other backends")
            self._inventory.update([service])
        await self._inventory.publish()
        shown = {"environment": str(color), "backends": list(urls), "release": after.release}
        self._events.publish("backends", service.name, actor=actor, **shown)

    def take_file(
        self, service: ServiceEntry, settings: Service, saved: Sequence[SaveEnvironment]
    ) -> None:
        """Give a service the settings of another configuration."""
        service.settings = settings
        for environment, after in zip(service.environments, saved, strict=True):
            environment.file = settings.environment(environment.color)
            if environment.saved != after:
                self._take(service, environment, after, "the configuration changed")

    def _take(
        self,
        service: ServiceEntry,
        environment: EnvironmentEntry,
        after: SaveEnvironment,
        detail: str,
    ) -> None:
        """What an environment is has changed: no bake goes on over that, health is proven anew."""
        environment.saved = after
        self._conductor.end_watch(service, detail)
        if not self._inventory.is_active(service, environment.color):
            for entry in environment.entries:
                entry.forget()
            self._inventory.probes.poke(environment.entries)

    def _check_allowed(self, backends: Sequence[Backend]) -> None:
        """Hold addresses against the allow-list, names before anybody is asked about them."""
        allow = self._inventory.registry.backend_allow
        for backend in backends:
            if not allow.allows(backend):
                raise _not_allowed(f"{backend.url} is not in admin.backend_allow.", backend)

    def _check_resolved(self, backends: Sequence[Backend]) -> None:
        for backend in backends:
            if refused := self._inventory.refused_addresses(backend):
                detail = f"{backend.host} stands for {refused[0]}, which backends may not be."
                raise _not_allowed(detail, backend)

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
        if self._inventory.is_active(service, color):
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

    async def verify(
        self, service: ServiceEntry, color: Color | None, actor: str
    ) -> dict[str, Any]:
        """Probe every backend now and run the checks; the idle environment unless one is named."""
        if color is None:
            color = Color.GREEN if self._inventory.is_active(service, Color.BLUE) else Color.BLUE
        environment = service.environment(color)
        fresh = await self._inventory.probes.probe_now(environment.entries)
        health = [
            _health_report(entry.backend, str(entry.place), result.has_passed, result.detail)
            for entry, result in fresh
        ] + [
            _health_report(backend, None, False, "its name does not resolve")
            for backend in environment.unresolved
        ]
        key = f"{service.name}-verify-{time.time_ns()}"
        checks = health + await self._conductor.verifier.run(service, environment, key)
        facts = {
            "environment": str(color),
            "passed": bool(environment.entries) and all(check["passed"] for check in checks),
        }
        self._events.publish("verify", service.name, actor=actor, **facts)
        self._journal.write_later(Audit(time.time(), service.name, actor, "verify", {}, facts))
        return facts | {"checks": checks}

    # -- pauses -----------------------------------------------------------------------------------

    async def pause(self, service: ServiceEntry, timeout: float, actor: str) -> None:
        """Hold new requests for at most `timeout` seconds; returns when every worker does."""
        self.forget(service)
        service.held_until = time.monotonic() + timeout
        loop = asyncio.get_running_loop()
        self._pauses[service.name] = loop.call_later(timeout, self._end_pause, service)
        await self._tell(service, "pause", actor, {"timeout": timeout})

    async def resume(self, service: ServiceEntry, actor: str) -> None:
        """Let held requests go on; returns when every worker does."""
        self.forget(service)
        service.held_until = 0.0
        await self._tell(service, "resume", actor, {})

    async def _tell(
        self, service: ServiceEntry, action: str, actor: str, facts: dict[str, Any]
    ) -> None:
        await self._inventory.publish()
        self._events.publish(action, service.name, actor=actor, **facts)
        self._journal.write_later(Audit(time.time(), service.name, actor, action, {}, facts))

    def _end_pause(self, service: ServiceEntry) -> None:
        """The pause's time is over; workers know that by themselves, the table follows."""
        del self._pauses[service.name]
        service.held_until = 0.0
        self._inventory.publisher.request()
        self._events.publish("resume", service.name, actor="", reason="time is over")


def _not_allowed(detail: str, backend: Backend) -> Refused:
    return Refused(403, "backend-not-allowed", detail, {"backend": backend.url})


def _parse_backends(backends: Sequence[str]) -> tuple[Backend, ...]:
    try:
        parsed = tuple(Backend.parse(text) for text in backends)
    except ValueError as error:
        raise Refused(422, "invalid", f"{error}.") from None
    if not parsed:
        raise Refused(422, "invalid", "An environment needs at least one backend.")
    if len(set(parsed)) < len(parsed):
        raise Refused(422, "invalid", "A backend is named twice.")
    return parsed


def _health_report(
    backend: Backend, address: str | None, has_passed: bool, detail: str
) -> dict[str, Any]:
    """A backend's health in the form of a check's report."""
    return {
        "name": "health",
        "kind": "health",
        "backend": backend.url,
        "address": address,
        "passed": has_passed,
        "attempts": 1,
        "failures": [] if has_passed else [detail],
    }


def _facts(saved: SaveEnvironment, environment: EnvironmentEntry) -> dict[str, Any]:
    """An environment as the audit trail shows it."""
    file = [backend.url for backend in environment.file.backends]
    return {
        "environment": str(saved.color),
        "backends": file if saved.backends is None else list(saved.backends),
        "release": saved.release,
    }
