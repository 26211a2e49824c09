"""What follows from the judge's findings: ask the gate, take back, hold, report, alert."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from bgproxy.controlplane.bake import Bake
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.holding import Holding
from bgproxy.controlplane.probes import Probes
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.verify import Verifier
from bgproxy.domain.baseline import Baseline
from bgproxy.domain.clients import Crowd
from bgproxy.domain.model import RollbackMode
from bgproxy.domain.rollback import Cause, Gate, Judge, Verdict, WayBack, judge_way_back
from bgproxy.errors import Refused
from bgproxy.state.ledger import Ledger

_RETRY = 1.0
_NOT_ABOUT_FAILURES = frozenset({"latency", "signal", "drill"})

_log = structlog.get_logger("bgproxy.watch")

End = Callable[[ServiceEntry, Rollout, Bake], None]
TakeBack = Callable[[ServiceEntry, Rollout, str, dict[str, Any]], Awaitable[None]]


class Watch:
    """Makes bakes and acts on what they find.

    Args:
        end: called when a bake's time is over.
        take_back: moves the pointer back.
    """

    def __init__(
        self,
        events: EventHub,
        probes: Probes,
        verifier: Verifier,
        tasks: Tasks,
        end: End,
        take_back: TakeBack,
    ) -> None:
        self._events = events
        self._probes = probes
        self._verifier = verifier
        self._tasks = tasks
        self._end = end
        self._take_back = take_back

    def begin(self, service: ServiceEntry, rollout: Rollout, ledger: Ledger) -> Bake:
        """Watch a deployment whose pointer has moved, with the baseline that was frozen then."""
        deployment = rollout.deployment
        baseline = Baseline(**deployment.details["baseline"])
        ago = max(0.0, time.time() - (deployment.applied_at or time.time()))
        return Bake(
            service,
            deployment.to_color,
            Judge(service.settings.rollback, baseline),
            ledger,
            # Slots are hashed anew by every process, so what was known before a restart is lost.
            crowd=rollout.crowd or Crowd(),
            began=time.monotonic() - ago,
            seconds=deployment.bake,
            on_harm=lambda bake, verdict: self._found(service, rollout, bake, verdict),
            on_end=lambda bake: self._end(service, rollout, bake),
            on_progress=lambda bake: self._progress(service, rollout, bake),
        )

    async def rehearse(self, service: ServiceEntry, rollout: Rollout) -> dict[str, Any]:
        """Ask the gate as if harm had been found; for a drill, which goes back whatever it says.

        Returns:
            The explanation to keep with the way back.
        """
        details: dict[str, Any] = {"takes_back": rollout.deployment.id, "drill": {"gate": None}}
        if (bake := rollout.bake) is not None:
            began = time.monotonic()
            gate = await self._ask_gate(service, rollout, bake, Verdict("drill", ""))
            details["bake"] = bake.explain()
            details["drill"] = {
                "gate": {"may_roll_back": gate.may_roll_back, "detail": gate.detail},
                "gate_seconds": round(time.monotonic() - began, 4),
            }
        return details

    def _found(self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict) -> None:
        bake.is_considering = True
        self._tasks.start(self._consider(service, rollout, bake, verdict), "consider rollback")

    async def _consider(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict
    ) -> None:
        """Ask the gate and do what follows."""
        try:
            gate = await self._ask_gate(service, rollout, bake, verdict)
            bake.gates.append(
                {
                    "t": round(bake.elapsed, 1),
                    "verdict": {"rule": verdict.rule, "detail": verdict.detail},
                    "may_roll_back": gate.may_roll_back,
                    "detail": gate.detail,
                }
            )
            del bake.gates[:-20]
            if not gate.may_roll_back:
                self._hold(service, rollout, bake, verdict, gate)
            elif service.settings.rollback.mode is RollbackMode.WATCH:
                self._report(service, rollout, bake, verdict, gate)
            else:
                await self._act(service, rollout, bake, verdict, gate)
        finally:
            bake.is_considering = False

    async def _ask_gate(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict
    ) -> Gate:
        if why := rollout.deployment.irreversible:
            return Gate(False, f"this release must not be taken back: {why}", Cause.IRREVERSIBLE)
        old = service.environment(rollout.deployment.from_color)
        applied_at = rollout.deployment.applied_at or 0.0
        fresh = await self._probes.probe_now(old.entries)
        checks = []
        if service.settings.verify.checks and any(result.has_passed for _, result in fresh):
            checks = await self._verifier.run_checks(service, old)
        failed = sorted({check["name"] for check in checks if not check["passed"]})
        way = WayBack(
            is_there=bool(old.entries) and old.saved.changed_at <= applied_at,
            healthy=sum(result.has_passed for _, result in fresh),
            backends=len(old.entries),
            failed_checks=tuple(failed),
            healthy_for=time.time() - max((e.unhealthy_at for e in old.entries), default=0.0),
        )
        judge = bake.judge
        # Few failures say nothing against a verdict that rests upon something else.
        share = 0.0 if verdict.rule in _NOT_ABOUT_FAILURES else judge.recent_share
        usual = judge.baseline.failure_share
        return judge_way_back(way, share, usual, has_held=bake.has_held)

    def _hold(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict, gate: Gate
    ) -> None:
        """Leave it to people; the log says so once for as long as that goes on."""
        bake.hold()
        bake.has_held = True
        now = time.monotonic()
        facts = _facts(rollout, verdict, gate)
        if bake.holding is not None:
            bake.holding.again(now)
            self._events.repeat("hold", service.name, **facts)
            return
        bake.holding = Holding(now)
        self._events.publish("hold", service.name, **facts)
        self._tasks.start(self._see_hold_end(service, rollout, bake, bake.holding), "hold")

    async def _see_hold_end(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, holding: Holding
    ) -> None:
        """Wait until the judge is content, or the watch is over, and say how long that took."""
        while (left := holding.left(time.monotonic())) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bake.has_ended.wait(), left)
                break
        bake.holding = None
        self._events.publish(
            "hold_ended",
            service.name,
            deployment=rollout.deployment.id,
            environment=str(rollout.deployment.to_color),
            seconds=round(holding.seconds, 1),
            times=holding.times,
        )

    def _report(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict, gate: Gate
    ) -> None:
        """Mode ``watch``: say once what would have been done, and go on watching."""
        bake.hold()
        if not bake.has_reported:
            bake.has_reported = True
            facts = _facts(rollout, verdict, gate)
            self._events.publish("would_roll_back", service.name, **facts)

    async def _act(
        self, service: ServiceEntry, rollout: Rollout, bake: Bake, verdict: Verdict, gate: Gate
    ) -> None:
        """Take the release back; as long as the state cannot be written, try again."""
        details = {"takes_back": rollout.deployment.id, "bake": bake.explain()}
        while True:
            try:
                await self._take_back(service, rollout, f"{verdict.detail}; {gate.detail}", details)
                return
            except Refused as refusal:
                if refusal.kind != "state-unwritable":
                    return  # somebody else moved the pointer, or ended the watch
                _log.error("rollback_not_written", service=service.name, detail=refusal.detail)
            await asyncio.sleep(_RETRY)

    def _progress(self, service: ServiceEntry, rollout: Rollout, bake: Bake) -> None:
        judge = bake.judge
        self._events.publish(
            "bake_progress",
            service.name,
            deployment=rollout.deployment.id,
            seconds=round(bake.elapsed, 1),
            of_seconds=bake.seconds,
            requests=judge.requests,
            failures=judge.failures,
            evidence=round(judge.evidence.value, 2),
            evidence_needed=judge.evidence.needed,
        )
        if judge.is_slow and not bake.has_alerted:
            bake.has_alerted = True
            self._events.publish(
                "latency",
                service.name,
                deployment=rollout.deployment.id,
                detail=judge.slow_detail,
            )


def _facts(rollout: Rollout, verdict: Verdict, gate: Gate) -> dict[str, Any]:
    """What an event says of harm that was found."""
    return {
        "deployment": rollout.deployment.id,
        "environment": str(rollout.deployment.to_color),
        "rule": verdict.rule,
        "detail": verdict.detail,
        "gate": gate.detail,
        "cause": gate.cause and str(gate.cause),
    }
