"""The watch: what follows from the judge's findings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from bgproxy.controlplane import holding
from bgproxy.controlplane import watch as module
from bgproxy.domain.model import (
    Color,
    Expectation,
    HttpCheck,
    RollbackMode,
    RollbackPolicy,
    RollbackRule,
    VerifyPolicy,
)
from bgproxy.domain.outcome import Reason
from bgproxy.errors import Refused, StateError
from bgproxy.state import ledger
from bgproxy.state.channel import FailureSample
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import ControlPlane, FakeBackend, control_plane

BLUE, GREEN = Color.BLUE, Color.GREEN


async def switch(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    """Switch, and return when what follows from it has begun."""
    done = await plane.coordinator.switch("default", to=None, actor="ann", **more)
    await plane.event("switch", lambda event: event.data["deployment"] == done["id"])
    return done


def fail(plane: ControlPlane, seconds: range) -> None:
    """Fifty failures in each of these seconds after the switch."""
    for second in seconds:
        plane.second(second, failed=50)


async def stop_answering(plane: ControlPlane, backend: FakeBackend, color: str) -> None:
    """Let a backend's probes fail, and wait until that is known."""
    backend.status = 500
    await plane.until(lambda s: not s["environments"][color]["backends"][0]["healthy"])


async def test_harm_is_taken_back_and_the_release_locked(tmp_path: Path) -> None:
    """By itself, once, through the same path as by hand; and everybody can see why."""
    async with control_plane(tmp_path) as (plane, _, green):
        bad = await switch(plane, release="v2")
        assert plane.fleet.on_failure_sample
        plane.fleet.on_failure_sample(
            FailureSample(
                *("default", GREEN, 2, "GET", "/cart", 500, Reason.SERVER_ERROR),
                *(green.url, "id-1", 1000.0),
            )
        )
        fail(plane, range(1, 9))
        event = await plane.event("auto_rollback")
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)
        assert event.data["actor"] == "judge"
        taken_back = await plane.coordinator.deployment("default", bad["id"])
        assert taken_back["outcome"] == "rolled_back"
        explained = taken_back["explanation"]
        assert explained["bake"]["evidence"] >= 20
        assert explained["bake"]["reasons"] == {"server_error": 400}
        assert explained["bake"]["gates"][-1]["may_roll_back"] is True
        assert explained["samples"][0]["path"] == "/cart"
        back, _ = await plane.coordinator.history("default", 10)
        assert (back["kind"], back["to"], back["generation"]) == ("auto_rollback", "blue", 3)
        assert "evidence" in back["reason"]
        await plane.event("drained", lambda e: e.data["deployment"] == back["id"])

        with pytest.raises(Refused) as caught:
            await switch(plane)
        assert caught.value.kind == "locked-after-rollback"
        with pytest.raises(Refused) as caught:
            await plane.coordinator.rollback("default", actor="ann")
        assert caught.value.kind == "nothing-to-roll-back"
        assert (await switch(plane, release="v3"))["generation"] == 4


async def test_the_lock_is_opened_by_force_and_by_a_change(tmp_path: Path) -> None:
    """And it outlives a restart."""
    async with control_plane(tmp_path) as (plane, _, green):
        await switch(plane)
        fail(plane, range(1, 9))
        await plane.event("auto_rollback")
        await plane.restart()
        await plane.until_healthy()
        with pytest.raises(Refused, match="use force"):
            await switch(plane)
        await plane.coordinator.set_backends(
            "default", GREEN, [green.url], release=None, actor="ann", force=True
        )
        assert (await switch(plane))["generation"] == 4
        fail(plane, range(1, 9))
        event = await plane.event("auto_rollback")
        await plane.event("drained", lambda e: e.data["deployment"] == event.data["deployment"])
        assert (await switch(plane, force=True))["generation"] == 6


async def test_wait_finished_tells_that_the_release_was_taken_back(tmp_path: Path) -> None:
    """A pipeline must not stay green over a rollback."""
    async with control_plane(tmp_path) as (plane, _, _):
        waiting = asyncio.create_task(switch(plane, wait="finished"))
        await plane.event("switch")
        fail(plane, range(1, 9))
        assert (await waiting)["outcome"] == "rolled_back"


async def test_both_failing_holds(tmp_path: Path) -> None:
    """The old environment is down as well: say so, and leave it to people."""
    async with control_plane(tmp_path) as (plane, blue, _):
        await switch(plane)
        await stop_answering(plane, blue, "blue")
        fail(plane, range(1, 9))
        event = await plane.event("hold")
        assert "shared dependency" in event.data["gate"]
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        assert plane.service()["bake"]["has_held"] is True
        blue.status = 200
        await plane.until_healthy()
        fail(plane, range(9, 20))
        await plane.event("hold", lambda later: later.id > event.id)
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)


async def hold(plane: ControlPlane, second: int, after: int) -> tuple[int, int]:
    """Let failures go on until the gate has said no once more.

    Args:
        second: of the first failure.
        after: id of the hold before.

    Returns:
        The second behind the last failure, and the event's id.
    """
    while True:
        fail(plane, range(second, second + 8))
        second += 8
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                return second, (await plane.event("hold", lambda event: event.id > after)).id


