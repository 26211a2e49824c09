"""A stretch of time in which the judge finds harm again and again, and the gate says no."""

from __future__ import annotations

QUIET_SECONDS = 60.0
"""Without a further no for so long, it is over."""


class Holding:
    """How long a release is held, and how often that was decided.

    Args:
        now: monotonic time of the first no.
    """

    __slots__ = ("_began", "_last", "times")

    def __init__(self, now: float) -> None:
        self._began = self._last = now
        self.times = 1
        """How often the gate said no."""

    def again(self, now: float) -> None:
        """The gate has said no once more."""
        self._last = now
        self.times += 1

    @property
    def seconds(self) -> float:
        """From the first no to the last."""
        return self._last - self._began

    def left(self, now: float) -> float:
        """Seconds until it is over, if nothing happens meanwhile; 0 or less once it is."""
        return self._last + QUIET_SECONDS - now
