"""A lock: nobody may switch a service, for a reason that somebody gave; rollbacks pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from bgproxy.errors import Refused
from bgproxy.units import parse_duration

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


def read_until(text: str, now: datetime) -> datetime:
    """When a lock ends, as people write it: ``2h``, ``17:30``, ``2026-12-24T18:00``.

    Args:
        now: with a time zone, which is that of a text without one. A time of day is the next one.

    Raises:
        ValueError: it is none of these, or not in the future; one sentence says so.
    """
    try:
        until = _moment(text, now)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is neither a duration such as 2h, nor a time such as 17:30 or "
            "2026-12-24T18:00"
        ) from None
    if until <= now:
        raise ValueError(f"{text!r} is not in the future")
    return until


def _moment(text: str, now: datetime) -> datetime:
    try:
        return now + timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    if len(text) == len("17:30"):
        of_day = time.fromisoformat(text)
        today = now.replace(hour=of_day.hour, minute=of_day.minute, second=0, microsecond=0)
        return today if today > now else today + timedelta(days=1)
    until = datetime.fromisoformat(text)
    return until if until.tzinfo is not None else until.replace(tzinfo=now.tzinfo)
