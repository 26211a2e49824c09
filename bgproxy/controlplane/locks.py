"""Locks of services: durable, and ended by themselves where a time was given."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.lock import Lock
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import Audit, SaveLock
from bgproxy.state.journal import Journal

_LONGEST_TIMER = 3600.0
"""Seconds until a timer looks at the clock again, which may have been set meanwhile."""

_CLOCK = "until"
"""The actor of a lock's end that was agreed upon when it began."""


class Locks:
    """Locks services and unlocks them. `watch` those of a start, `stop` in the end."""

    def __init__(self, journal: Journal, events: EventHub) -> None:
        self._journal = journal
        self._events = events
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        """End no lock any more; the next start does."""
        for timer in self._timers.values():
            timer.cancel()

    def forget(self, service: ServiceEntry) -> None:
        """The service is gone."""
        if timer := self._timers.pop(service.name, None):
            timer.cancel()

    async def lock(
        self, service: ServiceEntry, reason: str, until: float | None, actor: str
    ) -> None:
        """Refuse every switch from now on; given again, it replaces reason and end.

        A switch that is only being prepared is refused before its pointer moves.

        Args:
            until: Unix time of its end; None for none.

        Raises:
            Refused: its end has passed, or the state cannot be written.
        """
        now = time.time()
        if until is not None and until <= now:
            raise Refused(422, "invalid", "until: must be in the future")
        await self._change(service, Lock(reason, actor, now, until), actor)

    async def unlock(self, service: ServiceEntry, actor: str) -> None:
        """Allow switches again.

        Raises:
            Refused: the state cannot be written.
        """
        await self._change(service, None, actor)

    async def _change(self, service: ServiceEntry, after: Lock | None, actor: str) -> None:
        action = "lock" if after is not None else "unlock"
        async with service.changing:
            audit = Audit(
                time.time(),
                service.name,
                actor,
                action,
                lock_facts(service.lock) or {},
                lock_facts(after) or {},
            )
            try:
                await self._journal.write(SaveLock(service.name, after), audit)
            except StateError as error:
                detail = f"The state cannot be written, so nothing was changed: {error}"
                raise Refused(503, "state-unwritable", detail) from error
            self._take(service, after, actor)

    def _take(self, service: ServiceEntry, after: Lock | None, actor: str) -> None:
        before, service.lock = service.lock, after
        self.watch(service)
        if after is not None:
            shown = lock_facts(after) or {}
            self._events.publish("locked", service.name, actor=actor, **shown)
        elif before is not None:
            self._events.publish("unlocked", service.name, actor=actor, reason=before.reason)

    def watch(self, service: ServiceEntry) -> None:
        """Have a lock end when its time comes."""
        self.forget(service)
        lock = service.lock
        if lock is None or lock.until is None:
            return
        left = min(max(lock.until - time.time(), 0.0), _LONGEST_TIMER)
        loop = asyncio.get_running_loop()
        self._timers[service.name] = loop.call_later(left, self._look, service)

    def _look(self, service: ServiceEntry) -> None:
        lock, now = service.lock, time.time()
        if lock is None or not lock.is_over(now):
            self.watch(service)
            return
        before = lock_facts(lock) or {}
        audit = Audit(now, service.name, _CLOCK, "unlock", before, {})
        self._journal.write_later(SaveLock(service.name, None), audit)
        self._take(service, None, _CLOCK)


def lock_facts(lock: Lock | None) -> dict[str, Any] | None:
    """A lock as documents, events and the audit trail show it."""
    if lock is None:
        return None
    return {
        "reason": lock.reason,
        "by": lock.by,
        "since": rfc3339(lock.since),
        "until": None if lock.until is None else rfc3339(lock.until),
    }
