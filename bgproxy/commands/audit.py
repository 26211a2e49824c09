"""The command that shows who changed what."""

from __future__ import annotations

import json
from typing import Any

import click

from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command


@click.command()
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@client_command
def audit(session: Session, limit: int) -> None:
    r"""Show who changed what, from where, newest first; of all services unless --service is given.

    \b
    Examples:
      bgproxy audit
      bgproxy audit --service shop --limit 100 --json | jq '.audit[] | select(.actor == "ci")'
    """
    rows = session.client.audit(session.service_name or None, limit)
    if session.is_json:
        session.print_json({"audit": rows})
    elif rows:
        click.echo("\n".join(_table(rows)))
    else:
        click.echo("no changes yet")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    header = ("when", "service", "what", "who", "from", "change")
    lines = [
        (
            text.moment(row["at"]),
            row["service"] or "-",
            row["action"].replace("_", " "),
            row["actor"] or "bgproxy",
            row.get("origin") or "-",
            _change(row["before"], row["after"]),
        )
        for row in rows
    ]
    return text.table([header, *lines])


def _change(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What is different afterwards; what was not known before is told as it is."""
    parts = []
    for name, value in after.items():
        old = before.get(name)
        if name not in before:
            parts.append(f"{name} {_short(value)}")
        elif old != value:
            parts.append(f"{name} {_short(old)} -> {_short(value)}")
    return ", ".join(parts)


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return value or "-" if isinstance(value, str) else json.dumps(value)
