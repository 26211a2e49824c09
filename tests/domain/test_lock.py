"""Locks: when they end, and how people write that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bgproxy.domain.lock import Lock, check_lock, read_until
from bgproxy.errors import Refused

NOW = datetime(2026, 11, 24, 15, 0, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("90s", NOW + timedelta(seconds=90)),
        ("2h", NOW + timedelta(hours=2)),
        ("17:30", NOW.replace(hour=17, minute=30, second=0)),
        ("15:00", NOW.replace(day=25, minute=0, second=0)),
        ("2026-12-24T18:00", datetime(2026, 12, 24, 18, tzinfo=NOW.tzinfo)),
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=NOW.tzinfo)),
    ],
)
def test_an_end_is_written_as_people_do(text: str, until: datetime) -> None:
    """A duration, the next time of day, or a moment."""
    assert read_until(text, NOW) == until


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2h30", "2026-13-01"])
def test_what_is_none_of_these_is_refused(text: str) -> None:
    """With examples of what is right."""
    with pytest.raises(ValueError, match="neither a duration such as 2h, nor a time"):
        read_until(text, NOW)


def test_the_past_is_no_end() -> None:
    """Else nothing would be locked."""
    with pytest.raises(ValueError, match="not in the future"):
        read_until("2026-11-24T12:00", NOW)


def test_a_lock_stands_in_the_way_until_its_end() -> None:
    """Exactly at its end it is over."""
    lock = Lock("migration", "ann", since=0.0, until=60.0)
    check_lock("shop", None, 0.0)
    check_lock("shop", lock, 60.0)
    with pytest.raises(Refused) as refusal:
        check_lock("shop", lock, 59.9)
    assert refusal.value.detail == (
        "shop is locked by ann since 1970-01-01T00:00:00Z, until 1970-01-01T00:01:00Z: migration"
    )
    assert refusal.value.facts["until"] == "1970-01-01T00:01:00Z"
