"""Bodies about locks, approvals and notifications."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from bgproxy import units
from bgproxy.controlplane.schemas import ColorName, Reason, Request, Timestamp
from bgproxy.domain.lock import MAX_REASON

_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def _moment(value: object) -> object:
    """Unix time of an RFC 3339 time, or of a duration from now."""
    if not isinstance(value, str):
        return value
    try:
        return time.time() + units.parse_duration(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{value!r} is neither a duration such as 2h, nor a time such as 2026-12-24T18:00:00Z"
        )
    return moment.timestamp()


Moment = Annotated[
    float,
    Field(gt=0, le=_LAST),
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^([1-9][0-9]{0,3}[sm]|[1-9][0-9]{0,2}h)$",
            "examples": ["2h"],
            "description": "A duration, or an RFC 3339 time.",
        }
    ),
]


class LockRequest(Request):
    """What `POST …/lock` is told."""

    reason: str = Field(
        min_length=1,
        max_length=MAX_REASON,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Why nobody may switch; it stands in every refusal.",
        examples=["database migration"],
    )
    until: Moment | None = Field(None, description="When it ends by itself; never if left out.")


class UnlockRequest(Request):
    """`POST …/unlock` takes nothing."""


class DecisionRequest(Request):
    """What `POST …/approve` and `POST …/reject` may be told."""

    deployment: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Refuse unless it is this one that waits."
    )
    reason: Reason = ""


class RequestDocument(BaseModel):
    """One request that has ended; null is what was not chosen for it."""

    service: str | None
    environment: ColorName | None
    backend: str | None
    generation: int | None
    deployment: int | None = Field(description="That made the generation, if one of the last did.")
    method: str
    path: str
    status: int
    outcome: str = Field(description="`ok`, or why it did not go well.")
    at: Timestamp
    seconds: float
    worker: int


class RequestsDocument(BaseModel):
    """Every request of that id that is remembered, newest first."""

    request_id: str
    requests: list[RequestDocument]


class NotifyTestRequest(Request):
    """`POST /v1/notifications/test` takes nothing."""


class NotifyResult(BaseModel):
    """What came back from one who is told."""

    name: str
    kind: str
    sent: bool
    answered: str


class NotifyTestDocument(BaseModel):
    """What came back from each."""

    results: list[NotifyResult]
