"""Carries deployments out, in this order: prepare, commit, store the pointer, drain and bake, end.

The pointer is durable before it is live: the intent and the new pointer go to disk in one
transaction, then one store moves all workers. Whatever happens in between, a restart puts the
committed pointer back. Nothing is awaited between the commit's return and the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from bgproxy.controlplane.approvals import Approvals
from bgproxy.controlplane.bake import Bake, Sampler
from bgproxy.controlplane.calls import Caller
from bgproxy.controlplane.commit import changes_of, end_by
from bgproxy.controlplane.draining import DrainProgress, drain
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.hooks import HookRunner
from bgproxy.controlplane.inventory import Inventory
from bgproxy.controlplane.preparation import Preparation, Terms
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.signals import SignalPoller
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.verify import Verifier
from bgproxy.controlplane.watch import Watch
from bgproxy.domain.baseline import make_baseline
from bgproxy.domain.deployment import (
    Deployment,
    Effect,
    Event,
    Kind,
    Outcome,
    Phase,
    admit_rollback,
    advance,
)
from bgproxy.domain.hooks import Moment
from bgproxy.domain.lock import check_lock
from bgproxy.domain.model import Color, RollbackRule
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import SaveDeployment, SaveEnvironment
from bgproxy.state.journal import Journal
from bgproxy.state.ledger import DURATION_BOUNDS

_ANSWER_FIRST = 0.002
"""Seconds by which a switch's answer precedes the work that follows from it."""


