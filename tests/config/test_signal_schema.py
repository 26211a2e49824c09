"""The keys of signals that refuse more than a wrong value; the rest stands with the service's."""

from __future__ import annotations

import pytest

from tests.config.files import SERVICE, fault, load


@pytest.mark.parametrize(
    ("signal", "where", "problem"),
    [
        ("{url: http://x/, json: a}", "", "the signal has no bound"),
        ("{url: http://x/, json: a, above: many}", ".above", "is not a number"),
        ("{url: http://x/, json: a, above: inf}", ".above", "is not a number"),
        ("{url: x, json: a, above: 1}", ".url", "not a URL"),
        ("{url: http://x/, above: 1}", "", "not clear what to ask"),
        ("{above: 1}", "", "not clear what to ask"),
        ("{prometheus: http://x, above: 1}", "", "not clear what to ask"),
        ("{url: http://x/, query: up, above: 1}", "", "not clear what to ask"),
        ("{url: http://x/, json: a, prometheus: http://x, query: up, above: 1}", "", "not clear"),
    ],
)
def test_what_could_never_speak_is_refused(signal: str, where: str, problem: str) -> None:
    """At its place."""
    found = fault(f"{SERVICE}    rollback: {{signals: [{signal}]}}\n")
    assert found.path == f"services.default.rollback.signals.0{where}"
    assert problem in found.problem


def test_a_query_goes_to_the_api_of_prometheus() -> None:
    """Whose own URL is what is written, with a path or without."""
    first, second = (
        load(
            f"{SERVICE}    rollback: {{signals: "
            f"[{{prometheus: 'http://x:9090{path}', query: up, above: 1}}]}}\n"
        )
        .services[0]
        .rollback.signals[0]
        for path in ("", "/prometheus/")
    )
    assert (first.name, first.url) == ("x:9090", "http://x:9090/api/v1/query")
    assert (second.url, second.query) == ("http://x:9090/prometheus/api/v1/query", "up")
