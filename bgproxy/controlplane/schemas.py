"""Bodies of the admin API as pydantic models: requests are checked by them, answers described.

Requests take no key they do not know. Answers may carry more than is described here; what is
described stays.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from bgproxy import units
from bgproxy.domain.approval import DEFAULT_TIMEOUT
from bgproxy.domain.maintenance import MAX_ALLOWED, MAX_MESSAGE

ColorName = Literal["blue", "green"]
Wait = Literal["held", "applied", "drained", "finished"]
Phase = Literal["steady", "verifying", "draining", "baking", "paused"]
Kind = Literal["switch", "rollback", "auto_rollback"]
OutcomeName = Literal["passed", "inconclusive", "rolled_back", "superseded", "failed"]

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Reason = Annotated[str, Field(max_length=1000, description="Why; kept in the history.")]


def _whole(value: object) -> object:
    """JSON Schema has it that 7.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Generation = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=1, description="Refuse unless this is the current generation."),
]
WaitField = Annotated[
    Wait,
    Field(
        description="Answer when it waits for its approval, when the pointer has moved, when the "
        "old environment is drained, or when the bake is over as well."
    ),
]


def _seconds(value: object) -> object:
    return units.parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    float,
    Field(gt=0, le=3600),
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": "^([1-9][0-9]{0,4}ms|[1-9][0-9]{0,2}s|[1-5]?[1-9]m|1h)$",
                },
                {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
            ],
            "examples": ["30s", "500ms", "2m"],
        }
    ),
]


HoldDuration = Annotated[
    float,
    Field(gt=0, le=604800),
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^([1-9][0-9]{0,3}[sm]|[1-9][0-9]?h)$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 604800},
            ],
            "examples": ["30m", "2h"],
        }
    ),
]


