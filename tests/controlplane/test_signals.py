"""Signals over real sockets: what they say takes part in the judgement."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgproxy.controlplane.bake import Bake
from bgproxy.controlplane.signals import SignalPoller
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.model import Color, RollbackMode, RollbackPolicy
from bgproxy.domain.signals import Signal
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import ControlPlane, FakeBackend, control_plane

PROMETHEUS = b'{"data": {"result": [{"value": [1, "0.9"]}]}}'


def policy(monitor: FakeBackend, **fields: object) -> RollbackPolicy:
    """One signal, polled twice as quickly as may be configured."""
    signal = Signal(
        *("orders", f"{monitor.url}/q", "data.result.0.value.1"),
        above=0.5,
        times=2,
        headers=(("Authorization", "Bearer x"),),
        interval=0.05,
    )
    return RollbackPolicy(signals=(signal,), **fields)  # type: ignore[arg-type]


async def polled(plane: ControlPlane, monitor: FakeBackend, times: int) -> Bake:
    """Switch, and wait until the signal was polled so often."""
    await plane.coordinator.switch("default", to=None, actor="ann")
    await plane.event("switch")
    asked = len(monitor.requests)
    await plane.until(lambda _: len(monitor.requests) >= asked + times)
    bake = plane.entry.watched and plane.entry.watched.bake
    assert bake
    return bake


@pytest.fixture
async def monitor() -> FakeBackend:
    """One that finds too many failed orders."""
    found = FakeBackend()
    found.body = PROMETHEUS
    await found.start()
    return found


async def test_a_signal_takes_a_release_back(tmp_path: Path, monitor: FakeBackend) -> None:
    """Though nothing that the proxy sees fails more than usual; and it is polled no more."""
    async with control_plane(tmp_path, rollback=policy(monitor)) as (plane, _, _):
        bake = await polled(plane, monitor, 3)
        plane.second(4, ok=10_000, failed=1)
        event = await plane.event("auto_rollback")
        assert "the signal orders was 0.9" in event.data["reason"]
        assert plane.fleet.ledger.pointer(0) == Pointer(3, Color.BLUE)
        assert bake.has_ended.is_set()
        assert monitor.requests[0][1]["authorization"] == "Bearer x"
    await monitor.stop()


async def test_a_signal_waits_for_grace_and_only_reports_if_told_so(
    tmp_path: Path, monitor: FakeBackend
) -> None:
    """As every verdict does."""
    rollback = policy(monitor, mode=RollbackMode.WATCH)
    async with control_plane(tmp_path, rollback=rollback) as (plane, _, _):
        bake = await polled(plane, monitor, 3)
        plane.second(2)
        assert not bake.is_considering
        plane.second(4)
        assert (await plane.event("would_roll_back")).data["rule"] == "signal"
        assert plane.fleet.ledger.pointer(0) == Pointer(2, Color.GREEN)
    await monitor.stop()


@pytest.mark.parametrize(
    ("status", "body", "value"),
    [
        (200, PROMETHEUS, 0.9),
        (500, PROMETHEUS, None),
        (302, PROMETHEUS, None),
        (200, b"{", None),
        (200, b'{"data": {}}', None),
        (0, b"", None),
    ],
    ids=["a number", "error", "redirect", "no JSON", "no number", "nobody there"],
)
async def test_what_a_poll_brings(
    monitor: FakeBackend, status: int, body: bytes, value: float | None
) -> None:
    """A number, or nothing; never an exception."""
    monitor.status, monitor.body = status or 200, body
    if not status:
        await monitor.stop()
    tasks = Tasks()
    poller = SignalPoller(tasks)
    (signal,) = policy(monitor).signals
    assert await poller._ask(signal) == value
    await poller.close()
    await monitor.stop()


async def test_a_signal_that_cannot_be_had_is_no_verdict(
    tmp_path: Path, monitor: FakeBackend
) -> None:
    """Somebody else's outage takes nothing back."""
    monitor.status = 500
    async with control_plane(tmp_path, rollback=policy(monitor)) as (plane, _, _):
        bake = await polled(plane, monitor, 3)
        plane.second(4, ok=100)
        assert bake.signals[0].finding == ""
        assert not bake.is_considering
    await monitor.stop()
