"""The keys of notifications: what they become, and what they refuse."""

from __future__ import annotations

import pytest

from bgproxy.config.describe import describe
from bgproxy.domain.notifications import MOVES, TOLD, Channel, Notification, Occasion
from tests.config.files import SERVICE, fault, load

URL = "https://hooks.example.com/T0/secret-part"


def test_notifications_are_taken_over() -> None:
    """Names come from the kind; Grafana is told of moves only, unless told otherwise."""
    text = (
        'notifications:\n  - {kind: slack, url: "${HOOK}", services: [default]}\n'
        '  - {kind: grafana, url: "http://grafana:3000", token: "${KEY}"}\n'
        '  - {kind: json, name: log, url: "http://127.0.0.1:1/", events: [locked], attempts: 1}\n'
    )
    settings = load(text + SERVICE, HOOK=URL, KEY="glsa_123")
    assert settings.notifications == (
        Notification("slack", Channel.SLACK, URL, occasions=TOLD, services=("default",)),
        Notification(
            "grafana", Channel.GRAFANA, "http://grafana:3000", "glsa_123", occasions=MOVES
        ),
        Notification(
            "log", Channel.JSON, "http://127.0.0.1:1/", occasions=(Occasion.LOCKED,), attempts=1
        ),
    )
    assert "secret-part" not in describe(settings)


@pytest.mark.parametrize(
    ("notification", "problem"),
    [
        ('{kind: irc, url: "http://x"}', "'irc' is not known here"),
        ("{kind: slack, url: nonsense}", "this is not a URL that can be called"),
        ('{kind: grafana, url: "http://x"}', "Grafana takes annotations only with a token"),
        ('{kind: json, url: "http://x", events: [lunch]}', "'lunch' is not known here"),
        ('{kind: json, url: "http://x", services: [shop]}', "there is no service 'shop'"),
        (
            '{kind: json, url: "http://x"}, {kind: json, url: "http://y"}',
            "two notifications are named 'json'",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(notification: str, problem: str) -> None:
    """With its place."""
    found = fault(f"notifications: [{notification}]\n{SERVICE}")
    assert found.problem == problem
    assert found.line == 1
