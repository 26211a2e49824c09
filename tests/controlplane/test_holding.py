"""How long a release is held, and how often."""

from __future__ import annotations

from bgproxy.controlplane.holding import QUIET_SECONDS, Holding


def test_a_holding_lasts_from_the_first_no_to_the_last() -> None:
    """The quiet behind the last one is no part of it."""
    holding = Holding(100.0)
    assert (holding.times, holding.seconds, holding.left(100.0)) == (1, 0.0, QUIET_SECONDS)
    holding.again(104.0)
    assert (holding.times, holding.seconds) == (2, 4.0)
    assert holding.left(104.0 + QUIET_SECONDS) == 0
