"""Before the pointer moves: the target is healthy, passes its checks, and no hook says no."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from bgproxy.controlplane.approvals import Approvals
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.hooks import HookRunner
from bgproxy.controlplane.probes import Probes
from bgproxy.controlplane.publisher import Publisher
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.times import rfc3339
from bgproxy.controlplane.verify import Verifier
from bgproxy.domain.approval import Hold
from bgproxy.domain.health import is_enough
from bgproxy.domain.hooks import Moment
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from bgproxy.state.changes import SaveDeployment
from bgproxy.state.journal import Journal


@dataclass(frozen=True, slots=True)
class Terms:
    """What a switch is to wait for.

    Args:
        verify: run the configured checks first.
        force: wait for nothing but the workers' tables, and for the approval if there is a `hold`.
        hold: wait for somebody else's approval; None for none.
    """

    verify: bool = True
    force: bool = False
    hold: Hold | None = None


class Preparation:
    """Makes sure that a target is fit; `is_needed` tells whether that takes any time."""

    def __init__(
        self,
        journal: Journal,
        events: EventHub,
        publisher: Publisher,
        probes: Probes,
        verifier: Verifier,
        hooks: HookRunner,
        approvals: Approvals,
    ) -> None:
        self._journal = journal
        self._events = events
        self._publisher = publisher
        self._probes = probes
        self._verifier = verifier
        self._hooks = hooks
        self._approvals = approvals

    def is_needed(self, service: ServiceEntry, rollout: Rollout, terms: Terms) -> bool:
        """Whether there is anything to wait for; else a switch costs one commit only."""
        environment = service.environment(rollout.deployment.to_color)
        share = service.settings.switch.min_healthy
        is_fit = terms.force or (
            is_enough(environment.ready, environment.count, share)
            and (service.settings.verify.is_empty or not terms.verify)
            and not service.settings.hooks.before_switch
        )
        return not (is_fit and self._publisher.is_settled and terms.hold is None)

    async def run(self, service: ServiceEntry, rollout: Rollout, terms: Terms) -> None:
        """Return when the pointer may move.

        Raises:
            Refused: the target did not become healthy, fails its checks, a hook says no, or nobody
                approved it.
        """
        target = rollout.deployment.to_color
        self._journal.write_later(SaveDeployment(rollout.deployment))
        if not terms.force:
            await self._until_healthy(service, target)
            if terms.verify and not service.settings.verify.is_empty:
                await self._until_verified(service, rollout)
            await self._ask_before_switch(service, rollout)
        if terms.hold is not None:
            await self._approvals.wait(service, rollout, terms.hold)
            if not terms.force:  # it may have waited for long
                await self._until_seen_healthy(service, target)
        # The pointer may move only once every worker has the table that the target needs.
        await self._publisher.settle()

    async def _until_healthy(self, service: ServiceEntry, target: Color) -> None:
        environment = service.environment(target)
        policy = service.settings.switch

        def is_healthy() -> bool:
            return is_enough(environment.ready, environment.count, policy.min_healthy)

        if is_healthy():
            return
        self._probes.poke(environment.entries)
        try:
            async with asyncio.timeout(policy.ready_timeout):
                while not is_healthy():
                    await service.probed.wait()
        except TimeoutError:
            raise _not_healthy(service, target) from None

    async def _until_seen_healthy(self, service: ServiceEntry, target: Color) -> None:
        """The same by fresh probes: one that fails counts at once."""
        environment = service.environment(target)
        policy = service.settings.switch
        try:
            async with asyncio.timeout(policy.ready_timeout):
                while True:
                    fresh = await self._probes.probe_now(environment.entries)
                    passed = sum(result.has_passed for _, result in fresh)
                    if is_enough(passed, environment.count, policy.min_healthy):
                        return
                    await service.probed.wait()
        except TimeoutError:
            raise _not_healthy(service, target) from None

    async def _until_verified(self, service: ServiceEntry, rollout: Rollout) -> None:
        target = rollout.deployment.to_color
        key = f"{service.name}-{rollout.deployment.id}-verify"
        checks = await self._verifier.run(service, service.environment(target), key)
        failed = [check for check in checks if not check["passed"]]
        self._events.publish(
            "verify",
            service.name,
            deployment=rollout.deployment.id,
            environment=str(target),
            passed=not failed,
            failed=sorted({check["name"] for check in failed}),
        )
        details = dict(rollout.deployment.details) | {"checks": checks}
        rollout.deployment = replace(rollout.deployment, details=details)
        if failed:
            named = "; ".join(
                f"{check['name']} at {check['backend'] or check['kind']}: {check['failures'][0]}"
                for check in failed[:5]
            )
            more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
            raise Refused(
                409,
                "checks-failed",
                f"{target} fails its checks: {named}{more}.",
                {"environment": str(target), "checks": checks, "passed": False},
            )

    async def _ask_before_switch(self, service: ServiceEntry, rollout: Rollout) -> None:
        """Call the hooks that may veto; every veto is named."""
        reports = await self._hooks.call(service, rollout, Moment.BEFORE_SWITCH)
        if vetoes := [report for report in reports if not report["passed"]]:
            named = "; ".join(f"{veto['name']}: {veto['failures'][-1]}" for veto in vetoes)
            raise Refused(
                409, "checks-failed", f"Vetoed before the switch: {named}.", {"hooks": reports}
            )


def _not_healthy(service: ServiceEntry, target: Color) -> Refused:
    """The refusal that names each backend, what it answered and when."""
    environment = service.environment(target)
    policy = service.settings.switch
    backends = []
    for entry in environment.entries:
        last = entry.last
        backends.append(
            {
                "url": entry.backend.url,
                "address": str(entry.place),
                "healthy": entry.health.is_ready,
                "answered": last.detail if last else "not probed yet",
                "at": rfc3339(last.at) if last else None,
            }
        )
    backends += [
        {
            "url": backend.url,
            "address": None,
            "healthy": False,
            "answered": "its name does not resolve",
            "at": None,
        }
        for backend in environment.unresolved
    ]
    named = "; ".join(f"{b['url']}: {b['answered']}" for b in backends if not b["healthy"])
    return Refused(
        409,
        "target-not-healthy",
        f"{target} did not become healthy within {policy.ready_timeout:g} s: "
        f"{environment.ready} of {len(backends)} backends are, "
        f"{100 * policy.min_healthy:g} % are needed ({named}).",
        {"environment": str(target), "backends": backends},
    )
