"""The last minutes of every service, second by second, for the dashboard's charts.

The ledger only has sums since the start; this keeps how they grew. It lives in the supervisor's
memory and is gone with it: what must last is in the journal, what must be exact is in `/metrics`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from bgproxy.domain.model import COLORS, Color
from bgproxy.state.ledger import DURATION_BOUNDS, Ledger
from bgproxy.state.table import RoutingTable, ServiceRoute

INTERVAL = 1.0
KEPT = 600
"""Samples kept of each service: ten minutes."""

MOST_SERVICES = 64
"""Services that are sampled; further ones have no charts, so that sampling stays cheap."""

_QUANTILES = (0.5, 0.95, 0.99)
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class _Sums:
    requests: int
    failures: int
    durations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one environment did in one interval.

    Args:
        requests, failures: exchanges that ended, and those it is to blame for.
        latencies: seconds at the median, the 95th and the 99th percentile; None without requests.
        in_flight: at the interval's end.
    """

    requests: int
    failures: int
    latencies: tuple[float | None, ...]
    in_flight: int


@dataclass(frozen=True, slots=True)
class _Moment:
    number: int
    at: float
    sides: tuple[Sample, Sample]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The value below which `share` of a histogram's observations lie, in seconds.

    Interpolates inside the bucket, as Prometheus' histogram_quantile does; what lies over the last
    bound counts as that bound. None for an empty histogram.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    lower = 0.0
    for bound, count in zip((*DURATION_BOUNDS, _LONGEST), counts, strict=True):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below += count
        lower = bound
    return _LONGEST


class Timeline:
    """Samples the ledger every `INTERVAL` while it runs.

    Args:
        ledger: the shared memory.
        table: gives the routing table in force.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        table: Callable[[], RoutingTable],
        clock: Callable[[], float] = time,
    ) -> None:
        self._ledger = ledger
        self._table = table
        self._clock = clock
        self._number = 0
        self._sums: dict[str, tuple[_Sums, _Sums]] = {}
        self._moments: dict[str, deque[_Moment]] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(INTERVAL)

    def sample(self) -> None:
        """Take one sample of each service; services that are gone are forgotten."""
        self._number += 1
        now = self._clock()
        routes = self._table().services[:MOST_SERVICES]
        for gone in self._sums.keys() - {route.name for route in routes}:
            del self._sums[gone]
            self._moments.pop(gone, None)
        for route in routes:
            sums = (self._read(route, Color.BLUE), self._read(route, Color.GREEN))
            before = self._sums.get(route.name)
            self._sums[route.name] = sums
            if before is None:
                continue
            blue, green = (
                self._difference(route, color, before[color.index], sums[color.index])
                for color in COLORS
            )
            moments = self._moments.setdefault(route.name, deque(maxlen=KEPT))
            moments.append(_Moment(self._number, now, (blue, green)))

    def _read(self, route: ServiceRoute, color: Color) -> _Sums:
        totals = self._ledger.series(route.slot, color)
        return _Sums(totals.requests, totals.failures, totals.durations)

    def _difference(self, route: ServiceRoute, color: Color, old: _Sums, new: _Sums) -> Sample:
        counts = [b - a for a, b in zip(old.durations, new.durations, strict=True)]
        slots = tuple(backend.slot for backend in route.backends(color))
        return Sample(
            requests=new.requests - old.requests,
            failures=new.failures - old.failures,
            latencies=tuple(quantile(counts, share) for share in _QUANTILES),
            in_flight=sum(self._ledger.in_flight(slots)),
        )

    def document(self, name: str, after: int = 0) -> dict[str, Any]:
        """The samples of a service with a number over `after`, as columns ready for JSON.

        Each column has one entry for each sample: `at` in Unix seconds, latencies in seconds.
        """
        moments = [one for one in self._moments.get(name, ()) if one.number > after]
        return {
            "interval": INTERVAL,
            "last": moments[-1].number if moments else after,
            "at": [round(one.at, 3) for one in moments],
            "environments": {
                color.value: _columns([one.sides[color.index] for one in moments])
                for color in COLORS
            },
        }


def _columns(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "requests": [one.requests for one in samples],
        "failures": [one.failures for one in samples],
        "in_flight": [one.in_flight for one in samples],
    }
    for place, share in enumerate(_QUANTILES):
        columns[f"p{round(share * 100)}"] = [
            None if (latency := one.latencies[place]) is None else round(latency, 6)
            for one in samples
        ]
    return columns
