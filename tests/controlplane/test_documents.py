"""The admin API over the real coordinator: what it answers is what it describes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bgproxy.config.settings import Address, AdminSettings
from bgproxy.controlplane import schemas, timeline_schemas
from bgproxy.controlplane.metrics import Metrics
from bgproxy.controlplane.server import AdminServer
from tests.controlplane.harness import ControlPlane, control_plane

BASE = "/v1/services/default"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as (running, _, _):
        yield running


@pytest.fixture
async def http(plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    fleet = plane.fleet
    metrics = Metrics(fleet.ledger, lambda: fleet.tables[-1], has_scanner=False)
    settings = AdminSettings(listen=(Address("127.0.0.1", 0),), socket="")
    server = AdminServer(settings, plane.coordinator, plane.events, metrics)
    (url,) = await server.start()
    async with aiohttp.ClientSession(url) as session:
        yield session
    await server.stop()


async def _send(
    http: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    async with http.request(method, BASE + path, json=body) as response:
        document: dict[str, Any] = await response.json(content_type=None)
        return response.status, document


async def test_every_answer_is_as_described(http: aiohttp.ClientSession) -> None:
    """A deployment from the first look to its end, each document against its schema."""
    status, service = await _send(http, "GET", "")
    schemas.ServiceDocument.model_validate(service)
    status, switched = await _send(http, "POST", "/switch", {"wait": "drained", "release": "v2"})
    assert status == 200, switched
    schemas.DeploymentDocument.model_validate(switched)
    _, baking = await _send(http, "GET", "")
    schemas.ServiceDocument.model_validate(baking)
    assert (baking["active"], baking["phase"]) == ("green", "baking")
    assert baking["bake"] is not None
    _, explained = await _send(http, "GET", f"/deployments/{switched['id']}")
    schemas.DeploymentDocument.model_validate(explained)
    assert explained["explanation"]["bake"]["evidence_needed"]
    _, back = await _send(http, "POST", "/rollback", {"reason": "why not"})
    schemas.DeploymentDocument.model_validate(back)
    _, verified = await _send(http, "POST", "/verify", {"environment": "green"})
    schemas.VerificationDocument.model_validate(verified)
    _, plan = await _send(http, "POST", "/plan", {})
    schemas.PlanDocument.model_validate(plan)
    _, paused = await _send(http, "POST", "/pause", {"timeout": "5s"})
    schemas.ServiceDocument.model_validate(paused)
    assert (paused["phase"], paused["paused_until"] is None) == ("paused", False)
    _, resumed = await _send(http, "POST", "/resume")
    assert resumed["paused_until"] is None
    _, history = await _send(http, "GET", "/history")
    schemas.HistoryDocument.model_validate(history)
    assert [one["kind"] for one in history["deployments"]] == ["rollback", "switch"]
    _, audit = await _send(http, "GET", "/audit")
    schemas.AuditDocument.model_validate(audit)
    assert {"switch", "rollback", "pause"} <= {row["action"] for row in audit["audit"]}
    _, diff = await _send(http, "GET", "/diff")
    schemas.DiffDocument.model_validate(diff)
    assert diff["environments"]["green"]["state"]["release"] == "v2"
    _, timeline = await _send(http, "GET", "/timeline")
    timeline_schemas.TimelineDocument.model_validate(timeline)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/switch", {"to": "blue"}, 409, "already-active"),
        ("POST", "/switch", {"expected_generation": 5}, 409, "generation-mismatch"),
        ("POST", "/rollback", {}, 409, "nothing-to-roll-back"),
        ("POST", "/plan", {"to": "blue"}, 409, "already-active"),
        ("GET", "/deployments/none", None, 404, "unknown-deployment"),
        (
            "PUT",
            "/environments/blue/backends",
            {"backends": ["http://127.0.0.1:1"]},
            409,
            "environment-in-use",
        ),
        ("PUT", "/environments/green/backends", {"backends": ["nonsense"]}, 422, "invalid"),
    ],
)
async def test_refusals_arrive_as_problems(
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    status: int,
    kind: str,
) -> None:
    """The coordinator's reason, with its status and kind."""
    found, document = await _send(http, method, path, body)
    assert (found, document["type"]) == (status, f"urn:bgproxy:problem:{kind}")


async def test_backends_are_pointed_elsewhere(http: aiohttp.ClientSession) -> None:
    """The idle environment takes other backends, and the file's value is shown beside them."""
    body = {"backends": ["http://127.0.0.1:1"], "release": "v3"}
    status, service = await _send(http, "PUT", "/environments/green/backends", body)
    assert status == 200, service
    schemas.ServiceDocument.model_validate(service)
    green = service["environments"]["green"]
    assert ([b["url"] for b in green["backends"]], green["release"]) == (body["backends"], "v3")
    _, diff = await _send(http, "GET", "/diff")
    assert diff["environments"]["green"]["differs"]


async def test_ended_deployments_and_drains_are_counted(http: aiohttp.ClientSession) -> None:
    """From the coordinator's own events."""
    await _send(http, "POST", "/switch", {"wait": "drained"})
    await _send(http, "POST", "/rollback", {"wait": "finished"})
    async with http.get("/metrics") as response:
        text = await response.text()
    labels = 'environment="green",kind="switch",outcome="rolled_back",service="default"'
    assert f"bgproxy_switches_total{{{labels}}} 1.0" in text
    labels = 'environment="blue",service="default"'
    assert f"bgproxy_drain_duration_seconds_count{{{labels}}} 1.0" in text
