"""`bgproxy watch`: a live view on a terminal, event lines anywhere else."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from bgproxy.client import AdminClient, ServiceDocument, UnreachableError
from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command
from bgproxy.errors import BgproxyError

if TYPE_CHECKING:
    from rich.console import RenderableType

_REFRESH = 0.5
_RECONNECT = 1.0
_EVENTS_SHOWN = 12
_PROGRESS = frozenset({"drain_progress", "bake_progress"})
"""Events that the view shows at the service itself."""


@click.command()
@client_command
def watch(session: Session) -> None:
    r"""Watch services, deployments and events live, until Ctrl-C.

    On a terminal a full-screen view; in a pipe one line for each event, or one JSON document
    with --json.

    \b
    Examples:
      bgproxy watch
      bgproxy watch --json | jq .type
    """
    try:
        if sys.stdout.isatty() and not session.is_json:
            _watch_screen(session)
        else:
            _print_events(session)
    except KeyboardInterrupt:
        sys.exit(0)


def _print_events(session: Session) -> None:
    """Write each event as it comes; a broken stream is taken up where it broke."""
    last: int | None = None
    session.client.services()  # nobody there, or no right to look: say so now
    while True:
        try:
            for event in session.client.events(last):
                last = event.id
                if session.is_json:
                    document = {"id": event.id, "type": event.type} | event.data
                    click.echo(json.dumps(document, ensure_ascii=False))
                else:
                    click.echo(text.event_line(event))
        except UnreachableError as error:
            click.echo(f"{error}; trying again", err=True)
            time.sleep(_RECONNECT)


def _watch_screen(session: Session) -> None:
    """Draw the services and the last events twice a second."""
    from rich.live import Live

    lines: deque[str] = deque(maxlen=_EVENTS_SHOWN)
    session.client.services()
    threading.Thread(target=_collect, args=(session.client, lines), daemon=True).start()
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(session, lines), refresh=True)
            time.sleep(_REFRESH)


def _collect(client: AdminClient, lines: deque[str]) -> None:
    """Gather event lines, beginning with those that the proxy still has."""
    last = 0
    while True:
        try:
            for event in client.events(last):
                last = event.id
                if event.type not in _PROGRESS:
                    lines.append(text.event_line(event))
        except BgproxyError:
            time.sleep(_RECONNECT)


def _screen(session: Session, lines: deque[str]) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    try:
        shown = [
            Panel(
                Text.from_ansi("\n".join(text.service_lines(service))), border_style=_edge(service)
            )
            for service in session.client.services()
            if session.service_name in ("", service["name"])
        ]
    except BgproxyError as error:
        shown = [Panel(Text(str(error)), title="no answer", border_style="red")]
    events = Text("\n".join(lines) or "nothing yet")
    return Group(*shown, Panel(events, title="events", border_style="dim"))


def _edge(service: ServiceDocument) -> str:
    return service["active"] if service["phase"] == "steady" else "yellow"
