"""Health: how probe results flip the verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.health import Health, is_enough, next_probe_in
from bgproxy.domain.model import HealthPolicy

POLICY = HealthPolicy(interval=2.0, healthy_after=2, unhealthy_after=3)


@pytest.mark.parametrize(
    ("results", "is_ready", "is_proven"),
    [
        ("", False, False),
        ("+", False, False),
        ("++", True, True),
        ("+-+", False, False),
        ("++--", True, True),
        ("++---", False, True),
        ("++---+", False, True),
        ("++---++", True, True),
        ("++--+--", True, True),
        ("---", False, False),
    ],
)
def test_so_many_results_in_a_row_flip_the_verdict(
    results: str, is_ready: bool, is_proven: bool
) -> None:
    """A single result in between starts the count anew."""
    health = Health()
    for result in results:
        health = health.after(result == "+", POLICY)
    assert (health.is_ready, health.is_proven) == (is_ready, is_proven)


@given(st.lists(st.booleans()))
def test_ready_backends_are_proven(results: list[bool]) -> None:
    """Whatever the probes say, ready implies proven, and proven never goes away."""
    health = Health()
    for result in results:
        was_proven = health.is_proven
        health = health.after(result, POLICY)
        assert health.is_proven >= health.is_ready
        assert health.is_proven >= was_proven
        assert 0 in (health.passes, health.failures)


def test_new_backends_are_probed_quickly_until_a_verdict() -> None:
    """Nobody waits whole intervals for a backend that just started."""
    fresh = Health()
    assert next_probe_in(fresh, POLICY, 0.5) == 0.2
    once = fresh.after(True, POLICY)
    assert next_probe_in(once, POLICY, 0.5) == 0.2
    ready = once.after(True, POLICY)
    assert next_probe_in(ready, POLICY, 0.5) == pytest.approx(2.0)
    assert next_probe_in(ready, POLICY, 0.0) == pytest.approx(1.8)
    assert next_probe_in(fresh, HealthPolicy(interval=0.05), 0.5) == 0.05


@pytest.mark.parametrize(
    ("ready", "count", "share", "expected"),
    [
        (0, 0, 1.0, False),
        (0, 0, 0.0, False),
        (1, 1, 1.0, True),
        (2, 3, 1.0, False),
        (2, 3, 0.66, True),
        (2, 3, 0.67, False),
        (1, 10, 0.1, True),
        (7, 10, 0.7, True),
        (0, 3, 0.0, False),
        (1, 3, 0.0, True),
    ],
)
def test_share_of_ready_backends(ready: int, count: int, share: float, expected: bool) -> None:
    """Shares are exact at the border, and one backend is always needed."""
    assert is_enough(ready, count, share) is expected
