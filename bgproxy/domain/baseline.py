"""What a release is held against: the record of the environment that was active before it.

The record is the last ten minutes in buckets of ten seconds, frozen when the pointer moves.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from bgproxy.domain.model import RollbackPolicy

BUCKET_SECONDS = 10
BUCKETS = 60

_Z = 1.96  # of a 95 % interval
_THIN = 200
_FLOOR = 0.001
_THIN_FLOOR = 0.01
_CEILING = 0.95  # above it a release cannot be told from the one before
_MOST_PHI = 10.0
_SOLID_BUCKETS = 30
_LEAST_SLOW_BOUND = 0.25
_SLOW_FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class Tally:
    """Judged exchanges of one environment in one stretch of time.

    Args:
        successes, failures: as `bgproxy.domain.outcome` tells them apart; others are not judged.
        durations: how many took how long, in the cells of a histogram that the caller chooses.
    """

    successes: int = 0
    failures: int = 0
    durations: tuple[int, ...] = ()

    @property
    def requests(self) -> int:
        """All judged exchanges."""
        return self.successes + self.failures

    @property
    def share(self) -> float:
        """Failures as a share of all; 0 for none."""
        return self.failures / self.requests if self.requests else 0.0

    def __add__(self, other: Tally) -> Tally:
        longer, shorter = sorted((self.durations, other.durations), key=len, reverse=True)
        padded = shorter + (0,) * (len(longer) - len(shorter))
        return Tally(
            self.successes + other.successes,
            self.failures + other.failures,
            tuple(a + b for a, b in zip(longer, padded, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The frozen record, as the judge uses it.

    Args:
        requests, failures: of the record.
        failure_share: p0, what share of failures is taken as usual.
        dispersion: how much more the failures clump than chance alone would have it, 1 to 10.
        slow_bound: seconds beyond which an exchange is slow; 0 where latency cannot be judged.
        slow_share: what share of slow ones is taken as usual.
        load: requests a second that three of four of its ten seconds stayed within; 0 where the
            record is too short to tell what is usual.
    """

    requests: int = 0
    failures: int = 0
    failure_share: float = _THIN_FLOOR
    dispersion: float = 1.0
    slow_bound: float = 0.0
    slow_share: float = _SLOW_FLOOR
    load: float = 0.0


def wilson_upper(failures: float, requests: float) -> float:
    """Upper end of the 95 % interval for a share (Wilson 1927); `requests` at least 1."""
    share = failures / requests
    z2 = _Z * _Z / requests
    middle = share + z2 / 2
    spread = _Z * math.sqrt(share * (1 - share) / requests + z2 / (4 * requests))
    return min(1.0, (middle + spread) / (1 + z2))


def make_baseline(record: Sequence[Tally], bounds: Sequence[float] = ()) -> Baseline:
    """Freeze a record.

    Args:
        record: the buckets, any order.
        bounds: upper bounds in seconds of the cells of `Tally.durations`; the last cell has none.
    """
    total = sum(record, Tally())
    dispersion = _dispersion(record, total)
    slow_bound, slow_share = _slowness(total, bounds)
    return Baseline(
        requests=total.requests,
        failures=total.failures,
        failure_share=_usual_share(total, dispersion),
        dispersion=dispersion,
        slow_bound=slow_bound,
        slow_share=slow_share,
        load=_usual_load(record),
    )


def _usual_share(total: Tally, dispersion: float) -> float:
    """p0. A thin record is read as if it had gone on like that for `_THIN` requests.

    The interval of, say, ten requests would be so wide that no release could be told from them.
    Failures that come in clumps tell as much as so many fewer that come by chance.
    """
    if total.requests >= _THIN:
        usual = wilson_upper(total.failures / dispersion, total.requests / dispersion)
        usual = max(_FLOOR, usual)
    else:
        usual = max(_THIN_FLOOR, wilson_upper(round(total.share * _THIN), _THIN))
    return min(usual, _CEILING)


def _usual_load(record: Sequence[Tally]) -> float:
    buckets = sorted(bucket.requests for bucket in record if bucket.requests)
    if len(buckets) < _SOLID_BUCKETS:
        return 0.0
    return buckets[3 * len(buckets) // 4] / BUCKET_SECONDS


def _dispersion(record: Sequence[Tally], total: Tally) -> float:
    """Pearson's variance ratio over the buckets: 1 for failures that come by chance."""
    share = total.share
    buckets = [bucket for bucket in record if bucket.requests]
    if len(buckets) < 3 or not 0 < share < 1:
        return 1.0
    chi2 = sum(
        (bucket.failures - bucket.requests * share) ** 2 / (bucket.requests * share * (1 - share))
        for bucket in buckets
    )
    return min(_MOST_PHI, max(1.0, chi2 / (len(buckets) - 1)))


def _slowness(total: Tally, bounds: Sequence[float]) -> tuple[float, float]:
    """The bound beyond which an exchange is slow, at a cell's border, and the usual share."""
    count = sum(total.durations)
    if count < _THIN or not bounds:
        return 0.0, _SLOW_FLOOR
    seen, p99 = 0, bounds[-1]
    for cell, bound in zip(total.durations, bounds, strict=False):
        seen += cell
        if seen >= 0.99 * count:
            p99 = bound
            break
    wanted = max(2 * p99, _LEAST_SLOW_BOUND)
    place = bisect_left(bounds, wanted)
    if place == len(bounds):
        return 0.0, _SLOW_FLOOR
    slow = sum(total.durations[place + 1 :])
    return bounds[place], max(_SLOW_FLOOR, wilson_upper(slow, count))


def slow_in(tally: Tally, baseline: Baseline, bounds: Sequence[float]) -> int:
    """How many exchanges of a tally were slow."""
    if not baseline.slow_bound:
        return 0
    return sum(tally.durations[bisect_left(bounds, baseline.slow_bound) + 1 :])


def harm_share(usual: float, policy: RollbackPolicy) -> float:
    """p1: the share of failures that is harm for certain.

    The judge leans towards harm from `break_even` on already; show both wherever one is shown.
    """
    odds = policy.harm_odds * usual / (1 - usual)
    return min(0.999, max(usual + policy.harm_points, odds / (1 + odds)))


def break_even(usual: float, harm: float) -> float:
    """The share of failures above which evidence of harm grows rather than fades."""
    fades = math.log((1 - usual) / (1 - harm))
    return fades / (math.log(harm / usual) + fades)
