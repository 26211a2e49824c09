"""A lock: nobody may switch a service, for a reason that somebody gave; rollbacks pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from bgproxy.errors import Refused

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Lock:
    """Why a service may not be switched.

    Args:
        reason: one sentence for people.
        by: who locked it.
        since: Unix time at which it began.
        until: Unix time at which it ends by itself; None for not at all.
    """

    reason: str
    by: str
    since: float
    until: float | None = None

    def is_over(self, now: float) -> bool:
        """Whether its time has come; `now` is Unix time."""
        return self.until is not None and self.until <= now


def check_lock(service: str, lock: Lock | None, now: float) -> None:
    """Let a switch pass that no lock stands against. A rollback is not asked for this at all.

    Raises:
        Refused: 409, with the reason, who gave it and since when.
    """
    if lock is None or lock.is_over(now):
        return
    until = "until unlocked" if lock.until is None else f"until {_shown(lock.until)}"
    raise Refused(
        409,
        "locked",
        f"{service} is locked by {lock.by} since {_shown(lock.since)}, {until}: {lock.reason}",
        {"reason": lock.reason, "by": lock.by, "since": _shown(lock.since)}
        | ({} if lock.until is None else {"until": _shown(lock.until)}),
    )


def _shown(at: float) -> str:
    """Unix time in RFC 3339, UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
