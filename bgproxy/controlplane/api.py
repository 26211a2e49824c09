"""The admin API: routes and handlers, each a few lines between HTTP and the coordinator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from bgproxy.config.settings import Role
from bgproxy.controlplane import schemas
from bgproxy.controlplane.dashboard import Dashboard
from bgproxy.controlplane.guards import PRINCIPAL, demand
from bgproxy.controlplane.idempotency import Changes, Operation
from bgproxy.controlplane.live import EVERYTHING, LiveView
from bgproxy.controlplane.metrics import Metrics
from bgproxy.controlplane.openapi import describe_api
from bgproxy.controlplane.operations import Operations
from bgproxy.controlplane.permit_api import PermitApi
from bgproxy.controlplane.requests import (
    read_body,
    read_color,
    read_idempotency_key,
    read_if_match,
    read_number,
)
from bgproxy.controlplane.sse import EventStreams
from bgproxy.controlplane.timeline import Timeline
from bgproxy.domain.approval import Hold, OnTimeout
from bgproxy.domain.model import Color
from bgproxy.errors import Refused

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method.

    Args:
        role: what a token needs there; None lets everybody in.
        is_stream: whether the answer never ends by itself, which rules HEAD out.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    is_stream: bool = False


class Api:
    """The handlers. They parse, ask `operations`, and answer; decisions are made elsewhere."""

    def __init__(
        self,
        operations: Operations,
        streams: EventStreams,
        metrics: Metrics,
        timeline: Timeline,
        dashboard: Dashboard,
        changes: Changes,
    ) -> None:
        self._operations = operations
        self._streams = streams
        self._metrics = metrics
        self._timeline = timeline
        self._dashboard = dashboard
        self._changes = changes
        self._permits = PermitApi(operations, self._change)

    def routes(self) -> tuple[Route, ...]:
        """Every route, in the order of the documentation."""
        service = "/v1/services/{name}"
        return (
            Route("GET", "/healthz", self.healthz, None),
            Route("GET", "/readyz", self.readyz, None),
            Route("GET", "/metrics", self.metrics, Role.READ),
            Route("GET", "/openapi.json", self.openapi, Role.READ),
            Route("GET", "/", self.dashboard, None),
            Route("GET", "/dashboard/{file}", self.dashboard, None),
            Route("GET", "/favicon.ico", self.dashboard, None),
            Route("GET", "/v1/services", self.services, Role.READ),
            Route("GET", service, self.service, Role.READ),
            Route("POST", service + "/switch", self.switch, Role.SWITCH),
            Route("POST", service + "/rollback", self.rollback, Role.ROLLBACK),
            Route("POST", service + "/verify", self.verify, Role.SWITCH),
            Route("POST", service + "/plan", self.plan, Role.SWITCH),
            Route(
                "PUT",
                service + "/environments/{environment}/backends",
                self.set_backends,
                Role.SWITCH,
            ),
            Route("POST", service + "/pause", self.pause, Role.SWITCH),
            Route("POST", service + "/resume", self.resume, Role.SWITCH),
            Route("POST", service + "/maintenance", self.maintenance, Role.ADMIN),
            Route("POST", service + "/lock", self._permits.lock, Role.SWITCH),
            Route("POST", service + "/unlock", self._permits.unlock, Role.SWITCH),
            Route("POST", service + "/approve", self._permits.approve, Role.SWITCH),
            Route("POST", service + "/reject", self._permits.reject, Role.SWITCH),
            Route("GET", service + "/history", self.history, Role.READ),
            Route("GET", service + "/deployments/{id}", self.deployment, Role.READ),
            Route("GET", service + "/audit", self.audit, Role.READ),
            Route("GET", "/v1/audit", self.audit, Role.READ),
            Route("GET", service + "/diff", self.diff, Role.READ),
            Route("GET", service + "/timeline", self.timeline, Role.READ),
            Route("POST", "/v1/notifications/test", self._permits.test_notifications, Role.ADMIN),
            Route("GET", "/v1/requests/{request}", self.request, Role.READ),
            Route("GET", "/v1/events", self.events, Role.READ, is_stream=True),
        )

    # -- the proxy itself -------------------------------------------------------------------------

    async def healthz(self, _request: web.Request) -> web.Response:
        """Whether the supervisor answers at all."""
        return _json({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Whether traffic and changes are possible."""
        is_ready, reason = self._operations.is_ready()
        if not is_ready:
            raise Refused(503, "not-ready", reason)
        return _json({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text, or OpenMetrics where the scraper accepts it."""
        body, content_type = await self._metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def openapi(self, _request: web.Request) -> web.Response:
        """This API's description."""
        return _json(describe_api(self._operations.service_names()))

    async def dashboard(self, request: web.Request) -> web.Response:
        """The page and its files; they hold nothing secret, so they need no token."""
        return self._dashboard.respond(request)

    # -- reads ------------------------------------------------------------------------------------

    async def services(self, _request: web.Request) -> web.Response:
        """All services."""
        names = self._operations.service_names()
        return _json({"services": [self._operations.service(name) for name in names]})

    async def service(self, request: web.Request) -> web.Response:
        """One service; its ETag names the generation."""
        return _service(self._operations.service(request.match_info["name"]))

    async def history(self, request: web.Request) -> web.Response:
        """Deployments, newest first."""
        limit = read_number(request, "limit", default=50, least=1, most=500)
        deployments = await self._operations.history(request.match_info["name"], limit)
        return _json({"deployments": deployments})

    async def deployment(self, request: web.Request) -> web.Response:
        """One deployment and its explanation."""
        name, id = request.match_info["name"], request.match_info["id"]
        return _json(await self._operations.deployment(name, id))

    async def audit(self, request: web.Request) -> web.Response:
        """Who changed what, and from where, newest first; of one service or of all."""
        limit = read_number(request, "limit", default=50, least=1, most=500)
        name = request.match_info.get("name")
        return _json({"audit": await self._operations.audit(name, limit)})

    async def diff(self, request: web.Request) -> web.Response:
        """Where the configuration file and the state differ."""
        return _json(self._operations.diff(request.match_info["name"]))

    async def timeline(self, request: web.Request) -> web.Response:
        """The last minutes, second by second."""
        name = request.match_info["name"]
        self._operations.service(name)  # a refusal for a service that is not there
        after = read_number(request, "after", default=0, least=0, most=10**9 - 1)
        return _json(self._timeline.document(name, after))

    async def request(self, request: web.Request) -> web.Response:
        """What is remembered of a request."""
        return _json(await self._operations.inquiries.find(request.match_info["request"]))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events; with ``?live=`` the state between them, too."""
        name = request.query.get("live")
        if name is None:
            return await self._streams.serve(request)
        if name != EVERYTHING:
            self._operations.service(name)  # a refusal for a service that is not there
        after = read_number(request, "samples_after", default=0, least=0, most=10**9 - 1)
        live = LiveView(self._operations, self._timeline, name, after)
        return await self._streams.serve(request, live)

    # -- changes ----------------------------------------------------------------------------------

    async def switch(self, request: web.Request) -> web.Response:
        """Move the active pointer."""
        body = await read_body(request, schemas.SwitchRequest)
        operation = partial(
            self._operations.switch,
            request.match_info["name"],
            to=Color(body.to) if body.to else None,
            verify=body.verify,
            force=body.force,
            wait=body.wait,
            reason=body.reason,
            release=body.release,
            irreversible=body.irreversible,
            hold=Hold(body.hold_timeout, OnTimeout(body.on_timeout)) if body.hold else None,
            actor=request[PRINCIPAL].name,
        )
        return _json(*await self._move_pointer(request, body, operation))

    async def rollback(self, request: web.Request) -> web.Response:
        """Move the active pointer back."""
        body = await read_body(request, schemas.RollbackRequest)
        operation = partial(
            self._operations.rollback,
            request.match_info["name"],
            wait=body.wait,
            force=body.force,
            drill=body.drill,
            reason=body.reason,
            actor=request[PRINCIPAL].name,
        )
        return _json(*await self._move_pointer(request, body, operation))

    async def verify(self, request: web.Request) -> web.Response:
        """Run the configured checks."""
        body = await read_body(request, schemas.VerifyRequest)
        color = Color(body.environment) if body.environment else None
        name, actor = request.match_info["name"], request[PRINCIPAL].name
        operation = partial(self._operations.verify, name, color, actor)
        return _json(*await self._change(request, body, operation))

    async def plan(self, request: web.Request) -> web.Response:
        """Say what a switch would meet."""
        body = await read_body(request, schemas.PlanRequest)
        color = Color(body.to) if body.to else None
        name, actor = request.match_info["name"], request[PRINCIPAL].name
        operation = partial(self._operations.plan, name, color, actor)
        return _json(*await self._change(request, body, operation))

    async def set_backends(self, request: web.Request) -> web.Response:
        """Point an environment at other backends."""
        color = read_color(request.match_info["environment"])
        body = await read_body(request, schemas.BackendsRequest)
        operation = partial(
            self._operations.set_backends,
            request.match_info["name"],
            color,
            body.backends,
            release=body.release,
            force=body.force,
            actor=request[PRINCIPAL].name,
        )
        return _service(*await self._change(request, body, operation))

    async def pause(self, request: web.Request) -> web.Response:
        """Hold new requests."""
        body = await read_body(request, schemas.PauseRequest)
        name, actor = request.match_info["name"], request[PRINCIPAL].name
        operation = partial(self._operations.pause, name, body.timeout, actor)
        return _service(*await self._change(request, body, operation))

    async def resume(self, request: web.Request) -> web.Response:
        """Let held requests go on."""
        body = await read_body(request, schemas.ResumeRequest)
        name, actor = request.match_info["name"], request[PRINCIPAL].name
        operation = partial(self._operations.resume, name, actor)
        return _service(*await self._change(request, body, operation))

    async def maintenance(self, request: web.Request) -> web.Response:
        """Close a service to the public, or open it again."""
        body = await read_body(request, schemas.MaintenanceRequest)
        operation = partial(
            self._operations.set_maintenance,
            request.match_info["name"],
            is_on=body.on,
            message=body.message,
            allow=body.allow,
            actor=request[PRINCIPAL].name,
        )
        return _service(*await self._change(request, body, operation))

    async def _move_pointer(
        self,
        request: web.Request,
        body: schemas.SwitchRequest | schemas.RollbackRequest,
        operation: Callable[..., Awaitable[Document]],
    ) -> tuple[Document, dict[str, str]]:
        """Carry out a switch or rollback under its preconditions, If-Match among them.

        A generation that has moved on is 412 where If-Match asked (RFC 9110 section 15.5.13) and
        409 where the body did.
        """
        matched = read_if_match(request)
        named = body.expected_generation
        if matched is not None and named is not None and matched != named:
            detail = f"If-Match names generation {matched}, expected_generation {named}."
            raise Refused(422, "invalid", detail)
        expected = named if matched is None else matched
        try:
            return await self._change(
                request, body, partial(operation, expected_generation=expected)
            )
        except Refused as refusal:
            if matched is not None and refusal.kind == "generation-mismatch":
                raise Refused(412, refusal.kind, refusal.detail, refusal.facts) from None
            raise

    async def _change(
        self, request: web.Request, body: schemas.Request, operation: Operation
    ) -> tuple[Document, dict[str, str]]:
        """Carry a change out once for its Idempotency-Key; the answer and its extra fields.

        What refuses unless it is forced is there for a reason: overriding that is an admin's.
        """
        if getattr(body, "force", False):
            demand(request[PRINCIPAL], Role.ADMIN, "force")
        asked = f"{request.method} {request.path} {request.headers.get('If-Match')}"
        try:
            document, is_replay = await self._changes.run(
                operation,
                actor=request[PRINCIPAL].name,
                key=read_idempotency_key(request),
                fingerprint=f"{asked} {body.model_dump_json()}",
            )
        except Refused as refusal:
            if refusal.kind == "stopping":
                facts = self._state_of(request.match_info["name"])
                raise Refused(refusal.status, refusal.kind, refusal.detail, facts) from None
            raise
        return document, {"Idempotency-Replayed": "true"} if is_replay else {}

    def _state_of(self, name: str) -> Document:
        """In which state the proxy leaves a service when it stops."""
        service = self._operations.service(name)
        return {key: service[key] for key in ("active", "generation", "phase", "deployment")}


def _json(document: Document, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(document, headers=headers)


def _service(document: Document, headers: Mapping[str, str] | None = None) -> web.Response:
    """A SERVICE; its ETag is the generation, which If-Match of a switch may name."""
    return _json(document, {"ETag": f'"{document["generation"]}"', **(headers or {})})
