"""Metrics for Prometheus, put together.

Counters of traffic live in shared memory and are read from there (`ledger_metrics`), so nothing is
counted twice; what has no cell there is counted in this process, from the event hub
(`deployment_metrics`), or looked up when a scrape asks (`service_metrics`).
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from bgproxy import __version__
from bgproxy.controlplane.deployment_metrics import DeploymentMetrics
from bgproxy.controlplane.file_metrics import FileMetrics
from bgproxy.controlplane.ledger_metrics import LedgerCollector, read_ledger
from bgproxy.controlplane.reload_metrics import ReloadMetrics
from bgproxy.controlplane.service_metrics import ServiceMetrics
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import RoutingTable


class Metrics:
    """What ``/metrics`` answers.

    Args:
        ledger: the shared memory.
        table: gives the routing table in force, which names the slots.
        has_scanner: whether the compiled head scanner is in use.
    """

    def __init__(
        self, ledger: Ledger, table: Callable[[], RoutingTable], *, has_scanner: bool
    ) -> None:
        self.ledger = ledger
        self.table = table
        # Series of start times, which nobody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._collector = LedgerCollector()
        self._registry.register(self._collector)
        self.deployments = DeploymentMetrics(self._registry)
        self.services = ServiceMetrics()
        self._registry.register(self.services)
        self.files = FileMetrics(self._registry)
        self.reloads = ReloadMetrics(self._registry)
        ProcessCollector(registry=self._registry)
        info = Gauge(
            "bgproxy_build_info",
            "1; the labels tell what runs.",
            ("version", "python", "scanner"),
            registry=self._registry,
        )
        scanner = "compiled" if has_scanner else "plain"
        info.labels(__version__, platform.python_version(), scanner).set(1)
        self._lock = asyncio.Lock()

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that the scraper's Accept field asks for.

        The text is made in a thread, one scrape at a time: fifty services take some 50 ms, and a
        switch must not wait for that.

        Returns:
            The body and its content type.
        """
        encode, content_type = choose_encoder(accept)
        async with self._lock:
            table = self.table()
            self.deployments.know(service.name for service in table.services)
            self._collector.reading = await read_ledger(self.ledger, table)
            await self.services.read()
            body: Any = await asyncio.to_thread(encode, self._registry)
        return bytes(body), content_type
