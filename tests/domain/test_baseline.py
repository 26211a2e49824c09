"""The baseline: what is taken as usual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.baseline import (
    Baseline,
    Tally,
    break_even,
    harm_share,
    make_baseline,
    slow_in,
    wilson_upper,
)
from bgproxy.domain.model import RollbackPolicy

POLICY = RollbackPolicy()
BOUNDS = (0.1, 0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("failures", "requests", "expected"),
    [(0, 1000, 0.00383), (10, 1000, 0.01831), (50, 1000, 0.06531), (1000, 1000, 1.0)],
)
def test_wilson_interval(failures: int, requests: int, expected: float) -> None:
    """Upper ends as published tables have them."""
    assert wilson_upper(failures, requests) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("record", "share"),
    [
        ([], 0.0189),  # no record is read as 0 of 200
        ([Tally(50, 0)], 0.0189),
        ([Tally(5, 5)], 0.569),
        ([Tally(100_000, 0)], 0.001),
        ([Tally(990, 10)], 0.0183),
        ([Tally(0, 1000)], 0.95),
    ],
)
def test_usual_share(record: list[Tally], share: float) -> None:
    """Wilson's upper end, with floors, and never so high that nothing could be told."""
    assert make_baseline(record).failure_share == pytest.approx(share, rel=0.01)


def test_clumped_failures_are_dispersed() -> None:
    """Failures that come in clumps weigh less than those that come by chance."""
    even = make_baseline([Tally(95, 5)] * 60)
    clumped = make_baseline([Tally(100, 0)] * 54 + [Tally(50, 50)] * 6)
    assert even.dispersion == 1.0
    assert clumped.dispersion == 10.0
    assert even.failure_share == pytest.approx(wilson_upper(300, 6000))
    assert clumped.failure_share == pytest.approx(wilson_upper(30, 600))


@given(st.floats(0.001, 0.95))
def test_harm_is_worse_than_usual_and_the_break_even_lies_between(usual: float) -> None:
    """The judge begins to lean between p0 and p1."""
    harm = harm_share(usual, POLICY)
    assert usual < break_even(usual, harm) < harm < 1


def test_harm_levels_that_people_see() -> None:
    """The figures of the documentation."""
    assert harm_share(0.001, POLICY) == pytest.approx(0.021)
    assert break_even(0.001, 0.021) == pytest.approx(0.0066, abs=1e-4)
    assert harm_share(0.05, POLICY) == pytest.approx(0.1364, abs=1e-4)


def test_slow_is_twice_the_usual_slowest_at_a_cells_border() -> None:
    """Beyond max(twice the p99, 250 ms), rounded up to where the histogram can count."""
    fast = make_baseline([Tally(1000, 0, (1000, 0, 0, 0, 0))], BOUNDS)
    assert fast.slow_bound == 0.25
    slower = make_baseline([Tally(1000, 0, (900, 100, 0, 0, 0))], BOUNDS)
    assert slower.slow_bound == 0.5
    assert slow_in(Tally(10, 0, (1, 2, 3, 4, 5)), slower, BOUNDS) == 9
    assert slow_in(Tally(10, 0, (1, 2, 3, 4, 5)), Baseline(), BOUNDS) == 0


@pytest.mark.parametrize(
    "record", [[], [Tally(10, 0, (10, 0, 0, 0, 0))], [Tally(1000, 0, (0, 0, 0, 0, 1000))]]
)
def test_latency_is_not_judged_on_a_thin_record_or_beyond_the_histogram(
    record: list[Tally],
) -> None:
    """There is nothing to hold it against."""
    assert make_baseline(record, BOUNDS).slow_bound == 0.0
