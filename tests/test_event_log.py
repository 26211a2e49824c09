"""The event log's two forms, and what never stands in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bgproxy import event_log
from bgproxy.controlplane import events


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_json_lines_where_nobody_looks() -> None:
    """Time, level and event first, then the facts."""
    stream = io.StringIO()
    event_log.configure(stream)
    structlog.get_logger("x").info("switch", service="default", generation=3)
    (line,) = _lines(stream)
    assert list(line)[:3] == ["at", "level", "event"]
    assert str(line["at"]).endswith("Z")
    assert (line["event"], line["service"], line["generation"]) == ("switch", "default", 3)


def test_what_libraries_log_has_the_same_form() -> None:
    """One stream, one form."""
    stream = io.StringIO()
    event_log.configure(stream)
    logging.getLogger("aiohttp.server").error("broken: %s", "pipe")
    (line,) = _lines(stream)
    assert (line["event"], line["level"]) == ("broken: pipe", "error")


def test_secrets_are_hidden() -> None:
    """By name, at any depth, and whatever an exception's frames hold."""
    stream = io.StringIO()
    event_log.configure(stream)
    log = structlog.get_logger("x")
    log.info("a", token="s3cret", deep={"Authorization": "s3cret", "list": [{"secret": "s3cret"}]})
    try:
        token = "s3cret"
        raise ValueError(len(token))
    except ValueError:
        log.exception("b")
    assert "s3cret" not in stream.getvalue()
    assert [line["event"] for line in _lines(stream)] == ["a", "b"]


def test_a_level_leaves_out_what_is_below_it() -> None:
    """Ours and the libraries'."""
    stream = io.StringIO()
    event_log.configure(stream, level="warning")
    structlog.get_logger("x").info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in _lines(stream)] == ["loud"]


def test_people_get_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """With colors on a terminal, unless they are not wanted."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    with_colors, without = Terminal(), Terminal()
    event_log.configure(with_colors)
    structlog.get_logger("x").info("switch", service="default")
    monkeypatch.setenv("NO_COLOR", "1")
    event_log.configure(without)
    structlog.get_logger("x").info("switch", service="default")
    assert "\x1b[" in with_colors.getvalue()
    assert "switch" in without.getvalue()
    assert "\x1b[" not in without.getvalue()


def test_a_line_about_a_service_says_its_generation() -> None:
    """Whoever logs it, unless it says one itself; where there is no such service, none."""
    stream = io.StringIO()
    event_log.configure(stream)
    event_log.name_generations({"default": 7}.get)
    log = structlog.get_logger("x")
    log.info("a", service="default")
    log.info("b", service="default", generation=6)
    log.info("c", service="")
    log.info("d", service="gone")
    event_log.name_generations(None)
    log.info("e", service="default")
    assert [line.get("generation") for line in _lines(stream)] == [7, 6, None, None, None]


def test_an_event_has_the_level_that_it_deserves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What people should look at stands out from what went as planned."""
    stream = io.StringIO()
    event_log.configure(stream)
    monkeypatch.setattr(events, "_log", structlog.get_logger("x"))
    for type in ("switch", "auto_rollback", "fail_open"):
        events.EventHub().publish(type, "default", to="green")
    lines = [(line["event"], line["level"], line["service"]) for line in _lines(stream)]
    assert lines == [
        ("switch", "info", "default"),
        ("auto_rollback", "warning", "default"),
        ("fail_open", "error", "default"),
    ]
