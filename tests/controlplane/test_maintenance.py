"""Maintenance as the control plane keeps it: durable, told to workers, audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgproxy.domain.maintenance import DEFAULT_MESSAGE
from bgproxy.errors import Refused, StateError
from bgproxy.state.table import Closure
from tests.controlplane.harness import ControlPlane, control_plane


async def close(plane: ControlPlane, message: str = "", *allow: str) -> dict[str, object]:
    return await plane.coordinator.set_maintenance(
        "default", is_on=True, message=message, allow=list(allow), actor="ops"
    )


def closure(plane: ControlPlane) -> Closure | None:
    """What the workers were told last."""
    return plane.fleet.tables[-1].services[0].closure


async def test_closing_tells_workers_the_audit_and_the_world(tmp_path: Path) -> None:
    """When the answer comes, every worker knows."""
    async with control_plane(tmp_path) as (plane, _, _):
        document = await close(plane, "Back soon.", "10.0.0.0/8", "192.0.2.7")
        shown = document["maintenance"]
        assert isinstance(shown, dict)
        assert shown["message"] == "Back soon."
        assert shown["allow"] == ["10.0.0.0/8", "192.0.2.7/32"]
        assert shown["by"] == "ops"
        told = closure(plane)
        assert told == Closure("Back soon.", ("10.0.0.0/8", "192.0.2.7/32"), "/healthz")
        event = await plane.event("maintenance")
        assert event.data["on"] is True
        assert event.data["actor"] == "ops"
        (row,) = await plane.coordinator.audit("default", 1)
        assert (row["actor"], row["action"], row["before"]) == ("ops", "maintenance", {"on": False})
        assert row["after"] == {"on": True, **shown}


async def test_opening_ends_it(tmp_path: Path) -> None:
    """For workers, documents and the journal."""
    async with control_plane(tmp_path) as (plane, _, _):
        await close(plane)
        document = await plane.coordinator.set_maintenance(
            "default", is_on=False, message="", allow=[], actor="ops"
        )
        assert document["maintenance"] is None
        assert closure(plane) is None
        await plane.restart()
        assert plane.service()["maintenance"] is None


async def test_it_holds_over_a_crash(tmp_path: Path) -> None:
    """The first table after it says so already."""
    async with control_plane(tmp_path) as (plane, _, _):
        await close(plane, "", "::1")
        before = plane.service()["maintenance"]
        await plane.crash()
        await plane.start()
        assert plane.service()["maintenance"] == before
        assert plane.fleet.tables[0].services[0].closure == Closure(
            DEFAULT_MESSAGE, ("::1/128",), "/healthz"
        )


async def test_closing_again_replaces_message_and_list(tmp_path: Path) -> None:
    """It is the same maintenance, so it began when it did."""
    async with control_plane(tmp_path) as (plane, _, _):
        await close(plane, "one", "10.0.0.0/8")
        first = plane.service()["maintenance"]
        await close(plane, "two")
        second = plane.service()["maintenance"]
    assert second == first | {"message": "two", "allow": []}


async def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    """And nothing has changed."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused, match="'office' is not a network") as refusal:
            await close(plane, "", "10.0.0.0/8", "office")
        assert (refusal.value.status, refusal.value.kind) == (422, "invalid")
        assert plane.service()["maintenance"] is None


async def test_what_cannot_be_written_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable first, then live."""
    async with control_plane(tmp_path) as (plane, _, _):

        async def refuse(*_changes: object) -> None:
            raise StateError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(plane.journal, "write", refuse)
            with pytest.raises(Refused, match="the disk is full") as refusal:
                await close(plane)
        assert (refusal.value.status, refusal.value.kind) == (503, "state-unwritable")
        assert plane.service()["maintenance"] is None
        assert closure(plane) is None


async def test_a_service_can_be_switched_meanwhile(tmp_path: Path) -> None:
    """That is what it is closed for, as often as not."""
    async with control_plane(tmp_path) as (plane, _, _):
        await close(plane)
        await plane.coordinator.switch("default", to=None, actor="ops")
        assert plane.service()["active"] == "green"
        assert plane.service()["maintenance"] is not None
