"""The admin API's part about locks, approvals, and telling people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web

from bgproxy.controlplane import permit_schemas as schemas
from bgproxy.controlplane.guards import PRINCIPAL
from bgproxy.controlplane.idempotency import Operation
from bgproxy.controlplane.operations import Operations
from bgproxy.controlplane.requests import read_body
from bgproxy.controlplane.schemas import Request
from bgproxy.domain.approval import Decision

Change = Callable[
    [web.Request, Request, Operation], Awaitable[tuple[dict[str, Any], dict[str, str]]]
]


class PermitApi:
    """The handlers.

    Args:
        change: carries a change out once for its Idempotency-Key.
    """

    def __init__(self, operations: Operations, change: Change) -> None:
        self._operations = operations
        self._change = change

    async def lock(self, request: web.Request) -> web.Response:
        """Refuse switches from now on."""
        body = await read_body(request, schemas.LockRequest)
        operation = partial(
            self._operations.permits.lock,
            request.match_info["name"],
            reason=body.reason,
            until=body.until,
            actor=request[PRINCIPAL].name,
        )
        document, headers = await self._change(request, body, operation)
        return web.json_response(document, headers=headers)

    async def unlock(self, request: web.Request) -> web.Response:
        """Allow switches again."""
        body = await read_body(request, schemas.UnlockRequest)
        name, actor = request.match_info["name"], request[PRINCIPAL].name
        operation = partial(self._operations.permits.unlock, name, actor)
        document, headers = await self._change(request, body, operation)
        return web.json_response(document, headers=headers)

    async def approve(self, request: web.Request) -> web.Response:
        """Let the switch that waits go on."""
        return await self._decide(request, Decision.APPROVED)

    async def reject(self, request: web.Request) -> web.Response:
        """End the switch that waits."""
        return await self._decide(request, Decision.REJECTED)

    async def test_notifications(self, request: web.Request) -> web.Response:
        """Send a test through each."""
        body = await read_body(request, schemas.NotifyTestRequest)
        operation = partial(self._operations.notifier.test, request[PRINCIPAL].name)
        document, headers = await self._change(request, body, operation)
        return web.json_response(document, headers=headers)

    async def _decide(self, request: web.Request, decision: Decision) -> web.Response:
        body = await read_body(request, schemas.DecisionRequest)
        operation = partial(
            self._operations.permits.decide,
            request.match_info["name"],
            decision,
            named=body.deployment,
            reason=body.reason,
            actor=request[PRINCIPAL].name,
        )
        document, headers = await self._change(request, body, operation)
        return web.json_response(document, headers=headers)
