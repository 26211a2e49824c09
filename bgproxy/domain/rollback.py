"""The judge: whether a release does harm, told from counts a second at a time.

The rule ``sequential`` is a one-sided CUSUM (Page 1954), that is Wald's sequential test begun anew
whenever it leans towards "no harm": every failure adds ln(p1/p0) to the evidence, every success
takes ln((1-p0)/(1-p1)) off, divided by the dispersion of the record it is held against. Evidence
cannot grow by more than a bounded step a second, so no burst decides alone, and grows more slowly
while the load is beyond all that was usual (`Load`), so no storm does. The rule
``threshold`` is the plain one. Beside both stand a rule for quiet services, one for probes and one
for latency. What the judge finds is acted upon only if the gate (`judge_way_back`) agrees.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from bgproxy.domain.baseline import Baseline, break_even, harm_share
from bgproxy.domain.clumps import Clumps
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.load import Load
from bgproxy.domain.model import RollbackPolicy, RollbackRule

PROBES_IN_A_ROW = 5
"""Failed probes in a row, of every backend, that decide by themselves."""

STEADY_AFTER_HOLD = 15.0
"""Seconds for which the way back must have been healthy before a judge that held decides again."""

_STEP = 4.0
_OVERSHOOT = 1.1
_STREAK_SECONDS = 4.0
_STREAK_LEAST = 8
_STREAK_STEP = 2
_STREAK_CHANCE = 1e-9
_FINDABLE = 0.10
_LATENCY_LEAST = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's finding of harm.

    Args:
        rule: ``sequential``, ``threshold``, ``streak``, ``probes`` or ``latency``; or ``signal``,
            which is found elsewhere.
        detail: one sentence for people.
    """

    rule: str
    detail: str


class Evidence:
    """A bounded CUSUM over bad and good exchanges.

    Args:
        usual, harm: p0 and p1.
        dispersion: weakens every step.
        needed: the sum that decides.
    """

    __slots__ = (
        "_bad_step",
        "_clumps",
        "_dispersion",
        "_good_step",
        "_most",
        "bad",
        "needed",
        "value",
    )

    def __init__(self, usual: float, harm: float, dispersion: float, needed: float) -> None:
        self._bad_step = math.log(harm / usual)
        self._good_step = math.log((1 - usual) / (1 - harm))
        self._dispersion = dispersion
        self._clumps = Clumps()
        self._most = needed * _OVERSHOOT
        self.needed = needed
        self.value = 0.0
        self.bad = 0
        """Bad exchanges since the evidence was last zero."""

    def add(self, bad: int, good: int, surge: float = 1.0) -> None:
        """One second's exchanges; what speaks for harm is divided by `surge`, see `Load`."""
        self._clumps.add(bad)
        dispersion = max(self._dispersion, self._clumps.dispersion)
        step = (bad * self._bad_step - good * self._good_step) / dispersion
        if step > 0:
            step = min(_STEP, step) / surge
        self.value = min(self._most, max(0.0, self.value + step))
        if not self.value:
            self._clumps = Clumps()
        self.bad = self.bad + bad if self.value else 0

    def drift(self, share: float) -> float:
        """What one exchange adds on average where `share` of them are bad."""
        step = share * self._bad_step - (1 - share) * self._good_step
        return step / self._dispersion

    @property
    def is_enough(self) -> bool:
        """Whether the sum decides."""
        return self.value >= self.needed

    def clear(self) -> None:
        """Begin anew."""
        self.value, self.bad, self._clumps = 0.0, 0, Clumps()


