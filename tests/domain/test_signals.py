"""Signals: how often a number must be how far outside."""

from __future__ import annotations

import pytest

from bgproxy.domain.signals import Signal, SignalWatch, number_in_result, number_of


@pytest.mark.parametrize(
    ("above", "below", "value", "speaks"),
    [
        (1.0, None, 1.0, False),
        (1.0, None, 1.1, True),
        (None, 1.0, 1.0, False),
        (None, 1.0, 0.9, True),
        (2.0, 1.0, 1.5, False),
        (2.0, 1.0, 3.0, True),
    ],
)
def test_bounds(above: float | None, below: float | None, value: float, speaks: bool) -> None:
    """On the bound is inside."""
    assert Signal("s", "u", "p", above, below).speaks_against(value) is speaks


def test_it_must_speak_several_times_in_a_row() -> None:
    """A poll that says nothing begins anew, as one inside of the bounds does."""
    watch = SignalWatch(Signal("errors", "u", "p", above=1.0, times=2))
    for polls, finding in (
        ([2.0], ""),
        ([None, 2.0], ""),
        ([0.5, 2.0], ""),
        ([3.0], "the signal errors was 3, 2 times above 1"),
    ):
        for value in polls:
            watch.polled(value)
        assert watch.finding == finding
    watch.clear()
    assert not watch.finding


@pytest.mark.parametrize(
    ("found", "number"),
    [(1, 1.0), ("0.5", 0.5), (True, None), ("NaN", None), ("x", None), (None, None), ([1], None)],
)
def test_what_is_a_number(found: object, number: float | None) -> None:
    """Prometheus writes its numbers as texts, and sometimes what is none."""
    assert number_of(found) == number


def answer(kind: str, result: object) -> dict[str, object]:
    """An answer of `/api/v1/query`, as Prometheus 2.42 gives it."""
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@pytest.mark.parametrize(
    ("found", "number"),
    [
        (answer("vector", [{"metric": {}, "value": [1.5, "0.25"]}]), 0.25),
        (answer("scalar", [1.5, "7"]), 7.0),
        (answer("vector", []), None),
        (answer("vector", [{"metric": {}, "value": [1.5, "NaN"]}]), None),
        (answer("vector", [{"metric": {}}]), None),
        (answer("scalar", []), None),
    ],
)
def test_the_number_of_a_query(found: object, number: float | None) -> None:
    """A vector of one series or a scalar; a query that finds nothing says nothing."""
    assert number_in_result(found) == number


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"status": "error", "error": "parse error"}, "parse error"),
        ([], "no answer of Prometheus"),
        (None, "no answer of Prometheus"),
        ({"status": "success"}, "failed"),
        (answer("matrix", []), "no number"),
        (answer("string", [1.5, "x"]), "no number"),
        (answer("vector", {}), "no number"),
        (answer("vector", [{}, {}]), "2 series"),
    ],
)
def test_what_is_no_number_says_why(found: object, problem: str) -> None:
    """So that the log can tell what to write instead."""
    with pytest.raises(ValueError, match=problem):
        number_in_result(found)
