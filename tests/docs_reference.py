"""Writes the page of all commands and options: `python -m tests.docs_reference`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from bgproxy.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

_HEAD = """\
# Every command and option

As `--help` tells it. What the commands are for, exit statuses and the variables stand in
[command line](cli.md).
"""


def page_text() -> str:
    """The whole page."""
    root = click.Context(main, info_name="bgproxy", **main.context_settings)
    everywhere = _options(root)
    parts = [_HEAD, "## Everywhere\n", _table(everywhere)]
    for name, command, context in _commands(root):
        options = {
            flags: text for flags, text in _options(context).items() if flags not in everywhere
        }
        parts += [f"## {name}\n", *_described(command, context)]
        if options:
            parts.append(_table(options))
    return "\n".join(parts)


def _commands(context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that does something, in the order of the alphabet."""
    group = context.command
    assert isinstance(group, click.Group)
    for name, command in sorted(group.commands.items()):
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(inner)
        else:
            yield inner.command_path, command, inner


def _described(command: click.Command, context: click.Context) -> list[str]:
    """How it is called, what it does, and its examples as a block."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    prose, examples = list[str](), ""
    for paragraph in (command.help or "").replace("\b", "").split("\n\n"):
        text = paragraph.strip()
        if text.startswith("Example"):
            examples = textwrap.dedent(text.partition(":")[2].strip("\n")).strip()
        elif text:
            prose.append(" ".join(text.split()))
    parts = [f"```text\n{usage}\n```\n", "\n\n".join(prose) + "\n"]
    return [*parts, f"```text\n{examples}\n```\n"] if examples else parts


def _options(context: click.Context) -> dict[str, str]:
    """What may stand behind a command, without its arguments, which its usage shows."""
    options = (one for one in context.command.get_params(context) if isinstance(one, click.Option))
    return dict(record for one in options if (record := one.get_help_record(context)))


def _table(options: dict[str, str]) -> str:
    rows = [
        f"| `{flags.replace('|', ', ')}` | {text.replace('|', ', ')} |"
        for flags, text in options.items()
    ]
    return "\n".join(["| option | means |", "| --- | --- |", *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page_text(), "utf-8")
