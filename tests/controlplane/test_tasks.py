"""Tasks: owned, ended, and never silently broken."""

from __future__ import annotations

import asyncio

import pytest
import structlog.testing

from bgproxy.controlplane.tasks import Tasks
from bgproxy.errors import Refused


async def test_work_goes_on_when_its_caller_goes_away() -> None:
    """A client that hangs up does not stop a switch."""
    tasks, go, done = Tasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    caller = asyncio.ensure_future(tasks.carry_out(work(), "work"))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await done.wait()
    await tasks.stop()


async def test_results_and_refusals_reach_the_caller() -> None:
    """As if it had been awaited directly, and refusals are no news for the log."""
    tasks = Tasks()

    async def answer(refuse: bool) -> int:
        if refuse:
            raise Refused(409, "already-active", "no")
        return 5

    with structlog.testing.capture_logs() as logs:
        assert await tasks.carry_out(answer(refuse=False), "answer") == 5
        with pytest.raises(Refused):
            await tasks.carry_out(answer(refuse=True), "answer")
    assert logs == []


async def test_stopping_ends_what_runs() -> None:
    """And waits until it has ended."""
    tasks = Tasks()
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    tasks.start(work(), "work")
    await asyncio.sleep(0)
    await tasks.stop()
    assert ended == [True]


async def test_mistakes_are_logged() -> None:
    """Though nobody awaits the task."""
    tasks = Tasks()

    async def fail() -> None:
        raise KeyError("x")

    with structlog.testing.capture_logs() as logs:
        task = tasks.start(fail(), "broken")
        await asyncio.wait((task,))
        await asyncio.sleep(0)
    (line,) = logs
    assert (line["log_level"], line["task"]) == ("error", "broken")
