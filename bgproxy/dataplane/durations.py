"""How long exchanges took, counted apart from the ledger until the worker's tick."""

from __future__ import annotations

from math import inf

from bgproxy.state.ledger import DURATION_BOUNDS

_BOUNDS = (*DURATION_BOUNDS, inf)


class Durations:
    """A histogram over `DURATION_BOUNDS` and a sum, for one series.

    Not in the ledger at once, as durations are not worth two shared additions per request; a killed
    worker loses those of its last tick.
    """

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one exchange."""
        bounds = _BOUNDS
        bucket = 0
        bound = bounds[0]
        # From the first on, as most end soon: so it takes no call and makes no objects.
        while bound < seconds:
            bucket += 1
            bound = bounds[bucket]
        self._counts[bucket] += 1
        self._sum += seconds

    def take(self) -> tuple[list[int], float]:
        """What was counted since the last call: exchanges by bucket, and the sum in seconds."""
        taken = self._counts, self._sum
        self._counts = [0] * len(_BOUNDS)
        self._sum = 0.0
        return taken
