"""What a switch would meet and what its judge could find, told beforehand; nothing is changed."""

from __future__ import annotations

import time
from typing import Any

from bgproxy.controlplane.admission import admit
from bgproxy.controlplane.bake import Sampler
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.environments import Environments
from bgproxy.domain.baseline import make_baseline
from bgproxy.domain.model import Color, RollbackRule
from bgproxy.domain.rollback import Judge
from bgproxy.errors import Refused
from bgproxy.state.ledger import DURATION_BOUNDS, Ledger

_SHARES = (1.0, 0.5, 0.1, 0.05, 0.03)
"""The harms whose delays are told."""


class Forecaster:
    """Makes plans of switches."""

    def __init__(self, ledger: Ledger, sampler: Sampler, environments: Environments) -> None:
        self._ledger = ledger
        self._sampler = sampler
        self._environments = environments

    async def plan(self, service: ServiceEntry, to: Color | None, actor: str) -> dict[str, Any]:
        """The PLAN document: would it be refused, do the checks pass, what is in flight, and so on.

        Raises:
            Refused: the target is active already.
        """
        refusal = None
        active = service.standing(self._ledger).active
        try:
            target = admit(service, self._ledger, to, now=time.time())
        except Refused as refused:
            if refused.kind == "already-active":
                raise
            target = to or active.other
            refusal = {"kind": refused.kind, "detail": refused.detail}
        verification = await self._environments.verify(service, target, actor)
        drain = service.settings.drain
        requests, tunnels = self._ledger.in_flight(service.environment(target.other).slots())
        return {
            "service": service.name,
            "from": str(target.other),
            "to": str(target),
            "release": service.environment(target).release or None,
            "would_switch": refusal is None and verification["passed"],
            "refusal": refusal,
            "checks": verification["checks"],
            "drain": {
                "requests": requests,
                "tunnels": tunnels,
                "timeout": drain.timeout,
                "tunnel_timeout": drain.tunnel_timeout,
            },
            "judge": self._judge(service, target.other),
        }

    def _judge(self, service: ServiceEntry, old: Color) -> dict[str, Any]:
        """How long harm would go unnoticed if traffic stays as it was in the last minutes."""
        policy = service.settings.rollback
        record = self._sampler.record(service.slot, old)
        judge = Judge(policy, make_baseline(record, DURATION_BOUNDS))
        rate = self._sampler.rate(service.slot, old)
        bake = 0.0 if policy.rule is RollbackRule.OFF else policy.bake
        return {
            "rule": str(policy.rule),
            "mode": str(policy.mode),
            "bake": bake,
            "rate": round(rate, 3),
            "usual": judge.baseline.failure_share,
            "finds": [
                {"failing": share, "seconds": _within(judge.seconds_to_find(share, rate), bake)}
                for share in _SHARES
            ],
        }


def _within(seconds: float | None, bake: float) -> float | None:
    """None for what comes after the bake, or never."""
    return None if seconds is None or seconds > bake else round(seconds, 1)
