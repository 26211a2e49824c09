"""The command that lets a process follow an environment: workers of queues, cron, consumers."""

from __future__ import annotations

import json
import sys

import click

from bgproxy.commands.session import Session, client_command
from bgproxy.domain.companion import Policy
from bgproxy.domain.model import Color
from bgproxy.units import parse_duration


def _seconds(_context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


@click.command("run-while-active", context_settings={"ignore_unknown_options": True})
@click.option(
    "--environment",
    type=click.Choice(["blue", "green"]),
    required=True,
    help="Whose process it is.",
)
@click.option(
    "--until",
    type=click.Choice(["switched", "drained"]),
    default="switched",
    show_default=True,
    help="Stop it when the pointer moves away, or when the drain after that is over.",
)
@click.option("--restart/--no-restart", default=True, help="Start it anew when it ends by itself.")
@click.option(
    "--stop-timeout",
    default="30s",
    show_default=True,
    callback=_seconds,
    help="From TERM to KILL.",
)
@click.option(
    "--grace",
    default="30s",
    show_default=True,
    callback=_seconds,
    help="How long the proxy may be away.",
)
@click.option(
    "--on-lost",
    type=click.Choice(["keep", "stop"]),
    default="keep",
    show_default=True,
    help="What becomes of the process after that.",
)
@click.argument("argv", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@client_command
def run_while_active(
    session: Session,
    environment: str,
    until: str,
    restart: bool,
    stop_timeout: float,
    grace: float,
    on_lost: str,
    argv: tuple[str, ...],
) -> None:
    r"""Run COMMAND while ENVIRONMENT is active: never twice, and not at all while it is idle.

    It gets BGPROXY_GENERATION, which grows with every switch: a fencing token. Also
    BGPROXY_ENVIRONMENT, BGPROXY_SERVICE and BGPROXY_RELEASE. TERM and INT stop it and end this
    command with its exit status; other signals are passed on.

    \b
    Examples:
      bgproxy run-while-active --environment green -- celery -A shop worker
      bgproxy run-while-active --environment blue --until drained -- ./consume
    """
    from bgproxy.commands.keeper import Keeper

    policy = Policy(
        Color(environment),
        is_restarted=restart,
        until_drained=until == "drained",
        stop_timeout=stop_timeout,
        grace=grace,
        is_kept=on_lost == "keep",
    )
    name = session.service_name or session.service()["name"]

    def say(line: str) -> None:
        click.echo(json.dumps({"detail": line}) if session.is_json else line, err=True)

    try:
        status = Keeper(session.client, name, policy, argv, say).run()
    except OSError as error:
        raise click.ClickException(f"cannot run {argv[0]}: {error.strerror or error}") from None
    sys.exit(status)
