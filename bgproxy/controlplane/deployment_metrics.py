"""What no worker could count, for Prometheus: deployments, drains, the judge, lost workers.

A series begins with zero, for every service there is: `increase()` would not see a counter that
comes into being with its first count, and the first automatic rollback is the one to be told of.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram

from bgproxy.controlplane.events import Event, EventHub
from bgproxy.domain.deployment import Kind, Outcome
from bgproxy.domain.model import COLORS
from bgproxy.domain.rollback import Cause

_SIDE = ("service", "environment")
_DRAIN_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_CLOSED = ("requests", "tunnels")


class DeploymentMetrics:
    """Counters that follow the event hub."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.moves = Counter(
            "bgproxy_pointer_moves",
            "Moves of the active pointer, counted as they happen.",
            (*_SIDE, "kind"),
            registry=registry,
        )
        self.switches = Counter(
            "bgproxy_switches",
            "Finished deployments.",
            (*_SIDE, "kind", "outcome"),
            registry=registry,
        )
        self.holds = Counter(
            "bgproxy_rollbacks_held",
            "Times that the judge found harm and could not take the release back.",
            (*_SIDE, "cause"),
            registry=registry,
        )
        self.drains = Histogram(
            "bgproxy_drain_duration_seconds",
            "From the pointer's move to the end of the last exchange on the old environment.",
            _SIDE,
            buckets=_DRAIN_BOUNDS,
            registry=registry,
        )
        self.closed = Counter(
            "bgproxy_drain_closed",
            "What a drain closed because its time was over.",
            (*_SIDE, "what"),
            registry=registry,
        )
        self.dead_workers = Counter(
            "bgproxy_worker_deaths", "Workers that ended unasked.", registry=registry
        )
        self.fail_open = Counter(
            "bgproxy_fail_open",
            "Times that traffic went on although every active backend looked down.",
            ("service",),
            registry=registry,
        )
        self._known: set[str] = set()

    def know(self, services: Iterable[str]) -> None:
        """Begin the series of services that are new."""
        for service in services:
            if service not in self._known:
                self._known.add(service)
                self._begin(service)

    def _begin(self, service: str) -> None:
        self.fail_open.labels(service)
        for color in COLORS:
            side = (service, color.value)
            self.drains.labels(*side)
            for family, values in (
                (self.moves, Kind),
                (self.holds, Cause),
                (self.closed, _CLOSED),
            ):
                for value in values:
                    family.labels(*side, str(value))
            for kind, outcome in product((Kind.SWITCH,), Outcome):
                self.switches.labels(*side, str(kind), str(outcome))

    async def follow(self, hub: EventHub) -> None:
        """Count what the hub tells, until cancelled; a lost subscription is taken up again."""
        last: int | None = None
        while True:
            async for event in hub.subscribe(last):
                last = event.id
                self.count(event)

    def count(self, event: Event) -> None:
        """Count one event, if it is of a kind that is counted."""
        data = event.data
        match event.type:
            case "switch" | "rollback" | "auto_rollback":
                self.moves.labels(event.service, data["to"], event.type).inc()
            case "finished":
                labels = (event.service, data["to"], data["kind"], data["outcome"])
                self.switches.labels(*labels).inc()
            case "hold":
                self.holds.labels(event.service, data["environment"], data["cause"]).inc()
            case "drained":
                self._count_drain(event)
            case "worker_died":
                self.dead_workers.inc()
            case "fail_open":
                self.fail_open.labels(event.service).inc()

    def _count_drain(self, event: Event) -> None:
        data = event.data
        side = (event.service, data["environment"])
        self.drains.labels(*side).observe(data["seconds"])
        for what in _CLOSED:
            self.closed.labels(*side, what).inc(data[f"closed_{what}"])