class Judge:
    """Watches one release; `observe` once a second, `finish` at the end of the bake."""

    def __init__(self, policy: RollbackPolicy, baseline: Baseline) -> None:
        self._policy = policy
        self.baseline = baseline
        usual = baseline.failure_share
        self.harm = harm_share(usual, policy)
        self.evidence = Evidence(usual, self.harm, baseline.dispersion, policy.evidence)
        slow_harm = harm_share(baseline.slow_share, policy)
        self.slowness = Evidence(
            baseline.slow_share, slow_harm, baseline.dispersion, policy.evidence
        )
        self.grace = min(policy.grace, policy.bake / 4)
        self._load = Load(baseline.load)
        self.requests = 0
        self.failures = 0
        self.recent: deque[tuple[float, int, int]] = deque()
        """Seconds since the switch, successes and failures, over the last `policy.window`."""
        self._streak = 0
        self._streak_began = 0.0
        self._is_slow = False

    def observe(
        self,
        elapsed: float,
        successes: int,
        failures: int,
        *,
        slow: int = 0,
        failed_probes: int = 0,
    ) -> Verdict | None:
        """Take in what one second brought.

        Args:
            elapsed: seconds since the switch.
            slow: of these exchanges, those beyond `Baseline.slow_bound`.
            failed_probes: in a row, of the backend that has the fewest.

        Returns:
            The finding, in every second in which harm is found.
        """
        surge = self._load.observe(elapsed, successes, failures)
        if elapsed <= self.grace:
            return None
        self.requests += successes + failures
        self.failures += failures
        self._remember(elapsed, successes, failures)
        self.evidence.add(failures, successes, surge)
        self._count_streak(elapsed, successes, failures)
        latency = self._latency(slow, successes + failures, surge)
        if self._policy.rule is RollbackRule.OFF:
            return None
        if failed_probes >= PROBES_IN_A_ROW:
            detail = f"every backend failed its last {failed_probes} health probes"
            return Verdict("probes", detail)
        if self._policy.rule is RollbackRule.THRESHOLD:
            found = self._threshold()
        else:
            found = self._sequential() or self._quiet(elapsed)
        return found or latency

    def _remember(self, elapsed: float, successes: int, failures: int) -> None:
        self.recent.append((elapsed, successes, failures))
        while self.recent[0][0] <= elapsed - self._policy.window:
            self.recent.popleft()

    def _sequential(self) -> Verdict | None:
        evidence = self.evidence
        if not evidence.is_enough or evidence.bad < self._policy.min_failures:
            return None
        return Verdict(
            "sequential",
            f"{evidence.bad} failures, usual are {_percent(self.baseline.failure_share)}: "
            f"evidence {evidence.value:.1f} of {evidence.needed:.1f}",
        )

    def _threshold(self) -> Verdict | None:
        policy = self._policy
        requests = sum(successes + failures for _, successes, failures in self.recent)
        if requests < policy.min_requests or self.recent_share <= policy.max_error_rate:
            return None
        return Verdict(
            "threshold",
            f"{_percent(self.recent_share)} of {requests} requests failed within "
            f"{policy.window:g} s, more than {_percent(policy.max_error_rate)}",
        )

    def _count_streak(self, elapsed: float, successes: int, failures: int) -> None:
        """Failures since the last second with a success in it; a clump is few of them."""
        if successes:
            self._streak = 0
        elif failures:
            if not self._streak:
                self._streak_began = elapsed
            self._streak += min(failures, _STREAK_STEP)

    def _quiet(self, elapsed: float) -> Verdict | None:
        usual = math.log(self.baseline.failure_share)
        needed = max(_STREAK_LEAST, math.ceil(math.log(_STREAK_CHANCE) / usual))
        if self._streak < needed or elapsed - self._streak_began < _STREAK_SECONDS:
            return None
        detail = f"every request failed for {elapsed - self._streak_began:.0f} s"
        return Verdict("streak", detail)

    def _latency(self, slow: int, requests: int, surge: float) -> Verdict | None:
        """The rule of the same kind over slow exchanges; a finding only where it may roll back."""
        if not self.baseline.slow_bound or self._policy.latency == "off":
            return None
        self.slowness.add(slow, max(0, requests - slow), surge)
        self._is_slow = self.slowness.is_enough and self.slowness.bad >= _LATENCY_LEAST
        if not self._is_slow or self._policy.latency != "rollback":
            return None
        return Verdict("latency", self.slow_detail)

    @property
    def recent_share(self) -> float:
        """Failures as a share of all within the last `RollbackPolicy.window`; 0 for none."""
        failures = sum(second[2] for second in self.recent)
        requests = failures + sum(second[1] for second in self.recent)
        return failures / requests if requests else 0.0

    @property
    def is_slow(self) -> bool:
        """Whether the release is slower than the one before beyond doubt."""
        return self._is_slow

    @property
    def slow_detail(self) -> str:
        """What is slow, for people."""
        bound = self.baseline.slow_bound
        return (
            f"{self.slowness.bad} requests took longer than {bound:g} s, "
            f"usual are {_percent(self.baseline.slow_share)}"
        )

    def hold(self) -> None:
        """The gate said no: forget the evidence, harm must be found anew."""
        self.evidence.clear()
        self.slowness.clear()
        self.recent.clear()
        self._streak = 0

    def needed_requests(self) -> int:
        """Judged requests at which a release that fails one in ten would have been found."""
        if self._policy.rule is RollbackRule.THRESHOLD:
            return self._policy.min_requests
        drift = self.evidence.drift(max(_FINDABLE, self.harm))
        return math.ceil(self.evidence.needed / drift)

    def finish(self) -> tuple[Outcome, str]:
        """The outcome of a bake that ends without harm, and why."""
        needed = self.needed_requests()
        if self.requests < needed:
            detail = f"{self.requests} requests were judged, {needed} are needed to tell"
            return Outcome.INCONCLUSIVE, detail
        share = _percent(self.failures / self.requests)
        return Outcome.PASSED, f"{self.requests} requests were judged, {share} failed"

    def seconds_to_find(self, share: float, rate: float) -> float | None:
        """About how long harm would go unnoticed: `share` failing at `rate` requests a second.

        None where it would not be found at all.
        """
        policy = self._policy
        if policy.rule is RollbackRule.OFF or rate <= 0:
            return None
        if policy.rule is RollbackRule.THRESHOLD:
            if share <= policy.max_error_rate or rate * policy.window < policy.min_requests:
                return None
            return self.grace + policy.min_requests / rate
        drift = self.evidence.drift(share) * rate
        if drift <= 0:
            return None
        failures = policy.min_failures / (share * rate)
        return self.grace + max(self.evidence.needed / min(drift, _STEP), failures)

    def explain(self) -> dict[str, Any]:
        """Everything the judgement rests upon, ready for JSON."""
        usual = self.baseline.failure_share
        return {
            "rule": str(self._policy.rule),
            "baseline": {
                "requests": self.baseline.requests,
                "failures": self.baseline.failures,
                "failure_share": usual,
                "dispersion": self.baseline.dispersion,
                "slow_bound": self.baseline.slow_bound,
                "slow_share": self.baseline.slow_share,
                "load": self.baseline.load,
            },
            "harm_level": self.harm,
            "break_even": break_even(usual, self.harm),
            "evidence": self.evidence.value,
            "evidence_needed": self.evidence.needed,
            "requests": self.requests,
            "failures": self.failures,
            "needed_requests": self.needed_requests(),
            "is_slow": self._is_slow,
        }


