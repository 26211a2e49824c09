"""Simulation: traces in, what would have happened out."""

from __future__ import annotations

import pytest

from bgproxy.domain.baseline import Baseline
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.simulation import Second, baseline_of, read_trace, simulate


def test_a_trace_is_read_with_and_without_a_heading() -> None:
    """Seconds that are missing brought nothing."""
    expected = [Second(10, 0), Second(0, 0), Second(5, 5)]
    assert read_trace(["1,10,0", "3,5,5"]) == expected
    assert read_trace(["second,successes,failures", "1, 10, 0", "", "3,5,5"]) == expected


@pytest.mark.parametrize("lines", [["1,2"], ["1,2,x"], ["1,2,3", "1,2,3"], ["1,-2,3"], ["0,1,1"]])
def test_a_wrong_line_is_named(lines: list[str]) -> None:
    """Whoever made the file finds the place."""
    with pytest.raises(ValueError, match=f"line {len(lines)}: "):
        read_trace(lines)


def test_the_bake_bounds_a_trace() -> None:
    """What comes after its end is not judged."""
    policy = RollbackPolicy(bake=20.0)
    trace = [Second(100, 0)] * 20 + [Second(0, 100)] * 20
    found = simulate(policy, Baseline(failure_share=0.001), trace)
    assert found.outcome is Outcome.PASSED
    assert found.seconds == 20
    assert len(found.evidence) == 20
    assert simulate(policy, Baseline(), []).outcome is Outcome.INCONCLUSIVE


def test_a_trace_makes_a_baseline() -> None:
    """The old environment's own record, in buckets of ten seconds."""
    baseline = baseline_of([Second(99, 1)] * 600)
    assert (baseline.requests, baseline.failures) == (60_000, 600)
    assert baseline.failure_share == pytest.approx(0.0108, abs=1e-3)
