"""The drain of an old environment: quiesce, watch the gauges, close the rest at the deadline."""

from __future__ import annotations

import asyncio
import platform
import time
from dataclasses import dataclass

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.fleet import Fleet
from bgproxy.domain.drain import DrainStatus, next_drain_step
from bgproxy.domain.model import Color

_PROGRESS_EVERY = 1.0

_WEAKLY_ORDERED_PAUSE = 0.0 if platform.machine() in ("x86_64", "AMD64", "i686") else 0.15
"""Where loads may overtake each other, gauges are read once more a worker's tick later."""


@dataclass(slots=True)
class DrainProgress:
    """A drain as it stands; `drain` keeps it up to date.

    Args:
        status: where it stands.
        requests, tunnels: in flight on the old environment.
        closed_requests, closed_tunnels: told to close at a deadline.
        seconds: since the switch.
    """

    status: DrainStatus = DrainStatus.WAITING
    requests: int = 0
    tunnels: int = 0
    closed_requests: int = 0
    closed_tunnels: int = 0
    seconds: float = 0.0


async def drain(
    service: ServiceEntry,
    old: Color,
    generation: int,
    fleet: Fleet,
    events: EventHub,
    progress: DrainProgress,
) -> None:
    """Return when nothing is left on the old environment, or what is left does not close.

    Args:
        old: the color that was active until now.
        generation: its last one; what began later is not touched.
        progress: is kept up to date.
    """
    began = time.monotonic()
    slots = service.environment(old).slots()
    await fleet.quiesce()
    requests_told = tunnels_told = False
    reported = began
    while True:
        progress.requests, progress.tunnels = fleet.ledger.in_flight(slots)
        now = time.monotonic()
        progress.seconds = now - began
        policy = service.settings.drain
        step = next_drain_step(
            policy,
            progress.seconds,
            progress.requests,
            progress.tunnels,
            requests_told=requests_told,
            tunnels_told=tunnels_told,
        )
        progress.status = step.status
        if step.status is DrainStatus.DRAINED and _WEAKLY_ORDERED_PAUSE:
            await asyncio.sleep(_WEAKLY_ORDERED_PAUSE)
            if any(fleet.ledger.in_flight(slots)):
                continue
        if step.status is not DrainStatus.WAITING:
            return
        if step.close_requests:
            requests_told = True
            progress.closed_requests = progress.requests
            fleet.close_leftovers(service.slot, old, generation, "requests", policy.spread)
        if step.close_tunnels:
            tunnels_told = True
            progress.closed_tunnels = progress.tunnels
            fleet.close_leftovers(service.slot, old, generation, "tunnels", policy.spread)
        if now - reported >= _PROGRESS_EVERY:
            reported = now
            events.publish(
                "drain_progress",
                service.name,
                environment=str(old),
                requests=progress.requests,
                tunnels=progress.tunnels,
                seconds=round(progress.seconds, 3),
            )
        await asyncio.sleep(step.look_again)
