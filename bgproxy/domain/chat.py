"""Messages in the format of whoever takes them.

Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (text, blocks).
Teams: a workflow's "when a webhook request is received", an adaptive card in a message.
Discord: https://discord.com/developers/docs/resources/webhook (content, embeds).
Grafana: POST /api/annotations of its HTTP API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from bgproxy.domain.notifications import Channel, Mood, News

Document = dict[str, Any]

_SIGNS = {Mood.GOOD: "✅", Mood.NEUTRAL: "🔵", Mood.WARNING: "⚠️", Mood.BAD: "🔴"}
_CARD_COLORS = {
    Mood.GOOD: "Good",
    Mood.NEUTRAL: "Accent",
    Mood.WARNING: "Warning",
    Mood.BAD: "Attention",
}
_EMBED_COLORS = {
    Mood.GOOD: 0x2E7D32,
    Mood.NEUTRAL: 0x1565C0,
    Mood.WARNING: 0xF9A825,
    Mood.BAD: 0xC62828,
}
_MOST_TITLE = 256
_MOST_FACT = 1000
_MOST_SLACK_TEXT = 3000


def message(channel: Channel, news: News) -> Document:
    """The document that is sent."""
    return _FORMATS[channel](news)


def destination(channel: Channel, url: str) -> str:
    """Where it is sent: a webhook is the whole of it, Grafana has a path for annotations."""
    return f"{url.rstrip('/')}/api/annotations" if channel is Channel.GRAFANA else url


def _slack(news: News) -> Document:
    title = f"{_SIGNS[news.mood]} *{_escaped(news.title)}*"
    lines = [f"*{name}*: {_escaped(_cut(value, _MOST_FACT))}" for name, value in news.facts]
    text = "\n".join([title, *lines])[:_MOST_SLACK_TEXT]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    context = {"type": "context", "elements": [{"type": "mrkdwn", "text": f"bgproxy · {news.at}"}]}
    return {"text": _escaped(news.title), "blocks": [section, context]}


def _escaped(text: str) -> str:
    """Without what Slack reads as a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(news: News) -> Document:
    title = {
        "type": "TextBlock",
        "text": f"{_SIGNS[news.mood]} {news.title}",
        "weight": "Bolder",
        "wrap": True,
        "color": _CARD_COLORS[news.mood],
    }
    facts = [{"title": name, "value": _cut(value, _MOST_FACT)} for name, value in news.facts]
    facts.append({"title": "at", "value": news.at})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, {"type": "FactSet", "facts": facts}],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _discord(news: News) -> Document:
    fields = [
        {"name": name, "value": _cut(value, _MOST_FACT), "inline": len(value) < 40}
        for name, value in news.facts
    ]
    embed = {
        "title": _cut(f"{_SIGNS[news.mood]} {news.title}", _MOST_TITLE),
        "color": _EMBED_COLORS[news.mood],
        "fields": fields,
        "timestamp": news.at,
        "footer": {"text": "bgproxy"},
    }
    # What a reason says must call nobody.
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _json(news: News) -> Document:
    return {
        "event": str(news.occasion),
        "service": news.service or None,
        "title": news.title,
        "mood": str(news.mood),
        "at": news.at,
        "key": news.key,
        "facts": dict(news.facts),
    }


def _grafana(news: News) -> Document:
    facts = "\n".join(f"{name}: {value}" for name, value in news.facts)
    tags = ["bgproxy", str(news.occasion)]
    if news.service:
        tags.append(f"service:{news.service}")
    return {
        "time": int(datetime.fromisoformat(news.at).timestamp() * 1000),
        "tags": tags,
        "text": f"{news.title}\n{facts}".rstrip(),
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


_FORMATS: Mapping[Channel, Callable[[News], Document]] = {
    Channel.SLACK: _slack,
    Channel.TEAMS: _teams,
    Channel.DISCORD: _discord,
    Channel.JSON: _json,
    Channel.GRAFANA: _grafana,
}