async def test_what_is_held_all_night_is_logged_once(tmp_path: Path) -> None:
    """Every hold is told to whoever counts; the log has the first, and how it ended."""
    with structlog.testing.capture_logs() as logs:
        async with control_plane(tmp_path) as (plane, blue, _):
            await switch(plane)
            await stop_answering(plane, blue, "blue")
            second, last = 1, 0
            for _ in range(3):
                second, last = await hold(plane, second, last)
            said = [line for line in logs if line["event"].startswith("hold")]
            assert [(line["event"], line["log_level"]) for line in said] == [("hold", "warning")]
            await plane.coordinator.rollback("default", actor="ann", force=True)
            ended = await plane.event("hold_ended")
    told = [event for event in plane.events.subscribe(after=0).take_ready() if event.type == "hold"]
    assert ended.data["times"] == len(told) >= 3
    assert ended.data["environment"] == "green"
    assert [line["event"] for line in logs if line["event"].startswith("hold")] == [
        "hold",
        "hold_ended",
    ]


async def test_a_hold_ends_when_the_judge_is_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while without harm, though the watch goes on; the next one is news again."""
    monkeypatch.setattr(holding, "QUIET_SECONDS", 0.0)
    async with control_plane(tmp_path) as (plane, blue, _):
        await switch(plane)
        await stop_answering(plane, blue, "blue")
        with structlog.testing.capture_logs() as logs:
            second, last = await hold(plane, 1, 0)
            first = await plane.event("hold_ended")
            await hold(plane, second, last)
            await plane.event("hold_ended", lambda event: event.id > first.id)
        assert first.data["times"] == 1
        assert plane.service()["bake"]["has_held"] is True
        said = [line["event"] for line in logs if line["event"].startswith("hold")]
        assert said == ["hold", "hold_ended"] * 2


async def test_failing_checks_on_the_old_side_hold(tmp_path: Path) -> None:
    """A healthy probe is not enough where the configured checks fail on both sides."""
    checks = VerifyPolicy((HttpCheck("database", expect=Expectation(body="connected")),))
    async with control_plane(tmp_path, verify=checks) as (plane, _, _):
        await switch(plane, verify=False)
        fail(plane, range(1, 9))
        assert "database" in (await plane.event("hold")).data["gate"]


async def test_mode_watch_reports_and_does_not_act(tmp_path: Path) -> None:
    """What it would have done is said once."""
    policy = RollbackPolicy(mode=RollbackMode.WATCH)
    async with control_plane(tmp_path, rollback=policy) as (plane, _, _):
        deployment = await switch(plane)
        fail(plane, range(1, 9))
        event = await plane.event("would_roll_back")
        assert event.data["rule"] == "sequential"
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        explained = await plane.coordinator.deployment("default", deployment["id"])
        assert explained["explanation"]["bake"]["gates"]


async def test_failed_probes_take_back_without_traffic(tmp_path: Path) -> None:
    """A release that nobody can reach is found by its probes."""
    async with control_plane(tmp_path) as (plane, _, green):
        await switch(plane)
        green.status = 500
        entry = plane.entry.environment(GREEN).entries[0]
        while entry.health.failures < 5:
            await plane.entry.probed.wait()
        plane.second(4)
        await plane.event("auto_rollback")
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)


async def test_a_rollback_that_cannot_be_written_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk comes back, and the release goes."""
    monkeypatch.setattr(module, "_RETRY", 0.0)
    async with control_plane(tmp_path) as (plane, _, _):
        await switch(plane)
        await plane.event("drained")
        commit = plane.journal._commit
        failures = 0

        def full(changes: Any) -> None:
            nonlocal failures
            failures += 1
            if failures == 3:
                plane.journal._commit = commit  # type: ignore[method-assign]
            raise StateError("full")

        plane.journal._commit = full  # type: ignore[method-assign]
        fail(plane, range(1, 9))
        await plane.event("auto_rollback")
        assert failures == 3
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)


async def test_a_switch_by_hand_ends_the_watch(tmp_path: Path) -> None:
    """Manual always wins: failures afterwards do nothing."""
    async with control_plane(tmp_path) as (plane, _, _):
        await switch(plane)
        bake = plane.entry.watched and plane.entry.watched.bake
        assert bake
        await plane.coordinator.rollback("default", actor="ann")
        plane.fleet.count(0, GREEN, failed=1000)
        for second in range(1, 60):
            plane.coordinator._sampler.sample(plane.entry, bake.began + second)
        assert bake.judge.failures == 0
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)


async def test_rule_off_watches_nothing(tmp_path: Path) -> None:
    """The deployment is finished when it is drained."""
    policy = RollbackPolicy(rule=RollbackRule.OFF)
    async with control_plane(tmp_path, rollback=policy) as (plane, _, _):
        deployment = await switch(plane, wait="finished")
        assert deployment["outcome"] == "passed"
        assert deployment["safe_to_stop"] is True
        assert deployment["rollback_possible_until"] is None


