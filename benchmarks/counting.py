"""What counting costs: the replay as it is against one whose exchanges count nothing.

Left out on the other side is all that an exchange leaves for metrics and the judge: its status, its
duration, the look at whether it is late, and the visit of its client. The gauge of its claim stays,
as the drain needs it. Both sides take turns; the best of each is compared, as noise can only raise
it. ``python -m benchmarks.counting`` writes ``benchmarks/results/counting.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

from benchmarks.replay import replay
from benchmarks.results import save
from bgproxy.dataplane import waiting
from bgproxy.dataplane.downstream import Downstream
from bgproxy.domain.outcome import Reason

LIMIT_US = 0.6
"""What all counting together may cost a request."""


class Uncounted(Downstream):
    """A connection whose exchanges leave no count."""

    __slots__ = ()

    def record(self, code: int, reason: Reason | None) -> None:
        """What else belongs to an exchange's end."""
        worker = self.worker
        route = self.route
        worker.cells[self.backend.gauge] -= 1
        if worker.log is not None:
            worker.log.exchange(self, code, reason)
        if route.queue:
            waiting.admit(route, worker)


SIDES: dict[str, type[Downstream]] = {"counted": Downstream, "uncounted": Uncounted}


def best(kind: type[Downstream], runs: int, requests: int) -> float:
    """Microseconds of CPU time per request, the best of several runs."""
    with replay(kind) as carry:
        carry(requests)
        found = []
        for _ in range(runs):
            began = time.process_time()
            carry(requests)
            found.append(time.process_time() - began)
    return 1e6 * min(found) / requests


def measure(rounds: int) -> dict[str, Any]:
    """Both sides in turns, each time in a process of its own.

    In one process they would spoil what the interpreter has learned about the code they share.
    """
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, costs in found.items():
            command = [sys.executable, "-m", "benchmarks.counting", "--side", side]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            costs.append(float(run.stdout))
    counted, uncounted = (min(found[side]) for side in SIDES)
    return {
        "rounds": rounds,
        "counted_us": round(counted, 3),
        "uncounted_us": round(uncounted, 3),
        "cost_us": round(counted - uncounted, 3),
        "limit_us": LIMIT_US,
    }


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--side", choices=SIDES, help="measure this side only, and print it")
    options = parser.parse_args()
    if options.side:
        print(best(SIDES[options.side], runs=60, requests=400))
        return
    found = measure(options.rounds)
    print(f"counting costs {found['cost_us']:.2f} µs of {found['counted_us']:.2f} µs a request")
    save("counting", found)


if __name__ == "__main__":
    main()
