"""The judge over a recorded or invented trace, with a clock of its own: the production rule."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgproxy.domain.baseline import BUCKET_SECONDS, Baseline, Tally, make_baseline
from bgproxy.domain.clients import Crowd
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.rollback import STEADY_AFTER_HOLD, Judge, Verdict, WayBack, judge_way_back


@dataclass(frozen=True, slots=True)
class Second:
    """What one second brought to the new environment, and how the old one was then.

    Args:
        slow: exchanges beyond the baseline's bound.
        failed_probes: in a row, of the new environment.
        is_old_healthy: whether the old environment answers probes.
        by_client: of the failures, how many each client slot had; none for nobody in particular.
    """

    successes: int
    failures: int
    slow: int = 0
    failed_probes: int = 0
    is_old_healthy: bool = True
    by_client: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """What would have happened.

    Args:
        outcome: how the deployment would have ended.
        seconds: when: the moment of the rollback, or the end of the bake.
        verdict: the finding that rolled back; None where nothing did.
        detail: why, for people.
        holds: seconds at which harm was found but the old environment was no better.
        evidence: after each second.
    """

    outcome: Outcome
    seconds: float
    verdict: Verdict | None
    detail: str
    holds: tuple[float, ...]
    evidence: tuple[float, ...]


def simulate(
    policy: RollbackPolicy,
    baseline: Baseline,
    trace: Iterable[Second],
    crowd: Crowd | None = None,
) -> Simulation:
    """Judge a trace; second 1 is the first after the switch.

    A trace that is shorter than the bake ends where it ends.

    Args:
        crowd: the old environment's clients; without them every failure counts.
    """
    judge = Judge(policy, baseline)
    crowd = crowd or Crowd()
    evidence: list[float] = []
    holds: list[float] = []
    unhealthy_at = -STEADY_AFTER_HOLD
    elapsed = 0.0
    for elapsed, second in enumerate(trace, 1):
        if elapsed > policy.bake:
            break
        if not second.is_old_healthy:
            unhealthy_at = elapsed
        verdict = judge.observe(
            elapsed,
            second.successes,
            crowd.counted(second.failures, second.by_client),
            slow=second.slow,
            failed_probes=second.failed_probes,
        )
        evidence.append(judge.evidence.value)
        if verdict is None:
            continue
        gate = judge_way_back(
            WayBack(True, int(second.is_old_healthy), 1, healthy_for=elapsed - unhealthy_at),
            judge.recent_share,
            baseline.failure_share,
            has_held=bool(holds),
        )
        if gate.may_roll_back:
            detail = f"{verdict.detail}; {gate.detail}"
            return Simulation(
                Outcome.ROLLED_BACK, elapsed, verdict, detail, tuple(holds), tuple(evidence)
            )
        holds.append(elapsed)
        judge.hold()
        crowd.clear()
    outcome, detail = judge.finish()
    seconds = min(elapsed, policy.bake)
    return Simulation(outcome, seconds, None, detail, tuple(holds), tuple(evidence))


def read_trace(lines: Iterable[str]) -> list[Second]:
    """Read a CSV of ``second,successes,failures``; seconds that are missing brought nothing.

    A first line of words is a heading.

    Raises:
        ValueError: with the line's number and what is wrong there.
    """
    trace: list[Second] = []
    for number, row in enumerate(csv.reader(lines), 1):
        if not row or (number == 1 and not row[0].strip().isdecimal()):
            continue
        try:
            second, successes, failures = (int(cell) for cell in row)
        except ValueError:
            raise ValueError(
                f"line {number}: write second,successes,failures as whole numbers"
            ) from None
        if second <= len(trace) or min(successes, failures) < 0:
            raise ValueError(
                f"line {number}: seconds count upwards from 1 and counts are not negative"
            )
        trace += [Second(0, 0)] * (second - 1 - len(trace))
        trace.append(Second(successes, failures))
    return trace


def baseline_of(trace: Sequence[Second], crowd: Crowd | None = None) -> Baseline:
    """The baseline that an old environment's trace gives, and its clients, if they are known."""
    crowd = crowd or Crowd()
    seconds = [Tally(s.successes, crowd.counted(s.failures, s.by_client)) for s in trace]
    return make_baseline(
        [
            sum(seconds[at : at + BUCKET_SECONDS], Tally())
            for at in range(0, len(seconds), BUCKET_SECONDS)
        ]
    )
