"""What every service is busy with, for Prometheus: its phase, and how sure the judge is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bgproxy.controlplane.operations import Operations

PHASES = ("steady", "verifying", "draining", "baking", "paused")

_SIDE = ("service", "environment")
_BAKE = (
    ("seconds", "bake_seconds", "Seconds that the bake has lasted."),
    ("of_seconds", "bake_length_seconds", "Seconds that the bake is to last."),
    ("requests", "bake_judged_requests", "Requests that the judge of the bake has seen."),
    ("failures", "bake_failures", "Of these, failed ones that count."),
    ("evidence", "bake_evidence", "How sure the judge is that the release does harm."),
    ("evidence_needed", "bake_evidence_needed", "The evidence at which it acts."),
    ("has_held", "bake_held", "1 once the judge found harm and could not take the release back."),
)


class ServiceMetrics(Collector):
    """Gauges of the moment at which `read` was called last.

    Args:
        operations: gives the SERVICE documents; None before there is a control plane.
    """

    def __init__(self) -> None:
        self.operations: Operations | None = None
        self._documents: list[dict[str, Any]] = []
        self._is_ready = False

    async def read(self) -> None:
        """Take the services as they are, giving way to other work after each."""
        operations = self.operations
        if operations is None:
            return
        self._is_ready = operations.is_ready()[0]
        documents = []
        for name in operations.service_names():
            documents.append(operations.service(name))
            await asyncio.sleep(0)
        self._documents = documents

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are fixed, so there is nothing to check at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families, for one exposition."""
        yield GaugeMetricFamily(
            "bgproxy_ready", "1 while traffic and changes are possible.", value=self._is_ready
        )
        phase = GaugeMetricFamily(
            "bgproxy_phase", "1 for what a service is busy with.", labels=("service", "phase")
        )
        closed = GaugeMetricFamily(
            "bgproxy_maintenance", "1 while a service is closed to the public.", labels=("service",)
        )
        locked = GaugeMetricFamily(
            "bgproxy_locked", "1 while a service may not be switched.", labels=("service",)
        )
        held = GaugeMetricFamily(
            "bgproxy_held", "1 while a switch waits for an approval.", labels=("service",)
        )
        for document in self._documents:
            locked.add_metric((document["name"],), document["locked"] is not None)
            under_way = document["deployment"] or {}
            held.add_metric((document["name"],), under_way.get("held") is not None)
            for name in PHASES:
                phase.add_metric((document["name"], name), document["phase"] == name)
            closed.add_metric((document["name"],), document["maintenance"] is not None)
        yield from (phase, closed, locked, held)
        yield from self._bakes()
        sent = CounterMetricFamily(
            "bgproxy_notifications",
            "Messages to people by what became of them.",
            labels=("name", "outcome"),
        )
        if self.operations is not None:
            for labels, count in sorted(self.operations.notifier.counts.items()):
                sent.add_metric(labels, count)
        yield sent

    def _bakes(self) -> Iterator[Metric]:
        """Families that have a sample only while a release bakes."""
        baking = [document for document in self._documents if document["bake"]]
        for key, name, text in _BAKE:
            family = GaugeMetricFamily(f"bgproxy_{name}", text, labels=_SIDE)
            for document in baking:
                bake = document["bake"]
                family.add_metric((document["name"], bake["environment"]), float(bake[key]))
            yield family
