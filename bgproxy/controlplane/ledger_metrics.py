"""What the ledger says, for Prometheus: the sums over all workers, read anew for every scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bgproxy.domain.arrival import HandshakeFault, ProxyHeaderFault
from bgproxy.domain.model import COLORS, Color
from bgproxy.domain.outcome import Reason, Side
from bgproxy.state import ledger as cells
from bgproxy.state.ledger import DURATION_BOUNDS, Ledger, SeriesTotals
from bgproxy.state.table import RoutingTable, ServiceRoute

_SIDE = ("service", "environment")


@dataclass(frozen=True, slots=True)
class Series:
    """One service and color at the moment of a scrape.

    Args:
        in_flight: requests and tunnels now.
        backends_up: whether any address behind each written backend is ready.
        previews: exchanges by the status answered while it was idle; in no sum of `totals`.
    """

    service: str
    color: Color
    generation: int
    is_active: bool
    totals: SeriesTotals
    in_flight: tuple[int, int]
    backends_up: dict[str, bool]
    previews: dict[int, int]

    @property
    def labels(self) -> tuple[str, str]:
        """Values of ``service`` and ``environment``."""
        return self.service, self.color.value


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a scrape shows of the ledger."""

    series: tuple[Series, ...]
    gauges: tuple[tuple[str, str, int], ...]
    counters: tuple[tuple[str, str, int], ...]
    refused: tuple[tuple[str, int], ...]
    arrivals: tuple[tuple[str, str, tuple[tuple[str, int], ...]], ...] = ()
    """Name, text and counts by reason of what never became a client."""


async def read_ledger(ledger: Ledger, table: RoutingTable) -> Reading:
    """Read every series, giving way to other work after each service.

    On the event loop, because the supervisor folds a dead worker's slab there: a thread could see
    its counts in both places, and a counter that then goes back.
    """
    series: list[Series] = []
    for route in table.services:
        series += (_read_series(ledger, route, color) for color in COLORS)
        await asyncio.sleep(0)
    alive = sum(1 for worker in range(ledger.workers) if ledger.head(worker, cells.PID))
    read = ledger.head_total
    return Reading(
        series=tuple(series),
        gauges=(
            ("workers", "Worker processes that carry traffic.", alive),
            ("workers_wanted", "Worker processes that there should be.", ledger.workers),
            ("client_connections", "Open client connections.", read(cells.CONNECTIONS)),
            ("held_requests", "Requests held by a pause.", read(cells.HELD)),
            ("routing_table", "Number of the routing table in force.", table.number),
        ),
        counters=(
            ("connections_accepted", "Client connections accepted.", read(cells.ACCEPTED)),
            ("connections_turned_away", "Connections over the bound.", read(cells.TURNED_AWAY)),
            ("access_log_lines_lost", "Lines that were not written.", read(cells.LOG_LINES_LOST)),
            ("spans_exported", "Spans that a collector took.", read(cells.SPANS_EXPORTED)),
            ("spans_dropped", "Spans that were not sent.", read(cells.SPANS_DROPPED)),
        ),
        refused=(
            *((str(status), read(cells.refused_cell(status))) for status in cells.REFUSED_STATUSES),
            ("other", read(cells.refused_cell(0))),
        ),
        arrivals=(
            (
                "tls_handshake_failures",
                "Clients' TLS handshakes that failed.",
                tuple((each.label, read(cells.handshake_cell(each))) for each in HandshakeFault),
            ),
            (
                "proxy_header_refusals",
                "Connections closed for want of a proper PROXY header.",
                tuple(
                    (each.label, read(cells.proxy_header_cell(each))) for each in ProxyHeaderFault
                ),
            ),
        ),
    )


def _read_series(ledger: Ledger, route: ServiceRoute, color: Color) -> Series:
    pointer = ledger.pointer(route.word)
    backends = route.backends(color)
    up: dict[str, bool] = {}
    for backend in backends:
        up[backend.url] = up.get(backend.url, False) or backend.is_ready
    return Series(
        service=route.name,
        color=color,
        generation=pointer.generation,
        is_active=pointer.color is color,
        totals=ledger.series(route.slot, color),
        in_flight=ledger.in_flight(tuple(backend.slot for backend in backends)),
        backends_up=up,
        previews=ledger.previews(route.slot, color).codes if route.preview is not None else {},
    )


