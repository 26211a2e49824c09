"""The coordinator: what it promises to the admin API."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgproxy.domain.model import (
    Color,
    DrainPolicy,
    Expectation,
    HttpCheck,
    RollbackPolicy,
    SwitchPolicy,
    VerifyPolicy,
)
from bgproxy.domain.outcome import Reason
from bgproxy.errors import Refused, StateError
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import (
    ControlPlane,
    control_plane,
    make_service,
    settings_of,
    with_backends,
)

BLUE, GREEN = Color.BLUE, Color.GREEN


async def switch(plane: ControlPlane, to: Color | None = None, **more: Any) -> dict[str, Any]:
    return await plane.coordinator.switch("default", to=to, actor="ann", **more)


async def refused(plane: ControlPlane, kind: str, to: Color | None = None, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await switch(plane, to, **more)
    assert caught.value.kind == kind
    return caught.value


async def test_first_start_takes_the_color_of_the_file(tmp_path: Path) -> None:
    """Generation 1 of a new state is the file's active environment."""
    async with control_plane(tmp_path, active=GREEN) as (plane, _, _):
        assert plane.fleet.ledger.pointer(0) == Pointer(1, GREEN)
        document = plane.service()
        assert (document["active"], document["generation"]) == ("green", 1)
        assert document["phase"] == "steady"


async def test_switch_moves_the_pointer_and_names_the_deployment(tmp_path: Path) -> None:
    """The answer to a switch comes when the pointer has moved."""
    async with control_plane(tmp_path) as (plane, _, _):
        deployment = await switch(plane, release="v2", reason="because")
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        assert deployment["from"] == "blue"
        assert deployment["to"] == "green"
        assert deployment["release"] == "v2"
        assert deployment["generation"] == 2
        assert deployment["kind"] == "switch"
        assert deployment["actor"] == "ann"
        assert deployment["applied_at"] >= deployment["requested_at"]
        assert deployment["outcome"] is None
        assert deployment["safe_to_stop"] is False
        assert plane.service()["environments"]["green"]["release"] == "v2"
        history = await plane.coordinator.history("default", 10)
        assert [d["id"] for d in history] == [deployment["id"]]
        assert (await plane.event("switch")).data["generation"] == 2


async def test_pointer_is_in_the_journal_before_it_is_live(tmp_path: Path) -> None:
    """When the state cannot be written the switch is refused and nothing moves."""
    async with control_plane(tmp_path) as (plane, _, _):
        commit = plane.journal._commit

        def full(changes: Any) -> None:
            assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
            raise StateError("no space left")

        plane.journal._commit = full  # type: ignore[method-assign]
        refusal = await refused(plane, "state-unwritable")
        assert refusal.status == 503
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        assert plane.service()["phase"] == "steady"
        assert plane.coordinator.is_ready()[0] is False
        plane.journal._commit = commit  # type: ignore[method-assign]
        assert (await switch(plane))["generation"] == 2
        assert plane.coordinator.is_ready() == (True, "")


async def test_switch_to_the_active_environment_is_refused(tmp_path: Path) -> None:
    """Naming what is active already is a mistake worth telling."""
    async with control_plane(tmp_path) as (plane, _, _):
        await refused(plane, "already-active", BLUE)


async def test_expected_generation_must_be_the_present_one(tmp_path: Path) -> None:
    """A caller who saw another generation must look again."""
    async with control_plane(tmp_path) as (plane, _, _):
        refusal = await refused(plane, "generation-mismatch", expected_generation=7)
        assert refusal.facts["generation"] == 1
        await switch(plane, expected_generation=1)


async def test_second_switch_needs_its_target_named(tmp_path: Path) -> None:
    """While one bakes, a switch without a target is refused and one with it supersedes."""
    async with control_plane(tmp_path) as (plane, _, _):
        first = await switch(plane)
        await refused(plane, "target-required")
        second = await switch(plane, BLUE)
        assert second["generation"] == 3
        history = await plane.coordinator.history("default", 10)
        assert [d["outcome"] for d in history] == [None, "superseded"]
        assert history[1]["id"] == first["id"]
        assert history[1]["finished_at"] is not None


