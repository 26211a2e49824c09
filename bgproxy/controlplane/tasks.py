"""Background work that is neither lost nor forgotten: every task has an owner that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from bgproxy.errors import BgproxyError

T = TypeVar("T")

_log = structlog.get_logger("bgproxy.controlplane")


class Tasks:
    """A set of tasks; `stop` ends them, and an exception nobody awaits is logged."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` beside everything else."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def carry_out(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Await `work`, which goes on to its end even if the caller is cancelled."""
        return await asyncio.shield(self.start(work, name))

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # A refusal is for whoever awaits the task; anything else is a mistake of ours.
        if not isinstance(error, BgproxyError):
            _log.error("task_failed", task=task.get_name(), error=repr(error), exc_info=error)

    async def stop(self) -> None:
        """Cancel what still runs and wait for it."""
        current = asyncio.current_task()
        running = [task for task in self._tasks if task is not current]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def finish(self) -> None:
        """Wait for what still runs."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
