"""Clumps: failures that come at once weigh less than failures that come one after the other."""

from __future__ import annotations

from random import Random

import pytest

from bgproxy.domain.baseline import Baseline
from bgproxy.domain.clumps import Clumps
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.rollback import Judge
from bgproxy.domain.traffic import poisson


def dispersion(failures: list[int]) -> float:
    """After these seconds."""
    clumps = Clumps()
    for one in failures:
        clumps.add(one)
    return clumps.dispersion


@pytest.mark.parametrize("failures", [[], [5], [0, 0], [1] * 50, [10] * 10, [0, 1, 0, 0, 1]])
def test_what_comes_evenly_or_one_by_one_is_no_clump(failures: list[int]) -> None:
    """Nor is what nothing can be told of yet."""
    assert dispersion(failures) <= 1


def test_chance_is_hardly_ever_taken_for_clumps() -> None:
    """Two standard deviations are allowed for."""
    dice = Random(1)
    runs = [[poisson(dice, 0.5) for _ in range(30)] for _ in range(300)]
    assert sum(dispersion(run) > 1 for run in runs) < 15


def test_clumps_are_as_large_as_they_are() -> None:
    """Six at once, a few times: so each of them counts as a sixth or so."""
    assert 4 < dispersion(([6] + [0] * 19) * 3) < 6


def test_a_quiet_service_with_clumps_is_left_alone() -> None:
    """Its record is too thin to tell; the same failures one by one are harm."""
    policy, thin = RollbackPolicy(), Baseline(50, 0, failure_share=0.02)
    judge, other = Judge(policy, thin), Judge(policy, thin)
    clumps = [judge.observe(float(at), at % 4 == 0, 9 * (at % 18 == 5)) for at in range(4, 112)]
    single = [other.observe(float(at), at % 4 == 0, at % 2) for at in range(4, 112)]
    assert judge.failures == other.failures == 54
    assert not any(clumps)
    assert any(single)
