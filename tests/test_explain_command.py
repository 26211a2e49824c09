"""`bgproxy history ID`: why a deployment ended as it did."""

from __future__ import annotations

from typing import Any

from bgproxy.commands.explain import explanation_lines
from tests.admin_double import deployment

BAKE: dict[str, Any] = {
    "rule": "sequential",
    "baseline": {"requests": 1000, "failures": 2, "failure_share": 0.007, "dispersion": 1.5},
    "harm_level": 0.027,
    "break_even": 0.015,
    "evidence": 21.5,
    "evidence_needed": 20.0,
    "requests": 300,
    "failures": 40,
    "seconds": 9.2,
    "of_seconds": 600.0,
    "series": [
        {"t": float(n), "successes": 30, "failures": 5, "evidence": 2.0 * n} for n in range(20)
    ],
    "reasons": {"reset": 3, "server_error": 41},
    "backends": {"http://10.0.0.1:80": 44},
    "gates": [
        {
            "t": 9.0,
            "verdict": {"rule": "sequential", "detail": "40 failures"},
            "may_roll_back": False,
            "detail": "both environments fail",
        }
    ],
}


def explained(explanation: dict[str, Any], **changes: Any) -> str:
    """The text for a deployment with that explanation."""
    return "\n".join(explanation_lines(deployment(explanation=explanation, **changes)))


def test_all_that_the_judge_rests_upon_is_shown() -> None:
    """Baseline, levels, the last seconds, what failed and where, what the gate said."""
    found = explained({"bake": BAKE}, outcome="rolled_back", reason="r1")
    for text in (
        "deployment 1: switch from blue to green, generation 2",
        "rolled back; by local: r1",
        "40 of 300 requests counted as failed",
        "usual 0.70% (2 of 1,000 before), dispersion 1.5",
        "evidence grows above 1.50%, harm from 2.70% on",
        "evidence 21.5 of 20.0",
        "failures by reason: server_error 41, reset 3",
        "failures by backend: http://10.0.0.1:80 44",
        "at 9 s: sequential: 40 failures",
        "the gate said no: both environments fail",
    ):
        assert text in found
    assert "    19      30         5       38.0" in found
    assert "    7       30" not in found  # only the last seconds


def test_checks_drains_drills_and_samples_are_shown() -> None:
    """Failed checks with their reason, passed ones as a number."""
    sample = {
        "at": "2026-11-24T12:00:00.000Z",
        "method": "GET",
        "path": "/cart",
        "status": 500,
        "reason": "server_error",
        "backend": None,
        "request_id": "abc",
    }
    found = explained(
        {
            "checks": [
                {"name": "home", "passed": True, "failures": []},
                {"name": "cart", "passed": False, "address": "a:1", "failures": ["503", "slow"]},
            ],
            "drain": {
                "status": "drained",
                "seconds": 1.25,
                "closed_requests": 1,
                "closed_tunnels": 2,
            },
            "drill": {"gate": {"may_roll_back": True, "detail": "1 of 1"}},
            "samples": [sample],
            "takes_back": 7,
        },
        outcome=None,
    )
    for text in (
        "under way",
        "takes back: 7",
        "checks: 1 of 2 passed",
        "FAILED  cart  a:1  503; slow",
        "drain: drained after 1.2 s, closed 1 request and 2 tunnels",
        "drill: the gate agreed: 1 of 1",
        "GET /cart  500  server_error  -  abc",
    ):
        assert text in found


def test_a_refused_deployment_says_why_and_has_nothing_else() -> None:
    """There was no bake and no drain."""
    found = explained({"refusal": "state-unwritable"}, outcome="failed", generation=None)
    assert "generation -" in found
    assert "refusal: state-unwritable" in found
    assert "judge" not in found
