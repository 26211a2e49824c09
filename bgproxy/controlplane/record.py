"""One environment's last minutes, as the judge of a release needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from bgproxy.domain.baseline import BUCKET_SECONDS, BUCKETS, Tally
from bgproxy.domain.clients import CLIENT_SLOTS, Crowd
from bgproxy.domain.outcome import Reason, Side
from bgproxy.state.ledger import SeriesTotals

_NONE = (0,) * CLIENT_SLOTS
_WINDOW = float(BUCKETS * BUCKET_SECONDS)


def judged(totals: SeriesTotals) -> Tally:
    """What of a series' totals the judge sees.

    Left out are late exchanges (they belong to an earlier generation), those on excluded paths,
    and what the client or the proxy itself ended, which is neither late nor excluded in the ledger.
    """
    failures = totals.failures - totals.late_failures - totals.excluded_failures
    others = sum(
        count
        for reason, count in totals.reasons.items()
        # Exchanges that died with their worker have no status, so they are not in `requests`.
        if reason.side is not Side.UPSTREAM and reason is not Reason.WORKER_DIED
    )
    successes = totals.requests - totals.late - totals.excluded - failures - others
    return Tally(successes, failures, totals.durations)


def gained(now: Tally, before: Tally) -> Tally:
    """The exchanges between two readings of the totals."""
    return Tally(
        max(0, now.successes - before.successes),
        max(0, now.failures - before.failures),
        tuple(max(0, a - b) for a, b in zip(now.durations, before.durations, strict=True)),
    )


class Record:
    """One environment's last ten minutes, in buckets of ten seconds.

    Args:
        totals: what had been counted before.
        clients: reads the failures by client, as `Ledger.clients` does; asked only where there are
            new ones.
        visits: reads who asks, as `Ledger.visits` does.
    """

    __slots__ = (
        "_began",
        "_buckets",
        "_clients",
        "_crowd",
        "_crowd_at",
        "_failures",
        "_marked_at",
        "_marks",
        "_totals",
        "_visits",
        "latest",
        "latest_by_client",
    )

    def __init__(
        self,
        totals: Tally,
        clients: Callable[[], Sequence[int]] = lambda: _NONE,
        visits: Callable[[], Sequence[int]] = lambda: _NONE,
    ) -> None:
        self._totals = totals
        self._clients = clients
        self._failures = clients()
        self._visits = visits
        self._marks = (visits(),) * 2
        self._marked_at = 0.0
        self._crowd = Crowd()
        self._crowd_at = 0.0
        self._buckets: deque[tuple[int, Tally]] = deque(maxlen=BUCKETS)
        self._began: float | None = None
        self.latest = Tally()
        """What the last reading brought, whoever it came from."""
        self.latest_by_client: list[tuple[int, int]] = []
        """Of its failures, how many each client slot had."""

    def add(self, totals: Tally, now: float) -> None:
        """Take a reading of the totals in; of failures, what counts beside all clients' others."""
        if self._began is None:
            self._began = self._marked_at = now
        self.latest = gained(totals, self._totals)
        self._totals = totals
        self.latest_by_client = self._by_client() if self.latest.failures else []
        if not self.latest.requests:
            return
        self._keep(int(now // BUCKET_SECONDS), self._counted(now))
        if now - self._marked_at >= _WINDOW:
            self._marked_at, self._marks = now, (self._marks[1], self._visits())

    def _by_client(self) -> list[tuple[int, int]]:
        before, self._failures = self._failures, self._clients()
        pairs = zip(self._failures, before, strict=True)
        return [(slot, a - b) for slot, (a, b) in enumerate(pairs) if a > b]

    def _counted(self, now: float) -> Tally:
        if not self.latest.failures:
            return self.latest
        if now - self._crowd_at >= BUCKET_SECONDS:
            self._crowd_at = now
            self._crowd.meet(self.visits())
        counted = self._crowd.counted(self.latest.failures, self.latest_by_client)
        return replace(self.latest, failures=counted)

    def _keep(self, number: int, tally: Tally) -> None:
        if self._buckets and self._buckets[-1][0] == number:
            self._buckets[-1] = (number, self._buckets[-1][1] + tally)
        else:
            self._buckets.append((number, tally))

    def visits(self) -> list[int]:
        """Who asked, by client slot: over the last ten minutes or up to twice as many."""
        return [a - b for a, b in zip(self._visits(), self._marks[0], strict=True)]

    def recent(self, now: float) -> list[Tally]:
        """The buckets of the last ten minutes that have anything in them."""
        oldest = int(now // BUCKET_SECONDS) - BUCKETS
        return [tally for number, tally in self._buckets if number > oldest]

    def rate(self, now: float) -> float:
        """Judged requests a second over the last ten minutes, or since the record began."""
        seconds = 0.0 if self._began is None else now - self._began
        requests = sum(tally.requests for tally in self.recent(now))
        return requests / min(max(seconds, 1.0), _WINDOW)
