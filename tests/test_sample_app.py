"""The sample application that demos and examples stand on."""

from __future__ import annotations

import socket

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bgproxy.sample_app import SampleApp, main


@pytest.fixture
async def client():
    async with TestClient(TestServer(SampleApp("green", "v2").build())) as connected:
        yield connected


async def test_home_says_who_answers_and_counts(client):
    """One line for curl, with a number that grows."""
    first = await (await client.get("/")).text()
    second = await (await client.get("/")).text()
    assert first.startswith("green v2  process ")
    assert (first.split()[-1], second.split()[-1]) == ("1", "2")


async def test_home_is_a_page_for_browsers(client):
    """Who asks for HTML gets a page that names color and release."""
    response = await client.get("/", headers={"Accept": "text/html,*/*"})
    assert response.content_type == "text/html"
    assert "<h1>green</h1><p>release v2," in await response.text()
    assert response.headers["X-Color"] == "green"


async def test_names_are_escaped_on_the_page():
    """A release name is text, whatever is in it."""
    async with TestClient(TestServer(SampleApp("blue", "<b>").build())) as client:
        page = await (await client.get("/", headers={"Accept": "text/html"})).text()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


async def test_fails_exactly_the_share_that_was_asked_for(client):
    """A quarter is every fourth answer, 0 ends it, and health checks never fail."""
    assert (await client.post("/fail?share=0.25")).status == 200
    statuses = [(await client.get("/")).status for _ in range(8)]
    assert statuses == [200, 200, 200, 500] * 2
    assert (await client.get("/healthz")).status == 200
    await client.post("/fail?share=0")
    assert {(await client.get("/")).status for _ in range(8)} == {200}


@pytest.mark.parametrize("target", ["/slow?seconds=x", "/slow?seconds=-1", "/slow?seconds=1e9"])
async def test_refuses_numbers_that_make_no_sense(client, target):
    """400, with what would be right."""
    response = await client.get(target)
    assert response.status == 400
    assert "a number from 0 to 600" in await response.text()


async def test_slow_answers_as_home_does(client):
    """The same answer, only later."""
    assert "green v2" in await (await client.get("/slow?seconds=0.01")).text()


async def test_events_come_one_by_one(client):
    """The first event is there at once, long before the stream ends."""
    async with client.get("/events") as response:
        assert response.content_type == "text/event-stream"
        assert await response.content.readuntil(b"\n\n") == b"id: 1\ndata: green v2 event 1\n\n"


async def test_websocket_sends_back_what_it_gets(client):
    """Text with the color before it, bytes as they are."""
    async with client.ws_connect("/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "green v2: hello"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


def test_a_port_that_is_taken_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """With what to do about it, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        monkeypatch.setattr("sys.argv", ["sample_app", "--port", str(port)])
        with pytest.raises(SystemExit) as caught:
            main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert f"('127.0.0.1', {port}): address already in use\n" in said
    assert "Traceback" not in said
    assert "another --port" in said
