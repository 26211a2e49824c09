"""What people are told about, and in which format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgproxy.domain.chat import destination, message
from bgproxy.domain.notifications import (
    MOVES,
    Channel,
    Mood,
    News,
    Notification,
    Occasion,
    news_of,
    trial_news,
)

AT = "2026-11-24T12:00:00.250Z"
MOVE = {
    "deployment": 7,
    "generation": 3,
    "from": "blue",
    "to": "green",
    "release": "v2",
    "actor": "ci",
    "reason": "a <b> & c",
}
DRAINED = {"deployment": 7, "environment": "blue", "closed_requests": 2, "closed_tunnels": 1}


def news(type: str = "switch", data: dict[str, Any] | None = None) -> News:
    found = news_of(type, "shop", MOVE if data is None else data, AT)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("type", "data", "occasion", "title"),
    [
        ("switch", MOVE, Occasion.SWITCHED, "shop: green (v2) is live"),
        ("rollback", MOVE, Occasion.ROLLED_BACK, "shop: rolled back to green (v2) by ci"),
        (
            "auto_rollback",
            MOVE,
            Occasion.AUTO_ROLLBACK,
            "shop: rolled back to green (v2) by itself",
        ),
        (
            "hold",
            {"deployment": 7, "environment": "green", "cause": "both_failing"},
            Occasion.HOLD,
            "shop: both environments fail, and nothing was rolled back",
        ),
        (
            "hold",
            {"deployment": 7, "environment": "green", "cause": "gone"},
            Occasion.HOLD,
            "shop: green does harm, and nothing was rolled back",
        ),
        (
            "refused",
            {"deployment": 7, "detail": "x"},
            Occasion.FAILED,
            "shop: deployment 7 failed, nothing was switched",
        ),
        (
            "drained",
            DRAINED | {"status": "timed_out"},
            Occasion.DRAIN_TIMED_OUT,
            "shop: the drain of blue timed out, 3 were closed",
        ),
        ("locked", {"actor": "ann"}, Occasion.LOCKED, "shop: locked by ann"),
        ("unlocked", {"actor": "ann"}, Occasion.UNLOCKED, "shop: may be switched again"),
        (
            "held",
            {"deployment": 7, "to": "green", "release": ""},
            Occasion.APPROVAL_WANTED,
            "shop: the switch to green waits for an approval (bgproxy approve --deployment 7)",
        ),
    ],
)
def test_events_become_one_sentence(
    type: str, data: dict[str, Any], occasion: Occasion, title: str
) -> None:
    """For every occasion that there is."""
    found = news(type, data)
    assert (found.occasion, found.title) == (occasion, title)


@pytest.mark.parametrize("type", ["health", "bake_progress", "finished", "pause"])
def test_most_events_are_no_news(type: str) -> None:
    """Nor is a drain that went well."""
    assert news_of(type, "shop", {}, AT) is None
    assert news_of("drained", "shop", DRAINED | {"status": "drained"}, AT) is None


def test_the_same_thing_has_the_same_key() -> None:
    """However often it is looked at; another deployment has another."""
    assert news().key == news().key
    assert news().key != news("switch", MOVE | {"deployment": 8}).key
    assert news().key != news("rollback").key


def test_receivers_choose_occasions_and_services() -> None:
    """A test is for everybody."""
    picky = Notification("x", Channel.JSON, "http://x", occasions=MOVES, services=("shop", "blog"))
    assert picky.wants(news())
    assert not picky.wants(news("locked", {"actor": "ann"}))
    elsewhere = news_of("switch", "other", MOVE, AT)
    assert elsewhere is not None
    assert not picky.wants(elsewhere)
    assert picky.wants(trial_news("ann", AT))


def test_nothing_of_a_receiver_is_shown_by_mistake() -> None:
    """A webhook's URL is a password."""
    notification = Notification("x", Channel.SLACK, "https://hooks/T0/B0/xyz", token="secret")
    assert "xyz" not in repr(notification)
    assert "secret" not in repr(notification)


def test_slack_gets_a_text_and_blocks_that_mention_nobody() -> None:
    """Its three special characters are escaped."""
    document = message(Channel.SLACK, news())
    assert document["text"] == "shop: green (v2) is live"
    section, context = document["blocks"]
    assert section["type"] == "section"
    assert section["text"]["type"] == "mrkdwn"
    assert "*reason*: a &lt;b&gt; &amp; c" in section["text"]["text"]
    assert context["elements"][0]["text"].endswith(AT)


def test_teams_gets_an_adaptive_card() -> None:
    """In the envelope that a workflow takes."""
    document = message(Channel.TEAMS, news())
    (attachment,) = document["attachments"]
    assert document["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, facts = card["body"]
    assert title["text"].endswith("shop: green (v2) is live")
    assert {"title": "release", "value": "v2"} in facts["facts"]


def test_discord_gets_an_embed_within_its_bounds() -> None:
    """Nobody is mentioned, nothing is longer than it takes."""
    document = message(Channel.DISCORD, news("switch", MOVE | {"reason": "x" * 5000}))
    assert document["allowed_mentions"] == {"parse": []}
    (embed,) = document["embeds"]
    assert len(embed["title"]) <= 256
    assert all(len(field["value"]) <= 1024 for field in embed["fields"])
    assert embed["timestamp"] == AT


def test_json_tells_all_there_is() -> None:
    """With the key by which a repeated one is known."""
    document = message(Channel.JSON, news())
    assert document["event"] == "switched"
    assert document["key"] == "shop-7-switched"
    assert document["facts"]["release"] == "v2"


def test_grafana_gets_an_annotation() -> None:
    """In milliseconds, with tags to filter by, at its own path."""
    document = message(Channel.GRAFANA, news())
    assert document["time"] == 1795521600250
    assert document["tags"] == ["bgproxy", "switched", "service:shop"]
    assert destination(Channel.GRAFANA, "https://grafana/") == "https://grafana/api/annotations"
    assert destination(Channel.SLACK, "https://hooks/x") == "https://hooks/x"


@pytest.mark.parametrize("channel", list(Channel))
def test_every_channel_takes_a_test(channel: Channel) -> None:
    """It belongs to no service."""
    text = json.dumps(message(channel, trial_news("ann", AT)))
    assert "this is a test" in text


def test_moods_are_told_apart_everywhere() -> None:
    """An automatic rollback does not look like a switch."""
    good, bad = news("switch"), news("auto_rollback")
    assert (good.mood, bad.mood) == (Mood.GOOD, Mood.BAD)
    for channel in (Channel.SLACK, Channel.TEAMS, Channel.DISCORD):
        assert message(channel, good) != message(channel, bad)
