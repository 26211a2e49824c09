"""Commands that change something: switch, rollback, verify, pause, resume, backends set."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any

import click

from bgproxy.client import DeploymentDocument, PlanDocument
from bgproxy.commands import progress as following
from bgproxy.commands import text
from bgproxy.commands.progress import Progress
from bgproxy.commands.session import Session, client_command

_ENVIRONMENT = click.Choice(["blue", "green"])
_WAIT = click.Choice(["held", "applied", "drained", "finished"])
_TAKEN_BACK = frozenset({"rolled_back", "failed"})


@click.command()
@click.argument("environment", type=_ENVIRONMENT, required=False)
@click.option(
    "--wait",
    type=_WAIT,
    default="drained",
    show_default=True,
    help="When to return: it waits for its approval, the pointer moved, the old side drained, the "
    "bake over.",
)
@click.option(
    "--plan", "is_plan", is_flag=True, help="Only say what the switch would meet; change nothing."
)
@click.option("--verify/--no-verify", default=True, help="Run the configured checks first.")
@click.option("--force", is_flag=True, help="Switch even if the target is unhealthy.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--release", help="Name what the target runs, such as v42.")
@click.option(
    "--expect-generation",
    "expected",
    type=click.IntRange(min=1),
    help="Refuse unless this is the current generation.",
)
@click.option(
    "--irreversible",
    metavar="REASON",
    default="",
    help="It must not be taken back, as REASON says: the judge only alerts.",
)
@click.option("--hold", is_flag=True, help="Wait, once verified, until another token approves it.")
@click.option("--hold-timeout", metavar="TIME", help="How long: 30m if not given.")
@click.option(
    "--on-timeout",
    type=click.Choice(["cancel", "proceed"]),
    default="cancel",
    show_default=True,
    help="What becomes of it if nobody approved it by then.",
)
@client_command
def switch(
    session: Session,
    environment: str | None,
    wait: str,
    is_plan: bool,
    verify: bool,
    force: bool,
    reason: str,
    release: str | None,
    expected: int | None,
    irreversible: str,
    hold: bool,
    hold_timeout: str | None,
    on_timeout: str,
) -> None:
    r"""Move all traffic to ENVIRONMENT, or to the idle one.

    Waits for the target's health, runs the checks, moves the pointer, and returns when the old
    environment is drained. Ends with status 1 if it was refused or the release was taken back.

    \b
    Examples:
      bgproxy switch green --release v42 --reason "release 42"
      bgproxy switch --plan                    # what it would meet, and what would be noticed
      bgproxy switch green --wait finished     # for CI: waits for the bake as well
      bgproxy switch green --hold              # two people: the other one says bgproxy approve
    """
    service = session.service()
    name = service["name"]
    if not hold and (hold_timeout is not None or wait == "held"):
        raise click.UsageError("--hold-timeout and --wait held need --hold")
    if is_plan:
        _show_plan(session, session.client.plan(name, environment))
        return
    target = environment or ("green" if service["active"] == "blue" else "blue")

    def change() -> DeploymentDocument:
        return session.client.switch(
            name,
            to=environment,
            verify=verify,
            force=force,
            reason=reason,
            expected_generation=expected,
            release=release,
            irreversible=irreversible,
            hold=hold,
            hold_timeout=hold_timeout,
            on_timeout=on_timeout,
            wait="held" if wait == "held" else "applied",
            idempotency_key=str(uuid.uuid4()),
        )

    _deploy(session, name, target, wait, change)


def _show_plan(session: Session, plan: PlanDocument) -> None:
    if session.is_json:
        session.print_json(plan)
    else:
        click.echo("\n".join(text.plan_lines(plan)))
    if not plan["would_switch"]:
        sys.exit(1)


@click.command()
@click.option(
    "--wait",
    type=click.Choice(["applied", "drained", "finished"]),
    default="applied",
    show_default=True,
    help="When to return.",
)
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option(
    "--expect-generation",
    "expected",
    type=click.IntRange(min=1),
    help="Refuse unless this is the current generation.",
)
@click.option("--force", is_flag=True, help="Also what was said to be irreversible.")
@client_command
def rollback(session: Session, wait: str, reason: str, expected: int | None, force: bool) -> None:
    r"""Take the last switch back, at once and without checks.

    \b
    Example:
      bgproxy rollback --reason "checkout is failing"
    """
    service = session.service()
    name = service["name"]
    target = "green" if service["active"] == "blue" else "blue"

    def change() -> DeploymentDocument:
        return session.client.rollback(
            name,
            reason=reason,
            expected_generation=expected,
            force=force,
            idempotency_key=str(uuid.uuid4()),
        )

    _deploy(session, name, target, wait, change)


def _deploy(
    session: Session,
    name: str,
    target: str,
    wait: str,
    change: Callable[[], DeploymentDocument],
) -> None:
    """Carry a switch or rollback out with progress, and end with its verdict."""
    progress = Progress()
    try:
        deployment = following.run_showing(change, session.client, name, target, progress)
        if wait not in ("held", "applied"):
            progress.note(f"{target} is live, generation {deployment['generation']}")
            deployment = following.follow(session.client, deployment, wait, progress)
    except KeyboardInterrupt:
        progress.clear()
        click.echo(f"stopped watching: {following.left_behind(session.client, name)}", err=True)
        sys.exit(1)
    if session.is_json:
        session.print_json(deployment)
    else:
        click.echo(text.verdict(deployment, wait))
        if deployment["outcome"] == "rolled_back":
            click.echo(_why_taken_back(session, deployment))
    if deployment["outcome"] in (*_TAKEN_BACK, "superseded"):
        sys.exit(1)


def _why_taken_back(session: Session, deployment: DeploymentDocument) -> str:
    """Who took a release back and why, from the deployment that came after it."""
    for later in session.client.history(deployment["service"]):
        if later["generation"] == (deployment["generation"] or 0) + 1:
            return f"  by {later['actor']}: {later['reason'] or 'no reason given'}"
    return "  by a later deployment"


@click.command()
@click.argument("environment", type=_ENVIRONMENT, required=False)
@client_command
def verify(session: Session, environment: str | None) -> None:
    r"""Run the configured checks against ENVIRONMENT, or against the idle one.

    Nothing is switched. Ends with status 1 if a check failed.

    \b
    Examples:
      bgproxy verify
      bgproxy verify green --json
    """
    result = session.client.verify(session.service()["name"], environment)
    if session.is_json:
        session.print_json(result)
    else:
        word = "passed" if result["passed"] else "FAILED"
        lines = text.check_lines(result["checks"])
        head = f"{result['environment']}: {word}, {text.counted(len(lines), 'check')}"
        click.echo("\n".join([head, *lines]))
    if not result["passed"]:
        sys.exit(1)


@click.command()
@click.option("--timeout", default="30s", show_default=True, help="After it, the pause ends.")
@client_command
def pause(session: Session, timeout: str) -> None:
    r"""Hold new requests, in order, until `resume` or the time-out.

    What is in flight goes on. For the seconds in which neither environment may answer, such as a
    short migration.

    \b
    Example:
      bgproxy pause --timeout 10s && ./migrate.sh; bgproxy resume
    """
    service = session.client.pause(session.service()["name"], timeout)
    _show_service(session, service, f"requests are held for at most {timeout}")


@click.command()
@client_command
def resume(session: Session) -> None:
    r"""Let held requests go on, to whichever environment is active.

    \b
    Example:
      bgproxy resume
    """
    service = session.client.resume(session.service()["name"])
    _show_service(session, service, "requests go on")


def _show_service(session: Session, service: Any, sentence: str) -> None:
    if session.is_json:
        session.print_json(service)
    else:
        click.echo(f"{service['name']}: {sentence}")


@click.group()
def backends() -> None:
    """Change which addresses an environment has."""


@backends.command("set")
@click.argument("environment", type=_ENVIRONMENT)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--release", help="Name what they run, such as v42.")
@click.option("--force", is_flag=True, help="Also while in use; this ends the bake.")
@client_command
def set_backends(
    session: Session, environment: str, urls: tuple[str, ...], release: str | None, force: bool
) -> None:
    r"""Point ENVIRONMENT at the backends URL...

    They stay over reloads and restarts until the configuration file's own value for that
    environment changes; `bgproxy diff` shows where the two differ.

    \b
    Example:
      bgproxy backends set green http://10.0.0.7:8000 http://10.0.0.8:8000 --release v42
    """
    name = session.service()["name"]
    service = session.client.set_backends(
        name, environment, list(urls), release=release, force=force
    )
    if session.is_json:
        session.print_json(service)
    else:
        click.echo("\n".join(text.service_lines(service)))
