"""Tokens in a file of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bgproxy.config.settings import Role, Token
from bgproxy.errors import Fault
from tests.config.files import SERVICE, fault, load

DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good file, which is its owner's alone."""
    path = tmp_path / "tokens.yaml"
    path.write_text(f'- {{name: ci, role: switch, token: "{DIGEST}"}}\n- 0123456789abcdef\n')
    path.chmod(0o600)
    return path


def _config(file: Path, tokens: str = "[]") -> str:
    return f"admin: {{tokens_file: {file}, tokens: {tokens}}}\n{SERVICE}"


def _fault(file: Path, tokens: str = "[]") -> Fault:
    found = fault(_config(file, tokens))
    assert found.path == "admin.tokens_file"
    return found


def test_its_tokens_come_behind_those_of_the_configuration(file: Path) -> None:
    """In the same forms; what has no name is counted in its own file."""
    admin = load(_config(file, '[{name: a, token: "fedcba9876543210"}]')).admin
    assert admin.tokens == (
        Token("a", Role.READ, "fedcba9876543210"),
        Token("ci", Role.SWITCH, DIGEST),
        Token("token-2", Role.ADMIN, "0123456789abcdef"),
    )


def test_json_is_taken_as_well(file: Path) -> None:
    """It is YAML, too."""
    file.write_text(json.dumps([{"name": "ci", "role": "admin", "token": DIGEST}]))
    assert load(_config(file)).admin.tokens == (Token("ci", Role.ADMIN, DIGEST),)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o602, 0o666])
def test_a_file_that_others_may_open_is_refused(file: Path, mode: int) -> None:
    """Read or write, group or world."""
    file.chmod(mode)
    found = _fault(file)
    assert "is open to other users" in found.problem
    assert found.remedy == f"close it with: chmod 600 {file}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_counts(file: Path) -> None:
    """Another user's file is that user's to change; root's may be handed down by a group."""
    os.chown(file, 12345, 0)
    assert "belongs to another user" in _fault(file).problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no list"),
        ("[]", "holds no list"),
        ("tokens: []", "holds no list"),
        ("- {role: boss, token: 0123456789abcdef}", "line 1: 'boss'"),
        ("- {name: a}", "line 1: this key is missing"),
        ("\n- [", "line 3"),
        ("- {name: a, token: abc}\n- {name: a, token: def}", "two tokens are named 'a'"),
        ("- {name: a, token: hunter2}\n- {name: b, token: hunter2}", "of a and b are the same"),
        ("- {name: own, token: abc}", "two tokens are named 'own'"),
        ("- fedcba9876543210", "of own and token-1 are the same"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, text: str, problem: str) -> None:
    """And no secret is in it."""
    file.write_text(text)
    found = _fault(file, '[{name: own, token: "fedcba9876543210"}]')
    assert problem in found.problem
    assert str(file) in found.problem
    assert not {"hunter2", "fedcba9876543210"} & set(str(found).replace(",", " ").split())


def test_a_file_that_is_not_there_or_no_text_is_refused(file: Path) -> None:
    """As any other."""
    file.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in _fault(file).problem
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    assert "larger than 1 MiB" in _fault(file).problem
    file.unlink()
    assert "cannot be read: No such file" in _fault(file).problem
