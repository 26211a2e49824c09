"""Plans of switches: what they tell, and that they change nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bgproxy.domain.model import Color, HttpCheck, RollbackPolicy, RollbackRule, VerifyPolicy
from bgproxy.errors import Refused
from tests.controlplane.harness import control_plane


async def test_a_plan_tells_checks_drain_and_what_would_be_noticed(tmp_path: Path) -> None:
    """And leaves pointer and history as they were."""
    checks = VerifyPolicy((HttpCheck("home", "/"),))
    async with control_plane(tmp_path, verify=checks) as (plane, _, green):
        entry = plane.entry
        (backend,) = entry.environment(Color.BLUE).slots()
        plane.fleet.carry(backend, requests=7, tunnels=2)
        sampler = plane.coordinator._sampler
        now = time.monotonic()
        sampler._records.clear()
        sampler.sample(entry, now - 600)
        for second in range(1, 600):
            plane.fleet.count(entry.slot, Color.BLUE, ok=10)
            sampler.sample(entry, now - 600 + second)
        plan = await plane.coordinator.plan("default", None, "ann")
        assert (plan["from"], plan["to"], plan["would_switch"]) == ("blue", "green", True)
        assert [check["name"] for check in plan["checks"]] == ["health", "home"]
        assert (plan["drain"]["requests"], plan["drain"]["tunnels"]) == (7, 2)
        assert plan["judge"]["rate"] == pytest.approx(10, rel=0.02)
        finds = {find["failing"]: find["seconds"] for find in plan["judge"]["finds"]}
        assert finds[1.0] == 8.0
        assert finds[0.03] == pytest.approx(36.5, abs=1)
        green.status = 500
        assert (await plane.coordinator.plan("default", None, "ann"))["would_switch"] is False
        assert plane.service()["generation"] == 1
        assert await plane.coordinator.history("default", 10) == []


async def test_a_plan_without_traffic_or_judge_finds_nothing(tmp_path: Path) -> None:
    """As it is told, not left out."""
    off = RollbackPolicy(rule=RollbackRule.OFF)
    async with control_plane(tmp_path, rollback=off) as (plane, _, _):
        judge = (await plane.coordinator.plan("default", None, "ann"))["judge"]
        assert (judge["bake"], judge["rate"]) == (0.0, 0.0)
        assert all(find["seconds"] is None for find in judge["finds"])


async def test_a_plan_says_why_a_switch_would_be_refused(tmp_path: Path) -> None:
    """Also while another one bakes; the active environment is no target."""
    async with control_plane(tmp_path) as (plane, _, _):
        await plane.coordinator.switch("default", to=Color.GREEN, actor="ann")
        plan = await plane.coordinator.plan("default", None, "ann")
        assert plan["refusal"]["kind"] == "target-required"
        assert plan["would_switch"] is False
        assert (await plane.coordinator.plan("default", Color.BLUE, "ann"))["refusal"] is None
        with pytest.raises(Refused) as caught:
            await plane.coordinator.plan("default", Color.GREEN, "ann")
        assert caught.value.kind == "already-active"
