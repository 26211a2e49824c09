"""Telling the service manager that all is well, for as long as it is, and who is live.

A sign of life is only given while every worker answers: a supervisor that answers for workers that
hang would keep the service manager from doing what it is there for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from bgproxy import notify
from bgproxy.controlplane.events import EventHub
from bgproxy.fleet import Fleet

_MOVES = frozenset({"switch", "rollback", "auto_rollback"})
_SIGNS_PER_TIMEOUT = 3


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life (sd_watchdog_enabled(3)); None where none is expected."""
    pid, timeout = environ.get("WATCHDOG_PID"), environ.get("WATCHDOG_USEC", "")
    if not timeout.isdecimal() or (pid is not None and pid != str(os.getpid())):
        return None
    return int(timeout) / 1e6 / _SIGNS_PER_TIMEOUT


class Watchdog:
    """Runs beside everything else of the supervisor, between `start` and `stop`.

    Args:
        interval: seconds between two signs of life; None for none.

    Attributes:
        is_stopping: workers end as they should, so their silence is no fault any more.
    """

    def __init__(self, fleet: Fleet, events: EventHub, interval: float | None) -> None:
        self._fleet = fleet
        self._events = events
        self._interval = interval
        self.is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Give signs of life, and say who is live whenever that changes."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tell_moves())]
        if self._interval is not None:
            self._tasks.append(loop.create_task(self._give_signs(self._interval)))

    def stop(self) -> None:
        """No more of it."""
        for task in self._tasks:
            task.cancel()

    async def _give_signs(self, interval: float) -> None:
        while True:
            if self.is_stopping or await self._is_well():
                notify.alive()
            await asyncio.sleep(interval)

    async def _is_well(self) -> bool:
        """Whether every worker is there and answers; one that hangs is replaced."""
        await self._fleet.quiesce()
        return self._fleet.is_complete()

    async def _tell_moves(self) -> None:
        async for event in self._events.subscribe():
            if event.type in _MOVES:
                notify.status(standing(self._fleet))


def standing(fleet: Fleet) -> str:
    """Who is live, in a line for people."""
    pointers = ((route.name, fleet.ledger.pointer(route.word)) for route in fleet.table.services)
    return ", ".join(f"{name}: {at.color} (generation {at.generation})" for name, at in pointers)
