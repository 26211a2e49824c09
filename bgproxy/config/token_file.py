"""The file with tokens that a configuration names: a list as below ``admin.tokens``, YAML or JSON.

It is read whenever the configuration is, so a reload takes another list over. Variables are not
replaced in it: what it holds are secrets already, best as digests.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from bgproxy.config.faults import explain
from bgproxy.config.readers import Scalar
from bgproxy.config.settings import Settings, Token
from bgproxy.config.token_schema import TextOrToken, TokenSection
from bgproxy.config.yaml_nodes import ListNode, MapNode, Node, YamlError, read_yaml
from bgproxy.errors import Fault

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]
"""The key's path, the problem, the remedy."""

_PLACE: KeyPath = ("admin", "tokens_file")
_MAX_BYTES = 1024 * 1024
_LIST = TypeAdapter(tuple[Annotated[TokenSection, TextOrToken()], ...])


class _Bad(Exception):
    """The file cannot be used; problem and remedy."""


def read_token_file(settings: Settings) -> tuple[Settings, list[Finding]]:
    """Add the tokens of the file to those of the configuration itself.

    Returns:
        The settings with all tokens, and what is wrong with the file.
    """
    admin = settings.admin
    if not admin.tokens_file:
        return settings, []
    try:
        tokens = (*admin.tokens, *_tokens_of(admin.tokens_file))
        _check_differ(admin.tokens_file, tokens)
    except _Bad as bad:
        problem, remedy = bad.args
        return settings, [(_PLACE, problem, remedy)]
    return replace(settings, admin=replace(admin, tokens=tokens)), []


def _tokens_of(file: str) -> tuple[Token, ...]:
    try:
        root, faults = read_yaml(_read(file))
    except YamlError as error:
        raise _at(file, error.fault) from None
    if faults:
        raise _at(file, faults[0])
    if not isinstance(root, ListNode) or not root.items:
        raise _Bad(f"{file} holds no list of tokens", "write a - before each token")
    try:
        sections = _LIST.validate_python(_plain(root))
    except ValidationError as error:
        raise _at(file, explain(error, root)[0]) from None
    return tuple(section.build(number) for number, section in enumerate(sections, 1))


def _at(file: str, fault: Fault) -> _Bad:
    return _Bad(f"{file}, line {fault.line}: {fault.problem}", fault.remedy)


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            _check_mode(file, os.fstat(opened.fileno()))
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _Bad(f"{file} cannot be read: {error.strerror}", "name a file that can") from None
    if len(content) > _MAX_BYTES:
        raise _Bad(f"{file} is larger than 1 MiB", "name a list of tokens")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Bad(f"{file} is not UTF-8", "save it as UTF-8") from None


def _check_mode(file: str, found: os.stat_result) -> None:
    """Refuse a file that others than its owner may read or change.

    A group may read it where it is root's and this process is not: so secrets are handed to a
    service that runs as another user.
    """
    user = os.geteuid()
    if found.st_uid not in (0, user):
        raise _Bad(f"{file} belongs to another user", "make it this user's, or root's")
    closed_to = stat.S_IRWXO | stat.S_IRWXG
    if found.st_uid != user:
        closed_to &= ~stat.S_IRGRP
    if found.st_mode & closed_to:
        raise _Bad(f"{file} is open to other users", f"close it with: chmod 600 {file}")


def _check_differ(file: str, tokens: tuple[Token, ...]) -> None:
    names: set[str] = set()
    secrets: dict[str, str] = {}
    for token in tokens:
        if token.name in names:
            remedy = "give each a name of its own"
            raise _Bad(f"{file}: two tokens are named {token.name!r}", remedy)
        names.add(token.name)
        if (first := secrets.setdefault(token.secret, token.name)) != token.name:
            problem = f"{file}: the tokens of {first} and {token.name} are the same"
            raise _Bad(problem, "give each a token of its own")


def _plain(node: Node) -> Any:
    """What the schema is given: mappings, lists and `Scalar` values."""
    if isinstance(node, MapNode):
        return {name: _plain(item) for name, item in node.values.items()}
    if isinstance(node, ListNode):
        return [_plain(item) for item in node.items]
    return Scalar(node.text, node.is_plain)