async def test_enough_good_traffic_passes(tmp_path: Path) -> None:
    """The end of a bake with enough requests and no harm."""
    async with control_plane(tmp_path) as (plane, _, _):
        deployment = await switch(plane)
        await plane.event("drained")
        for second in range(1, 600):
            plane.second(second, ok=10)
        assert plane.service()["phase"] == "baking"
        plane.second(600, ok=10)
        event = await plane.event("bake_finished")
        assert event.data["outcome"] == "passed"
        ended = await plane.coordinator.deployment("default", deployment["id"])
        assert ended["outcome"] == "passed"
        assert ended["explanation"]["verdict"]
        assert 100 <= len(ended["explanation"]["bake"]["series"]) <= 240


async def test_slowness_alerts(tmp_path: Path) -> None:
    """Once, and nothing else by default."""
    async with control_plane(tmp_path) as (plane, _, _):
        await switch(plane)
        bake = plane.entry.watched and plane.entry.watched.bake
        assert bake
        bake.judge._is_slow = True
        for second in range(1, 20):
            plane.second(second)
            bake.judge._is_slow = True
        alerts = [e for e in plane.events.subscribe(after=0)._pending if e.type == "latency"]
        assert len(alerts) == 1


async def test_an_irreversible_release_is_held_and_taken_back_by_force_only(tmp_path: Path) -> None:
    """The judge alerts; so it stays over a restart, and people have the last word."""
    async with control_plane(tmp_path) as (plane, _, _):
        done = await switch(plane, irreversible="dropped column x")
        assert done["irreversible"] == "dropped column x"
        fail(plane, range(1, 12))
        event = await plane.event("hold")
        assert event.data["gate"] == "this release must not be taken back: dropped column x"
        await plane.restart()
        with pytest.raises(Refused) as caught:
            await plane.coordinator.rollback("default", actor="ann")
        assert caught.value.kind == "irreversible"
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        back = await plane.coordinator.rollback("default", actor="ann", force=True)
        assert (back["to"], back["kind"]) == ("blue", "rollback")


async def test_a_drill_goes_the_judges_way_and_locks_nothing(tmp_path: Path) -> None:
    """Its gate is asked and kept, whatever it says; the release may be switched to at once."""
    async with control_plane(tmp_path) as (plane, blue, _):
        there = await switch(plane, release="v2")
        await stop_answering(plane, blue, "blue")
        back = await plane.coordinator.rollback("default", drill=True, reason="drill", actor="ann")
        assert (back["kind"], back["actor"], back["to"]) == ("rollback", "ann", "blue")
        kept = (await plane.coordinator.deployment("default", back["id"]))["explanation"]
        assert kept["takes_back"] == there["id"]
        assert kept["drill"]["gate"]["may_roll_back"] is False
        assert "0 of 1 backends of the old one are healthy" in kept["drill"]["gate"]["detail"]
        assert kept["bake"]["requests"] == 0
        await plane.event("drained", lambda e: e.data["deployment"] == back["id"])
        with pytest.raises(Refused, match="A drill takes back what drains or bakes"):
            await plane.coordinator.rollback("default", drill=True, actor="ann")
        again = await plane.coordinator.switch("default", to=GREEN, actor="ann")
        assert again["generation"] == 4


async def test_a_bake_ends_when_it_was_said_to(tmp_path: Path) -> None:
    """Whoever was told until when the way back is kept can rely on the moment."""
    policy = RollbackPolicy(bake=1.4)
    async with control_plane(tmp_path, rollback=policy) as (plane, _, _):
        done = await switch(plane)
        await plane.event("bake_finished")
        ended = time.time()
        until = datetime.fromisoformat(done["rollback_possible_until"]).timestamp()
        assert until <= ended < until + 0.35


def fail_by_clients(plane: ControlPlane, second: int, slots: list[int]) -> None:
    """One request of each of these clients fails in that second, and ten of others succeed."""
    cells = plane.fleet.ledger.cells
    base = ledger.clients_base(0, plane.entry.slot, GREEN)
    for slot in slots:
        cells[base + ledger.CLIENT_FAILURES + slot] += 1
    plane.second(second, ok=10, failed=len(slots))


async def test_one_client_of_many_takes_nothing_back(tmp_path: Path) -> None:
    """However long it fails; when as much fails for everybody, that is harm."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.coordinator._sampler.sample(plane.entry, 0.0)
        base = ledger.clients_base(0, plane.entry.slot, BLUE)
        for slot in range(100):
            plane.fleet.ledger.cells[base + ledger.CLIENT_VISITS + slot] += 3
        await switch(plane)
        bake = plane.entry.watched and plane.entry.watched.bake
        assert bake
        assert bake.explain()["clients"] == 100
        for second in range(1, 100):
            fail_by_clients(plane, second, [200])
        assert bake.judge.failures <= 1
        for second in range(100, 115):
            fail_by_clients(plane, second, [second, second - 20])
        assert (await plane.event("auto_rollback")).data["actor"] == "judge"
        assert bake.explain()["reasons"] == {"server_error": 129}
