"""Switches that wait for somebody else's approval before their pointer moves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.approval import Decision, Hold, OnTimeout, check_approver, check_decider
from bgproxy.domain.deployment import Deployment
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import Audit, SaveDeployment
from bgproxy.state.journal import Journal

_ASK_AGAIN = 1.0
"""Seconds by which a time-out waits for a decision that is just being written."""


class _Wait:
    """One deployment's wait; `decided` is how it ended."""

    __slots__ = ("decided", "is_being_written", "rollout")

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.is_being_written = False


class Approvals:
    """Holds deployments (`wait`) and lets them go (`decide`)."""

    def __init__(self, journal: Journal, events: EventHub) -> None:
        self._journal = journal
        self._events = events
        self._waits: dict[str, _Wait] = {}

    async def wait(self, service: ServiceEntry, rollout: Rollout, hold: Hold) -> None:
        """Return once the deployment may go on. A restart meanwhile ends it as failed.

        It is on disk before anybody is told that it waits: what was asked for is in the history
        whatever becomes of the proxy.

        Raises:
            Refused: 409, it was rejected, or nobody approved it in time; 503, the state cannot be
                written.
        """
        since = time.time()
        facts: dict[str, Any] = {
            "since": rfc3339(since),
            "until": rfc3339(since + hold.timeout),
            "on_timeout": str(hold.on_timeout),
        }
        _note(rollout, facts)
        try:
            await self._journal.write(SaveDeployment(rollout.deployment))
        except StateError as error:
            detail = f"The state cannot be written, so nothing waits for an approval: {error}"
            raise Refused(503, "state-unwritable", detail) from error
        wait = self._waits[service.name] = _Wait(rollout)
        timer = asyncio.get_running_loop().call_later(hold.timeout, self._time_out, wait)
        rollout.is_held.set()
        self._tell("held", service, rollout.deployment, rollout.deployment.actor, **facts)
        try:
            decision = await wait.decided
        finally:
            timer.cancel()
            if self._waits.get(service.name) is wait:
                del self._waits[service.name]
        if decision is Decision.TIMED_OUT:
            self._end_of_time(service, rollout, hold)
        elif decision is Decision.REJECTED:
            decided = rollout.deployment.details["hold"]
            why = f": {decided['reason']}" if decided["reason"] else ""
            detail = f"{decided['by']} rejected the switch to {rollout.deployment.to_color}{why}"
            raise Refused(409, "rejected", detail, {"deployment": rollout.deployment.id})

    def _time_out(self, wait: _Wait) -> None:
        if wait.decided.done():
            return
        if wait.is_being_written:
            asyncio.get_running_loop().call_later(_ASK_AGAIN, self._time_out, wait)
            return
        wait.decided.set_result(Decision.TIMED_OUT)

    def _end_of_time(self, service: ServiceEntry, rollout: Rollout, hold: Hold) -> None:
        _note(rollout, {"decision": str(Decision.TIMED_OUT)})
        deployment = rollout.deployment
        action = str(hold.on_timeout)
        self._tell("hold_timeout", service, deployment, deployment.actor, action=action)
        if hold.on_timeout is OnTimeout.CANCEL:
            detail = f"Nobody approved it within {hold.timeout:g} s."
            raise Refused(409, "not-approved", detail, {"deployment": deployment.id})

    async def decide(
        self,
        service: ServiceEntry,
        decision: Decision,
        *,
        named: int | None,
        reason: str,
        actor: str,
    ) -> Rollout:
        """Approve or reject what waits; durable before it holds.

        Args:
            named: the deployment that is meant, if that is said.

        Returns:
            The deployment, which goes on; `Rollout.is_decided` tells when its pointer has moved.

        Raises:
            Refused: nothing waits, the approver is who asked, or the state cannot be written.
        """
        wait = self._waits.get(service.name)
        pending = wait.rollout.deployment if wait is not None else None
        held = None if pending is None else pending.held
        deployment = check_decider(pending, held, named, service.name)
        assert wait is not None
        if decision is Decision.APPROVED:
            check_approver(deployment, actor)
        if wait.is_being_written or wait.decided.done():
            detail = f"Somebody else decides about deployment {deployment.id} at this moment."
            raise Refused(409, "nothing-to-approve", detail, {"deployment": deployment.id})
        wait.is_being_written = True
        try:
            await self._write(service, deployment, decision, reason, actor)
        finally:
            wait.is_being_written = False
        if wait.decided.done():  # a rollback came first
            detail = f"Deployment {deployment.id} does not wait any more."
            raise Refused(409, "nothing-to-approve", detail, {"deployment": deployment.id})
        _note(wait.rollout, {"decision": str(decision), "by": actor, "reason": reason})
        self._tell(str(decision), service, deployment, actor, reason=reason)
        wait.decided.set_result(decision)
        return wait.rollout

    async def _write(
        self,
        service: ServiceEntry,
        deployment: Deployment,
        decision: Decision,
        reason: str,
        actor: str,
    ) -> None:
        action = "approve" if decision is Decision.APPROVED else "reject"
        after = {"deployment": deployment.id, "decision": str(decision), "reason": reason}
        before = {"deployment": deployment.id, "asked_by": deployment.actor}
        try:
            await self._journal.write(
                Audit(time.time(), service.name, actor, action, before, after)
            )
        except StateError as error:
            detail = f"The state cannot be written, so nothing was decided: {error}"
            raise Refused(503, "state-unwritable", detail) from error

    def _tell(
        self, type: str, service: ServiceEntry, deployment: Deployment, actor: str, **facts: Any
    ) -> None:
        self._events.publish(
            type,
            service.name,
            deployment=deployment.id,
            to=str(deployment.to_color),
            release=deployment.release,
            asked_by=deployment.actor,
            actor=actor,
            **facts,
        )


def _note(rollout: Rollout, facts: dict[str, Any]) -> None:
    """Keep what is known of a wait with its deployment."""
    details = dict(rollout.deployment.details)
    details["hold"] = dict(details.get("hold", {})) | facts
    rollout.deployment = replace(rollout.deployment, details=details)
