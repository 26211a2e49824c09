"""Documents of the admin API as lines for people; nothing here reads or writes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import click

from bgproxy.client import (
    AdminEvent,
    BackendDocument,
    BakeDocument,
    DeploymentDocument,
    DrainDocument,
    EnvironmentDocument,
    HeldDocument,
    LockDocument,
    MaintenanceDocument,
    PlanDocument,
    ServiceDocument,
)

SHAPES = {"blue": "●", "green": "▲"}
"""Blue and green differ by shape too, for those who cannot tell the colors apart."""

_KINDS = {"switch": "switch", "rollback": "rollback", "auto_rollback": "automatic rollback"}


def environment_name(color: str) -> str:
    """An environment's name with its shape, in its color."""
    return click.style(f"{SHAPES.get(color, '·')} {color}", fg=color, bold=True)


def service_lines(service: ServiceDocument) -> list[str]:
    """A service at a glance: who is live, then each environment and its backends."""
    head = (
        f"{click.style(service['name'], bold=True)}  {environment_name(service['active'])} is live"
        f"  generation {service['generation']}  {service['phase']}"
    )
    lines = [head]
    if (maintenance := service.get("maintenance")) is not None:
        lines.append(f"  {maintenance_news(maintenance)}")
    if (lock := service.get("locked")) is not None:
        lines.append(f"  {lock_news(lock)}")
    under_way = cast(Mapping[str, Any], service).get("deployment")
    if under_way and under_way.get("held"):
        lines.append(f"  {held_news(under_way, under_way['held'])}")
    if (drain := service["drain"]) is not None:
        lines.append(f"  {drain_news(drain)}")
    if (bake := service["bake"]) is not None:
        lines.append(f"  {bake_news(bake)}")
    for color in ("blue", "green"):
        environment: EnvironmentDocument = service["environments"][color]
        lines += _environment_lines(color, environment, is_live=color == service["active"])
    return lines


def _environment_lines(color: str, environment: EnvironmentDocument, *, is_live: bool) -> list[str]:
    backends = environment["backends"]
    healthy = sum(backend["healthy"] for backend in backends)
    release = environment["release"] or "-"
    state = "live" if is_live else "idle"
    health = f"{healthy}/{len(backends)} healthy"
    if healthy < len(backends):
        health = click.style(health, fg="red" if is_live else "yellow", bold=True)
    line = (
        f"  {environment_name(color)}{' ' * (6 - len(color))} {state}  {release}  {health}  "
        f"{environment['in_flight']} in flight  "
        f"{counted(environment['requests_total'], 'request')}  "
        f"{errors(environment)}"
    )
    lines = [line]
    for backend in backends:
        word = "healthy" if backend["healthy"] else click.style("unhealthy", fg="red")
        note = "" if backend["healthy"] else _answers(backend)
        lines.append(f"      {backend['url']}  {word}  {backend['in_flight']} in flight{note}")
    return lines


def maintenance_news(maintenance: MaintenanceDocument) -> str:
    """Who is told what, and who is let in."""
    head = click.style("in maintenance", fg="yellow", bold=True)
    allowed = ", ".join(maintenance["allow"]) or "nobody"
    return (
        f"{head} since {moment(maintenance['since'])} by {maintenance['by']}: "
        f"{maintenance['message']} ({allowed} let in)"
    )


def lock_news(lock: LockDocument) -> str:
    """Who locked it, since when, for how long, and why."""
    until = f", until {moment(lock['until'])}" if lock["until"] else ""
    head = click.style("locked", fg="yellow", bold=True)
    return f"{head} by {lock['by']} since {moment(lock['since'])}{until}: {lock['reason']}"


def held_news(deployment: DeploymentDocument, held: HeldDocument) -> str:
    """Which deployment waits for an approval, who asked for it, and what comes when."""
    end = "goes on" if held["on_timeout"] == "proceed" else "is given up"
    return (
        f"deployment {deployment['id']} to {deployment['to']}, asked for by "
        f"{deployment['actor']}, waits for an approval: {end} at {moment(held['until'])}"
    )


