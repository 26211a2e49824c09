"""One deployment being carried out: where it stands, what runs for it, and who waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.deployment import Deployment, Effect, Event, Phase, advance

if TYPE_CHECKING:
    from bgproxy.controlplane.bake import Bake
    from bgproxy.controlplane.draining import DrainProgress
    from bgproxy.domain.clients import Crowd
    from bgproxy.state.channel import FailureSample

_MOST_SAMPLES = 20


class Rollout:
    """A deployment of this process; `happened` is the only way in which it goes on.

    Attributes:
        preparation: waits for health and runs the checks.
        drain, bake: what runs after the pointer has moved.
        crowd: the old environment's clients, frozen at the switch.
        drain_progress: the drain as it stands.
        is_held: set when it waits for an approval, or has waited.
        is_decided: set when the pointer has moved, or never will.
        has_drained: set when the drain is over, or will never be.
        is_over: set when the deployment has ended.
    """

    __slots__ = (
        "bake",
        "crowd",
        "deployment",
        "drain",
        "drain_progress",
        "has_drained",
        "is_decided",
        "is_held",
        "is_over",
        "preparation",
        "samples",
    )

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.preparation: asyncio.Task[None] | None = None
        self.drain: asyncio.Task[None] | None = None
        self.drain_progress: DrainProgress | None = None
        self.bake: Bake | None = None
        self.crowd: Crowd | None = None
        self.samples: deque[FailureSample] = deque(maxlen=_MOST_SAMPLES)
        """The last failed exchanges of the generation that this deployment made."""
        self.is_held = asyncio.Event()
        self.is_decided = asyncio.Event()
        self.has_drained = asyncio.Event()
        self.is_over = asyncio.Event()

    @property
    def phase(self) -> Phase:
        """Where the deployment stands."""
        return self.deployment.phase

    def happened(self, event: Event, **facts: Any) -> tuple[Effect, ...]:
        """Go where the table leads from here.

        Args:
            facts: fields of the deployment that change with it.

        Returns:
            The effects, which the caller has to carry out.

        Raises:
            ImpossibleTransitionError: the table has no such entry.
        """
        step = advance(self.deployment.phase, event)
        if step.phase.is_over:
            facts.setdefault("finished_at", time.time())
            facts["details"] = self.explanation() | dict(facts.get("details", {}))
        self.deployment = replace(self.deployment, phase=step.phase, **facts)
        if not step.phase.is_pending:
            self.is_decided.set()
        if not step.phase.is_pending and not step.phase.is_draining:
            self.has_drained.set()
        if step.phase.is_over:
            self.is_over.set()
        return step.effects

    def explanation(self) -> dict[str, Any]:
        """Why things are as they are, as far as is known by now."""
        details = dict(self.deployment.details)
        if self.bake is not None:
            details["bake"] = self.bake.explain()
        if (drain := self.drain_progress) is not None:
            details["drain"] = {
                "status": str(drain.status),
                "requests": drain.requests,
                "tunnels": drain.tunnels,
                "closed_requests": drain.closed_requests,
                "closed_tunnels": drain.closed_tunnels,
                "seconds": round(drain.seconds, 4),
            }
        if self.samples:
            details["samples"] = [_shown(sample) for sample in self.samples]
        return details

    def keep_sample(self, sample: FailureSample) -> None:
        """Keep a failed exchange, unless it belongs to an earlier generation."""
        if sample.generation == self.deployment.generation:
            self.samples.append(sample)

    async def reach(self, wait: str) -> None:
        """Return when ``applied``, ``drained`` or ``finished`` is reached, or the end is."""
        if wait == "drained":
            await self.has_drained.wait()
        elif wait == "finished":
            await self.is_over.wait()


async def until_held(rollout: Rollout, switching: asyncio.Task[None]) -> None:
    """Return when a deployment waits for its approval, or has not to wait for any.

    Args:
        switching: what carries it out; it goes on.

    Raises:
        Refused: by which it ended before.
    """
    held = asyncio.ensure_future(rollout.is_held.wait())
    try:
        await asyncio.wait((held, switching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        held.cancel()
    if switching.done():
        switching.result()


def _shown(sample: FailureSample) -> dict[str, Any]:
    return {
        "at": rfc3339(sample.at),
        "method": sample.method,
        "path": sample.path,
        "status": sample.status,
        "reason": sample.reason.label,
        "backend": sample.backend,
        "request_id": sample.request_id,
    }
