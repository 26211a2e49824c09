"""What people are told about, and who of them about what."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Channel(enum.StrEnum):
    """What takes a message."""

    SLACK = "slack"
    TEAMS = "teams"
    DISCORD = "discord"
    JSON = "json"
    GRAFANA = "grafana"


class Occasion(enum.StrEnum):
    """What a message is about."""

    SWITCHED = "switched"
    ROLLED_BACK = "rolled_back"
    AUTO_ROLLBACK = "auto_rollback"
    HOLD = "hold"
    FAILED = "failed"
    DRAIN_TIMED_OUT = "drain_timed_out"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    APPROVAL_WANTED = "approval_wanted"
    TEST = "test"


class Mood(enum.StrEnum):
    """How a message looks at first sight."""

    GOOD = "good"
    NEUTRAL = "neutral"
    WARNING = "warning"
    BAD = "bad"


TOLD = tuple(occasion for occasion in Occasion if occasion is not Occasion.TEST)
"""What can be chosen to be told about."""

MOVES = (Occasion.SWITCHED, Occasion.ROLLED_BACK, Occasion.AUTO_ROLLBACK)
"""When the pointer has moved: what a marker in a chart is for."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Somebody who is told.

    Args:
        name: for logs and reports; the URL is a secret.
        url: of a webhook; of Grafana itself for ``grafana``.
        token: of a Grafana service account; empty for others.
        occasions: what it is told about.
        services: of which services; empty for all.
        timeout: seconds for one attempt.
        attempts: how often it is tried at most.
    """

    name: str
    channel: Channel
    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    occasions: tuple[Occasion, ...] = TOLD
    services: tuple[str, ...] = ()
    timeout: float = 10.0
    attempts: int = 5

    def wants(self, news: News) -> bool:
        """Whether it is told about this; a test is for everybody."""
        if news.occasion is Occasion.TEST:
            return True
        is_ours = not self.services or news.service in self.services
        return is_ours and news.occasion in self.occasions


@dataclass(frozen=True, slots=True)
class News:
    """One thing to tell.

    Args:
        title: one sentence for people.
        facts: what else is known, name and value, in the order in which it is read.
        at: RFC 3339.
        key: the same however often it is sent, and never again.
    """

    occasion: Occasion
    service: str
    title: str
    mood: Mood
    facts: tuple[tuple[str, str], ...]
    at: str
    key: str


_DRAIN_TIMED_OUT = "timed_out"


def news_of(type: str, service: str, data: Mapping[str, Any], at: str) -> News | None:
    """What an event has to tell people; None for most.

    Args:
        data: the event's.
        at: RFC 3339.
    """
    told = _told(type, service, data)
    if told is None:
        return None
    occasion, title, mood = told
    names = ("release", "reason", "detail", "gate", "actor", "asked_by", "until", "generation")
    facts = tuple((name, str(data[name])) for name in names if data.get(name) not in (None, ""))
    about = data.get("deployment", at)
    return News(occasion, service, title, mood, facts, at, f"{service}-{about}-{occasion}")


def _told(type: str, service: str, data: Mapping[str, Any]) -> tuple[Occasion, str, Mood] | None:
    release = f" ({data['release']})" if data.get("release") else ""
    match type:
        case "switch":
            title = f"{service}: {data['to']}{release} is live"
            return Occasion.SWITCHED, title, Mood.GOOD
        case "rollback":
            title = f"{service}: rolled back to {data['to']}{release} by {data['actor']}"
            return Occasion.ROLLED_BACK, title, Mood.WARNING
        case "auto_rollback":
            title = f"{service}: rolled back to {data['to']}{release} by itself"
            return Occasion.AUTO_ROLLBACK, title, Mood.BAD
        case "hold":
            both = data.get("cause") == "both_failing"
            what = "both environments fail" if both else f"{data['environment']} does harm"
            return Occasion.HOLD, f"{service}: {what}, and nothing was rolled back", Mood.BAD
        case "refused":
            title = f"{service}: deployment {data['deployment']} failed, nothing was switched"
            return Occasion.FAILED, title, Mood.WARNING
        case "drained" if data.get("status") == _DRAIN_TIMED_OUT:
            closed = data["closed_requests"] + data["closed_tunnels"]
            title = f"{service}: the drain of {data['environment']} timed out, {closed} were closed"
            return Occasion.DRAIN_TIMED_OUT, title, Mood.WARNING
        case "locked":
            return Occasion.LOCKED, f"{service}: locked by {data['actor']}", Mood.NEUTRAL
        case "unlocked":
            return Occasion.UNLOCKED, f"{service}: may be switched again", Mood.NEUTRAL
        case "held":
            title = (
                f"{service}: the switch to {data['to']}{release} waits for an approval "
                f"(bgproxy approve --deployment {data['deployment']})"
            )
            return Occasion.APPROVAL_WANTED, title, Mood.NEUTRAL
    return None


def trial_news(actor: str, at: str) -> News:
    """What is sent to find out whether it arrives."""
    title = "bgproxy: this is a test; nothing has happened"
    facts = (("actor", actor),)
    return News(Occasion.TEST, "", title, Mood.NEUTRAL, facts, at, f"test-{at}")
