"""Errors of the admin API as RFC 9457 documents: one catalogue, one way to write them.

A problem's ``type`` is ``urn:bgproxy:problem:KIND``. Kinds are stable: scripts may compare them;
titles and details are for people and may change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bgproxy.errors import Refused

TYPE_PREFIX = "urn:bgproxy:problem:"
MEDIA_TYPE = "application/problem+json"

TITLES: Mapping[str, str] = {
    # what the API itself refuses
    "malformed-request": "The request is not HTTP",
    "malformed-json": "The body is not JSON",
    "invalid": "The request does not fit",
    "unsupported-media-type": "The body's type is not application/json",
    "body-too-large": "The body is too large",
    "body-too-slow": "The body did not arrive in time",
    "not-found": "There is nothing here",
    "method-not-allowed": "This path does not take that method",
    "host-not-allowed": "The Host is not one of this listener's names",
    "cross-site": "A page of another site may not change anything",
    "unauthorized": "A token is needed",
    "forbidden": "The token's role does not reach that far",
    "too-many-failures": "Too many wrong tokens from this address",
    "too-many-subscribers": "Too many event streams are open",
    "too-many-connections": "Too many connections are open",
    "head-too-large": "The head is too large",
    "idempotency-key-reused": "The Idempotency-Key belongs to another request",
    "not-ready": "The proxy is not ready",
    "internal": "The proxy made a mistake",
    # what the coordinator refuses
    "unknown-service": "There is no such service",
    "unknown-environment": "There is no such environment",
    "unknown-deployment": "There is no such deployment",
    "unknown-request": "Nobody remembers that request",
    "generation-mismatch": "The generation has moved on",
    "already-active": "The target is already active",
    "target-not-healthy": "The target is not healthy",
    "checks-failed": "The target's checks failed",
    "deployment-in-progress": "Another deployment is under way",
    "target-required": "Name the target",
    "nothing-to-roll-back": "There is nothing to roll back to",
    "superseded": "A rollback came first",
    "backend-not-allowed": "Backends may not be there",
    "environment-in-use": "The environment is in use",
    "locked": "The service is locked",
    "nothing-to-approve": "No switch waits for an approval",
    "same-actor": "Somebody else has to approve",
    "rejected": "The switch was rejected",
    "not-approved": "Nobody approved the switch in time",
    "irreversible": "The release must not be taken back",
    "locked-after-rollback": "The release was taken back",
    "state-unwritable": "The state cannot be written",
    "stopping": "The proxy is stopping",
}
"""Every kind of problem this version answers with, and its title."""


def problem_document(
    status: int, kind: str, detail: str, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The members of a problem document; the fixed ones win over `facts` of the same name."""
    title = TITLES.get(kind) or kind.replace("-", " ").capitalize()
    fixed = {"type": TYPE_PREFIX + kind, "title": title, "status": status, "detail": detail}
    return fixed | {key: value for key, value in (facts or {}).items() if key not in fixed}


def problem_response(refusal: Refused, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that tells a client what was refused and why."""
    document = problem_document(refusal.status, refusal.kind, refusal.detail, refusal.facts)
    return web.Response(
        status=refusal.status,
        body=json.dumps(document).encode(),
        content_type=MEDIA_TYPE,
        headers=headers,
    )
