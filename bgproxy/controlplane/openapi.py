"""The admin API's OpenAPI 3.1 description: paths by hand, bodies from the pydantic models.

A test holds the paths against the routes, and a validator against the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bgproxy import __version__
from bgproxy.controlplane import permit_schemas, problems, schemas, timeline_schemas
from bgproxy.controlplane.requests import MAX_KEY_LENGTH

Json = dict[str, Any]

_REQUESTS: tuple[type[BaseModel], ...] = (
    schemas.SwitchRequest,
    schemas.RollbackRequest,
    schemas.VerifyRequest,
    schemas.PlanRequest,
    schemas.BackendsRequest,
    schemas.PauseRequest,
    schemas.ResumeRequest,
    schemas.MaintenanceRequest,
    permit_schemas.LockRequest,
    permit_schemas.UnlockRequest,
    permit_schemas.DecisionRequest,
    permit_schemas.NotifyTestRequest,
)
_ANSWERS: tuple[type[BaseModel], ...] = (
    schemas.HealthDocument,
    schemas.ServicesDocument,
    schemas.ServiceDocument,
    schemas.DeploymentDocument,
    schemas.HistoryDocument,
    schemas.VerificationDocument,
    schemas.PlanDocument,
    schemas.AuditDocument,
    schemas.DiffDocument,
    timeline_schemas.TimelineDocument,
    permit_schemas.NotifyTestDocument,
    permit_schemas.RequestsDocument,
    schemas.ProblemDocument,
)

_DESCRIPTION = """\
Moves services between their blue and green environments. Errors are RFC 9457 problem documents
whose `type` is `urn:bgproxy:problem:KIND`; the kinds are: {kinds}.
Where tokens are configured, send `Authorization: Bearer TOKEN`; roles are, each including those
before it: read, rollback, switch, admin.
"""

_MAY_FAIL = {
    400: "The body is not JSON.",
    401: "A token is needed, or it is not one of this proxy's.",
    403: "The token's role does not reach that far, or another site's page asks.",
    404: "No such service, environment or deployment.",
    408: "The body did not arrive in time.",
    409: "Refused in the present state; the type says why.",
    412: "If-Match names another generation.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "The Host is not a name of this listener.",
    422: "The request does not fit; `errors` names every fault.",
    429: "Too many wrong tokens from this address.",
    503: "Not possible now; nothing was changed.",
}
_EVERYWHERE = (401, 403, 421, 429)
_ON_CHANGES = (400, 404, 408, 409, 412, 413, 415, 422, 503)


def describe_api(services: Sequence[str]) -> Json:
    """The OpenAPI document; `services` become the values that a path's name may take."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bgproxy admin API",
            "version": __version__,
            "description": _DESCRIPTION.format(kinds=", ".join(sorted(problems.TITLES))),
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "parameters": _parameters(list(services)),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> Json:
    name = "/v1/services/{name}"
    return {
        "/healthz": {"get": _open("healthz", "Whether the proxy's supervisor answers")},
        "/readyz": {"get": _open("readyz", "Whether traffic and changes are possible", 503)},
        "/metrics": {"get": _text("metrics", "Metrics for Prometheus", "text/plain")},
        "/openapi.json": {"get": _read("openapi", "This description", None)},
        "/": {"get": _text("dashboard", "The dashboard", "text/html")},
        "/v1/services": {"get": _read("services", "All services", "ServicesDocument")},
        name: {
            "parameters": [_ref_parameter("name")],
            "get": _read("service", "One service", "ServiceDocument", 404),
        },
        f"{name}/switch": _change("switch", "Move the active pointer", "SwitchRequest"),
        f"{name}/rollback": _change("rollback", "Move the pointer back", "RollbackRequest"),
        f"{name}/verify": _change(
            "verify", "Run the configured checks", "VerifyRequest", "VerificationDocument"
        ),
        f"{name}/plan": _change(
            "plan", "Say what a switch would meet", "PlanRequest", "PlanDocument"
        ),
        f"{name}/environments/{{environment}}/backends": _set_backends(),
        f"{name}/pause": _change("pause", "Hold requests", "PauseRequest", "ServiceDocument"),
        f"{name}/resume": _change(
            "resume", "Let held requests go on", "ResumeRequest", "ServiceDocument"
        ),
        f"{name}/maintenance": _change(
            "maintenance",
            "Close a service to the public, or open it",
            "MaintenanceRequest",
            "ServiceDocument",
            is_required=True,
        ),
        f"{name}/lock": _change(
            "lock", "Refuse switches", "LockRequest", "ServiceDocument", is_required=True
        ),
        f"{name}/unlock": _change("unlock", "Allow them", "UnlockRequest", "ServiceDocument"),
        f"{name}/approve": _decide("approve", "Let the switch that waits go on"),
        f"{name}/reject": _decide("reject", "End the switch that waits"),
        f"{name}/history": {
            "parameters": [_ref_parameter("name"), _ref_parameter("limit")],
            "get": _read("history", "Deployments, newest first", "HistoryDocument", 404, 422),
        },
        f"{name}/deployments/{{id}}": {
            "parameters": [_ref_parameter("name"), _ref_parameter("id")],
            "get": _read(
                "deployment", "One deployment with its explanation", "DeploymentDocument", 404
            ),
        },
        f"{name}/audit": {
            "parameters": [_ref_parameter("name"), _ref_parameter("limit")],
            "get": _read("audit", "Who changed what, newest first", "AuditDocument", 404, 422),
        },
        "/v1/audit": {
            "parameters": [_ref_parameter("limit")],
            "get": _read("audit_of_all", "The same, of all services", "AuditDocument", 422),
        },
        f"{name}/diff": {
            "parameters": [_ref_parameter("name")],
            "get": _read("diff", "Where file and state differ", "DiffDocument", 404),
        },
        f"{name}/timeline": {
            "parameters": [_ref_parameter("name"), _ref_parameter("after")],
            "get": _read(
                "timeline", "The last minutes, second by second", "TimelineDocument", 404, 422
            ),
        },
        "/v1/notifications/test": _test_notifications(),
        "/v1/requests/{request}": {
            "parameters": [_ref_parameter("request")],
            "get": _read("request", "How a request ended", "RequestsDocument", 404),
        },
        "/v1/events": {
            "parameters": [
                _ref_parameter(name) for name in ("Last-Event-ID", "live", "samples_after")
            ],
            "get": _text("events", "Server-sent events", "text/event-stream", 404, 422, 503),
        },
    }