class Request(BaseModel):
    """A body that takes no key it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SwitchRequest(Request):
    """What `POST …/switch` may be told; all of it is optional."""

    to: ColorName | None = Field(None, description="The target; the idle environment if left out.")
    verify: bool = Field(True, description="Run the configured checks first.")
    force: bool = Field(False, description="Switch even if unhealthy or its checks fail.")
    wait: WaitField = "applied"
    reason: Reason = ""
    expected_generation: Generation | None = None
    release: str | None = Field(None, max_length=200, description="Name what the target runs.")
    irreversible: str = Field(
        "", max_length=1000, description="Why it must not be taken back; the judge only alerts."
    )
    hold: bool = Field(False, description="Wait, once verified, until somebody else approves.")
    hold_timeout: HoldDuration = Field(DEFAULT_TIMEOUT, description="For how long.")
    on_timeout: Literal["cancel", "proceed"] = Field(
        "cancel", description="What becomes of it if nobody approved it by then."
    )


class RollbackRequest(Request):
    """What `POST …/rollback` may be told; all of it is optional."""

    reason: Reason = ""
    wait: WaitField = "applied"
    expected_generation: Generation | None = None
    force: bool = Field(False, description="Take back what was said to be irreversible, too.")
    drill: bool = Field(
        False, description="Go the judge's way: ask its gate first, and keep what that said."
    )


class VerifyRequest(Request):
    """What `POST …/verify` may be told."""

    environment: ColorName | None = Field(None, description="The idle one if left out.")


class PlanRequest(Request):
    """What `POST …/plan` may be told."""

    to: ColorName | None = Field(None, description="The target; the idle environment if left out.")


class BackendsRequest(Request):
    """What `PUT …/environments/{environment}/backends` is told."""

    backends: list[Annotated[str, Field(max_length=2000)]] = Field(
        min_length=1, max_length=1000, examples=[["http://127.0.0.1:9002"]]
    )
    release: str | None = Field(
        None,
        max_length=200,
        description="What they run; left out, a name stays only if the backends do.",
        examples=["v42"],
    )
    force: bool = Field(False, description="Also while in use; this ends the bake.")


class PauseRequest(Request):
    """What `POST …/pause` may be told."""

    timeout: Duration = Field(30.0, description="After it the pause ends by itself.")


class ResumeRequest(Request):
    """`POST …/resume` takes nothing."""


class MaintenanceRequest(Request):
    """What `POST …/maintenance` is told."""

    on: bool = Field(description="Close the service to the public, or open it again.")
    message: str = Field(
        "",
        max_length=MAX_MESSAGE,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="What people are told; a usual sentence if left out.",
    )
    allow: list[Annotated[str, Field(max_length=100)]] = Field(
        default_factory=list,
        max_length=MAX_ALLOWED,
        description="Networks whose clients are served as always.",
        examples=[["10.0.0.0/8", "203.0.113.9"]],
    )


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class BackendDocument(_Answer):
    """One backend of an environment."""

    url: str
    healthy: bool
    in_flight: int


class EnvironmentDocument(_Answer):
    """One environment of a service."""

    release: str | None
    backends: list[BackendDocument]
    in_flight: int
    requests_total: int
    errors_total: int


class EnvironmentsDocument(BaseModel):
    """Both environments."""

    blue: EnvironmentDocument
    green: EnvironmentDocument


class DrainDocument(_Answer):
    """A drain as it stands."""

    environment: ColorName
    requests: int
    tunnels: int
    seconds: float = Field(description="Since the switch.")
    timeout: float = Field(description="Seconds after which requests are closed.")
    tunnel_timeout: float = Field(description="Seconds after which tunnels are closed.")


class BakeDocument(_Answer):
    """A bake as it stands."""

    environment: ColorName
    seconds: float = Field(description="Since the switch.")
    of_seconds: float
    requests: int
    failures: int
    evidence: float
    evidence_needed: float = Field(description="Evidence at which the judge decides for harm.")
    usual: float = Field(description="Share of failures taken as usual, 0 to 1.")
    break_even: float = Field(description="Share of failures from which on evidence grows.")
    harm_level: float = Field(description="Share of failures that the rule is made to find.")


class MaintenanceDocument(_Answer):
    """A maintenance that is on."""

    message: str
    allow: list[str]
    since: Timestamp
    by: str


class LockDocument(_Answer):
    """Why a service may not be switched; `until` is null where it ends by hand alone."""

    reason: str
    by: str
    since: Timestamp
    until: Timestamp | None


class HeldDocument(_Answer):
    """That a switch waits for an approval, and what comes when nobody gives it."""

    since: Timestamp
    until: Timestamp
    on_timeout: Literal["cancel", "proceed"]


class ServiceDocument(_Answer):
    """SERVICE: one application behind the proxy."""

    name: str
    active: ColorName
    generation: int
    phase: Phase
    environments: EnvironmentsDocument
    drain: DrainDocument | None
    bake: BakeDocument | None
    maintenance: MaintenanceDocument | None
    locked: LockDocument | None


class ServicesDocument(BaseModel):
    """All services."""

    services: list[ServiceDocument]


class DeploymentDocument(_Answer):
    """DEPLOYMENT: one change of the active pointer, from request to finish."""

    id: int | str
    service: str
    from_: ColorName = Field(alias="from")
    to: ColorName
    release: str | None
    generation: int | None
    kind: Kind
    reason: str
    actor: str
    irreversible: str | None = Field(description="Why it must not be taken back.")
    held: HeldDocument | None
    approved_by: str | None
    outcome: OutcomeName | None
    safe_to_stop: bool
    rollback_possible_until: Timestamp | None
    requested_at: Timestamp
    applied_at: Timestamp | None
    drained_at: Timestamp | None
    finished_at: Timestamp | None


class HistoryDocument(BaseModel):
    """Deployments, newest first."""

    deployments: list[DeploymentDocument]


class AuditRow(_Answer):
    """One change: who, from where, when, what, and the facts before and after it."""

    at: Timestamp
    service: str
    actor: str
    origin: str | None
    action: str
    before: dict[str, Any]
    after: dict[str, Any]


class AuditDocument(BaseModel):
    """Changes, newest first."""

    audit: list[AuditRow]


class VerificationDocument(_Answer):
    """What the configured checks found."""

    passed: bool
    environment: ColorName
    checks: list[dict[str, Any]]


class RefusalDocument(BaseModel):
    """Why a switch would be refused."""

    kind: str
    detail: str


class PlannedDrainDocument(BaseModel):
    """What is in flight on the environment that would be left, and how long it may take."""

    requests: int
    tunnels: int
    timeout: float = Field(description="Seconds for requests.")
    tunnel_timeout: float = Field(description="Seconds for tunnels.")


class FindDocument(BaseModel):
    """How long one harm would go unnoticed."""

    failing: float = Field(description="Share of the requests that fail, 0 to 1.")
    seconds: float | None = Field(description="About; null where the bake would not find it.")


class PlannedJudgeDocument(_Answer):
    """What the judge could find if traffic stays as it is."""

    rule: str
    mode: str
    bake: float = Field(description="Seconds; 0 where nothing is judged.")
    rate: float = Field(description="Judged requests a second, over the last ten minutes.")
    usual: float = Field(description="Share of failures taken as usual, 0 to 1.")
    finds: list[FindDocument]


class PlanDocument(_Answer):
    """PLAN: what a switch would meet."""

    service: str
    from_: ColorName = Field(alias="from")
    to: ColorName
    release: str | None
    would_switch: bool
    refusal: RefusalDocument | None
    checks: list[dict[str, Any]]
    drain: PlannedDrainDocument
    judge: PlannedJudgeDocument


class DiffDocument(_Answer):
    """Where the configuration file and the state differ."""


class HealthDocument(BaseModel):
    """Alive, or ready."""

    status: Literal["ok", "ready"]


class ProblemDocument(_Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
