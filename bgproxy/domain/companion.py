"""When a process that belongs to one environment runs: while that is active, and never twice.

A worker of a queue, or cron, must follow the color as requests do. `Companion` decides; whoever
asks it starts and stops the process.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import inf

from bgproxy.domain.model import Color

_LONGEST_PAUSE = 60.0
_HAS_LIVED = 60.0
"""Seconds after which the failures before count no more."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of the service.

    Args:
        draining: the environment that drains, if one does.
        release: what the environment in question runs; empty for no name.
    """

    active: Color
    generation: int
    draining: Color | None = None
    release: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a process follows its environment; times in seconds.

    Args:
        color: whose process it is.
        is_restarted: start it anew when it ends by itself.
        until_drained: let it run on until the drain that follows its environment's end is over.
        stop_timeout: what it gets to end by itself before it is killed.
        grace: how old the last sighting may be.
        is_kept: let it run on when that is too old; else it is stopped.
    """

    color: Color
    is_restarted: bool = True
    until_drained: bool = False
    stop_timeout: float = 30.0
    grace: float = 30.0
    is_kept: bool = True


class Do(enum.Enum):
    """What is to be done now."""

    START = enum.auto()
    TERMINATE = enum.auto()
    KILL = enum.auto()
    WAIT = enum.auto()
    LEAVE = enum.auto()


class Companion:
    """Tell it what happens, ask `next` after each, do it, and say so by `started`.

    Attributes:
        sighting: the last that counts.
        generation: the fencing token of the process that runs; 0 while none does.
    """

    __slots__ = (
        "_ends_at",
        "_failures",
        "_has_ended",
        "_is_killed",
        "_is_told_to_leave",
        "_policy",
        "_seen_at",
        "_started_at",
        "_starts_at",
        "generation",
        "sighting",
    )

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen_at = -inf
        self._started_at = 0.0
        self._starts_at = -inf
        self._ends_at = inf
        self._is_killed = False
        self._is_told_to_leave = False
        self._has_ended = False
        self._failures = 0
        self.sighting: Sighting | None = None
        self.generation = 0

    # -- what happens -----------------------------------------------------------------------------

    def saw(self, sighting: Sighting, now: float) -> None:
        """The service was looked at. A lower generation than before is old news."""
        if self.sighting is None or sighting.generation >= self.sighting.generation:
            self.sighting = sighting
            self._seen_at = now

    def started(self, now: float) -> None:
        """The process runs, with the generation that was seen last."""
        assert self.sighting is not None
        self.generation = self.sighting.generation
        self._started_at = now
        self._ends_at = inf
        self._is_killed = False

    def ended(self, now: float) -> None:
        """The process is gone, with all it started."""
        was_stopped = self._ends_at < inf
        self.generation = 0
        self._ends_at = inf
        if was_stopped:
            self._failures = 0
            self._starts_at = -inf
            return
        self._failures = 1 if now - self._started_at >= _HAS_LIVED else self._failures + 1
        self._starts_at = now + min(_LONGEST_PAUSE, 2.0 ** (self._failures - 1))
        self._has_ended = not self._policy.is_restarted

    def leave(self) -> None:
        """Stop the process, and then it is over."""
        self._is_told_to_leave = True

    # -- what follows -----------------------------------------------------------------------------

    def is_lost(self, now: float) -> bool:
        """Whether what was seen last is too old to be relied on."""
        return now - self._seen_at > self._policy.grace

    def next(self, now: float) -> tuple[Do, float]:
        """What to do now, and in how many seconds to ask again at the latest."""
        if self.generation:
            if self._is_wanted(now):
                return Do.WAIT, self._seen_at + self._policy.grace - now
            return self._stop(now)
        if self._is_told_to_leave or self._has_ended:
            return Do.LEAVE, 0.0
        sighting = self.sighting
        if sighting is None or sighting.active is not self._policy.color or self.is_lost(now):
            return Do.WAIT, inf
        if now < self._starts_at:
            return Do.WAIT, self._starts_at - now
        return Do.START, 0.0

    def _is_wanted(self, now: float) -> bool:
        """Whether the process that runs may go on."""
        policy, sighting = self._policy, self.sighting
        if self._is_told_to_leave or sighting is None or self._ends_at < inf:
            return False
        if self.is_lost(now) and not policy.is_kept:
            return False
        if sighting.active is policy.color:
            # Active again after another was: its token is of the time before.
            return sighting.generation == self.generation
        return policy.until_drained and sighting.draining is policy.color

    def _stop(self, now: float) -> tuple[Do, float]:
        if self._ends_at == inf:
            self._ends_at = now + self._policy.stop_timeout
            return Do.TERMINATE, self._policy.stop_timeout
        if now >= self._ends_at and not self._is_killed:
            self._is_killed = True
            return Do.KILL, inf
        return Do.WAIT, inf if self._is_killed else self._ends_at - now
