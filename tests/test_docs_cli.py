"""The page of the command line against the command line: nothing is missing in either."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bgproxy.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
SHARED = {option for parameter in main.params for option in parameter.opts}


def commands(
    group: click.Group = main, name: str = "bgproxy"
) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, those of groups among them."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """The page names each; shared options have a table of their own."""
    assert f"`{name}" in PAGE
    missing = [
        parameter.opts
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option) and not SHARED.intersection(parameter.opts)
        if not any(each in PAGE for each in (*parameter.opts, *parameter.secondary_opts))
    ]
    assert missing == []


@pytest.mark.parametrize("option", sorted(SHARED - {"--version"}))
def test_every_shared_option_is_documented(option: str) -> None:
    """In the table."""
    assert f"| `{option}" in PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_shows_it(name: str) -> None:
    """A sentence, and an example that begins with its name."""
    text = inspect.cleandoc(COMMANDS[name].help or "")
    assert text.partition("\n\n")[0].endswith(".")
    assert re.search(rf"^ .*\b{name}\b", text, re.MULTILINE)
