"""When a drain is over: nothing is left, or its deadlines have passed and the rest was closed.

Only asked once every worker has passed a quiescent point since the switch; before that a gauge of
zero proves nothing (`bgproxy.state.ledger`, "Claims and drain").
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bgproxy.domain.model import DrainPolicy

CLOSING_GRACE = 2.0
"""Seconds after `DrainPolicy.spread` in which what was told to close must be gone."""


class DrainStatus(enum.StrEnum):
    """Where a drain stands."""

    WAITING = "waiting"
    DRAINED = "drained"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class DrainStep:
    """What to do now.

    Args:
        status: `DrainStatus.TIMED_OUT` gives up on what does not close even when told.
        close_requests, close_tunnels: tell the workers to close these now.
        look_again: seconds until the gauges should be read again; 0 when it is over.
    """

    status: DrainStatus
    close_requests: bool
    close_tunnels: bool
    look_again: float


def next_drain_step(
    policy: DrainPolicy,
    elapsed: float,
    requests: int,
    tunnels: int,
    *,
    requests_told: bool,
    tunnels_told: bool,
) -> DrainStep:
    """Decide how a drain goes on.

    Args:
        elapsed: seconds since the switch.
        requests, tunnels: in flight on the old environment.
        requests_told, tunnels_told: whether workers were told to close these already.
    """
    if not requests and not tunnels:
        return DrainStep(DrainStatus.DRAINED, False, False, 0.0)
    last = max(policy.timeout if requests else 0.0, policy.tunnel_timeout if tunnels else 0.0)
    if elapsed >= last + policy.spread + CLOSING_GRACE:
        return DrainStep(DrainStatus.TIMED_OUT, False, False, 0.0)
    return DrainStep(
        DrainStatus.WAITING,
        close_requests=bool(requests) and not requests_told and elapsed >= policy.timeout,
        close_tunnels=bool(tunnels) and not tunnels_told and elapsed >= policy.tunnel_timeout,
        look_again=_look_again(policy, elapsed),
    )


def _look_again(policy: DrainPolicy, elapsed: float) -> float:
    """Often at first, when most drains end; later seldom, but never past a deadline."""
    pause = 0.005 if elapsed < 1.0 else 0.05 if elapsed < 10.0 else 0.2
    for deadline in (policy.timeout, policy.tunnel_timeout):
        if elapsed < deadline:
            pause = min(pause, max(deadline - elapsed, 0.001))
    return pause