async def test_unhealthy_target_is_refused_and_named(tmp_path: Path) -> None:
    """The refusal says what each backend answered and when."""
    fields = {"switch": SwitchPolicy(ready_timeout=0.05)}
    async with control_plane(tmp_path, **fields) as (plane, _, green):
        green.status = 503
        await plane.until(lambda s: not s["environments"]["green"]["backends"][0]["healthy"])
        refusal = await refused(plane, "target-not-healthy")
        (backend,) = refusal.facts["backends"]
        assert backend["url"] == green.url
        assert backend["answered"].startswith("503")
        assert backend["at"]
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        history = await plane.coordinator.history("default", 10)
        assert [d["outcome"] for d in history] == ["failed"]
        assert (await switch(plane, force=True))["generation"] == 2


async def test_switch_waits_for_the_target_to_become_healthy(tmp_path: Path) -> None:
    """A target that comes up within the time-out is switched to."""
    async with control_plane(tmp_path) as (plane, _, green):
        green.status = 503
        await plane.until(lambda s: not s["environments"]["green"]["backends"][0]["healthy"])
        waiting = asyncio.create_task(switch(plane))
        await asyncio.sleep(0)
        assert plane.service()["phase"] == "verifying"
        await refused(plane, "deployment-in-progress")
        await refused(plane, "deployment-in-progress", GREEN)
        green.status = 200
        assert (await waiting)["generation"] == 2


async def test_failing_checks_refuse_the_switch(tmp_path: Path) -> None:
    """Checks run before the switch, are named when they fail, and can be skipped."""
    checks = VerifyPolicy((HttpCheck("home", "/", expect=Expectation(body="welcome")),))
    async with control_plane(tmp_path, verify=checks) as (plane, _, green):
        refusal = await refused(plane, "checks-failed")
        assert [c["name"] for c in refusal.facts["checks"] if not c["passed"]] == ["home"]
        assert green.url in refusal.detail
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        (failed,) = await plane.coordinator.history("default", 10)
        assert failed["outcome"] == "failed"
        explained = await plane.coordinator.deployment("default", failed["id"])
        assert explained["explanation"]["checks"] == refusal.facts["checks"]
        assert (await switch(plane, verify=False))["generation"] == 2
        assert (await switch(plane, BLUE, force=True))["generation"] == 3


async def test_rollback_goes_back_at_once(tmp_path: Path) -> None:
    """A rollback verifies nothing and ends the watch of what it takes back."""
    async with control_plane(tmp_path) as (plane, blue, _):
        await switch(plane)
        blue.status = 500
        await plane.until(lambda s: not s["environments"]["blue"]["backends"][0]["healthy"])
        back = await plane.coordinator.rollback("default", reason="bad", actor="bob")
        assert (back["kind"], back["to"], back["generation"]) == ("rollback", "blue", 3)
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)
        history = await plane.coordinator.history("default", 10)
        assert history[1]["outcome"] == "rolled_back"