def _operation(id: str, summary: str, success: Json, failures: Sequence[int]) -> Json:
    responses = {str(status): _problem(status) for status in sorted(failures)}
    return {"operationId": id, "summary": summary, "responses": {"200": success} | responses}


def _open(id: str, summary: str, *failures: int) -> Json:
    """A route that needs no token."""
    success = _json_answer(summary, "HealthDocument")
    return _operation(id, summary, success, (421, *failures)) | {"security": []}


def _read(id: str, summary: str, schema: str | None, *failures: int) -> Json:
    return _operation(id, summary, _json_answer(summary, schema), (*_EVERYWHERE, *failures))


def _text(id: str, summary: str, media_type: str, *failures: int) -> Json:
    success = {"description": summary, "content": {media_type: {"schema": {"type": "string"}}}}
    return _operation(id, summary, success, (*_EVERYWHERE, *failures))


def _change(
    id: str,
    summary: str,
    request: str,
    answer: str = "DeploymentDocument",
    *,
    is_required: bool = False,
) -> Json:
    parameters = [_ref_parameter("name"), _ref_parameter("Idempotency-Key")]
    if answer == "DeploymentDocument":
        parameters.append(_ref_parameter("If-Match"))
    success = _json_answer(summary, answer)
    operation = _operation(id, summary, success, (*_EVERYWHERE, *_ON_CHANGES))
    return {"parameters": parameters, "post": operation | _body(request, is_required=is_required)}


