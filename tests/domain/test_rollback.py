"""The judge: finds harm in time, and nothing but harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, repeat
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.baseline import Baseline, Tally, make_baseline
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.model import RollbackPolicy, RollbackRule
from bgproxy.domain.rollback import (
    PROBES_IN_A_ROW,
    STEADY_AFTER_HOLD,
    Evidence,
    Judge,
    WayBack,
    judge_way_back,
)
from bgproxy.domain.simulation import Second, Simulation, baseline_of, simulate
from bgproxy.domain.traffic import steady

POLICY = RollbackPolicy()
CALM = make_baseline([Tally(100, 0)] * 60)
PLAIN = replace(POLICY, rule=RollbackRule.THRESHOLD)


def traffic(random: Random, rate: float, share: float) -> list[Second]:
    """Ten minutes of requests that fail by chance, each by itself."""
    return list(islice(steady(random, rate, share), 600))


@pytest.mark.parametrize(("rate", "share"), [(0.2, 0.01), (1, 0.005), (10, 0.01), (10, 0.05)])
def test_healthy_releases_are_left_alone(rate: float, share: float) -> None:
    """The same error rate before and after never rolls back."""
    random = Random(f"{rate} {share}")
    for _ in range(40):
        baseline = baseline_of(traffic(random, rate, share))
        found = simulate(POLICY, baseline, traffic(random, rate, share))
        assert found.outcome is not Outcome.ROLLED_BACK, found.detail


@pytest.mark.parametrize(
    ("rate", "share", "within"),
    [
        (1, 1.0, 25),
        (10, 1.0, 9),
        (100, 1.0, 9),
        (1, 0.5, 90),
        (10, 0.5, 10),
        (10, 0.1, 40),
        (10, 0.05, 120),
        (100, 0.05, 15),
    ],
)
def test_harm_is_found_in_time(rate: float, share: float, within: float) -> None:
    """The slowest of twenty runs; what is lost until then is bounded."""
    random = Random(f"harm {rate} {share}")
    for _ in range(20):
        baseline = baseline_of(traffic(random, rate, 0.001))
        found = simulate(POLICY, baseline, traffic(random, rate, share))
        assert found.outcome is Outcome.ROLLED_BACK
        assert found.seconds <= within


def test_a_burst_does_not_decide_alone() -> None:
    """However many fail within four seconds, evidence grows by a bounded step each."""
    trace = [Second(100, 0)] * 60 + [Second(0, 1000)] * 4 + [Second(100, 0)] * 100
    assert simulate(POLICY, CALM, trace).outcome is Outcome.PASSED
    longer = [Second(100, 0)] * 60 + [Second(0, 1000)] * 5
    assert simulate(POLICY, CALM, longer).outcome is Outcome.ROLLED_BACK


def test_bursts_every_minute_do_not_add_up() -> None:
    """A second of failures each minute is noise if what lies between is fine."""
    trace = ([Second(0, 50)] + [Second(50, 0)] * 59) * 10
    assert simulate(POLICY, CALM, trace).outcome is Outcome.PASSED


def test_grace_is_not_judged() -> None:
    """The first seconds after the switch count for nothing."""
    judge = Judge(POLICY, CALM)
    for second in (1, 2, 3):
        assert judge.observe(second, 0, 100) is None
    assert (judge.requests, judge.evidence.value) == (0, 0.0)
    assert Judge(replace(POLICY, bake=4.0), CALM).grace == 1.0


def test_quiet_services_are_decided_by_a_streak() -> None:
    """A request every ten seconds, all failing: eight in a row are enough."""
    policy = replace(POLICY, min_failures=1000)
    trace = [Second(0, 1 if n % 10 == 0 else 0) for n in range(600)]
    found = simulate(policy, CALM, trace)
    assert found.verdict is not None
    assert found.verdict.rule == "streak"
    assert found.seconds == 81
    mixed = [Second(n % 70 == 0, 1 if n % 10 == 0 else 0) for n in range(600)]
    assert simulate(policy, CALM, mixed).outcome is not Outcome.ROLLED_BACK


def test_a_streak_takes_its_time() -> None:
    """Eight failures in one second are a burst, not a streak."""
    judge = Judge(replace(POLICY, min_failures=1000), CALM)
    for second in range(4, 8):
        assert judge.observe(second, 0, 10) is None
    found = judge.observe(8, 0, 10)
    assert found is not None
    assert found.rule == "streak"


def test_a_usual_share_of_failures_needs_a_longer_streak() -> None:
    """Where half of all fail anyway, eight in a row are nothing special."""
    poor = Baseline(1000, 500, failure_share=0.5)
    judge = Judge(replace(POLICY, min_failures=1000), poor)
    verdicts = [judge.observe(second, 0, 1) for second in range(4, 40)]
    assert [verdict is not None for verdict in verdicts].index(True) == 29  # ln 1e-9 / ln 0.5


def test_failed_probes_decide_without_traffic() -> None:
    """A release that no probe reaches is down, even if nobody asks for it now."""
    judge = Judge(POLICY, CALM)
    assert judge.observe(4, 0, 0, failed_probes=PROBES_IN_A_ROW - 1) is None
    found = judge.observe(5, 0, 0, failed_probes=PROBES_IN_A_ROW)
    assert found is not None
    assert found.rule == "probes"


@pytest.mark.parametrize(
    ("successes", "failures", "is_found"),
    [(19, 1, False), (18, 2, True), (9, 9, False), (0, 20, True), (2000, 100, False)],
)
def test_threshold_rule(successes: int, failures: int, is_found: bool) -> None:
    """A share above the limit, over enough requests, within the window."""
    judge = Judge(PLAIN, CALM)
    found = judge.observe(4, successes, failures)
    assert (found is not None) is is_found
    assert judge.observe(14, 0, 0) is None  # the window has moved on


def test_rule_off_never_finds_anything() -> None:
    """It watches, no more."""
    judge = Judge(replace(POLICY, rule=RollbackRule.OFF), CALM)
    assert all(judge.observe(n, 0, 100, failed_probes=9) is None for n in range(4, 60))


@pytest.mark.parametrize(("latency", "is_found"), [("alert", False), ("rollback", True)])
def test_slow_releases_alert_and_roll_back_if_asked(latency: str, is_found: bool) -> None:
    """Slowness is judged like failure; by default people are only told."""
    baseline = replace(CALM, slow_bound=0.5)
    judge = Judge(replace(POLICY, latency=latency), baseline)
    found = [judge.observe(second, 10, 0, slow=8) for second in range(4, 20)]
    assert judge.is_slow
    assert any(found) is is_found
    assert Judge(replace(POLICY, latency="off"), baseline).observe(4, 10, 0, slow=10) is None


def test_too_little_traffic_is_inconclusive() -> None:
    """Neither a pass nor a failure, and it says what was missing."""
    needed = Judge(POLICY, CALM).needed_requests()
    few = simulate(POLICY, CALM, [Second(1, 0)] * (needed // 2))
    assert few.outcome is Outcome.INCONCLUSIVE
    assert str(needed) in few.detail
    enough = simulate(POLICY, CALM, [Second(1, 0)] * (needed + 3))
    assert enough.outcome is Outcome.PASSED


def test_hold_begins_anew() -> None:
    """After the gate said no, harm has to be found from the beginning."""
    judge = Judge(POLICY, CALM)
    verdicts = [judge.observe(second, 0, 10) for second in range(4, 10)]
    assert verdicts[-1] is not None
    judge.hold()
    assert judge.evidence.value == 0
    assert judge.recent_share == 0
    assert judge.observe(10, 0, 10) is None


@pytest.mark.parametrize(
    ("way", "share", "has_held", "expected"),
    [
        (WayBack(True, 2, 2), 0.5, False, True),
        (WayBack(True, 1, 2), 0.5, False, True),
        (WayBack(True, 1, 3), 0.5, False, False),
        (WayBack(True, 0, 0), 0.5, False, False),
        (WayBack(False, 2, 2), 0.5, False, False),
        (WayBack(True, 2, 2, ("home",)), 0.5, False, False),
        (WayBack(True, 2, 2), 0.005, False, False),
        (WayBack(True, 2, 2), 0.0, False, True),
        (WayBack(True, 2, 2, healthy_for=STEADY_AFTER_HOLD - 1), 0.5, True, False),
        (WayBack(True, 2, 2, healthy_for=STEADY_AFTER_HOLD), 0.5, True, True),
        (WayBack(True, 2, 2, healthy_for=1), 0.5, False, True),
    ],
)
def test_gate(way: WayBack, share: float, has_held: bool, expected: bool) -> None:
    """Back only to what is there, healthy, and better."""
    gate = judge_way_back(way, share, 0.01, has_held=has_held)
    assert gate.may_roll_back is expected
    assert gate.detail


def shared_failure(start: int, end: int) -> Iterator[Second]:
    """Both environments fail between two seconds, as with a database that is gone."""
    for second in range(1, 601):
        fails = start <= second < end
        yield Second(0, 50, is_old_healthy=False) if fails else Second(50, 0)


@pytest.mark.parametrize("start", [1, 5, 300])
@pytest.mark.parametrize("lasts", [10, 60, 600])
def test_a_shared_dependency_never_rolls_back(start: int, lasts: int) -> None:
    """Both fail alike, from whenever to whenever: hold, and leave it to people."""
    found = simulate(POLICY, CALM, shared_failure(start, start + lasts))
    assert found.outcome is not Outcome.ROLLED_BACK
    assert found.holds


@given(
    st.floats(0.001, 0.9),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=60),
)
def test_evidence_stays_in_its_bounds(usual: float, seconds: list[tuple[int, int]]) -> None:
    """Never below zero, never above what one good spell can undo, never more than a step."""
    evidence = Evidence(usual, min(0.99, 2 * usual + 0.02), 1.0, 20.0)
    for bad, good in seconds:
        before = evidence.value
        evidence.add(bad, good)
        assert 0 <= evidence.value <= 22.0
        assert evidence.value - before <= 4.0 + 1e-9
        assert evidence.bad >= 0


def test_explanation_names_both_levels() -> None:
    """People must not read the harm level as the threshold."""
    explained = Judge(POLICY, CALM).explain()
    assert explained["baseline"]["failure_share"] < explained["break_even"]
    assert explained["break_even"] < explained["harm_level"]


@pytest.mark.parametrize(
    ("share", "rate", "seconds"),
    [(1.0, 100, 8), (0.0, 100, None), (0.05, 1, 200), (0.001, 10, None)],
)
def test_how_long_harm_would_go_unnoticed(share: float, rate: float, seconds: float | None) -> None:
    """An estimate for people who are about to switch."""
    found = Judge(POLICY, CALM).seconds_to_find(share, rate)
    assert found == (None if seconds is None else pytest.approx(seconds, rel=0.5))


def test_steady_harm_meets_the_estimate() -> None:
    """The estimate and the rule agree."""
    calm = make_baseline([Tally(1000, 0)] * 60)
    simulated: Simulation = simulate(POLICY, calm, repeat(Second(90, 10), 60))
    estimate = Judge(POLICY, calm).seconds_to_find(0.1, 100)
    assert estimate is not None
    assert simulated.seconds == pytest.approx(estimate, abs=2)


@pytest.mark.parametrize(
    ("fields", "share", "rate", "seconds"),
    [
        ({"rule": RollbackRule.OFF}, 1.0, 100.0, None),
        ({}, 1.0, 0.0, None),
        ({"rule": RollbackRule.THRESHOLD}, 0.1, 10.0, 5.0),
        ({"rule": RollbackRule.THRESHOLD}, 0.05, 10.0, None),
        ({"rule": RollbackRule.THRESHOLD}, 1.0, 1.0, None),
    ],
    ids=["off", "no traffic", "enough in the window", "not above the rate", "too few requests"],
)
def test_the_estimate_is_that_of_the_configured_rule(
    fields: dict[str, RollbackRule], share: float, rate: float, seconds: float | None
) -> None:
    """What a rule does not look at does not help it."""
    assert Judge(replace(POLICY, **fields), CALM).seconds_to_find(share, rate) == seconds  # type: ignore[arg-type]
