"""Who may switch when: locks and approvals as the admin API asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgproxy.controlplane.approvals import Approvals
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.locks import Locks
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.views import deployment_view, service_view
from bgproxy.domain.approval import Decision
from bgproxy.state.ledger import Ledger


class Permits:
    """Locks and decisions; every refusal is a `Refused`.

    Args:
        find: the service of a name; refuses where there is none.
    """

    def __init__(
        self,
        find: Callable[[str], ServiceEntry],
        ledger: Ledger,
        tasks: Tasks,
        locks: Locks,
        approvals: Approvals,
    ) -> None:
        self._find = find
        self._ledger = ledger
        self._tasks = tasks
        self._locks = locks
        self._approvals = approvals

    async def lock(
        self, name: str, *, reason: str, until: float | None, actor: str
    ) -> dict[str, Any]:
        """Refuse every switch from now on; `until` is Unix time. Returns the SERVICE."""
        service = self._find(name)
        await self._tasks.carry_out(self._locks.lock(service, reason, until, actor), "lock")
        return service_view(service, self._ledger)

    async def unlock(self, name: str, actor: str) -> dict[str, Any]:
        """Allow switches again; returns the SERVICE."""
        service = self._find(name)
        await self._tasks.carry_out(self._locks.unlock(service, actor), "unlock")
        return service_view(service, self._ledger)

    async def decide(
        self, name: str, decision: Decision, *, named: int | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """Approve or reject the switch that waits.

        Returns:
            The DEPLOYMENT once its pointer has moved, or never will.
        """
        service = self._find(name)
        deciding = self._approvals.decide(
            service, decision, named=named, reason=reason, actor=actor
        )
        rollout = await self._tasks.carry_out(deciding, "decide")
        await rollout.is_decided.wait()
        return deployment_view(rollout.deployment, service, self._ledger)
