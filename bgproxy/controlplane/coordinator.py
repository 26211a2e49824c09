"""The control plane as the admin API and the supervisor see it: every read and every change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import structlog

from bgproxy.controlplane import views
from bgproxy.controlplane.admission import admit, check_wait
from bgproxy.controlplane.bake import Sampler
from bgproxy.controlplane.conductor import Conductor
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.environments import Environments
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.forecast import Forecaster
from bgproxy.controlplane.inquiries import Inquiries
from bgproxy.controlplane.inventory import Inventory
from bgproxy.controlplane.locks import Locks
from bgproxy.controlplane.maintenance import MaintenanceMode
from bgproxy.controlplane.notifier import Notifier
from bgproxy.controlplane.permits import Permits
from bgproxy.controlplane.planning import plan
from bgproxy.controlplane.preparation import Terms
from bgproxy.controlplane.rollout import Rollout, until_held
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.approval import Hold
from bgproxy.domain.deployment import Deployment, Kind
from bgproxy.domain.model import Color
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import Snapshot
from bgproxy.state.journal import Journal
from bgproxy.state.table import RoutingTable

if TYPE_CHECKING:
    from bgproxy.config.settings import Settings

_LAST_MOVE = 5.0
"""Seconds that `stop` waits for pointers on their way to disk."""

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
        self._ledger = fleet.ledger
        self._fleet = fleet
        self._events = events
        self._tasks = Tasks()
        self._inventory = Inventory(fleet, events)
        self._services = self._inventory.registry.services
        self._sampler = Sampler(fleet.ledger, self._services.values, self._on_second)
        self._conductor = Conductor(
            journal, fleet, events, self._inventory, self._sampler, self._tasks
        )
        self._environments = Environments(journal, events, self._inventory, self._conductor)
        self._forecaster = Forecaster(fleet.ledger, self._sampler, self._environments)
        self._maintenance = MaintenanceMode(journal, events, self._inventory)
        self._locks = Locks(journal, events)
        self.permits = Permits(
            self._find, self._ledger, self._tasks, self._locks, self._conductor.approvals
        )
        self.notifier = Notifier(events)
        self.inquiries = Inquiries(fleet, journal)
        self._reconfiguring = asyncio.Lock()
        self._interrupted: list[tuple[ServiceEntry, Deployment]] = []
        self._copy_trouble = ""
        self._is_running = False
        self._is_stopping = False

    # -- life -------------------------------------------------------------------------------------

    async def restore(self) -> RoutingTable:
        """Put back what the journal holds and build table 1; workers start afterwards.

        Raises:
            StateError: the journal cannot be read or written.
        """
        snapshot = await self._journal.load()
        self._take_limits(self._settings)
        await self._adopt(self._settings, snapshot)
        self._conductor.continue_after(snapshot.last_id)
        for deployment in snapshot.under_way:
            if (service := self._services.get(deployment.service)) is not None:
                self._interrupted.append((service, deployment))
        return self._inventory.table(1)

    async def start(self) -> None:
        """Begin to probe, resolve and watch; go on with what a restart interrupted."""
        self._is_running = True
        for warning in self._journal.warnings:
            self._events.publish("state_recovered", "", detail=warning)
        self._inventory.start()
        self._sampler.start()
        self.notifier.start()
        for service in self._services.values():
            self._locks.watch(service)
        for service, deployment in self._interrupted:
            self._conductor.resume(service, deployment)
        self._interrupted.clear()

    async def stop(self) -> None:
        """End every task; deployments under way stay in the journal and are resumed next time."""
        self._is_running = False
        self._environments.stop()
        self._locks.stop()
        # A pointer on its way to disk must also become live; after that none may move any more.
        with contextlib.suppress(TimeoutError):  # a disk that hangs must not hold up the end
            async with asyncio.timeout(_LAST_MOVE):
                for service in self._services.values():
                    await service.moving.acquire()
        await self._tasks.stop()
        await self._sampler.stop()
        await self._inventory.stop()
        await self._conductor.close()
        await self.notifier.stop()
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
        async with self._reconfiguring, contextlib.AsyncExitStack() as stack:
            for service in self._services.values():
                await stack.enter_async_context(service.changing)
            await self._adopt(settings, await self._journal.load())
            for name in self._services.keys() - {service.name for service in settings.services}:
                self._environments.forget(self._services[name])
                self._locks.forget(self._services[name])
                service = self._inventory.registry.remove(
                    name, self._inventory.publisher.next_number
                )
                self._conductor.abandon(service)
            self._settings = settings
            self._take_limits(settings)
            self._inventory.update(self._services.values())
            await self._inventory.publish()
            self._events.publish("reload", "", services=self.service_names())

    async def _adopt(self, settings: Settings, snapshot: Snapshot) -> None:
        """Add services, and give those that are there their new settings."""
        planned, changes = plan(settings.services, snapshot, self._services, time.time())
        if changes:
            await self._journal.write(*changes)
        for each in planned:
            service = self._services.get(each.settings.name)
            if service is None:
                service = self._inventory.registry.add(each.settings, each.saved)
                self._ledger.store_pointer(
                    service.word, each.pointer.generation, each.pointer.color
                )
                service.last = each.last
                service.maintenance = snapshot.maintenance.get(service.name)
                service.lock = snapshot.locks.get(service.name)
            else:
                self._environments.take_file(service, each.settings, each.saved)
        services = self._services.values()
        await self._inventory.look_up(
            backend for service in services for e in service.environments for backend in e.backends
        )
        self._inventory.update(services)

    def _take_limits(self, settings: Settings) -> None:
        self._inventory.registry.backend_allow = settings.admin.backend_allow
        self._inventory.limits = settings.proxy.limits
        self._inventory.trusted_proxies = tuple(map(str, settings.proxy.trusted_proxies))
        self._inventory.access_log = settings.proxy.access_log
        self._inventory.tracing = settings.proxy.tracing
        self._inventory.request_ring = settings.proxy.request_ring
        self.notifier.configure(settings.notifications)

    # -- reads ------------------------------------------------------------------------------------

    def service_names(self) -> list[str]:
        """The names of all services, in the configuration's order."""
        return [service.name for service in self._settings.services]

    def service(self, name: str) -> dict[str, Any]:
        """The SERVICE document."""
        return views.service_view(self._find(name), self._ledger)

    async def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The last DEPLOYMENT documents, newest first."""
        service = self._find(name)
        await self._flush()
        deployments = await self._journal.history(name, limit)
        return [views.deployment_view(d, service, self._ledger) for d in deployments]

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
        view = views.deployment_view(deployment, service, self._ledger)
        return view | {"explanation": dict(deployment.details)}

    def _explained(self, service: ServiceEntry, rollout: Rollout) -> dict[str, Any]:
        view = views.deployment_view(rollout.deployment, service, self._ledger)
        return view | {"explanation": rollout.explanation()}

    async def audit(self, name: str | None, limit: int) -> list[dict[str, Any]]:
        """Who changed what, newest first; of all services unless one is named."""
        if name is not None:
            self._find(name)
        await self._flush()
        return [views.audit_view(row) for row in await self._journal.audit(name, limit)]

    def begin_stop(self) -> None:
        """The proxy was told to stop: it is not ready any more, and takes no switch."""
        self._is_stopping = True

    def diff(self, name: str) -> dict[str, Any]:
        """Where the configuration file and the state differ."""
        return views.diff_view(self._find(name))

    def is_ready(self) -> tuple[bool, str]:
        """Whether traffic and changes are possible, and if not, why."""
        if self._is_stopping:
            return False, "the proxy is stopping"
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
        service = self._services.get(name)
        if service is None:
            known = ", ".join(self._services) or "none"
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
        irreversible: str = "",
        hold: Hold | None = None,
        actor: str,
    ) -> dict[str, Any]:
        """Move the active pointer; returns the DEPLOYMENT when `wait` is reached.

        Args:
            to: the target; None for the idle environment.
            verify: run the configured checks first.
            force: neither health nor checks nor an earlier rollback stand in the way.
            wait: ``held``, ``applied``, ``drained`` or ``finished``.
            release: what the target runs, if it is to be named anew.
            irreversible: why it must not be taken back; the judge then only alerts.
            hold: wait for somebody else's approval.

        Raises:
            Refused: see `admit_switch`; or the target is not fit, or the state cannot be written.
        """
        service = self._find(name)
        check_wait(wait)
        if self._is_stopping:
            raise Refused(503, "stopping", "The proxy was told to stop; nothing was switched.")
        async with service.changing:  # what is admitted must not become another meanwhile
            target = admit(
                service,
                self._ledger,
                to,
                now=time.time(),
                force=force,
                expected_generation=expected_generation,
                release=release,
            )
            rollout = self._conductor.begin(
                service,
                Kind.SWITCH,
                target,
                reason=reason,
                actor=actor,
                release=release,
                irreversible=irreversible,
            )
        terms = Terms(verify, force, hold)
        switching = self._tasks.start(self._conductor.switch(service, rollout, terms), "switch")
        if wait == "held":
            await until_held(rollout, switching)
        else:
            await asyncio.shield(switching)
        return await self._reached(service, rollout, wait)

    async def rollback(
        self,
        name: str,
        *,
        reason: str = "",
        wait: str = "applied",
        expected_generation: int | None = None,
        force: bool = False,
        drill: bool = False,
        actor: str,
    ) -> dict[str, Any]:
        """Move the pointer back to the environment that was active before; verifies nothing.

        Args:
            force: take back what was said to be irreversible, too.
            drill: go the judge's way, see `Conductor.drill`.

        Raises:
            Refused: see `admit_rollback`; or the state cannot be written.
        """
        service = self._find(name)
        check_wait(wait)
        known: dict[str, Any] = {
            "reason": reason,
            "actor": actor,
            "expected_generation": expected_generation,
        }
        going = (
            self._conductor.drill(service, **known)
            if drill
            else self._conductor.roll_back(service, Kind.ROLLBACK, force=force, **known)
        )
        rollout = await self._tasks.carry_out(going, "rollback")
        return await self._reached(service, rollout, wait)

    async def _reached(self, service: ServiceEntry, rollout: Rollout, wait: str) -> dict[str, Any]:
        await rollout.reach(wait)
        return views.deployment_view(rollout.deployment, service, self._ledger)

    async def verify(self, name: str, color: Color | None, actor: str) -> dict[str, Any]:
        """Run the checks against an environment, the idle one unless named.

        Its backends' health is reported as one check more.

        Returns:
            ``passed``, ``environment`` and ``checks``, one entry for each check and address.
        """
        return await self._environments.verify(self._find(name), color, actor)

    async def plan(self, name: str, to: Color | None, actor: str) -> dict[str, Any]:
        """The PLAN document: what a switch to that environment would meet; nothing is changed.

        Raises:
            Refused: the target is active already.
        """
        return await self._forecaster.plan(self._find(name), to, actor)

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
        change = self._environments.set_backends(
            service, color, backends, release=release, force=force, actor=actor
        )
        await self._tasks.carry_out(change, "set backends")
        return self.service(name)

    async def pause(self, name: str, timeout: float, actor: str) -> dict[str, Any]:
        """Hold new requests for at most `timeout` seconds; returns the SERVICE."""
        await self._environments.pause(self._find(name), timeout, actor)
        return self.service(name)

    async def resume(self, name: str, actor: str) -> dict[str, Any]:
        """Let held requests go on; returns the SERVICE."""
        await self._environments.resume(self._find(name), actor)
        return self.service(name)

    async def set_maintenance(
        self, name: str, *, is_on: bool, message: str, allow: list[str], actor: str
    ) -> dict[str, Any]:
        """Close a service to the public, or open it again; returns the SERVICE.

        Args:
            message: for people; empty for a usual one.
            allow: networks whose clients are served as always.

        Raises:
            Refused: one of `allow` is no network, or the state cannot be written.
        """
        service = self._find(name)
        if is_on:
            change = self._maintenance.close(service, message, allow, actor)
        else:
            change = self._maintenance.open(service, actor)
        await self._tasks.carry_out(change, "set maintenance")
        return self.service(name)

    def _on_second(self) -> None:
        self._inventory.collect()
        if self._journal.copy_trouble != self._copy_trouble:
            self._copy_trouble = self._journal.copy_trouble
            _log.error("state_copy", detail=self._copy_trouble or "is written again")
