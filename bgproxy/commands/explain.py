"""Why a deployment ended as it did, for people: what checks, judge and drain left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bgproxy.commands import text

_POINTS = 12
_SAMPLES = 10


def explanation_lines(deployment: Mapping[str, Any]) -> Iterator[str]:
    """One deployment with its explanation, as `GET …/deployments/{id}` has it."""
    yield (
        f"deployment {deployment['id']}: {deployment['kind'].replace('_', ' ')} from "
        f"{deployment['from']} to {deployment['to']}, generation {deployment['generation'] or '-'}"
    )
    outcome = (deployment["outcome"] or "under way").replace("_", " ")
    reason = deployment["reason"] or "no reason given"
    yield f"  {outcome}; by {deployment['actor'] or '-'}: {reason}"
    for key in ("requested_at", "applied_at", "drained_at", "finished_at"):
        if deployment[key]:
            yield f"  {key.removesuffix('_at'):<9}  {text.moment(deployment[key])}"
    explained: Mapping[str, Any] = deployment.get("explanation", {})
    for key in ("refusal", "verdict", "ended", "takes_back"):
        if key in explained:
            yield f"  {key.replace('_', ' ')}: {explained[key]}"
    yield from _checks(explained.get("checks", ()))
    yield from _judgement(explained.get("bake"))
    if gate := (explained.get("drill") or {}).get("gate"):
        yield f"drill: the gate {_agrees(gate)}: {gate['detail']}"
    if drain := explained.get("drain"):
        yield (
            f"drain: {drain['status']} after {drain['seconds']:.1f} s, closed "
            f"{text.counted(drain['closed_requests'], 'request')} and "
            f"{text.counted(drain['closed_tunnels'], 'tunnel')}"
        )
    yield from _samples(explained.get("samples", ()))


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    failed = [check for check in checks if not check["passed"]]
    if checks:
        yield f"checks: {len(checks) - len(failed)} of {len(checks)} passed"
    for check in failed:
        where = check.get("address") or check.get("backend") or ""
        why = "; ".join(map(str, check.get("failures", ())))
        yield f"  FAILED  {check['name']}  {where}  {why}"


def _judgement(bake: Mapping[str, Any] | None) -> Iterator[str]:
    """The baseline, the rule's levels, evidence over time, and what the failures were."""
    if bake is None:
        return
    usual = bake["baseline"]
    yield (
        f"judge: rule {bake['rule']}, {bake['seconds']:.0f} of {bake['of_seconds']:.0f} s; "
        f"{bake['failures']:,} of {text.counted(bake['requests'], 'request')} counted as failed"
    )
    yield (
        f"  usual {usual['failure_share']:.2%} ({usual['failures']:,} of {usual['requests']:,} "
        f"before), dispersion {usual['dispersion']:.1f}; "
        f"evidence grows above {bake['break_even']:.2%}, harm from {bake['harm_level']:.2%} on"
    )
    yield f"  evidence {bake['evidence']:.1f} of {bake['evidence_needed']:.1f}"
    series: Sequence[Mapping[str, Any]] = bake["series"]
    # The last seconds are those that decided.
    rows = [("second", "succeeded", "failed", "evidence")]
    rows += [
        (f"{p['t']:.0f}", f"{p['successes']}", f"{p['failures']}", f"{p['evidence']:.1f}")
        for p in series[-_POINTS:]
    ]
    if series:
        yield from (f"    {line}" for line in text.table(rows))
    for key in ("reasons", "backends"):
        if found := bake[key]:
            yield f"  failures by {key.removesuffix('s')}: {_counts(found)}"
    for gate in bake["gates"]:
        verdict = gate["verdict"]
        yield f"  at {gate['t']:.0f} s: {verdict['rule']}: {verdict['detail']}"
        yield f"    the gate {_agrees(gate)}: {gate['detail']}"


def _agrees(gate: Mapping[str, Any]) -> str:
    return "agreed" if gate["may_roll_back"] else "said no"


def _counts(found: Mapping[str, int]) -> str:
    ranked = sorted(found.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {count:,}" for name, count in ranked)


def _samples(samples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not samples:
        return
    yield "requests that failed, the last ones:"
    rows = [
        (
            text.moment(one["at"]),
            f"{one['method']} {one['path']}",
            str(one["status"] or "-"),
            one["reason"],
            one["backend"] or "-",
            one["request_id"],
        )
        for one in samples[-_SAMPLES:]
    ]
    yield from (f"  {line}" for line in text.table(rows))