@dataclass(frozen=True, slots=True)
class WayBack:
    """The old environment as it is now.

    Args:
        is_there: it still has the backends it had when it was active.
        healthy, backends: of its addresses, those that answered a fresh probe well, and all.
        failed_checks: configured checks that fail there, by name.
        healthy_for: seconds since it was last seen unhealthy.
    """

    is_there: bool
    healthy: int
    backends: int
    failed_checks: tuple[str, ...] = ()
    healthy_for: float = math.inf


class Cause(enum.StrEnum):
    """Why a rollback may not happen."""

    GONE = "gone"
    BOTH_FAILING = "both_failing"
    UNSTEADY = "unsteady"
    NO_BETTER = "no_better"
    IRREVERSIBLE = "irreversible"


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a rollback may happen, and why or why not.

    Args:
        cause: of a no; None for a yes.
    """

    may_roll_back: bool
    detail: str
    cause: Cause | None = None


def judge_way_back(way: WayBack, current_share: float, usual: float, *, has_held: bool) -> Gate:
    """Whether the old environment is healthy now and would be better.

    Args:
        current_share: failures of the release within the last seconds.
        usual: the old environment's own share of failures.
        has_held: the gate said no before in this deployment; then a moment's health will not do,
            or a dependency that both share would flip the pointer as it comes back.
    """
    if not way.is_there:
        return Gate(False, "the environment that was active before is gone", Cause.GONE)
    if 2 * way.healthy < way.backends or not way.healthy:
        return Gate(
            False,
            f"both environments fail: shared dependency? ({way.healthy} of {way.backends} "
            "backends of the old one are healthy)",
            Cause.BOTH_FAILING,
        )
    if way.failed_checks:
        names = ", ".join(way.failed_checks)
        detail = f"both environments fail: shared dependency? (checks fail: {names})"
        return Gate(False, detail, Cause.BOTH_FAILING)
    if has_held and way.healthy_for < STEADY_AFTER_HOLD:
        detail = f"the old environment is healthy for {way.healthy_for:.0f} s only"
        return Gate(False, detail, Cause.UNSTEADY)
    if 0 < current_share <= usual:
        return Gate(False, "the old environment failed as often", Cause.NO_BETTER)
    return Gate(True, f"{way.healthy} of {way.backends} old backends answer well")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
