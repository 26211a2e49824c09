"""When a backend is ready: so many probe results in a row flip the verdict.

A new backend is *unproven*: not ready until its probes pass. One that was healthy once is
*proven*, and stays so even while it is not ready.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bgproxy.domain.model import HealthPolicy

_FIRST_PROBES = 0.2


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one backend have shown so far; `after` gives the next value.

    Args:
        is_ready: may get traffic.
        is_proven: was ready at least once.
        passes, failures: results in a row; one of them is 0.
        has_verdict: enough results in a row came for ready or not ready.
    """

    is_ready: bool = False
    is_proven: bool = False
    passes: int = 0
    failures: int = 0
    has_verdict: bool = False

    def after(self, has_passed: bool, policy: HealthPolicy) -> Health:
        """The health after one more probe."""
        passes = self.passes + 1 if has_passed else 0
        failures = 0 if has_passed else self.failures + 1
        if passes >= policy.healthy_after:
            return Health(True, True, passes, failures, True)
        if failures >= policy.unhealthy_after:
            return Health(False, self.is_proven, passes, failures, True)
        return Health(self.is_ready, self.is_proven, passes, failures, self.has_verdict)


def next_probe_in(health: Health, policy: HealthPolicy, draw: float) -> float:
    """Seconds until a backend is probed again.

    A new backend is probed quickly until there is a verdict. Later probes are spread by ±10 %, so
    that the probes of many backends do not fall into step.

    Args:
        draw: a random number, 0 <= draw < 1.
    """
    if not health.has_verdict:
        return min(policy.interval, _FIRST_PROBES)
    return policy.interval * (0.9 + 0.2 * draw)


def is_enough(ready: int, count: int, min_share: float) -> bool:
    """Whether `ready` of `count` backends reach a share; at least one is always needed."""
    return ready >= max(1, math.ceil(min_share * count - 1e-9))
