"""The command that proves the way back on purpose: there, and back again."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import click

from bgproxy.client import DeploymentDocument, ProblemError, ServiceDocument
from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command
from bgproxy.units import parse_duration

_REASON = "drill"


@click.command()
@click.option(
    "--stay", default="10s", show_default=True, help="How long to stay on the other side."
)
@client_command
def drill(session: Session, stay: str) -> None:
    r"""Switch to the idle environment, and take that back: prove that the way back works.

    Traffic really moves, twice. The switch runs the checks; the way back is the one that the judge
    takes: its gate probes and checks the old environment, and what it said is kept. Both stand in
    the history with the reason "drill" and their figures; no release is locked. Nothing begins
    while the service drains, bakes or is paused. Ends with status 1 if anything was refused, the
    gate would have said no, or requests failed meanwhile.

    \b
    Example:
      bgproxy drill --stay 1m
    """
    try:
        seconds = parse_duration(stay)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--stay") from None
    before = session.service()
    name = before["name"]
    if before["phase"] != "steady":
        raise click.ClickException(f"{name} is {before['phase']}; a drill needs it steady")
    there, there_seconds = _timed(
        lambda: session.client.switch(
            name,
            to="green" if before["active"] == "blue" else "blue",
            reason=_REASON,
            expected_generation=before["generation"],
            idempotency_key=str(uuid.uuid4()),
        )
    )
    back, back_seconds = _return(session, name, there, seconds)
    after = session.client.service(name)
    facts: dict[str, Any] = {
        "service": name,
        "there": there,
        "back": back,
        "there_seconds": round(there_seconds, 4),
        "back_seconds": round(back_seconds, 4),
        "requests": _total(after, "requests_total") - _total(before, "requests_total"),
        "errors": _total(after, "errors_total") - _total(before, "errors_total"),
        "gate": _gate(session, name, back),
    }
    if session.is_json:
        session.print_json(facts)
    else:
        click.echo("\n".join(_lines(facts)))
    if facts["errors"] or not (facts["gate"] or {}).get("may_roll_back", True):
        sys.exit(1)


def _gate(session: Session, name: str, back: DeploymentDocument) -> dict[str, Any] | None:
    """What the judge's gate said; None where releases are not judged, so that there is none."""
    explained: dict[str, Any] = dict(session.client.deployment(name, back["id"]))
    gate: dict[str, Any] | None = explained.get("explanation", {}).get("drill", {}).get("gate")
    return gate


def _timed(change: Callable[[], DeploymentDocument]) -> tuple[DeploymentDocument, float]:
    began = time.monotonic()
    return change(), time.monotonic() - began


def _return(
    session: Session, name: str, there: DeploymentDocument, stay: float
) -> tuple[DeploymentDocument, float]:
    """Stay, and come back, also when interrupted: nobody meant the other side to remain live."""
    try:
        time.sleep(stay)
    except KeyboardInterrupt:
        click.echo("interrupted: going back now", err=True)
    try:
        return _timed(
            lambda: session.client.rollback(
                name,
                reason=_REASON,
                drill=True,
                expected_generation=there["generation"],
                idempotency_key=str(uuid.uuid4()),
            )
        )
    except ProblemError:
        click.echo(f"{name}: {there['to']} was live, and the way back was refused", err=True)
        raise


def _total(service: ServiceDocument, key: str) -> int:
    environments: dict[str, Any] = dict(service["environments"])
    return sum(int(environments[color][key]) for color in ("blue", "green"))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    there, back = facts["there"], facts["back"]
    yield (
        f"{facts['service']}: {text.environment_name(there['to'])} was live, "
        f"{text.environment_name(back['to'])} is again, generation {back['generation']}"
    )
    there_seconds, back_seconds = facts["there_seconds"], facts["back_seconds"]
    yield f"  there in {there_seconds:.3f} s with its checks, back in {back_seconds:.3f} s"
    if gate := facts["gate"]:
        verdict = "would have agreed" if gate["may_roll_back"] else "would NOT have agreed"
        yield f"  the judge's gate {verdict}: {gate['detail']}"
    requests = text.counted(facts["requests"], "request")
    yield f"  meanwhile {requests}, {text.counted(facts['errors'], 'error')}"