class Conductor:
    """Moves pointers; the only one who does.

    Args:
        tasks: owns what runs beside the calls.
    """

    def __init__(
        self,
        journal: Journal,
        fleet: Fleet,
        events: EventHub,
        inventory: Inventory,
        sampler: Sampler,
        tasks: Tasks,
    ) -> None:
        self._journal = journal
        self._fleet = fleet
        self._events = events
        self._sampler = sampler
        self._tasks = tasks
        self._next_id = 1
        self._caller = Caller()
        self.verifier = Verifier(self._caller)
        self._hooks = HookRunner(journal, events, fleet.ledger, self._caller, tasks)
        self.approvals = Approvals(journal, events)
        inventoried = (inventory.publisher, inventory.probes)
        self._preparation = Preparation(
            journal, events, *inventoried, self.verifier, self._hooks, self.approvals
        )
        self._signals = SignalPoller(tasks)
        self._watch = Watch(
            events, inventory.probes, self.verifier, tasks, self._end_bake, self._take_back
        )

    def continue_after(self, last_id: int) -> None:
        """Number deployments from after this one."""
        self._next_id = last_id + 1

    async def close(self) -> None:
        """Send nothing any more; the tasks have ended."""
        await self.verifier.close()
        await self._caller.close()
        await self._signals.close()

    def begin(
        self,
        service: ServiceEntry,
        kind: Kind,
        target: Color,
        *,
        reason: str,
        actor: str,
        release: str | None = None,
        irreversible: str = "",
    ) -> Rollout:
        """A new deployment, pending from now on; the caller has had it admitted.

        Args:
            irreversible: why it must not be taken back; empty where it may.
        """
        settings = service.settings.rollback
        is_watched = kind is Kind.SWITCH and settings.rule is not RollbackRule.OFF
        named = service.environment(target).release if release is None else release
        rollout = Rollout(
            Deployment(
                id=self._next_id,
                service=service.name,
                kind=kind,
                from_color=target.other,
                to_color=target,
                requested_at=time.time(),
                release=named,
                reason=reason,
                actor=actor,
                bake=settings.bake if is_watched else 0.0,
                details={"irreversible": irreversible} if irreversible else {},
            )
        )
        self._next_id += 1
        service.pending = rollout
        return rollout

    # -- before the pointer moves -----------------------------------------------------------------

    async def switch(self, service: ServiceEntry, rollout: Rollout, terms: Terms) -> None:
        """Prepare the target and move the pointer; returns when that is done.

        Raises:
            Refused: the target is not fit, another came first, or the state cannot be written.
        """
        try:
            if self._preparation.is_needed(service, rollout, terms):
                rollout.preparation = self._tasks.start(
                    self._preparation.run(service, rollout, terms), "prepare"
                )
                # A plain await would take the task's cancellation for the caller's.
                await asyncio.wait((rollout.preparation,))
                if not rollout.preparation.cancelled():
                    rollout.preparation.result()
            async with service.moving:
                _still_wanted(rollout)
                check_lock(service.name, service.lock, time.time())
                await self._move(service, rollout, force=terms.force)
        except BaseException as error:
            if rollout.preparation is not None:
                rollout.preparation.cancel()
            if rollout.phase is Phase.VERIFYING:
                self._fail(service, rollout, error)
            raise

    def _fail(self, service: ServiceEntry, rollout: Rollout, error: BaseException) -> None:
        """A deployment ends before its pointer moved."""
        why = str(error) or "the proxy was stopped or the request given up"
        facts = error.facts if isinstance(error, Refused) else {}
        details = dict(rollout.deployment.details) | {"refusal": why} | facts
        self._carry_out(service, rollout, rollout.happened(Event.REFUSED, details=details))
        self._events.publish("refused", service.name, deployment=rollout.deployment.id, detail=why)

    # -- the pointer moves ------------------------------------------------------------------------

    async def roll_back(
        self,
        service: ServiceEntry,
        kind: Kind,
        *,
        reason: str,
        actor: str,
        expected_generation: int | None = None,
        force: bool = False,
        only_for: Rollout | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Rollout:
        """Move the pointer back at once; overtakes whatever is only being prepared.

        Args:
            force: take back what was said to be irreversible, too.
            only_for: refuse unless this is the deployment that would be taken back.
            details: the explanation that is kept with it.

        Raises:
            Refused: there is nothing to go back to, or the state cannot be written.
        """
        async with service.moving:
            if only_for is not None and service.watched is not only_for:
                raise Refused(409, "nothing-to-roll-back", "The deployment is not watched any more")
            standing = service.standing(self._fleet.ledger)
            target = admit_rollback(standing, expected_generation=expected_generation, force=force)
            if (overtaken := service.pending) is not None:
                self._carry_out(service, overtaken, overtaken.happened(Event.OVERTAKEN))
            rollout = self.begin(service, kind, target, reason=reason, actor=actor)
            if details:
                rollout.deployment = replace(rollout.deployment, details=details)
            await self._move(service, rollout, force=False)
            return rollout

    async def drill(
        self, service: ServiceEntry, *, reason: str, actor: str, expected_generation: int | None
    ) -> Rollout:
        """Move the pointer back the way the judge does, gate and all; nothing is locked after it.

        Raises:
            Refused: as of `roll_back`; or nothing drains or bakes that could be taken back.
        """
        watched = service.watched
        if watched is None:
            detail = "A drill takes back what drains or bakes, and nothing does."
            raise Refused(409, "nothing-to-roll-back", detail)
        details = await self._watch.rehearse(service, watched)
        return await self.roll_back(
            service,
            Kind.ROLLBACK,
            reason=reason,
            actor=actor,
            expected_generation=expected_generation,
            only_for=watched,
            details=details,
        )

    async def _move(self, service: ServiceEntry, rollout: Rollout, *, force: bool) -> None:
        """Commit and store. The caller holds `service.moving`."""
        rollout.happened(Event.VERIFIED)
        pointer = self._fleet.ledger.pointer(service.word)
        deployment = replace(
            rollout.deployment,
            generation=pointer.generation + 1,
            details=self._with_baseline(service, rollout),
        )
        event = Event.COMMITTED if deployment.bake else Event.COMMITTED_UNWATCHED
        # Told as it is written, so that a crash right after the answer makes no other time of it.
        applied_at = time.time()
        after = advance(Phase.SWITCHING, event).phase
        committed = replace(deployment, phase=after, applied_at=applied_at)
        changes = changes_of(service, committed, force=force)
        try:
            await self._journal.write(*changes)
        except StateError as error:
            self._carry_out(service, rollout, rollout.happened(Event.UNWRITABLE))
            detail = f"The state cannot be written, so nothing was changed: {error}"
            raise Refused(503, "state-unwritable", detail) from error
        predecessor, service.pending = service.watched, None
        self._fleet.ledger.store_pointer(service.word, pointer.generation + 1, deployment.to_color)
        rollout.deployment = deployment
        effects = rollout.happened(event, applied_at=applied_at)
        service.last, service.watched = rollout.deployment, rollout
        for change in changes:
            if isinstance(change, SaveEnvironment):
                service.environment(change.color).saved = change
            elif predecessor is not None and isinstance(change, SaveDeployment):
                self._journal.write_later(change)  # older news may be queued behind the commit
        self._tasks.start(
            self._go_on(service, rollout, effects, predecessor), f"deployment {deployment.id}"
        )

    async def _go_on(
        self,
        service: ServiceEntry,
        rollout: Rollout,
        effects: tuple[Effect, ...],
        predecessor: Rollout | None,
    ) -> None:
        """All that follows from a pointer that has moved; the answer to whoever asked goes first.

        One deployment's turn comes before the next one's, as each waits the same time.
        """
        await asyncio.sleep(_ANSWER_FIRST)
        kind = rollout.deployment.kind
        if predecessor is not None and not predecessor.phase.is_over:
            self._carry_out(service, predecessor, predecessor.happened(end_by(kind)))
        self._announce(service, rollout)
        self._carry_out(service, rollout, effects)
        is_switch = kind is Kind.SWITCH
        moment = Moment.AFTER_SWITCH if is_switch else Moment.AFTER_ROLLBACK
        self._hooks.tell(service, rollout, moment)

    def _with_baseline(self, service: ServiceEntry, rollout: Rollout) -> dict[str, Any]:
        deployment = rollout.deployment
        details = dict(deployment.details)
        if deployment.bake:
            record = self._sampler.record(service.slot, deployment.from_color)
            rollout.crowd = self._sampler.crowd(service.slot, deployment.from_color)
            details["baseline"] = asdict(make_baseline(record, DURATION_BOUNDS))
        return details

    def _announce(self, service: ServiceEntry, rollout: Rollout) -> None:
        deployment = rollout.deployment
        self._events.publish(
            str(deployment.kind),
            service.name,
            deployment=deployment.id,
            generation=deployment.generation,
            reason=deployment.reason,
            actor=deployment.actor,
            release=deployment.release,
            **{"from": str(deployment.from_color), "to": str(deployment.to_color)},
        )

    # -- after it has moved -----------------------------------------------------------------------

    def resume(self, service: ServiceEntry, deployment: Deployment) -> None:
        """Go on with a deployment that a restart found under way."""
        rollout = Rollout(deployment)
        if deployment.phase.is_pending:
            details = dict(deployment.details) | {"refusal": "the proxy was restarted meanwhile"}
            effects = rollout.happened(Event.RESTARTED, details=details)
        elif service.last is None or service.last.id != deployment.id:
            effects = rollout.happened(Event.OVERTAKEN)
        else:
            rollout.deployment = service.last
            service.watched = rollout
            effects = rollout.happened(Event.RESTARTED)
        self._carry_out(service, rollout, effects)

    def abandon(self, service: ServiceEntry) -> None:
        """The service is gone: end what is under way."""
        for rollout in (service.pending, service.watched):
            if rollout is not None and rollout.phase is not Phase.SWITCHING:
                self._carry_out(service, rollout, rollout.happened(Event.OVERTAKEN))

    def end_watch(self, service: ServiceEntry, detail: str) -> None:
        """End the bake: its way back is gone or another, and somebody wanted it so."""
        rollout = service.watched
        if rollout is None or not rollout.phase.is_baking:
            return
        details = dict(rollout.deployment.details) | {"ended": detail}
        self._bake_finished(
            service, rollout, Event.WATCH_ENDED, Outcome.INCONCLUSIVE, detail, details
        )

    def _carry_out(
        self, service: ServiceEntry, rollout: Rollout, effects: tuple[Effect, ...]
    ) -> None:
        # COMMIT and STORE_POINTER are `_move`'s own: nothing may come between the two.
        for effect in effects:
            match effect:
                case Effect.STOP_CHECKS if rollout.preparation is not None:
                    rollout.preparation.cancel()
                case Effect.STOP_DRAIN if rollout.drain is not None:
                    rollout.drain.cancel()
                case Effect.STOP_BAKE if rollout.bake is not None:
                    self._sampler.leave(service.slot, rollout.bake)
                case Effect.START_DRAIN if rollout.phase.is_draining:
                    rollout.drain = self._tasks.start(self._drain(service, rollout), "drain")
                case Effect.START_BAKE if rollout.phase.is_baking:
                    rollout.bake = self._watch.begin(service, rollout, self._fleet.ledger)
                    self._sampler.watch(service.slot, rollout.bake)
                    self._signals.begin(rollout.bake)
                case Effect.RECORD if rollout.phase.is_over or rollout is service.watched:
                    # Else a commit has ended it on disk, and what that means for it follows.
                    self._journal.write_later(SaveDeployment(rollout.deployment))
        if rollout.phase.is_over:
            if service.pending is rollout:
                service.pending = None
            if service.watched is rollout:
                service.watched = None
            if service.last is not None and service.last.id == rollout.deployment.id:
                service.last = rollout.deployment
            self._tell_end(service, rollout.deployment)

    def _tell_end(self, service: ServiceEntry, deployment: Deployment) -> None:
        """Every deployment ends with this event, whatever its outcome; metrics count it."""
        self._events.publish(
            "finished",
            service.name,
            deployment=deployment.id,
            kind=str(deployment.kind),
            outcome=str(deployment.outcome),
            **{"from": str(deployment.from_color), "to": str(deployment.to_color)},
        )

    async def _drain(self, service: ServiceEntry, rollout: Rollout) -> None:
        deployment = rollout.deployment
        old = deployment.from_color
        rollout.drain_progress = progress = DrainProgress()
        generation = (deployment.generation or 1) - 1
        await drain(service, old, generation, self._fleet, self._events, progress)
        effects = rollout.happened(Event.DRAINED, drained_at=time.time())
        self._events.publish(
            "drained",
            service.name,
            deployment=deployment.id,
            environment=str(old),
            status=str(progress.status),
            seconds=round(progress.seconds, 4),
            closed_requests=progress.closed_requests,
            closed_tunnels=progress.closed_tunnels,
            left=progress.requests + progress.tunnels,
        )
        self._carry_out(service, rollout, effects)
        self._hooks.tell(service, rollout, Moment.ON_DRAINED)

    def _end_bake(self, service: ServiceEntry, rollout: Rollout, bake: Bake) -> None:
        outcome, detail = bake.judge.finish()
        self._sampler.leave(service.slot, bake)
        self._bake_finished(service, rollout, Event.BAKED, outcome, detail, {})

    def _bake_finished(
        self,
        service: ServiceEntry,
        rollout: Rollout,
        event: Event,
        outcome: Outcome,
        detail: str,
        details: Mapping[str, Any],
    ) -> None:
        kept = rollout.explanation() | {"verdict": detail} | dict(details)
        effects = rollout.happened(event, verdict=outcome, details=kept)
        self._events.publish(
            "bake_finished",
            service.name,
            deployment=rollout.deployment.id,
            outcome=str(outcome),
            detail=detail,
        )
        self._carry_out(service, rollout, effects)
        self._hooks.tell(service, rollout, Moment.AFTER_BAKE)

    async def _take_back(
        self, service: ServiceEntry, rollout: Rollout, reason: str, details: dict[str, Any]
    ) -> None:
        await self.roll_back(
            service,
            Kind.AUTO_ROLLBACK,
            reason=reason,
            actor="judge",
            only_for=rollout,
            details=details,
        )


def _still_wanted(rollout: Rollout) -> None:
    if rollout.phase is not Phase.VERIFYING:
        detail = "A rollback came while the target was being prepared; nothing was switched."
        raise Refused(409, "superseded", detail, {"deployment": rollout.deployment.id})
