"""The keys of checks that refuse more than a wrong value; the rest stands with the service's."""

from __future__ import annotations

import pytest

from tests.config.files import SERVICE, fault, load, place


@pytest.mark.parametrize(
    ("key", "path", "column", "problem", "remedy"),
    [
        ("verify: {checks: [{path: x}]}", "verify.checks.0.path", 30, "not a path", "/x"),
        (
            "verify: {checks: [{repeats: 3, allowed_failures: 3}]}",
            "verify.checks.0.allowed_failures",
            54,
            "the check would pass whatever is answered",
            "write at most 2, or raise repeats",
        ),
        (
            "verify: {checks: [{expect: {max_latency: 6s}}]}",
            "verify.checks.0.expect.max_latency",
            46,
            "the check gives up before that",
            "raise the check's timeout",
        ),
        (
            "verify: {checks: [{path: /a}, {path: /b}, {path: /a}]}",
            "verify.checks.2.name",
            47,
            "two checks are named 'GET /a', this one and number 1",
            "a name of its own",
        ),
        (
            "verify: {checks: [{expect: {body_regex: (}}]}",
            "verify.checks.0.expect.body_regex",
            45,
            "is not a regular expression",
            "correct it",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_place_and_remedy(key, path, column, problem, remedy):
    """A check that could not fail, could not pass, or could not be told from another."""
    found = fault(f"{SERVICE}    {key}\n")
    assert place(found) == (f"services.default.{path}", 6, column)
    assert problem in found.problem
    assert remedy in found.remedy


def test_a_check_without_a_name_is_named_by_what_it_asks():
    """So that reports are readable without one."""
    checks = "[{path: /a}, {path: /a, method: HEAD}, {path: /a, name: again}]"
    (service,) = load(f"{SERVICE}    verify: {{checks: {checks}}}\n").services
    assert [check.name for check in service.verify.checks] == ["GET /a", "HEAD /a", "again"]
