"""The admin API's documents as types; the server may send further keys."""

from __future__ import annotations

from typing import Any, TypedDict


class BackendDocument(TypedDict):
    """One backend inside a SERVICE."""

    url: str
    healthy: bool
    in_flight: int


class EnvironmentDocument(TypedDict):
    """One environment inside a SERVICE."""

    release: str | None
    backends: list[BackendDocument]
    in_flight: int
    requests_total: int
    errors_total: int


class EnvironmentsDocument(TypedDict):
    """Both environments of a SERVICE."""

    blue: EnvironmentDocument
    green: EnvironmentDocument


class DrainDocument(TypedDict):
    """A drain as it stands; `seconds` since the switch."""

    environment: str
    requests: int
    tunnels: int
    seconds: float
    timeout: float
    tunnel_timeout: float


class BakeDocument(TypedDict):
    """A bake as it stands; the judge decides when `evidence` reaches `evidence_needed`."""

    environment: str
    seconds: float
    of_seconds: float
    requests: int
    failures: int
    evidence: float
    evidence_needed: float
    usual: float
    break_even: float
    harm_level: float


class MaintenanceDocument(TypedDict):
    """A maintenance that is on."""

    message: str
    allow: list[str]
    since: str
    by: str


class LockDocument(TypedDict):
    """Why a service may not be switched; `until` is None where it ends by hand alone."""

    reason: str
    by: str
    since: str
    until: str | None


class HeldDocument(TypedDict):
    """That a switch waits for an approval; `on_timeout` is ``cancel`` or ``proceed``."""

    since: str
    until: str
    on_timeout: str


class ServiceDocument(TypedDict):
    """SERVICE: one application behind the proxy; the server may send further keys."""

    name: str
    active: str
    generation: int
    phase: str
    environments: EnvironmentsDocument
    drain: DrainDocument | None
    bake: BakeDocument | None
    maintenance: MaintenanceDocument | None
    locked: LockDocument | None


DeploymentDocument = TypedDict(
    "DeploymentDocument",
    {
        "id": int | str,
        "service": str,
        "from": str,
        "to": str,
        "release": str | None,
        "generation": int | None,
        "kind": str,
        "reason": str,
        "actor": str,
        "irreversible": str | None,
        "held": HeldDocument | None,
        "approved_by": str | None,
        "outcome": str | None,
        "safe_to_stop": bool,
        "rollback_possible_until": str | None,
        "requested_at": str,
        "applied_at": str | None,
        "drained_at": str | None,
        "finished_at": str | None,
    },
)
"""DEPLOYMENT: one change of the active pointer; the server may send further keys."""


class PlannedDrainDocument(TypedDict):
    """What is in flight where a switch would lead away from; times in seconds."""

    requests: int
    tunnels: int
    timeout: float
    tunnel_timeout: float


class FindDocument(TypedDict):
    """How long a share of failing requests would go unnoticed; None where the bake ends before."""

    failing: float
    seconds: float | None


class PlannedJudgeDocument(TypedDict):
    """What the judge could find if traffic stays as it is."""

    rule: str
    mode: str
    bake: float
    rate: float
    usual: float
    finds: list[FindDocument]


PlanDocument = TypedDict(
    "PlanDocument",
    {
        "service": str,
        "from": str,
        "to": str,
        "release": str | None,
        "would_switch": bool,
        "refusal": dict[str, str] | None,
        "checks": list[dict[str, Any]],
        "drain": PlannedDrainDocument,
        "judge": PlannedJudgeDocument,
    },
)
"""PLAN: what a switch would meet; the server may send further keys."""


class VerificationDocument(TypedDict):
    """What the configured checks found."""

    passed: bool
    environment: str
    checks: list[dict[str, Any]]
