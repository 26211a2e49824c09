"""What counting costs: the replay as it is against one whose exchanges count nothing.

Left out on the other side is all that an exchange leaves in the ledger: the gauge of its claim, its
status, its duration, the look at whether it is late, the visit of its client. Both take turns, so
that a machine which grows slower in between does so for both. ``python -m benchmarks.counting`` writes
``benchmarks/results/counting.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.replay import replay
from benchmarks.results import save
from bgproxy.dataplane.downstream import Downstream
from bgproxy.domain.outcome import Reason

LIMIT_US = 0.6
"""What all counting together may cost a request."""


class Uncounted(Downstream):
    """A connection whose exchanges leave nothing in the ledger."""

    __slots__ = ()

    def claim(self) -> None:
        """As it is done, without the gauge."""
        cells = self.worker.cells
        route = self.route
        word = cells[route.word]
        self.environment = environment = route.environments[(word & 0xFF) - 1]
        backend = environment.choose(cells, route.limits.max_in_flight)
        assert backend is not None
        self.backend = backend
        self.generation = word >> 8
        self.send_on_idle()

    def record(self, code: int, reason: Reason | None) -> None:
        """Nothing."""


def measure(rounds: int, requests: int) -> dict[str, Any]:
    """Microseconds of CPU time per request: with counting, without, and the difference's median."""
    counted, uncounted = [], []
    with replay() as carry, replay(Uncounted) as carry_uncounted:
        for _ in range(rounds):
            counted.append(_timed(carry, requests))
            uncounted.append(_timed(carry_uncounted, requests))
    costs = [a - b for a, b in zip(counted, uncounted, strict=True)]
    return {
        "rounds": rounds,
        "requests": requests,
        "counted_us": round(min(counted), 3),
        "uncounted_us": round(min(uncounted), 3),
        "cost_us": round(statistics.median(costs), 3),
        "limit_us": LIMIT_US,
    }


def _timed(carry: Any, requests: int) -> float:
    began = time.process_time()
    carry(requests)
    return 1e6 * (time.process_time() - began) / requests


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--requests", type=int, default=2_000)
    options = parser.parse_args()
    found = measure(options.rounds, options.requests)
    print(f"counting costs {found['cost_us']:.2f} µs of {found['counted_us']:.2f} µs a request")
    save("counting", found)


if __name__ == "__main__":
    main()
