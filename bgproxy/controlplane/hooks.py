"""Calls the hooks of a deployment and keeps what became of them with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bgproxy.controlplane.calls import Caller
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.views import deployment_view
from bgproxy.domain.hooks import Moment
from bgproxy.state.changes import SaveDeployment
from bgproxy.state.journal import Journal
from bgproxy.state.ledger import Ledger


class HookRunner:
    """Runs the calls of a moment: `call` waits for them, `tell` does not."""

    def __init__(
        self, journal: Journal, events: EventHub, ledger: Ledger, caller: Caller, tasks: Tasks
    ) -> None:
        self._journal = journal
        self._events = events
        self._ledger = ledger
        self._caller = caller
        self._tasks = tasks

    async def call(
        self, service: ServiceEntry, rollout: Rollout, moment: Moment
    ) -> list[dict[str, Any]]:
        """Make a moment's calls and keep their reports with the deployment."""
        calls = service.settings.hooks.at(moment)
        if not calls:
            return []
        deployment = rollout.deployment
        document = deployment_view(deployment, service, self._ledger)
        document |= {"moment": str(moment), "deployment": deployment.id}
        key = f"{service.name}-{deployment.id}-{moment}"
        reports = await self._caller.run(calls, document, key)
        details = dict(rollout.deployment.details)
        details["hooks"] = dict(details.get("hooks", {})) | {str(moment): reports}
        rollout.deployment = replace(rollout.deployment, details=details)
        if moment is not Moment.BEFORE_SWITCH:
            self._journal.write_later(SaveDeployment(rollout.deployment))
        self._events.publish(
            "hooks",
            service.name,
            deployment=deployment.id,
            moment=str(moment),
            failed=[report["name"] for report in reports if not report["passed"]],
        )
        return reports

    def tell(self, service: ServiceEntry, rollout: Rollout, moment: Moment) -> None:
        """Call hooks that may only be told; nobody waits for them."""
        if service.settings.hooks.at(moment):
            self._tasks.start(self.call(service, rollout, moment), str(moment))
