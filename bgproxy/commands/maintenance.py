"""Commands that close a service to the public, and open it again."""

from __future__ import annotations

import click

from bgproxy.client import ServiceDocument
from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command


@click.group()
def maintenance() -> None:
    """Close a service to the public, or open it again."""


@maintenance.command("on")
@click.option("--message", default="", help="What people are told; a usual sentence by default.")
@click.option(
    "--allow",
    metavar="CIDR",
    multiple=True,
    help="A network, or an address, that is served as always; may be given several times.",
)
@client_command
def begin(session: Session, message: str, allow: tuple[str, ...]) -> None:
    r"""Answer 503 to everybody but those on the list.

    It stays so over restarts until `maintenance off`. Load balancers that ask for the service's
    health path are let through. Given again, it replaces message and list.

    \b
    Example:
      bgproxy maintenance on --message "Back at 14:00." --allow 10.0.0.0/8 --allow 203.0.113.9
    """
    name = session.service()["name"]
    _show(session, session.client.begin_maintenance(name, message=message, allow=allow))


@maintenance.command("off")
@client_command
def end(session: Session) -> None:
    r"""Open the service to everybody again.

    \b
    Example:
      bgproxy maintenance off
    """
    _show(session, session.client.end_maintenance(session.service()["name"]))


def _show(session: Session, service: ServiceDocument) -> None:
    if session.is_json:
        session.print_json(service)
        return
    now = service["maintenance"]
    sentence = "open to everybody" if now is None else text.maintenance_news(now)
    click.echo(f"{service['name']}: {sentence}")