async def test_rollback_is_not_rolled_back(tmp_path: Path) -> None:
    """Two people who press the button at once go back once."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused, match="Nothing was switched"):
            await plane.coordinator.rollback("default", actor="ann")
        await switch(plane)
        results = await asyncio.gather(
            plane.coordinator.rollback("default", actor="ann"),
            plane.coordinator.rollback("default", actor="bob"),
            return_exceptions=True,
        )
        kinds = [r.kind if isinstance(r, Refused) else "done" for r in results]
        assert sorted(kinds) == ["done", "nothing-to-roll-back"]
        assert plane.fleet.ledger.pointer(0) == Pointer(3, BLUE)


async def test_rollback_overtakes_what_is_being_verified(tmp_path: Path) -> None:
    """A rollback while another switch waits for health ends that one."""
    async with control_plane(tmp_path) as (plane, blue, _):
        await switch(plane)
        blue.status = 500
        await plane.until(lambda s: not s["environments"]["blue"]["backends"][0]["healthy"])
        waiting = asyncio.create_task(switch(plane, BLUE))
        await asyncio.sleep(0)
        back = await plane.coordinator.rollback("default", actor="bob")
        assert back["generation"] == 3
        with pytest.raises(Refused) as caught:
            await waiting
        assert caught.value.kind == "superseded"
        history = await plane.coordinator.history("default", 10)
        assert [d["outcome"] for d in history][1:] == ["superseded", "rolled_back"]


async def test_drained_is_answered_only_when_it_is_true(tmp_path: Path) -> None:
    """Nothing is drained before the workers were quiet and the old gauges are zero."""
    async with control_plane(tmp_path) as (plane, _, _):
        blue_slot = plane.fleet.tables[-1].services[0].backends(BLUE)[0].slot
        plane.fleet.quiet.clear()
        plane.fleet.carry(blue_slot, requests=1)
        waiting = asyncio.create_task(switch(plane, wait="drained"))
        await plane.event("switch")
        assert plane.service()["phase"] == "draining"
        plane.fleet.quiet.set()
        await plane.until(lambda s: (s["drain"] or {}).get("requests") == 1)
        assert not waiting.done()
        plane.fleet.carry(blue_slot)
        deployment = await waiting
        assert deployment["drained_at"] is not None
        assert deployment["outcome"] is None
        assert plane.service()["phase"] == "baking"
        assert not plane.fleet.closed


async def test_leftovers_are_closed_at_their_deadlines(tmp_path: Path) -> None:
    """Requests and tunnels have deadlines of their own; then they are told to close."""
    drain = DrainPolicy(timeout=0.02, tunnel_timeout=0.05, spread=0.0)
    async with control_plane(tmp_path, drain=drain) as (plane, _, _):
        blue_slot = plane.fleet.tables[-1].services[0].backends(BLUE)[0].slot
        plane.fleet.carry(blue_slot, requests=2, tunnels=3)
        waiting = asyncio.create_task(switch(plane, wait="drained"))
        await plane.fleet.told.get()
        await plane.fleet.told.get()
        assert plane.fleet.closed == [
            (0, BLUE, 1, "requests", 0.0),
            (0, BLUE, 1, "tunnels", 0.0),
        ]
        plane.fleet.carry(blue_slot)
        await waiting
        event = await plane.event("drained")
        assert event.data["closed_requests"] == 2
        assert event.data["closed_tunnels"] == 3


async def test_switch_waits_for_the_table_that_the_target_needs(tmp_path: Path) -> None:
    """The pointer does not move before every worker has the newest table."""
    async with control_plane(tmp_path) as (plane, _, _):
        plane.fleet.open.clear()
        plane.coordinator._inventory.publisher.request()
        waiting = asyncio.create_task(switch(plane))
        await plane.until(lambda s: s["phase"] == "verifying")
        assert plane.fleet.ledger.pointer(0) == Pointer(1, BLUE)
        plane.fleet.open.set()
        assert (await waiting)["generation"] == 2


async def test_backends_set_stay_over_a_restart_until_the_file_changes(tmp_path: Path) -> None:
    """The rule of the interface: state wins until the file's own value changes."""
    async with control_plane(tmp_path) as (plane, blue, green):
        urls = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
        document = await plane.coordinator.set_backends(
            "default", GREEN, urls, release="v9", actor="ann"
        )
        assert [b["url"] for b in document["environments"]["green"]["backends"]] == urls
        assert document["environments"]["green"]["release"] == "v9"
        assert plane.coordinator.diff("default")["environments"]["green"]["differs"] is True
        assert plane.coordinator.diff("default")["environments"]["blue"]["differs"] is False
        await plane.restart()
        shown = plane.service()["environments"]["green"]
        assert [b["url"] for b in shown["backends"]] == urls
        assert shown["release"] == "v9"
        before = plane.settings.services[0]
        await plane.restart(with_backends(before, blue.url, "http://127.0.0.1:11"))
        shown = plane.service()["environments"]["green"]
        assert [b["url"] for b in shown["backends"]] == ["http://127.0.0.1:11"]
        assert plane.coordinator.diff("default")["differs"] is False
        assert green.url not in str(plane.service())


async def test_a_release_is_the_name_of_its_backends(tmp_path: Path) -> None:
    """Other backends do not inherit it; the same ones keep it, in whatever order."""
    async with control_plane(tmp_path) as (plane, _, _):

        async def release_of(*urls: str, release: str | None = None) -> str | None:
            document = await plane.coordinator.set_backends(
                "default", GREEN, list(urls), release=release, actor="ann"
            )
            name: str | None = document["environments"]["green"]["release"]
            return name

        first, second = "http://127.0.0.1:9", "http://127.0.0.1:10"
        assert await release_of(first, second, release="v9") == "v9"
        assert await release_of(second, first) == "v9"
        assert await release_of(first) is None


