"""`bgproxy token new`: what it prints opens the API, and nothing else does."""

from __future__ import annotations

import json
import re

from click.testing import CliRunner

from bgproxy.cli import main
from bgproxy.commands.token import ROLES
from bgproxy.config.settings import Role
from bgproxy.controlplane.auth import Authenticator
from tests.config.files import SERVICE, load


def test_the_line_lets_the_token_in() -> None:
    """As it stands, below admin.tokens; the token itself is not in it."""
    result = CliRunner().invoke(main, ["token", "new", "--name", "ci", "--role", "rollback"])
    assert result.exit_code == 0
    (made,) = re.findall(r"^  (bgp_\S+)$", result.output, re.MULTILINE)
    (line,) = re.findall(r"^  (- \{.*\})$", result.output, re.MULTILINE)
    assert made not in line
    tokens = load(f"admin:\n  tokens:\n  {line}\n{SERVICE}").admin.tokens
    principal = Authenticator(tokens).principal(f"Bearer {made}")
    assert principal is not None
    assert (principal.name, principal.role) == ("ci", Role.ROLLBACK)


def test_every_token_is_another() -> None:
    """And long enough that nobody guesses it."""
    made = set()
    for _ in range(3):
        result = CliRunner().invoke(main, ["token", "new", "--name", "ci", "--json"])
        made.add(json.loads(result.output)["token"])
    assert len(made) == 3
    assert min(map(len, made)) >= 43


def test_a_name_that_would_be_refused_is_refused_here() -> None:
    """Not later, when the proxy starts."""
    result = CliRunner().invoke(main, ["token", "new", "--name", "a b"])
    assert result.exit_code == 2


def test_the_roles_are_those_of_the_configuration() -> None:
    """All of them, in their order."""
    assert list(ROLES) == [role.value for role in Role]
