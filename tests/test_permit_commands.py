"""The commands about locks and approvals, against a real admin server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from bgproxy.cli import main
from bgproxy.domain.approval import Hold, OnTimeout
from tests.admin_double import AT, LATER, Admin, admin_in_thread, deployment


@pytest.fixture
def admin() -> Iterator[Admin]:
    with admin_in_thread() as running:
        yield running


def run(admin: Admin, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--admin", admin.url, *arguments], env={"NO_COLOR": "1"})


def test_lock_says_who_why_and_until_when(admin: Admin) -> None:
    """A duration is told to the proxy as a moment."""
    result = run(admin, "lock", "migration", "--until", "2h")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("default: locked by local since 2026-11-24 ")
    assert result.stdout.endswith(": migration\n")
    ((_, asked),) = admin.operations.calls
    assert asked["reason"] == "migration"
    left = datetime.fromtimestamp(asked["until"], UTC) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)
    status = run(admin, "status").stdout
    assert "locked by local" in status


def test_unlock_says_that_switches_pass(admin: Admin) -> None:
    """And `--json` prints the SERVICE."""
    run(admin, "lock", "migration")
    assert run(admin, "unlock").stdout == "default: may be switched\n"
    assert json.loads(run(admin, "unlock", "--json").stdout)["locked"] is None


@pytest.mark.parametrize("until", ["soon", "2020-01-01"])
def test_an_end_that_is_none_is_wrong_usage(admin: Admin, until: str) -> None:
    """Nothing is asked."""
    result = run(admin, "lock", "migration", "--until", until)
    assert result.exit_code == 2
    assert admin.operations.calls == []


def test_a_held_switch_passes_its_terms_on(admin: Admin) -> None:
    """How long it waits, and what then."""
    held = {"since": AT, "until": LATER, "on_timeout": "proceed"}
    admin.operations.looks = [deployment(drained_at=LATER)]
    result = run(admin, "switch", "--hold", "--hold-timeout", "5m", "--on-timeout", "proceed")
    assert result.exit_code == 0, result.output
    ((_, asked),) = admin.operations.calls
    assert asked["hold"] == Hold(300.0, OnTimeout.PROCEED)
    admin.operations.under_way = deployment(held=held, applied_at=None)
    assert "waits for an approval: goes on at" in run(admin, "status").stdout


@pytest.mark.parametrize("options", [("--hold-timeout", "5m"), ("--wait", "held")])
def test_terms_of_a_hold_without_a_hold_are_wrong_usage(
    admin: Admin, options: tuple[str, ...]
) -> None:
    """They would be ignored."""
    assert run(admin, "switch", *options).exit_code == 2
    assert admin.operations.calls == []


def test_approve_ends_with_the_verdict(admin: Admin) -> None:
    """It says which deployment is meant."""
    result = run(admin, "approve", "--deployment", "1", "--reason", "looked at it")
    assert result.exit_code == 0
    assert "green (v2) is live, generation 2" in result.stdout
    asked = {"named": 1, "reason": "looked at it", "actor": "local"}
    assert admin.operations.calls == [("approved", asked)]


def test_reject_says_so(admin: Admin) -> None:
    """It has done what it was asked for: status 0."""
    result = run(admin, "reject", "--reason", "friday")
    assert (result.exit_code, result.stdout) == (
        0,
        "default: the switch to ▲ green was rejected\n",
    )


def test_notify_test_says_what_came_back(admin: Admin) -> None:
    """One that did not take it makes status 1, and so does nobody."""
    good = {"name": "ops", "kind": "slack", "sent": True, "answered": "answered 200 OK"}
    admin.operations.told = [good]
    result = run(admin, "notify", "test")
    assert (result.exit_code, result.stdout) == (0, "ops  slack  sent  answered 200 OK\n")
    admin.operations.told = [good, good | {"sent": False, "answered": "no answer within 10 s"}]
    assert run(admin, "notify", "test").exit_code == 1
    admin.operations.told = []
    assert run(admin, "notify", "test").exit_code == 1


def test_why_says_where_a_request_went(admin: Admin) -> None:
    """And what the proxy answered by itself."""
    went = {
        "service": "shop",
        "environment": "green",
        "backend": "http://a:1",
        "generation": 7,
        "deployment": 42,
        "method": "GET",
        "path": "/x",
        "status": 502,
        "outcome": "connect_refused",
        "at": AT,
        "seconds": 0.0125,
        "worker": 0,
    }
    nowhere = went | {"environment": None, "backend": None, "generation": None, "deployment": None}
    admin.operations.requests = {"a": went, "b": nowhere | {"outcome": "too_large"}}
    said = run(admin, "why", "a").stdout
    assert "GET /x: 502, connect refused, in 12.5 ms\n" in said
    assert "shop: ▲ green, backend http://a:1, generation 7 (deployment 42)\n" in said
    assert "service shop: the proxy answered it before" in run(admin, "why", "b").stdout
    assert run(admin, "why", "c").exit_code == 1


def test_two_different_services_are_wrong_usage(admin: Admin) -> None:
    """Neither is silently preferred; the same one twice is fine."""
    admin.operations.names = ["shop", "blog"]
    assert run(admin, "--service", "shop", "status", "shop").exit_code == 0
    result = run(admin, "status", "shop", "--service", "blog")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr
