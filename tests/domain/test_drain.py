"""Drain: waiting, drained, or timed out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.drain import CLOSING_GRACE, DrainStatus, next_drain_step
from bgproxy.domain.model import DrainPolicy

POLICY = DrainPolicy(timeout=30.0, tunnel_timeout=60.0, spread=2.0)


@pytest.mark.parametrize(
    ("elapsed", "requests", "tunnels", "status", "close_requests", "close_tunnels"),
    [
        (0.0, 0, 0, DrainStatus.DRAINED, False, False),
        (0.0, 1, 1, DrainStatus.WAITING, False, False),
        (29.9, 1, 1, DrainStatus.WAITING, False, False),
        (30.0, 1, 1, DrainStatus.WAITING, True, False),
        (30.0, 0, 1, DrainStatus.WAITING, False, False),
        (60.0, 1, 1, DrainStatus.WAITING, True, True),
        (34.0, 1, 0, DrainStatus.TIMED_OUT, False, False),
        (34.0, 1, 1, DrainStatus.WAITING, True, False),
        (64.0, 0, 1, DrainStatus.TIMED_OUT, False, False),
        (99.0, 0, 0, DrainStatus.DRAINED, False, False),
    ],
)
def test_deadlines(
    elapsed: float,
    requests: int,
    tunnels: int,
    status: DrainStatus,
    close_requests: bool,
    close_tunnels: bool,
) -> None:
    """Requests and tunnels each have their own deadline, after which they are told to close."""
    step = next_drain_step(
        POLICY, elapsed, requests, tunnels, requests_told=False, tunnels_told=False
    )
    assert step.status is status
    assert (step.close_requests, step.close_tunnels) == (close_requests, close_tunnels)


def test_nothing_is_told_twice() -> None:
    """Closing is asked for once."""
    step = next_drain_step(POLICY, 61.0, 1, 1, requests_told=True, tunnels_told=True)
    assert not step.close_requests
    assert not step.close_tunnels


@given(
    st.floats(0, 1000),
    st.integers(0, 5),
    st.integers(0, 5),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_every_drain_ends(
    elapsed: float, requests: int, tunnels: int, timeout: float, tunnel_timeout: float
) -> None:
    """It is over at the latest when everything had its time; and until then there is a pause."""
    policy = DrainPolicy(timeout, tunnel_timeout, 1.0)
    step = next_drain_step(
        policy, elapsed, requests, tunnels, requests_told=True, tunnels_told=True
    )
    if elapsed >= max(timeout, tunnel_timeout) + 1.0 + CLOSING_GRACE:
        assert step.status is not DrainStatus.WAITING
    assert (step.look_again > 0) is (step.status is DrainStatus.WAITING)
    assert (step.status is DrainStatus.DRAINED) is (not requests and not tunnels)
