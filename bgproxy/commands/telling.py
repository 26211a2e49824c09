"""Commands about those who are told what happens."""

from __future__ import annotations

import sys

import click

from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command


@click.group()
def notify() -> None:
    """Those who are told what happens (`notifications` in the configuration)."""


@notify.command("test")
@client_command
def test(session: Session) -> None:
    r"""Send a test message to each and say what came back.

    Ends with status 1 if one did not take it, or nobody is configured.

    \b
    Example:
      bgproxy notify test
    """
    results = session.client.test_notifications()
    if session.is_json:
        session.print_json({"results": results})
    elif results:
        rows = [
            (one["name"], one["kind"], "sent" if one["sent"] else "FAILED", one["answered"])
            for one in results
        ]
        click.echo("\n".join(text.table(rows)))
    else:
        click.echo("nobody is told: there are no notifications in the configuration", err=True)
    if not results or not all(one["sent"] for one in results):
        sys.exit(1)
