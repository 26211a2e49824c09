"""What happened, for everyone who wants to know: a ring of the last events and its subscribers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

_log = structlog.get_logger("bgproxy.events")

_LEVELS = {
    "backend_not_allowed": "warning",
    "fail_open": "error",
    "file_degraded": "error",
    "state_recovered": "error",
    "auto_rollback": "warning",
    "hold": "warning",
    "hold_ended": "warning",
    "latency": "warning",
    "refused": "warning",
    "worker_died": "warning",
    "would_roll_back": "warning",
}
"""Levels of events in the log; that of all others is ``info``."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        id: grows by one with every event of this process.
        at: RFC 3339, UTC.
        type: such as ``switch``, ``drained``, ``auto_rollback``, ``health``.
        service: its name; empty for what concerns the whole proxy.
        data: facts, ready for JSON.
    """

    id: int
    at: str
    type: str
    service: str
    data: dict[str, Any]


class Subscription:
    """An async iterator over events; it ends after `close`, or when its reader is too slow."""

    __slots__ = ("_hub", "_is_closed", "_most", "_pending", "_waiter")

    def __init__(self, hub: EventHub, pending: deque[Event], most: int) -> None:
        self._hub = hub
        self._pending = pending
        self._most = most + len(pending)  # what is caught up on must not count as slowness
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._pending:
            if self._is_closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._pending.popleft()

    def take_ready(self) -> list[Event]:
        """Every event that can be had without waiting."""
        ready = list(self._pending)
        self._pending.clear()
        return ready

    def offer(self, event: Event) -> None:
        """Queue an event; a queue that is full ends the subscription instead (never waits)."""
        if len(self._pending) >= self._most:
            self._pending.clear()
            self.close()
            return
        self._pending.append(event)
        self._wake()

    def close(self) -> None:
        """End the iteration; what is queued is still handed out."""
        self._is_closed = True
        self._hub.forget(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventHub:
    """Takes events from the control plane and hands them on.

    Args:
        kept: how many of the last events a subscriber can still catch up on.
        most_queued: events that a subscriber may be behind before it is dropped.
    """

    __slots__ = ("_kept", "_last_id", "_most_queued", "_subscriptions")

    def __init__(self, kept: int = 1024, most_queued: int = 1024) -> None:
        self._kept: deque[Event] = deque(maxlen=kept)
        self._most_queued = most_queued
        self._subscriptions: set[Subscription] = set()
        self._last_id = 0

    def publish(self, type: str, service: str, **data: Any) -> Event:
        """Number an event, log it and hand it to every subscriber; never blocks."""
        event = self.repeat(type, service, **data)
        log = getattr(_log, _LEVELS.get(type, "info"))
        log(type, **{"service": service, "event_id": event.id} | data)
        return event

    def repeat(self, type: str, service: str, **data: Any) -> Event:
        """As `publish`, of what the log has been told already and would be told without end."""
        self._last_id += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = Event(self._last_id, now, type, service, data)
        self._kept.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def subscribe(self, after: int | None = None) -> Subscription:
        """Follow the events from now on, or from the one after id `after` as far as it is kept."""
        caught_up = () if after is None else (event for event in self._kept if event.id > after)
        subscription = Subscription(self, deque(caught_up), self._most_queued)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Stop handing events to a subscription; `Subscription.close` calls this."""
        self._subscriptions.discard(subscription)
