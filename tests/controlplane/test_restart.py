"""Crashes between any two steps: the service comes back on the old or the new color."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bgproxy.controlplane import watch
from bgproxy.domain.model import Color, HttpCheck, VerifyPolicy
from bgproxy.errors import BgproxyError
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import ControlPlane, control_plane

BLUE, GREEN = Color.BLUE, Color.GREEN


class Killed(BgproxyError):
    """Stands for the moment in which the process is gone."""


async def switch(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    """Switch, and return when what follows from it has begun."""
    done = await plane.coordinator.switch("default", to=None, actor="ann", **more)
    await plane.event("switch", lambda event: event.data["deployment"] == done["id"])
    return done


async def journal_agrees(plane: ControlPlane) -> list[dict[str, Any]]:
    """The newest deployment that was applied explains the pointer; nothing else is under way."""
    history = await plane.coordinator.history("default", 100)
    pointer = plane.fleet.ledger.pointer(0)
    applied = [d for d in history if d["generation"] is not None]
    assert [d["generation"] for d in reversed(applied)] == list(range(2, pointer.generation + 1))
    if applied:
        assert applied[0]["to"] == pointer.color
        assert applied[0]["applied_at"] is not None
    under_way = [d["id"] for d in history if d["outcome"] is None]
    assert under_way in ([], [applied[0]["id"]] if applied else [])
    return history


async def test_killed_before_the_commit(tmp_path: Path) -> None:
    """Nothing has happened."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.journal._start = lambda: None  # type: ignore[method-assign]
        waiting = asyncio.create_task(switch(plane))
        await asyncio.sleep(0)
        assert plane.service()["phase"] == "verifying"
        await plane.crash()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await plane.start()
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        assert await journal_agrees(plane) == []
        await plane.until_healthy()
        assert (await switch(plane))["generation"] == 2


async def test_killed_between_commit_and_store(tmp_path: Path) -> None:
    """The committed pointer is put back, and the deployment goes on from there."""
    async with control_plane(tmp_path) as (plane, _, _):

        def killed(word: int, generation: int, color: Color) -> None:
            raise Killed

        plane.fleet.ledger.store_pointer = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await switch(plane)
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        await plane.crash()
        await plane.start()
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        (deployment,) = await journal_agrees(plane)
        assert deployment["outcome"] is None
        await plane.event("drained")
        assert plane.service()["phase"] == "baking"
        back = await plane.coordinator.rollback("default", actor="ann")
        assert back["generation"] == 3
        await journal_agrees(plane)


async def test_killed_after_the_store_before_its_bookkeeping(tmp_path: Path) -> None:
    """What was answered stays: when it was applied, and until when it can be taken back."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.journal.write_later = lambda *changes: None  # type: ignore[method-assign]
        answered = await switch(plane)
        await plane.crash()
        await plane.start()
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        (deployment,) = await journal_agrees(plane)
        for moment in ("applied_at", "rollback_possible_until"):
            assert deployment[moment] == answered[moment]


async def test_killed_while_verifying(tmp_path: Path) -> None:
    """Checks that a restart interrupted never count as passed."""
    checks = VerifyPolicy((HttpCheck("home"),))
    async with control_plane(tmp_path, verify=checks) as (plane, _, green):
        green.gate.clear()
        waiting = asyncio.create_task(switch(plane))
        await plane.until(lambda s: s["phase"] == "verifying")
        await plane.journal.flush()
        await plane.crash()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        green.gate.set()
        await plane.start()
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        (deployment,) = await journal_agrees(plane)
        assert deployment["outcome"] == "failed"
        explained = await plane.coordinator.deployment("default", deployment["id"])
        assert "restarted" in explained["explanation"]["refusal"]


async def test_killed_while_superseding(tmp_path: Path) -> None:
    """The end of the earlier deployment is in the same transaction as the new pointer."""
    async with control_plane(tmp_path) as (plane, _, _):
        await switch(plane)
        await plane.journal.flush()
        plane.journal.write_later = lambda *changes: None  # type: ignore[method-assign]
        await plane.coordinator.switch("default", to=BLUE, actor="ann")
        await plane.crash()
        await plane.start()
        history = await journal_agrees(plane)
        assert [d["outcome"] for d in history] == [None, "superseded"]


async def test_killed_right_after_superseding_what_was_just_drained(tmp_path: Path) -> None:
    """News of the earlier deployment that queue behind the commit do not undo its end."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.fleet.quiet.clear()
        await switch(plane)
        write = plane.journal.write

        async def write_while_draining_ends(*changes: Any) -> None:
            waiting = asyncio.create_task(write(*changes))
            await asyncio.sleep(0)
            plane.fleet.quiet.set()
            await plane.event("drained")
            await waiting

        plane.journal.write = write_while_draining_ends  # type: ignore[method-assign]
        await plane.coordinator.switch("default", to=BLUE, actor="ann")
        await plane.coordinator._tasks.stop()
        history = await plane.coordinator.history("default", 10)
        assert [d["outcome"] for d in history] == [None, "superseded"]


async def test_a_bake_goes_on_with_its_remaining_time_and_baseline(tmp_path: Path) -> None:
    """A restart neither shortens nor lengthens it."""
    async with control_plane(tmp_path) as (plane, _, _):
        deployment = await switch(plane)
        before = await plane.coordinator.deployment("default", deployment["id"])
        await plane.restart()
        after = await plane.coordinator.deployment("default", deployment["id"])
        assert after["rollback_possible_until"] == before["rollback_possible_until"]
        assert after["explanation"]["baseline"] == before["explanation"]["baseline"]
        assert plane.service()["bake"]["of_seconds"] == 600.0
        await plane.until_healthy()
        for second in range(1, 9):
            plane.second(second, failed=50)
        await plane.event("auto_rollback")
        await journal_agrees(plane)


async def test_a_bake_that_ended_meanwhile_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody watched has not passed."""
    async with control_plane(tmp_path) as (plane, _, _):
        deployment = await switch(plane, wait="drained")
        await plane.stop()
        later = SimpleNamespace(time=lambda: time.time() + 1000, monotonic=time.monotonic)
        monkeypatch.setattr(watch, "time", later)
        await plane.start()
        await plane.event("finished")
        ended = await plane.coordinator.deployment("default", deployment["id"])
        assert ended["outcome"] == "inconclusive"


async def test_a_recovered_state_is_announced(tmp_path: Path) -> None:
    """Nobody overlooks that the copy had to be used."""
    async with control_plane(tmp_path) as (plane, _, _):
        await plane.stop()
        plane.path.write_bytes(b"nonsense" * 1000)
        await plane.start()
        event = await plane.event("state_recovered")
        assert "unreadable" in event.data["detail"]


async def test_stop_waits_for_a_pointer_on_its_way(tmp_path: Path) -> None:
    """What is committed when the end comes is live when it is over."""
    async with control_plane(tmp_path) as (plane, _, _):
        waiting = asyncio.create_task(switch(plane))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await plane.coordinator.stop()
        pointer = plane.fleet.ledger.pointer(0)
        snapshot = await plane.journal.load()
        saved = snapshot.pointers["default"]
        assert (saved.generation, saved.color) == pointer
        waiting.cancel()
        plane.coordinator._services.clear()  # its locks are taken for good
