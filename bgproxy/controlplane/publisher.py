"""Tells the workers: builds a new routing table when something changed, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.pulse import Pulse
from bgproxy.controlplane.tasks import Tasks
from bgproxy.state.table import RoutingTable

_RETRY = 0.5

_log = structlog.get_logger("bgproxy.publisher")


class Publisher:
    """Publishes tables; changes that come while one is under way go into the next together.

    Args:
        build: makes the table with a given number.
    """

    def __init__(self, fleet: Fleet, build: Callable[[int], RoutingTable]) -> None:
        self._fleet = fleet
        self._build = build
        self._number = 1
        self._wanted = 1
        self._acknowledged = 1
        self._progress = Pulse()
        self._wake = asyncio.Event()
        self._tasks = Tasks()

    @property
    def next_number(self) -> int:
        """The number of the first table that will show what changes now."""
        return self._number + 1

    @property
    def acknowledged(self) -> int:
        """The newest table that every worker has."""
        return self._acknowledged

    @property
    def is_settled(self) -> bool:
        """Whether every worker has acknowledged all that was requested."""
        return self._acknowledged >= self._wanted

    def start(self) -> None:
        """Begin to publish; workers have table 1 by now."""
        self._tasks.start(self._run(), "publisher")

    async def stop(self) -> None:
        """Publish nothing any more."""
        await self._tasks.stop()

    def request(self) -> None:
        """Something changed: publish a table soon."""
        self._wanted = self._number + 1
        self._wake.set()

    async def settle(self) -> None:
        """Return when every worker has acknowledged all that was requested so far."""
        wanted = self._wanted
        while self._acknowledged < wanted:
            await self._progress.wait()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._number += 1
            number = self._number
            try:
                await self._fleet.publish(self._build(number))
            except Exception as error:  # whatever it is, the workers must get their table
                _log.error("publish_failed", table=number, error=repr(error))
                self.request()
                await asyncio.sleep(_RETRY)
                continue
            self._acknowledged = number
            self._progress.beat()
