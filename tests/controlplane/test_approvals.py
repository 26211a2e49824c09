"""Two people, two tokens: a held switch waits for somebody else, for a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bgproxy.domain.approval import Decision, Hold, OnTimeout
from bgproxy.domain.model import Color
from bgproxy.errors import Refused, StateError
from tests.controlplane.harness import ControlPlane, control_plane


async def hold(plane: ControlPlane, hold: Hold | None = None, **asked: Any) -> dict[str, Any]:
    """A held switch that ann asks for; it waits now."""
    document = await plane.coordinator.switch(
        "default", to=None, hold=hold or Hold(60.0), wait="held", actor="ann", **asked
    )
    assert document["held"] is not None
    return document


async def decide(
    plane: ControlPlane, decision: Decision, actor: str, **asked: Any
) -> dict[str, Any]:
    asked = {"named": None, "reason": ""} | asked
    return await plane.coordinator.permits.decide("default", decision, actor=actor, **asked)


async def test_a_held_switch_waits_and_goes_on_when_another_approves(tmp_path: Path) -> None:
    """Shown meanwhile as verifying, with who asked and until when."""
    async with control_plane(tmp_path) as (plane, _, _):
        held = await hold(plane)
        shown = plane.service()
        assert (shown["phase"], shown["active"]) == ("verifying", "blue")
        assert shown["deployment"]["held"] == held["held"]
        assert held["held"]["on_timeout"] == "cancel"
        await plane.event("held", lambda e: e.data["asked_by"] == "ann")
        approved = await decide(plane, Decision.APPROVED, "bob", named=held["id"], reason="fine")
        assert (approved["generation"], approved["approved_by"]) == (2, "bob")
        assert approved["held"] is None
        assert plane.service()["active"] == "green"
        await plane.event("approved", lambda e: e.data["actor"] == "bob")
        rows = await plane.coordinator.audit("default", 5)
        assert [row["action"] for row in rows] == ["switch", "approve"]


async def test_who_asked_may_not_approve_but_reject(tmp_path: Path) -> None:
    """Also where everybody is the same, without tokens."""
    async with control_plane(tmp_path) as (plane, _, _):
        waiting = asyncio.ensure_future(
            plane.coordinator.switch("default", to=None, hold=Hold(60.0), actor="ann")
        )
        await plane.event("held")
        with pytest.raises(Refused, match="somebody else has to approve") as refusal:
            await decide(plane, Decision.APPROVED, "ann")
        assert (refusal.value.status, refusal.value.kind) == (409, "same-actor")
        rejected = await decide(plane, Decision.REJECTED, "ann", reason="not today")
        assert (rejected["outcome"], rejected["generation"]) == ("failed", None)
        with pytest.raises(Refused, match="ann rejected the switch to green: not today") as end:
            await waiting
        assert end.value.kind == "rejected"
        assert plane.service()["phase"] == "steady"


@pytest.mark.parametrize("action", list(OnTimeout))
async def test_when_time_is_up_it_does_what_was_said(tmp_path: Path, action: OnTimeout) -> None:
    """Cancel by default, or proceed."""
    async with control_plane(tmp_path) as (plane, _, _):
        switching = plane.coordinator.switch(
            "default", to=None, hold=Hold(0.05, action), actor="ann"
        )
        if action is OnTimeout.CANCEL:
            with pytest.raises(Refused, match="Nobody approved it within") as refusal:
                await switching
            assert refusal.value.kind == "not-approved"
        else:
            assert (await switching)["approved_by"] is None
        await plane.event("hold_timeout", lambda e: e.data["action"] == str(action))
        active = "green" if action is OnTimeout.PROCEED else "blue"
        assert plane.service()["active"] == active


async def test_a_restart_never_approves(tmp_path: Path) -> None:
    """Even where it was to proceed by itself: it ends as failed, and says why."""
    async with control_plane(tmp_path) as (plane, _, _):
        held = await hold(plane, Hold(60.0, OnTimeout.PROCEED))
        await plane.journal.flush()
        await plane.crash()
        await plane.start()
        await plane.event("finished", lambda e: e.data["outcome"] == "failed")
        document = await plane.coordinator.deployment("default", held["id"])
        assert (document["outcome"], document["held"]) == ("failed", None)
        assert document["explanation"]["refusal"] == "the proxy was restarted meanwhile"
        assert plane.service()["active"] == "blue"


async def test_health_is_looked_at_again_after_the_approval(tmp_path: Path) -> None:
    """What was verified an hour ago may have died since."""
    async with control_plane(tmp_path) as (plane, _, green):
        held = await hold(plane)
        await green.stop()
        deciding = asyncio.ensure_future(decide(plane, Decision.APPROVED, "bob"))
        await plane.event("approved")
        await plane.until(
            lambda s: not any(b["healthy"] for b in s["environments"]["green"]["backends"])
        )
        assert plane.service()["active"] == "blue"
        await green.start(green.port)
        assert (await deciding)["id"] == held["id"]
        assert plane.service()["active"] == "green"


async def test_a_rollback_overtakes_what_waits(tmp_path: Path) -> None:
    """It asks nobody and waits for nobody."""
    async with control_plane(tmp_path) as (plane, _, _):
        await plane.coordinator.switch("default", to=None, wait="drained", actor="ci")
        await plane.coordinator.switch(
            "default", to=Color.BLUE, hold=Hold(60.0), wait="held", actor="ann"
        )
        back = await plane.coordinator.rollback("default", actor="ops")
        assert back["to"] == "blue"
        with pytest.raises(Refused) as refusal:
            await decide(plane, Decision.APPROVED, "bob")
        assert refusal.value.kind == "nothing-to-approve"


async def test_decisions_about_nothing_or_another_are_refused(tmp_path: Path) -> None:
    """Whoever has looked at one deployment does not approve the next one by mistake."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused, match="No switch of default waits"):
            await decide(plane, Decision.APPROVED, "bob")
        held = await hold(plane)
        with pytest.raises(Refused, match=f"Deployment {held['id']} waits") as refusal:
            await decide(plane, Decision.APPROVED, "bob", named=held["id"] + 1)
        assert refusal.value.facts == {"deployment": held["id"]}
        await decide(plane, Decision.REJECTED, "bob")


async def test_a_decision_that_cannot_be_written_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on waiting, and can be decided later."""
    async with control_plane(tmp_path) as (plane, _, _):
        await hold(plane)

        async def refuse(*_changes: object) -> None:
            raise StateError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(plane.journal, "write", refuse)
            with pytest.raises(Refused, match="the disk is full"):
                await decide(plane, Decision.APPROVED, "bob")
        assert plane.service()["deployment"]["held"] is not None
        await decide(plane, Decision.APPROVED, "bob")


async def test_a_lock_stands_in_an_approved_switchs_way(tmp_path: Path) -> None:
    """The later word counts."""
    async with control_plane(tmp_path) as (plane, _, _):
        await hold(plane)
        await plane.coordinator.permits.lock("default", reason="stop", until=None, actor="ops")
        ended = await decide(plane, Decision.APPROVED, "bob")
        assert ended["outcome"] == "failed"
        assert plane.service()["active"] == "blue"
