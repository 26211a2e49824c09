"""Whether failures come in clumps, told from the seconds in which evidence gathers.

The record of a quiet service has too few failures to tell. Five that come at once, because they
have one cause, prove little more than one does.
"""

from __future__ import annotations

import math


class Clumps:
    """Failures second by second, and how much more they vary than chance alone would have it."""

    __slots__ = ("_failures", "_seconds", "_squares")

    def __init__(self) -> None:
        self._seconds = 0
        self._failures = 0
        self._squares = 0

    def add(self, failures: int) -> None:
        """Take one second in."""
        self._seconds += 1
        self._failures += failures
        self._squares += failures * failures

    @property
    def dispersion(self) -> float:
        """Variance over mean, less two standard deviations of what chance makes of it."""
        if self._seconds < 2 or not self._failures:
            return 0.0
        ratio = self._squares / self._failures - self._failures / self._seconds
        return ratio - 2 * math.sqrt(2 / self._seconds)