async def test_backends_in_use_change_only_by_force(tmp_path: Path) -> None:
    """The active environment and the way back are protected; force ends the bake."""
    async with control_plane(tmp_path) as (plane, blue, green):
        set_backends = plane.coordinator.set_backends
        with pytest.raises(Refused) as caught:
            await set_backends("default", BLUE, [green.url], release=None, actor="a")
        assert caught.value.kind == "environment-in-use"
        deployment = await switch(plane)
        with pytest.raises(Refused) as caught:
            await set_backends("default", BLUE, [green.url], release=None, actor="a")
        assert caught.value.kind == "environment-in-use"
        await plane.event("drained")
        await set_backends("default", BLUE, [green.url], release="v3", force=True, actor="a")
        ended = await plane.coordinator.deployment("default", deployment["id"])
        assert ended["outcome"] == "inconclusive"
        with pytest.raises(Refused) as caught:
            await plane.coordinator.rollback("default", actor="a")
        assert caught.value.kind == "nothing-to-roll-back"
        assert blue.url not in str(plane.service()["environments"])


@pytest.mark.parametrize("urls", [[], ["nonsense"], ["http://a:1", "http://a:1/"]])
async def test_wrong_backends_are_refused(tmp_path: Path, urls: list[str]) -> None:
    """An address that cannot be read, none, or one twice changes nothing."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused) as caught:
            await plane.coordinator.set_backends("default", GREEN, urls, release=None, actor="a")
        assert caught.value.status == 422


async def test_replaced_active_backends_serve_until_a_new_one_is_ready(tmp_path: Path) -> None:
    """A new backend gets no traffic before its checks pass, so the old one stays routed."""
    async with control_plane(tmp_path) as (plane, blue, green):
        green.gate.clear()
        await plane.coordinator.set_backends(
            "default", BLUE, [green.url], release=None, force=True, actor="a"
        )
        routes = plane.fleet.tables[-1].services[0].backends(BLUE)
        assert [(r.url, r.is_ready) for r in routes] == [(green.url, False), (blue.url, True)]
        green.gate.set()
        await plane.until(lambda s: s["environments"]["blue"]["backends"][0]["healthy"])
        await plane.coordinator._inventory.publisher.settle()
        routes = plane.fleet.tables[-1].services[0].backends(BLUE)
        assert [(r.url, r.is_ready) for r in routes] == [(green.url, True)]


async def test_pause_holds_and_resume_lets_go(tmp_path: Path) -> None:
    """A pause is in the table that workers have acknowledged when the answer comes."""
    async with control_plane(tmp_path) as (plane, _, _):
        document = await plane.coordinator.pause("default", 30.0, "ann")
        assert document["phase"] == "paused"
        assert plane.fleet.tables[-1].services[0].held_until > 0
        document = await plane.coordinator.resume("default", "ann")
        assert document["phase"] == "steady"
        assert plane.fleet.tables[-1].services[0].held_until == 0
        await plane.coordinator.pause("default", 0.01, "ann")
        await plane.event("resume", lambda event: event.data.get("reason") == "time is over")
        await plane.coordinator._inventory.publisher.settle()
        assert plane.fleet.tables[-1].services[0].held_until == 0


async def test_verify_reports_health_and_every_check(tmp_path: Path) -> None:
    """The idle environment is checked unless one is named."""
    checks = VerifyPolicy((HttpCheck("home", "/"), HttpCheck("about", "/about")))
    async with control_plane(tmp_path, verify=checks) as (plane, _, green):
        report = await plane.coordinator.verify("default", None, "ann")
        assert report["passed"] is True
        assert report["environment"] == "green"
        assert [c["name"] for c in report["checks"]] == ["health", "home", "about"]
        green.status = 500
        report = await plane.coordinator.verify("default", None, "ann")
        assert report["passed"] is False
        assert len([c for c in report["checks"] if not c["passed"]]) == 3
        assert (await plane.coordinator.verify("default", BLUE, "ann"))["passed"] is True


async def test_all_backends_down_is_said_loudly(tmp_path: Path) -> None:
    """Traffic goes on, and an event tells."""
    async with control_plane(tmp_path) as (plane, blue, _):
        await blue.stop()
        event = await plane.event("fail_open")
        assert event.data["environment"] == "blue"


async def test_an_active_backend_that_never_answers_is_said_too(tmp_path: Path) -> None:
    """From the start, not only when it goes down."""
    plane = ControlPlane(tmp_path / "s.db", make_service("http://127.0.0.1:1", "unix:/none"))
    await plane.start()
    await plane.event("fail_open")
    await plane.stop()


async def test_names_that_do_not_resolve_count_as_unhealthy(tmp_path: Path) -> None:
    """They are named in the refusal and in the report of the checks."""
    async with control_plane(tmp_path, switch=SwitchPolicy(ready_timeout=0.1)) as (plane, _, green):
        urls = [green.url, "http://nowhere.invalid:80"]
        await plane.coordinator.set_backends("default", GREEN, urls, release=None, actor="a")
        await plane.until(lambda s: s["environments"]["green"]["backends"][0]["healthy"])
        refusal = await refused(plane, "target-not-healthy")
        assert "http://nowhere.invalid:80: its name does not resolve" in refusal.detail
        assert "1 of 2" in refusal.detail
        report = await plane.coordinator.verify("default", GREEN, "ann")
        assert report["passed"] is False
        assert report["checks"][-1]["backend"] == urls[1]


async def test_trouble_at_a_backend_is_looked_into_at_once(tmp_path: Path) -> None:
    """A worker's connect error brings the next probe forward."""
    async with control_plane(tmp_path) as (plane, blue, _):
        trouble = plane.fleet.on_backend_trouble
        assert trouble is not None
        trouble(4711, Reason.CONNECT_REFUSED, "refused")
        await blue.stop()
        slot = plane.fleet.tables[-1].services[0].backends(BLUE)[0].slot
        trouble(slot, Reason.CONNECT_REFUSED, "refused")
        await plane.until(lambda s: not s["environments"]["blue"]["backends"][0]["healthy"])


