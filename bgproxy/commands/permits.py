"""Commands about who may switch when: lock, unlock, approve, reject."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from bgproxy.client import DeploymentDocument, ServiceDocument
from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command
from bgproxy.domain.lock import read_until


@click.command()
@click.argument("reason")
@click.option(
    "--until",
    metavar="TIME",
    help="When it ends by itself: 2h, 17:30 or 2026-12-24T18:00; never if not given.",
)
@client_command
def lock(session: Session, reason: str, until: str | None) -> None:
    r"""Refuse every switch, for REASON, until `unlock`.

    Rollbacks pass, by hand and by the judge. It holds over restarts, for `switch --force` and for
    `drill` too. Given again, it replaces reason and end.

    \b
    Examples:
      bgproxy lock "database migration" --until 2h
      bgproxy lock "freeze before Black Friday" --until 2026-11-30T08:00
    """
    end = None
    if until is not None:
        try:
            end = read_until(until, datetime.now().astimezone()).isoformat()
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--until") from None
    _show_lock(session, session.client.lock(session.service()["name"], reason, end))


@click.command()
@client_command
def unlock(session: Session) -> None:
    r"""Allow switches again.

    \b
    Example:
      bgproxy unlock --service shop
    """
    _show_lock(session, session.client.unlock(session.service()["name"]))


def _show_lock(session: Session, service: ServiceDocument) -> None:
    if session.is_json:
        session.print_json(service)
        return
    lock = service["locked"]
    sentence = "may be switched" if lock is None else text.lock_news(lock)
    click.echo(f"{service['name']}: {sentence}")


def _deployment_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--deployment",
        type=click.IntRange(min=1),
        help="Refuse unless it is this one that waits.",
    )(function)


@click.command()
@_deployment_option
@click.option("--reason", default="", help="Why; kept in the audit trail.")
@client_command
def approve(session: Session, deployment: int | None, reason: str) -> None:
    r"""Let the switch go on that waits with `switch --hold`.

    It needs a token of another name than the one that asked for it. The target's health is looked
    at again; returns when the pointer has moved.

    \b
    Example:
      bgproxy approve --deployment 42
    """
    name = session.service()["name"]
    _show_end(session, session.client.approve(name, deployment=deployment, reason=reason))


@click.command()
@_deployment_option
@click.option("--reason", default="", help="Why; it is told to who asked for the switch.")
@client_command
def reject(session: Session, deployment: int | None, reason: str) -> None:
    r"""End the switch that waits with `switch --hold`; who asked for it may do that, too.

    \b
    Example:
      bgproxy reject --reason "not on a Friday"
    """
    name = session.service()["name"]
    ended = session.client.reject(name, deployment=deployment, reason=reason)
    if session.is_json:
        session.print_json(ended)
    else:
        click.echo(f"{name}: the switch to {text.environment_name(ended['to'])} was rejected")


def _show_end(session: Session, deployment: DeploymentDocument) -> None:
    if session.is_json:
        session.print_json(deployment)
    else:
        click.echo(text.verdict(deployment, "applied"))
    if deployment["outcome"] in ("failed", "superseded"):
        sys.exit(1)