def _decide(id: str, summary: str) -> Json:
    """It has no If-Match: the deployment that is meant can be named in the body."""
    item = _change(id, summary, "DecisionRequest")
    item["parameters"].remove(_ref_parameter("If-Match"))
    return item


def _test_notifications() -> Json:
    """No service's, so it has no name in its path."""
    item = _change(
        "notify_test", "Tell everybody a test", "NotifyTestRequest", "NotifyTestDocument"
    )
    item["parameters"].remove(_ref_parameter("name"))
    return item


def _set_backends() -> Json:
    summary = "Point an environment at other backends"
    success = _json_answer(summary, "ServiceDocument")
    operation = _operation("set_backends", summary, success, (*_EVERYWHERE, *_ON_CHANGES))
    names = ("name", "environment", "Idempotency-Key")
    return {
        "parameters": [_ref_parameter(name) for name in names],
        "put": operation | _body("BackendsRequest", is_required=True),
    }


def _body(schema: str, *, is_required: bool) -> Json:
    content = {"application/json": {"schema": _ref_schema(schema)}}
    return {"requestBody": {"required": is_required, "content": content}}


def _json_answer(description: str, schema: str | None) -> Json:
    content = _ref_schema(schema) if schema else {"type": "object"}
    return {"description": description, "content": {"application/json": {"schema": content}}}


def _problem(status: int) -> Json:
    content = {problems.MEDIA_TYPE: {"schema": _ref_schema("ProblemDocument")}}
    return {"description": _MAY_FAIL[status], "content": content}


def _ref_schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _ref_parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _schemas() -> Json:
    template = "#/components/schemas/{model}"
    inputs = [(model, "validation") for model in _REQUESTS]
    outputs = [(model, "serialization") for model in _ANSWERS]
    _, document = models_json_schema([*inputs, *outputs], ref_template=template)  # type: ignore[list-item]
    definitions: Json = document["$defs"]
    return definitions


def _parameters(services: list[str]) -> Json:
    name: Json = {"type": "string", "enum": services} if services else {"type": "string"}
    etag = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*")$'}
    return {
        "name": _path_parameter("name", "The service's name.", name),
        "environment": _path_parameter(
            "environment", "Which environment.", {"type": "string", "enum": ["blue", "green"]}
        ),
        "request": _path_parameter("request", "The request's X-Request-Id.", {"type": "string"}),
        "id": _path_parameter("id", "The deployment's id.", {"type": "string"}),
        "limit": {
            "name": "limit",
            "in": "query",
            "description": "How many at most.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
        },
        "after": {
            "name": "after",
            "in": "query",
            "description": "Only samples after this one; `last` of the answer before.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 999999999, "default": 0},
        },
        "live": {
            "name": "live",
            "in": "query",
            "description": "Also send `live` events, the state of this service or of all (`*`).",
            "schema": {"type": "string", "enum": [*services, "*"]},
        },
        "samples_after": {
            "name": "samples_after",
            "in": "query",
            "description": "With `live`: only samples after this one.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 999999999, "default": 0},
        },
        "If-Match": _header("If-Match", "Refuse (412) unless the generation is this.", etag),
        "Idempotency-Key": _header(
            "Idempotency-Key",
            "A name of your choice: sent again with the same request, the change happens once.",
            {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
        ),
        "Last-Event-ID": _header(
            "Last-Event-ID",
            "Go on after this event.",
            {"type": "string", "pattern": "^[0-9]{1,18}$"},
        ),
    }


def _path_parameter(name: str, description: str, schema: Json) -> Json:
    shape = {"name": name, "in": "path", "required": True}
    return shape | {"description": description, "schema": schema}


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}
