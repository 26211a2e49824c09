"""Durations counted apart from the ledger."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import example, given
from hypothesis import strategies as st

from bgproxy.dataplane.durations import Durations
from bgproxy.state.ledger import DURATION_BOUNDS

BUCKETS = len(DURATION_BOUNDS) + 1


@given(st.one_of(st.floats(), st.sampled_from(DURATION_BOUNDS), st.floats(0, 100)))
@example(float("nan"))
@example(float("inf"))
@example(float("-inf"))
def test_every_duration_counts_in_the_first_bucket_that_holds_it(seconds: float) -> None:
    """A bound belongs to its bucket, and what is above all of them to the last one."""
    durations = Durations()
    durations.add(seconds)
    counts, _ = durations.take()
    expected = [0] * BUCKETS
    expected[bisect_left(DURATION_BOUNDS, seconds)] = 1
    assert counts == expected


def test_what_was_taken_is_not_taken_again() -> None:
    """Each tick gets what was counted since the last one."""
    durations = Durations()
    for seconds in (0.0004, 0.0005, 0.02, 70.0):
        durations.add(seconds)
    counts, total = durations.take()
    assert (counts[0], counts[5], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert total == 0.0004 + 0.0005 + 0.02 + 70.0
    assert durations.take() == ([0] * BUCKETS, 0.0)
