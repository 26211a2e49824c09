"""Making tokens for the admin API; no proxy is needed for it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets

import click

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
ROLES = ("read", "rollback", "switch", "admin")
"""Not imported from the settings, which would make every command start later."""

_PREFIX = "bgp_"
"""By which scanners of repositories and logs can tell what it is."""


@click.group()
def token() -> None:
    """Make tokens for the admin API."""


@token.command()
@click.option("--name", required=True, help="Who uses it; shown in the history.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="switch",
    show_default=True,
    help="What it may do.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def new(name: str, role: str, is_json: bool) -> None:
    r"""Print a new token, once, and the line that lets it in.

    The line holds a digest only: it goes into admin.tokens, or into the file of admin.tokens_file.

    \b
    Examples:
      bgproxy token new --name ci --role switch
      bgproxy token new --name pager --role rollback --json
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter(
            "up to 63 letters, digits, hyphens, underscores and dots", param_hint="--name"
        )
    made = _PREFIX + secrets.token_urlsafe(32)
    digest = "sha256:" + hashlib.sha256(made.encode()).hexdigest()
    if is_json:
        entry = {"name": name, "role": role, "token": digest}
        click.echo(json.dumps({"token": made, "entry": entry}, indent=2))
        return
    click.echo(f"token, shown only now (BGPROXY_TOKEN):\n  {made}")
    click.echo("line for admin.tokens, or for the file of admin.tokens_file:")
    click.echo(f'  - {{name: {name}, role: {role}, token: "{digest}"}}')
