"""The operator's pages name everything there is: routes, problems, metrics, events, commands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bgproxy.cli import main
from bgproxy.controlplane.openapi import describe_api
from bgproxy.controlplane.problems import TITLES
from bgproxy.domain.outcome import Reason
from tests import docs_reference
from tests.admin_double import Admin

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def _page(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_request_is_documented_with_its_role() -> None:
    """As the table's first two columns."""
    rows = set(re.findall(r"^\| `(\w+ /\S*)` \| (\S+) \|", _page("api.md"), re.MULTILINE))
    described = {
        f"{method.upper()} {path}"
        for path, item in describe_api([])["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert {request for request, _ in rows} == described


async def test_the_documented_roles_are_those_that_are_asked_for() -> None:
    """A page that says `read` where `switch` is needed costs somebody an hour."""
    rows = dict(re.findall(r"^\| `(\w+ /\S*)` \| (\S+) \|", _page("api.md"), re.MULTILINE))
    async with Admin() as admin:
        for route in admin.server.routes:
            documented = rows.get(f"{route.method} {route.path}")
            if documented is not None:
                assert documented.strip("`") == (route.role.value if route.role else "none")


def test_every_kind_of_problem_is_documented() -> None:
    """Scripts compare them."""
    documented = re.findall(r"^\| `([a-z-]+)` \| \d{3}", _page("api.md"), re.MULTILINE)
    assert sorted(documented) == sorted(TITLES)


def test_every_refusal_of_the_control_plane_has_a_title() -> None:
    """A kind that the catalogue does not know would have no documentation either."""
    for source in (ROOT / "bgproxy").rglob("*.py"):
        for kind in re.findall(r'Refused\(\s*\d+,\s*"([a-z-]+)"', source.read_text()):
            assert kind in TITLES, source


def test_every_event_is_documented() -> None:
    """By its type."""
    section = _page("api.md").partition("## Events")[2]
    documented = set(re.findall(r"`(\w+)`", section))
    for source in (ROOT / "bgproxy" / "controlplane").glob("*.py"):
        for type in re.findall(r'publish\(\s*"([a-z_]+)"', source.read_text()):
            assert type in documented, (type, source)


async def test_every_metric_is_documented() -> None:
    """Names and labels, and nothing that does not exist."""
    async with Admin() as admin:
        body, _ = await admin.metrics.render("")
    served = set(re.findall(r"^# TYPE (bgproxy_\S+)", body.decode(), re.MULTILINE))
    documented = set(re.findall(r"^\| `(bgproxy_\w+)`", _page("metrics.md"), re.MULTILINE))
    assert documented == served


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented(reason: Reason) -> None:
    """They are label values that alerts are written for."""
    assert f"`{reason.label}`" in _page("metrics.md")


def test_every_command_and_option_is_documented() -> None:
    """Commands by name; what `switch` takes by its flags."""
    page = _page("cli.md")
    for name, command in main.commands.items():
        assert f"bgproxy {name}" in page
        if isinstance(command, click.Group):
            for inner in command.commands:
                assert f"bgproxy {name} {inner}" in page
    help_text = CliRunner().invoke(main, ["switch", "--help"]).stdout
    for flag in (
        "--plan",
        "--irreversible",
        "--wait",
        "--no-verify",
        "--force",
        "--reason",
        "--release",
        "--expect-generation",
    ):
        assert flag in help_text
        assert flag in page


def test_every_command_and_option_has_its_line() -> None:
    """`python -m tests.docs_reference` writes the page."""
    assert _page("commands.md") == docs_reference.page_text()
