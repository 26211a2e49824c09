"""Surges: when there is more load than was usual, and when that does not matter."""

from __future__ import annotations

import pytest

from bgproxy.domain.baseline import Tally, make_baseline
from bgproxy.domain.load import Load
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.rollback import Judge
from bgproxy.domain.simulation import Second, simulate


def surges(usual: float, seconds: list[tuple[int, int]]) -> list[float]:
    """The surge in each of these seconds of successes and failures."""
    load = Load(usual)
    return [load.observe(float(at), *second) for at, second in enumerate(seconds, 1)]


def test_a_surge_is_measured_against_what_was_usual() -> None:
    """Chance makes no surge; four times the load does, within three seconds."""
    found = surges(100.0, [(100, 5)] * 5 + [(380, 20)] * 5)
    assert found[:5] == [1.0] * 5
    assert found[7] == pytest.approx(400 / (100 + 2 * (100 / 3) ** 0.5))


def test_a_load_that_lasts_is_usual() -> None:
    """After ten to twenty seconds; when it is over, a storm is one again."""
    found = surges(100.0, [(400, 0)] * 40 + [(100, 0)] * 40 + [(400, 0)] * 5)
    assert found[9] > 3
    assert found[30] == 1.0
    assert found[-1] > 3


def test_where_most_fails_the_load_does_not_matter() -> None:
    """Clients may ask again just because of that."""
    assert surges(100.0, [(0, 400)] * 5) == [1.0] * 5
    assert surges(100.0, [(210, 190)] * 5)[-1] > 3


def test_without_a_record_there_is_no_surge() -> None:
    """A short one does not tell what is usual."""
    assert surges(0.0, [(1000, 0)]) == [1.0]
    assert make_baseline([Tally(10, 0)] * 29).load == 0.0
    assert make_baseline([Tally(10, 0)] * 20 + [Tally(40, 0)] * 20).load == 4.0
    assert make_baseline([Tally(10, 0)] * 55 + [Tally(400, 0)] * 5).load == 1.0


def test_a_storm_that_the_record_has_not_seen_takes_nothing_back() -> None:
    """Ten seconds of four times the load, of which a fifth fails; the same at usual load does."""
    policy = RollbackPolicy()
    baseline = make_baseline([Tally(950, 50)] * 60)
    calm, storm = [Second(95, 5)] * 100, [Second(320, 80)] * 10
    assert simulate(policy, baseline, calm + storm + calm).verdict is None
    assert simulate(policy, baseline, calm + [Second(80, 20)] * 10).verdict is not None
    assert Judge(policy, baseline).explain()["baseline"]["load"] == 100.0
