"""Invented traffic: as much and as bad as asked for, and the same for the same dice."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from bgproxy.domain.traffic import poisson, steady


@pytest.mark.parametrize("mean", [0.02, 1.0, 29.0, 31.0, 1000.0])
def test_mean_and_variance_are_those_of_poisson(mean: float) -> None:
    """Both are the mean; within five standard errors of so many draws."""
    random = Random(1)
    draws = [poisson(random, mean) for _ in range(20_000)]
    average = sum(draws) / len(draws)
    variance = sum((draw - average) ** 2 for draw in draws) / len(draws)
    assert average == pytest.approx(mean, abs=5 * (mean / len(draws)) ** 0.5)
    assert variance == pytest.approx(mean, rel=0.25 if mean < 1 else 0.06)


def test_traffic_has_its_rate_and_its_share() -> None:
    """And comes again with the same dice."""
    trace = list(islice(steady(Random(2), 50.0, 0.1), 2000))
    failures = sum(second.failures for second in trace)
    requests = failures + sum(second.successes for second in trace)
    assert requests / 2000 == pytest.approx(50.0, rel=0.02)
    assert failures / requests == pytest.approx(0.1, rel=0.05)
    assert trace == list(islice(steady(Random(2), 50.0, 0.1), 2000))


def test_nothing_fails_where_nothing_is_to() -> None:
    """Nor does anything succeed where all fails."""
    assert all(not second.failures for second in islice(steady(Random(3), 5.0, 0.0), 100))
    assert all(not second.successes for second in islice(steady(Random(3), 5.0, 1.0), 100))
