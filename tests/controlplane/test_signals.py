"""Signals over real sockets: what they say takes part in the judgement."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bgproxy.controlplane.bake import Bake
from bgproxy.controlplane.signals import SignalPoller
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.model import Color, RollbackMode, RollbackPolicy
from bgproxy.domain.signals import Signal
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import ControlPlane, FakeBackend, control_plane
from tests.ports import free_port

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


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[str]:
    """A real one, that scrapes nothing; its URL."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed")
    (tmp_path / "prometheus.yml").write_text("{}")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    async with asyncio.timeout(20):
        while b"ready to receive web requests" not in (line := await process.stderr.readline()):
            assert line, "Prometheus has ended"
    reading = asyncio.ensure_future(process.stderr.read())
    yield f"http://127.0.0.1:{port}"
    process.kill()
    await process.wait()
    await reading


async def test_queries_of_a_real_prometheus(prometheus: str) -> None:
    """What each kind of query brings; one that fails is no verdict either."""
    poller = SignalPoller(Tasks())
    for query, value in (
        ("vector(0.25) * 2", 0.5),
        ("scalar(vector(7))", 7.0),
        ("1 + 1", 2.0),
        ("vector(1) > 5", None),
        ("no_such_metric", None),
        ("0 / 0", None),
        ('vector(1) or label_replace(vector(2), "a", "b", "", "")', None),
        ("vector(", None),
        ('"text"', None),
    ):
        signal = Signal("s", f"{prometheus}/api/v1/query", "", above=0.0, query=query)
        assert await poller._ask(signal) == value, query
    await poller.close()


async def test_a_query_takes_a_release_back(tmp_path: Path, prometheus: str) -> None:
    """From the key in the policy to the verdict in the history."""
    signal = Signal(
        *("orders", f"{prometheus}/api/v1/query", ""),
        above=0.5,
        times=2,
        interval=0.05,
        query="vector(0.9)",
    )
    rollback = RollbackPolicy(signals=(signal,))
    async with control_plane(tmp_path, rollback=rollback) as (plane, _, _):
        await plane.coordinator.switch("default", to=None, actor="ann")
        await plane.event("switch")
        bake = plane.entry.watched and plane.entry.watched.bake
        assert bake
        await plane.until(lambda _: bool(bake.signals and bake.signals[0].finding))
        plane.second(4, ok=10_000, failed=1)
        event = await plane.event("auto_rollback")
        assert "the signal orders was 0.9" in event.data["reason"]
