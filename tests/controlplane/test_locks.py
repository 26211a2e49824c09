"""Locks as the control plane keeps them: in a switch's way, in no rollback's, durable."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bgproxy.errors import Refused, StateError
from tests.controlplane.harness import ControlPlane, control_plane


async def lock(plane: ControlPlane, until: float | None = None) -> dict[str, object]:
    return await plane.coordinator.permits.lock(
        "default", reason="migration", until=until, actor="ann"
    )


async def refusal_of_switch(plane: ControlPlane, **asked: object) -> Refused:
    """Why a switch is refused."""
    with pytest.raises(Refused) as refusal:
        await plane.coordinator.switch("default", to=None, actor="ci", **asked)  # type: ignore[arg-type]
    return refusal.value


async def test_a_locked_service_is_not_switched_but_rolled_back(tmp_path: Path) -> None:
    """With the reason, who and since when; force does not help."""
    async with control_plane(tmp_path) as (plane, _, _):
        await plane.coordinator.switch("default", to=None, actor="ci")
        document = await lock(plane)
        shown = document["locked"]
        assert isinstance(shown, dict)
        assert (shown["reason"], shown["by"], shown["until"]) == ("migration", "ann", None)
        for force in (False, True):
            refusal = await refusal_of_switch(plane, force=force)
            assert (refusal.status, refusal.kind) == (409, "locked")
            assert "locked by ann since 2" in refusal.detail
            assert refusal.detail.endswith("until unlocked: migration")
            assert (refusal.facts["reason"], refusal.facts["by"]) == ("migration", "ann")
        back = await plane.coordinator.rollback("default", actor="ann")
        assert back["to"] == "blue"
        assert plane.service()["locked"] is not None


async def test_the_judge_takes_back_over_a_lock(tmp_path: Path) -> None:
    """It would be the worst of all times to be stuck."""
    async with control_plane(tmp_path) as (plane, _, _):
        await plane.coordinator.switch("default", to=None, wait="drained", actor="ci")
        await lock(plane)
        for second in range(4, 16):
            plane.second(second, failed=10)
        await plane.event("auto_rollback")
        assert plane.service()["active"] == "blue"


async def test_unlocking_allows_switches_again(tmp_path: Path) -> None:
    """Both are audited and told."""
    async with control_plane(tmp_path) as (plane, _, _):
        await lock(plane)
        document = await plane.coordinator.permits.unlock("default", "bob")
        assert document["locked"] is None
        await plane.event("locked", lambda e: e.data["reason"] == "migration")
        await plane.event("unlocked", lambda e: e.data["actor"] == "bob")
        rows = await plane.coordinator.audit("default", 2)
        assert [(row["actor"], row["action"]) for row in rows] == [
            ("bob", "unlock"),
            ("ann", "lock"),
        ]
        assert rows[0]["before"]["reason"] == "migration"
        await plane.coordinator.switch("default", to=None, actor="ci")


async def test_a_lock_outlives_a_crash_and_still_ends_by_itself(tmp_path: Path) -> None:
    """Its end is a time, not a timer."""
    async with control_plane(tmp_path) as (plane, _, _):
        await lock(plane, until=time.time() + 0.5)
        before = plane.service()["locked"]
        await plane.crash()
        await plane.start()
        await plane.until_healthy()
        assert plane.service()["locked"] == before
        await plane.event("unlocked", lambda e: e.data["actor"] == "until")
        assert plane.service()["locked"] is None
        await plane.coordinator.switch("default", to=None, actor="ci")
        await plane.restart()
        assert plane.service()["locked"] is None


async def test_a_lock_that_ended_while_the_proxy_was_down_is_gone(tmp_path: Path) -> None:
    """Told once it runs again."""
    async with control_plane(tmp_path) as (plane, _, _):
        await lock(plane, until=time.time() + 0.05)
        await plane.crash()
        await asyncio.sleep(0.06)
        await plane.start()
        await plane.event("unlocked")
        assert plane.service()["locked"] is None


async def test_a_plan_says_that_it_is_locked(tmp_path: Path) -> None:
    """And still runs the checks."""
    async with control_plane(tmp_path) as (plane, _, _):
        await lock(plane)
        plan = await plane.coordinator.plan("default", None, "ci")
        assert (plan["would_switch"], plan["refusal"]["kind"]) == (False, "locked")
        assert plan["to"] == "green"
        assert plan["checks"]


async def test_a_lock_that_comes_while_the_target_is_prepared_stops_the_switch(
    tmp_path: Path,
) -> None:
    """Whoever locks must not be surprised a second later."""
    async with control_plane(tmp_path) as (plane, _, green):
        green.status = 500
        await plane.until(
            lambda s: not any(b["healthy"] for b in s["environments"]["green"]["backends"])
        )
        switching = asyncio.ensure_future(refusal_of_switch(plane))
        await plane.until(lambda s: s["phase"] == "verifying")
        await lock(plane)
        green.status = 200
        assert (await switching).kind == "locked"
        assert plane.service()["active"] == "blue"


async def test_a_lock_that_has_ended_already_or_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has changed."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused, match="until: must be in the future"):
            await lock(plane, until=1.0)

        async def refuse(*_changes: object) -> None:
            raise StateError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(plane.journal, "write", refuse)
            with pytest.raises(Refused, match="the disk is full"):
                await lock(plane)
        assert plane.service()["locked"] is None
