"""Examples of the pages are in force: configurations load, and command lines name what there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from bgproxy.cli import main
from bgproxy.errors import ConfigError, Fault
from tests.config.files import load
from tests.docs_commands import blocks

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP_KEYS = {"proxy", "admin", "state", "services", "notifications"}
SECTIONS = {"calls": "verify", "signals": "rollback"}
"""Sections of a service whose keys an example shows without them."""

BACKENDS = {
    "blue": {"backends": ["http://127.0.0.1:9001"]},
    "green": {"backends": ["http://127.0.0.1:9002"]},
}


def _examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in blocks(page):
            if block.word == "yaml":
                yield f"{page.relative_to(ROOT)}:{block.line}", block.text


def _whole(text: str) -> str:
    """A file around an example that shows some keys of it, or of one service."""
    shown = yaml.safe_load(text)
    for key in shown.keys() & SECTIONS.keys():
        shown = {SECTIONS[key]: shown}
    if not TOP_KEYS & set(shown):
        shown = {"services": {"default": shown}}
    others = {"default": {}, "shop": {"hosts": ["shop.example.com"]}}
    for service in shown.setdefault("services", others).values():
        service.setdefault("environments", BACKENDS)
    return yaml.safe_dump(shown)


@pytest.mark.parametrize(("place", "text"), list(_examples()), ids=lambda value: value[:40])
def test_an_example_of_a_configuration_loads(place: str, text: str) -> None:
    """Variables have values; the files of certificates, which are the reader's, may be missing."""
    env = {name: _value(name) for name in re.findall(r"\$\{(\w+)\}", text)}
    try:
        load(_whole(text), **env)
    except ConfigError as error:
        faults = [fault for fault in error.faults if not _is_missing_file(fault)]
        assert faults == [], place


def _value(variable: str) -> str:
    """Something that fits; no two are the same."""
    name = variable.lower()
    return (
        f"https://example.com/{name}" if re.search("url|hook", name) else f"{name}-0123456789abcdef"
    )


def _is_missing_file(fault: Fault) -> bool:
    return "No such file" in fault.problem


def _command_lines() -> Iterator[tuple[str, str]]:
    """What is called `bgproxy …` in blocks and, with an option at least, between backticks."""
    for page in PAGES:
        name = page.relative_to(ROOT)
        for block in blocks(page):
            joined = block.text.replace("\\\n", " ")
            for line in joined.splitlines():
                if found := re.match(r"(?:\$ )?(?:\.venv/bin/)?bgproxy (\S.*)", line.strip()):
                    yield f"{name}:{block.line}", found[1]
        prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for line in re.findall(r"`bgproxy ([a-z][^`\n]*)`", prose):
            if "…" not in line and "[" not in line:
                yield str(name), line


@pytest.mark.parametrize("line", sorted({line for _, line in _command_lines()}))
def test_a_command_line_names_what_there_is(line: str) -> None:
    """The command, and every option of it."""
    words = shlex.split(re.split(r" *(?:#| \|\|? )", line)[0])
    command: click.Command = main
    options: set[str] = set()
    for word in words:
        options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, line
            command = command.commands[word]
    options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    before = words[: words.index("--")] if "--" in words else words
    used = {word.partition("=")[0] for word in before if re.match(r"--?[a-z]", word)}
    assert used <= options | {"--help", "--version", "-h"}, line