async def test_unknown_names_are_404(tmp_path: Path) -> None:
    """Services and deployments that are not there."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused) as caught:
            plane.coordinator.service("nope")
        assert (caught.value.status, caught.value.kind) == (404, "unknown-service")
        for id in (99, "abc", "9" * 30):
            with pytest.raises(Refused) as caught:
                await plane.coordinator.deployment("default", id)
            assert (caught.value.status, caught.value.kind) == (404, "unknown-deployment")


async def test_short_bake_ends_by_itself(tmp_path: Path) -> None:
    """``wait: finished`` answers with the outcome; without traffic that is inconclusive."""
    async with control_plane(tmp_path, rollback=RollbackPolicy(bake=0.5)) as (plane, _, _):
        deployment = await switch(plane, wait="finished")
        assert deployment["outcome"] == "inconclusive"
        assert deployment["safe_to_stop"] is True
        assert plane.service()["phase"] == "steady"


async def test_services_come_and_go_with_the_configuration(tmp_path: Path) -> None:
    """A reload adds and removes services; what stays keeps its slot and its pointer."""
    async with control_plane(tmp_path) as (plane, blue, green):
        await switch(plane)
        other = replace(make_service(blue.url, green.url, active=GREEN), name="other")
        before = plane.settings.services[0]
        await plane.coordinator.reconfigure(settings_of(before, other))
        assert plane.coordinator.service_names() == ["default", "other"]
        assert plane.coordinator.service("other")["active"] == "green"
        assert plane.fleet.ledger.pointer(0) == Pointer(2, GREEN)
        table = plane.fleet.tables[-1]
        assert [(s.name, s.slot) for s in table.services] == [("default", 0), ("other", 1)]
        await plane.coordinator.reconfigure(settings_of(other))
        assert plane.coordinator.service_names() == ["other"]
        assert [s.name for s in plane.fleet.tables[-1].services] == ["other"]
        await plane.coordinator.reconfigure(settings_of(before))
        assert plane.coordinator.service("default")["generation"] == 2
        back = await plane.coordinator.rollback("default", actor="ann")
        assert back["generation"] == 3
