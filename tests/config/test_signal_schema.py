"""The keys of signals that refuse more than a wrong value; the rest stands with the service's."""

from __future__ import annotations

import pytest

from tests.config.files import SERVICE, fault


@pytest.mark.parametrize(
    ("signal", "where", "problem"),
    [
        ("{url: http://x/, json: a}", "", "the signal has no bound"),
        ("{url: http://x/, json: a, above: many}", ".above", "is not a number"),
        ("{url: http://x/, json: a, above: inf}", ".above", "is not a number"),
        ("{url: x, json: a, above: 1}", ".url", "not a URL"),
        ("{url: http://x/, above: 1}", ".json", "missing"),
    ],
)
def test_what_could_never_speak_is_refused(signal: str, where: str, problem: str) -> None:
    """At its place."""
    found = fault(f"{SERVICE}    rollback: {{signals: [{signal}]}}\n")
    assert found.path == f"services.default.rollback.signals.0{where}"
    assert problem in found.problem
