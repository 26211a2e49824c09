"""Event streams: format, resume, heartbeats, and what happens to those that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bgproxy.controlplane import live, sse
from bgproxy.controlplane.events import Event
from tests.admin_double import Admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin() as running:
        yield running


@pytest.fixture
async def http(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(admin.url) as session:
        yield session


async def _open(
    http: aiohttp.ClientSession, path: str = "/v1/events", **headers: str
) -> aiohttp.ClientResponse:
    """A stream whose beginning has arrived: from here on nothing is missed."""
    response = await http.get(path, headers=headers)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert await response.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
    return response


async def _next(response: aiohttp.ClientResponse) -> dict[str, Any]:
    block = (await response.content.readuntil(b"\n\n")).decode().rstrip()
    return dict(line.split(": ", 1) for line in block.split("\n"))


async def test_events_arrive_with_id_type_and_data(
    admin: Admin, http: aiohttp.ClientSession
) -> None:
    """One block for each event, its data one line of JSON."""
    stream = await _open(http)
    event = admin.events.publish("switch", "default", to="green", reason="two\nlines")
    found = await _next(stream)
    assert (found["id"], found["event"]) == (str(event.id), "switch")
    assert json.loads(found["data"]) == {
        "at": event.at,
        "service": "default",
        "to": "green",
        "reason": "two\nlines",
    }
    stream.close()


async def test_an_event_is_put_into_words_once_for_all(
    admin: Admin, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred subscribers cost a switch a hundred writes, not a hundred times everything."""
    rendered = []

    def render(event: Event) -> bytes:
        rendered.append(event.type)
        return b"data: {}\n\n"

    monkeypatch.setattr(sse, "render", render)
    streams = [await _open(http) for _ in range(5)]
    for type in ("switch", "drained"):
        admin.events.publish(type, "default")
    for stream in streams:
        for _ in range(2):
            await stream.content.readuntil(b"\n\n")
        stream.close()
    assert rendered == ["switch", "drained"]


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_is_resumed_after_the_last_event(
    admin: Admin, http: aiohttp.ClientSession, by_header: bool
) -> None:
    """What was missed comes first, then what is new."""
    first = admin.events.publish("switch", "default")
    admin.events.publish("drained", "default")
    if by_header:
        stream = await _open(http, **{"Last-Event-ID": str(first.id)})
    else:
        stream = await _open(http, f"/v1/events?after={first.id}")
    assert (await _next(stream))["event"] == "drained"
    admin.events.publish("rollback", "default")
    assert (await _next(stream))["event"] == "rollback"
    stream.close()


@pytest.mark.parametrize("id", ["x", "-1", "1" * 30])
async def test_an_id_that_is_none_is_422(http: aiohttp.ClientSession, id: str) -> None:
    """Ids are numbers."""
    async with http.get("/v1/events", headers={"Last-Event-ID": id}) as response:
        assert response.status == 422


async def test_silence_is_filled_with_heartbeats(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments, which clients ignore, keep the connection known to be alive."""
    monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
    stream = await _open(http)
    assert await stream.content.readuntil(b"\n\n") == b":\n\n"
    stream.close()


async def test_streams_have_a_bound(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is told so; a place that becomes free can be had again."""
    monkeypatch.setattr(sse, "MAX_SUBSCRIBERS", 1)
    monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
    stream = await _open(http)
    async with http.get("/v1/events") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
    stream.close()
    async with asyncio.timeout(5):
        while (again := await http.get("/v1/events")).status != 200:
            again.close()
    again.close()


async def test_a_subscriber_that_does_not_read_is_dropped(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed; nothing waits for it."""
    monkeypatch.setattr(sse, "WRITE_TIMEOUT", 0.05)
    host, _, port = admin.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"retry: 2000")
    for _ in range(200):
        admin.events.publish("health", "default", detail="x" * 100_000)
        await asyncio.sleep(0)
    connections = admin.server._runner.server
    assert connections is not None
    async with asyncio.timeout(10):
        while connections.connections:  # noqa: ASYNC110 - the server has nothing to wait on
            await asyncio.sleep(0.005)
    assert admin.server.subscribers == 0
    writer.close()


async def _live(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next view; events between are passed over."""
    while True:
        block = await _next(response)
        if block["event"] == "live":
            assert "id" not in block
            document: dict[str, Any] = json.loads(block["data"])
            return document


async def test_a_stream_shows_the_state_if_asked(admin: Admin, http: aiohttp.ClientSession) -> None:
    """At once, and each second, with the samples that are new."""
    stream = await _open(http, "/v1/events?live=default")
    first = await _live(stream)
    assert [service["name"] for service in first["services"]] == ["default"]
    times = [at for _ in range(3) for at in (await _live(stream))["timeline"]["at"]]
    assert times
    assert times == sorted(set(times))
    stream.close()


async def test_an_event_brings_the_state_with_it(
    admin: Admin, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page shows a rollback when it happens, not at the next beat."""
    monkeypatch.setattr(live, "EVERY", 30.0)
    stream = await _open(http, "/v1/events?live=*")
    assert (await _live(stream))["services"][0]["active"] == "blue"
    admin.operations.active = "green"
    admin.events.publish("switch", "default")
    assert (await _live(stream))["services"][0]["active"] == "green"
    stream.close()


async def test_a_stream_ends_with_the_service_it_shows(
    admin: Admin, http: aiohttp.ClientSession
) -> None:
    """A reload took it away; asked for again it is not found."""
    stream = await _open(http, "/v1/events?live=default")
    await _live(stream)
    admin.operations.names = []
    assert await stream.content.read() is not None
    assert (await http.get("/v1/events?live=default")).status == 404
    assert (await http.get("/v1/events?live=*&samples_after=x")).status == 422
