"""Documents: the keys that the interface promises, and what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.model import Color, RollbackPolicy, RollbackRule
from tests.controlplane.harness import ControlPlane, control_plane

BLUE, GREEN = Color.BLUE, Color.GREEN
NO_BAKE = RollbackPolicy(rule=RollbackRule.OFF)


async def switch(plane: ControlPlane, to: Color | None = None, **more: Any) -> dict[str, Any]:
    return await plane.coordinator.switch("default", to=to, actor="ann", **more)


async def test_service_has_what_is_promised(tmp_path: Path) -> None:
    """Every key, ready for JSON, with the ledger's figures."""
    async with control_plane(tmp_path) as (plane, _, green):
        slot = plane.fleet.tables[-1].services[0].backends(GREEN)[0].slot
        plane.fleet.carry(slot, requests=2, tunnels=1)
        plane.fleet.count(0, GREEN, ok=5, failed=2)
        document = json.loads(json.dumps(plane.service()))
        plane.fleet.carry(slot)
    assert {"name", "active", "generation", "phase", "environments"} <= document.keys()
    environment = document["environments"]["green"]
    assert environment["release"] is None
    assert environment["in_flight"] == 3
    assert environment["requests_total"] == 7
    assert environment["errors_total"] == 2
    (backend,) = environment["backends"]
    assert (backend["url"], backend["healthy"], backend["in_flight"]) == (green.url, True, 3)


async def test_deployment_has_what_is_promised(tmp_path: Path) -> None:
    """Every key; null while not reached."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.fleet.quiet.clear()
        document = json.loads(json.dumps(await switch(plane)))
        plane.fleet.quiet.set()
    assert document.keys() >= {
        *("id", "service", "from", "to", "release", "generation", "kind", "reason", "actor"),
        *("outcome", "safe_to_stop", "rollback_possible_until"),
        *("requested_at", "applied_at", "drained_at", "finished_at"),
    }
    assert document["drained_at"] is document["finished_at"] is document["outcome"] is None
    assert document["rollback_possible_until"] > document["applied_at"]


async def test_a_drain_is_shown_as_soon_as_the_pointer_has_moved(tmp_path: Path) -> None:
    """A phase of draining comes with what is being drained, before anybody has looked at it."""
    async with control_plane(tmp_path) as (plane, _, _):
        slot = plane.entry.environment(BLUE).entries[0].slot
        plane.fleet.carry(slot, requests=2, tunnels=1)
        plane.fleet.quiet.clear()
        await switch(plane)
        document = plane.service()
        plane.fleet.carry(slot)
        plane.fleet.quiet.set()
    assert document["phase"] == "draining"
    assert document["drain"] == {
        "environment": "blue",
        "requests": 2,
        "tunnels": 1,
        "seconds": 0.0,
        "timeout": 5.0,
        "tunnel_timeout": 5.0,
    }


async def test_an_environment_may_be_stopped_only_when_nobody_needs_it(tmp_path: Path) -> None:
    """Not while it drains or is the way back, and not once it is used again."""
    async with control_plane(tmp_path, rollback=NO_BAKE) as (plane, _, _):
        plane.fleet.quiet.clear()
        first = await switch(plane)
        assert first["safe_to_stop"] is False
        plane.fleet.quiet.set()
        await plane.event("finished")
        assert await is_safe(plane, first) is True
        second = await switch(plane, BLUE, wait="finished")
        assert await is_safe(plane, first) is False
        assert await is_safe(plane, second) is True


async def is_safe(plane: ControlPlane, deployment: dict[str, Any]) -> bool:
    """What the deployment says by now."""
    document = await plane.coordinator.deployment("default", deployment["id"])
    return bool(document["safe_to_stop"])


@pytest.mark.parametrize(
    ("at", "text"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (1700000000.1239, "2023-11-14T22:13:20.123Z")],
)
def test_times(at: float, text: str) -> None:
    """RFC 3339, UTC, milliseconds."""
    assert rfc3339(at) == text