class LedgerCollector(Collector):
    """Hands the last reading to prometheus-client as metric families."""

    def __init__(self) -> None:
        self.reading = Reading((), (), (), ())

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are fixed, so there is nothing to check at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families, for one exposition."""
        yield from _traffic(self.reading.series)
        yield from _state(self.reading.series)
        for name, text, value in self.reading.gauges:
            yield GaugeMetricFamily(f"bgproxy_{name}", text, value=value)
        for name, text, value in self.reading.counters:
            yield CounterMetricFamily(f"bgproxy_{name}", text, value=value)
        refused = CounterMetricFamily(
            "bgproxy_refused_requests",
            "Requests that the proxy answered by itself before any environment was chosen.",
            labels=("code",),
        )
        for code, count in self.reading.refused:
            refused.add_metric((code,), count)
        yield refused
        for name, text, counts in self.reading.arrivals:
            family = CounterMetricFamily(f"bgproxy_{name}", text, labels=("reason",))
            for reason, count in counts:
                family.add_metric((reason,), count)
            yield family


def _state(series: Sequence[Series]) -> Iterator[Metric]:
    """Families of what is now."""
    active = GaugeMetricFamily(
        "bgproxy_active_environment", "1 for the environment that gets traffic.", labels=_SIDE
    )
    generation = GaugeMetricFamily(
        "bgproxy_generation",
        "The service's generation: grows with every change of its pointer; the same for both.",
        labels=_SIDE,
    )
    in_flight = GaugeMetricFamily(
        "bgproxy_in_flight_requests", "Requests being carried now.", labels=_SIDE
    )
    tunnels = GaugeMetricFamily(
        "bgproxy_in_flight_tunnels", "WebSockets and other tunnels open now.", labels=_SIDE
    )
    up = GaugeMetricFamily(
        "bgproxy_backend_up",
        "1 for a backend that is healthy and may get requests.",
        labels=(*_SIDE, "backend"),
    )
    for one in series:
        active.add_metric(one.labels, one.is_active)
        in_flight.add_metric(one.labels, one.in_flight[0])
        tunnels.add_metric(one.labels, one.in_flight[1])
        generation.add_metric(one.labels, one.generation)
        for url, is_up in one.backends_up.items():
            up.add_metric((*one.labels, url), is_up)
    yield from (active, generation, in_flight, tunnels, up)


def _traffic(series: Sequence[Series]) -> Iterator[Metric]:
    """Families of what ended: one sample set for each service and color."""
    requests = CounterMetricFamily(
        "bgproxy_requests", "Exchanges by the status answered.", labels=(*_SIDE, "code")
    )
    durations = HistogramMetricFamily(
        "bgproxy_request_duration_seconds",
        "From a request's complete head to its answer's end.",
        labels=_SIDE,
    )
    upstream = CounterMetricFamily(
        "bgproxy_upstream_errors",
        "Exchanges that failed on the backend's side.",
        labels=(*_SIDE, "reason"),
    )
    cut = CounterMetricFamily(
        "bgproxy_cut_requests",
        "Exchanges that the client or the proxy itself ended.",
        labels=(*_SIDE, "side", "reason"),
    )
    previews = CounterMetricFamily(
        "bgproxy_preview_requests",
        "Previews of the idle environment by the status answered.",
        labels=(*_SIDE, "code"),
    )
    for one in series:
        for code, count in sorted(one.totals.codes.items()):
            requests.add_metric((*one.labels, str(code)), count)
        for code, count in sorted(one.previews.items()):
            previews.add_metric((*one.labels, str(code)), count)
        durations.add_metric(one.labels, _buckets(one.totals.durations), one.totals.duration_sum)
        for reason in Reason:
            count = one.totals.reasons.get(reason, 0)
            if reason.side is Side.UPSTREAM:
                upstream.add_metric((*one.labels, reason.label), count)
            else:
                cut.add_metric((*one.labels, reason.side.value, reason.label), count)
    yield from (requests, durations, upstream, cut, previews)
    for name, text, field in (
        ("retries", "Requests that were sent once more.", "retries"),
        ("late_requests", "Exchanges that ended after their generation had.", "late"),
        ("unjudged_requests", "Exchanges on paths that the bake does not judge.", "excluded"),
    ):
        family = CounterMetricFamily(f"bgproxy_{name}", text, labels=_SIDE)
        for one in series:
            family.add_metric(one.labels, getattr(one.totals, field))
        yield family


def _buckets(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    """Cumulate the histogram's cells under their upper bounds."""
    bounds = [*(repr(float(bound)) for bound in DURATION_BOUNDS), "+Inf"]
    total = 0
    buckets = []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
