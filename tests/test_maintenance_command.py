"""The commands that close a service and open it, against a real admin server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from bgproxy.cli import main
from bgproxy.errors import Refused
from tests.admin_double import Admin, admin_in_thread


@pytest.fixture
def admin() -> Iterator[Admin]:
    with admin_in_thread() as running:
        yield running


def run(admin: Admin, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--admin", admin.url, *arguments], env={"NO_COLOR": "1"})


def test_on_tells_message_and_list(admin: Admin) -> None:
    """Each `--allow` is one network."""
    options = ("--message", "Back at 14:00.", "--allow", "10.0.0.0/8", "--allow", "::1")
    result = run(admin, "maintenance", "on", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "default: in maintenance since " in result.stdout
    assert "by local: Back at 14:00. (10.0.0.0/8, ::1 let in)" in result.stdout
    asked = {"is_on": True, "message": "Back at 14:00.", "allow": ["10.0.0.0/8", "::1"]}
    assert admin.operations.calls == [("maintenance", asked | {"actor": "local"})]


def test_off_opens_the_service(admin: Admin) -> None:
    """And says so."""
    run(admin, "maintenance", "on")
    result = run(admin, "maintenance", "off")
    assert (result.exit_code, result.stdout) == (0, "default: open to everybody\n")
    assert admin.operations.maintenance is None


def test_status_shows_it(admin: Admin) -> None:
    """A line of its own, as long as it lasts."""
    assert "maintenance" not in run(admin, "status").stdout
    run(admin, "maintenance", "on")
    assert "  in maintenance since " in run(admin, "status").stdout
    assert "(nobody let in)" in run(admin, "status").stdout


def test_json_is_the_service(admin: Admin) -> None:
    """As the API answers."""
    result = run(admin, "maintenance", "on", "--json")
    assert json.loads(result.stdout)["maintenance"]["message"] == "Closed."


def test_a_value_that_does_not_fit_is_wrong_usage(admin: Admin) -> None:
    """Status 2, with what would be right, though the API and not the command found it."""
    admin.operations.refusal = Refused(422, "invalid", "'x' is not a network.")
    result = run(admin, "maintenance", "on", "--allow", "x")
    assert result.exit_code == 2
    assert "'x' is not a network." in result.stderr
