"""What the records of a switch are read as, and that the real proxy keeps its word under them."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.stage import on_stage
from benchmarks.steady import BROKEN_EARLY, Records
from benchmarks.switchers import Bgproxy
from benchmarks.switching import Call, judge, measure
from benchmarks.tools import COMPILER

BLUE, GREEN = float(ord("b")), float(ord("g"))


def _records(*rows: tuple[float, float, float]) -> Records:
    """Of requests sent when due: sent, answered, mark."""
    sent = [row[0] for row in rows]
    return Records(sent, sent, sent, [row[1] for row in rows], [row[2] for row in rows])


def test_a_switch_is_there_with_its_first_answer_and_over_with_the_last_request_on_the_old_side():
    """Times count from the call; what was sent after the return and met the old side is counted."""
    records = _records(
        (0.0, 0.1, BLUE),
        (1.0005, 1.0015, BLUE),
        (1.001, 1.002, GREEN),
        (1.010, 1.011, BLUE),
        (1.5, 1.501, GREEN),
    )
    outcome = judge(Bgproxy(1, 1), records, [Call("green", 1.0, 1.005)])
    assert outcome.first_new.p50_ms == pytest.approx(2)
    assert outcome.last_old.p50_ms == pytest.approx(10)
    assert outcome.late == 1
    assert outcome.steady.p50_ms == pytest.approx(100)
    assert outcome.during.max_ms == pytest.approx(1)


def test_a_request_that_may_have_met_the_next_switch_says_nothing_of_this_one():
    """Sent before the next call and answered after it: either side is right."""
    records = _records((0.5, 0.6, BLUE), (1.5, 1.6, GREEN), (1.99, 2.01, BLUE), (2.5, 2.6, BLUE))
    calls = [Call("green", 1.0, 1.1), Call("blue", 2.0, 2.1)]
    outcome = judge(Bgproxy(1, 1), records, calls)
    assert outcome.late == 0
    assert outcome.last_old.max_ms == 0


def test_failed_requests_are_counted_and_told_apart():
    """A kept connection that was closed under a request is one that a browser would retry."""
    records = _records(
        (0.5, 0.6, BLUE), (1.2, 1.3, BROKEN_EARLY), (1.3, 1.4, -502.0), (1.5, 1.6, GREEN)
    )
    outcome = judge(Bgproxy(1, 1), records, [Call("green", 1.0, 1.1)])
    assert (outcome.failed, outcome.broken_early, outcome.requests) == (2, 1, 4)


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason="there is no C compiler")
def test_no_request_reaches_the_old_side_after_the_answer_to_a_switch(
    monkeypatch: pytest.MonkeyPatch,
):
    """The real program, two workers, ten switches under load: none late, none failed."""
    monkeypatch.setattr("benchmarks.switching.STEADY", 0.5)
    with on_stage() as stage:
        outcome = measure(Bgproxy(2, 10), stage, 1.0)
    assert outcome.switches == 10
    assert (outcome.late, outcome.failed) == (0, 0)
    assert outcome.requests > 500