def drain_news(drain: DrainDocument) -> str:
    """How far a drain is."""
    return (
        f"draining {drain['environment']}: {counted(drain['requests'], 'request')} and "
        f"{counted(drain['tunnels'], 'tunnel')} in flight, {drain['seconds']:.1f} s gone"
    )


def bake_news(bake: BakeDocument) -> str:
    """How far a bake is, and what speaks against the release."""
    left = max(0.0, bake["of_seconds"] - bake["seconds"])
    return (
        f"baking {bake['environment']}: {length(left)} left, {bake['failures']:,} of "
        f"{bake['requests']:,} requests failed, evidence of harm {bake['evidence']:.1f} of "
        f"{bake['evidence_needed']:g}"
    )


def length(seconds: float) -> str:
    """A time span in the largest units that matter."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _answers(backend: BackendDocument) -> str:
    """What the addresses of an unhealthy backend answered, where the server tells it."""
    addresses = cast(Mapping[str, Any], backend).get("addresses", ())
    found = dict.fromkeys(str(one["answered"]) for one in addresses if one.get("answered"))
    return "".join(f"  {text}" for text in found)


def errors(environment: EnvironmentDocument) -> str:
    """Errors of an environment, as a count and a share."""
    failed, total = environment["errors_total"], environment["requests_total"]
    text = counted(failed, "error") + (f" ({failed / total:.2%})" if failed and total else "")
    return click.style(text, fg="red") if failed else text


def deployment_rows(deployments: Iterable[DeploymentDocument]) -> list[str]:
    """The history as an aligned table."""
    header = ("id", "when", "what", "from -> to", "release", "gen", "outcome", "who", "why")
    rows = (
        (
            str(one["id"]),
            moment(one["requested_at"]),
            _KINDS.get(one["kind"], one["kind"]),
            f"{one['from']} -> {one['to']}",
            one["release"] or "-",
            str(one["generation"] or "-"),
            one["outcome"] or "under way",
            one["actor"],
            one["reason"],
        )
        for one in deployments
    )
    return table([header, *rows])


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def verdict(deployment: DeploymentDocument, wait: str) -> str:
    """One line that says where a deployment stands after waiting for `wait`."""
    target = f"{environment_name(deployment['to'])}"
    if (held := deployment.get("held")) is not None:
        return f"{deployment['service']}: {held_news(deployment, held)}"
    release = f" ({deployment['release']})" if deployment["release"] else ""
    outcome = deployment["outcome"]
    where = f"{deployment['service']}: "
    if outcome == "rolled_back":
        text = f"{target}{release} was taken back; {environment_name(deployment['from'])} is live"
        return where + click.style("rolled back", fg="red", bold=True) + f": {text}"
    if outcome == "failed":
        return where + click.style("failed", fg="red", bold=True) + f": {target} is not live"
    if outcome == "superseded":
        return f"{where}{target}{release} was superseded by a later deployment"
    text = f"{where}{target}{release} is live, generation {deployment['generation']}"
    old = deployment["from"]
    if deployment["kind"] != "switch":
        return f"{text} again; {old} {'is drained' if deployment['drained_at'] else 'drains'}"
    if outcome in ("passed", "inconclusive"):
        word = "the bake passed" if outcome == "passed" else "the bake saw too little to judge"
        return f"{text}; {word}; {old} may be stopped"
    if wait == "drained" and deployment["drained_at"]:
        took = seconds_between(deployment["applied_at"], deployment["drained_at"])
        text += f"; {old} drained in {took:.1f} s"
    if deployment["safe_to_stop"]:
        return f"{text}; {old} may be stopped"
    until = deployment["rollback_possible_until"]
    return f"{text}; keep {old} up for a rollback" + (f" until {moment(until)}" if until else "")


def check_lines(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """The checks of a verification, one line each, with what went wrong."""
    lines = []
    for check in checks:
        passed = bool(check.get("passed"))
        mark = click.style("passed", fg="green") if passed else click.style("FAILED", fg="red")
        rest = {
            k: v for k, v in check.items() if k not in ("name", "passed") and v not in ("", None)
        }
        lines.append(f"  {mark}  {check.get('name', '')}  {members(rest)}".rstrip())
    return lines


def plan_lines(plan: PlanDocument) -> list[str]:
    """What a switch would meet: refusal, checks, drain, and what its judge could find."""
    drain, judge = plan["drain"], plan["judge"]
    release = f" ({plan['release']})" if plan["release"] else ""
    word = click.style("would switch", fg="green")
    if not plan["would_switch"]:
        word = click.style("would be REFUSED", fg="red", bold=True)
    lines = [f"{plan['service']}: to {environment_name(plan['to'])}{release}: {word}"]
    if plan["refusal"] is not None:
        lines.append(f"  {plan['refusal']['detail']}")
    lines += check_lines(plan["checks"])
    lines.append(
        f"  {counted(drain['requests'], 'request')} and {counted(drain['tunnels'], 'tunnel')} in "
        f"flight on {plan['from']}: drained after {length(drain['timeout'])} at most, tunnels "
        f"{length(drain['tunnel_timeout'])}"
    )
    if not judge["bake"]:
        lines.append("  nothing would be noticed: the release is not judged")
        return lines
    act = "reported" if judge["mode"] == "watch" else "taken back"
    lines.append(
        f"  at {judge['rate']:.3g} requests/s, {judge['usual']:.2%} failing usually, it would be "
        f"{act} with"
    )
    for find in judge["finds"]:
        after = "not at all" if find["seconds"] is None else f"in about {length(find['seconds'])}"
        lines.append(f"    {find['failing']:4.0%} failing {after}")
    return lines


def problem_lines(document: Mapping[str, Any]) -> list[str]:
    """A problem document: its detail and kind, then its further facts."""
    kind = str(document.get("type", "")).rpartition(":")[2]
    text = document.get("detail") or document.get("title") or "refused"
    lines = [f"{text} ({kind})" if kind else str(text)]
    for key, value in document.items():
        if key in ("type", "title", "status", "detail", "instance", "errors"):
            continue
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            lines += [f"  {members(item)}" for item in value]
        else:
            lines.append(f"  {key}: {_plain(value)}")
    return lines


def diff_lines(document: Mapping[str, Any]) -> list[str]:
    """Where file and state differ, one block for each environment that does."""
    environments = document.get("environments", {})
    lines = []
    for color, found in environments.items():
        if found["differs"]:
            by = f", set by {found['changed_by']}" if found.get("changed_by") else ""
            lines.append(f"{environment_name(color)} differs{by}")
            lines += [f"  {side + ':':6} {members(found[side])}" for side in ("file", "state")]
    return lines or ["file and state agree"]


def event_line(event: AdminEvent) -> str:
    """An event as one line: time, service, type, and what it brings."""
    rest = {
        k: v for k, v in event.data.items() if k not in ("at", "service") and v not in ("", None)
    }
    time = moment(str(event.data.get("at", "")))
    return f"{time}  {event.data.get('service', '') or '-'}  {event.type}  {members(rest)}".rstrip()


def members(document: Mapping[str, Any]) -> str:
    """A small document on one line."""
    return "  ".join(f"{key}={_plain(value)}" for key, value in document.items())


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + members(value).replace("  ", " ") + "}"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def moment(text: str | None) -> str:
    """An RFC 3339 time as local date and time of day; other text stays."""
    if not text:
        return "-"
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def seconds_between(earlier: str | None, later: str | None) -> float:
    """Seconds from one RFC 3339 time to another; 0 when either is missing."""
    if not earlier or not later:
        return 0.0
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
