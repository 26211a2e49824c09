"""Telling people, against servers that record: once each, in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from bgproxy.controlplane import notifier as module
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.notifier import Notifier
from bgproxy.domain.notifications import Channel, Notification, Occasion

MOVE = {
    "deployment": 1,
    "generation": 2,
    "from": "blue",
    "to": "green",
    "release": "v2",
    "actor": "ci",
    "reason": "",
}


class Recorder:
    """A server that keeps what it is sent and answers with the next of `statuses`, else 200."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[str, dict[str, str], dict[str, Any]]] = asyncio.Queue()
        self.statuses: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(fields["Content-Length"]))
            self.got.put_nowait((head[0], fields, json.loads(body)))
            await self.gate.wait()
            status = self.statuses.pop(0) if self.statuses else 200
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        writer.close()

    async def next(self) -> tuple[str, dict[str, str], dict[str, Any]]:
        """What came next."""
        async with asyncio.timeout(10):
            return await self.got.get()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    await recorder.start()
    yield recorder
    recorder.stop()


@pytest.fixture
async def hub() -> EventHub:
    return EventHub()


@contextlib.asynccontextmanager
async def telling(hub: EventHub, *notifications: Notification) -> AsyncIterator[Notifier]:
    notifier = Notifier(hub)
    notifier.configure(notifications)
    notifier.start()
    await asyncio.sleep(0)  # it subscribes
    try:
        yield notifier
    finally:
        await notifier.stop()


async def until_counted(notifier: Notifier, name: str, outcome: str, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while notifier.counts[name, outcome] < count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def slack(url: str, **keys: Any) -> Notification:
    return Notification("ops", Channel.SLACK, f"{url}/T0/secret-part", **keys)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are not what is tested."""
    monkeypatch.setattr(module, "retry_pause", lambda attempt: 0.01)


async def test_a_switch_is_told_once(hub: EventHub, recorder: Recorder) -> None:
    """The same event again is no news; what is not wanted is not sent."""
    async with telling(hub, slack(recorder.url, occasions=(Occasion.SWITCHED,))) as notifier:
        hub.publish("locked", "shop", actor="ann", reason="x")
        hub.publish("switch", "shop", **MOVE)
        hub.publish("switch", "shop", **MOVE)
        hub.publish("switch", "shop", **MOVE | {"deployment": 2})
        line, fields, document = await recorder.next()
        assert line == "POST /T0/secret-part HTTP/1.1"
        assert fields["Idempotency-Key"] == "shop-1-switched"
        assert document["text"] == "shop: green (v2) is live"
        _, fields, _ = await recorder.next()
        assert fields["Idempotency-Key"] == "shop-2-switched"
        await until_counted(notifier, "ops", "sent", 2)
        assert recorder.got.empty()


async def test_what_does_not_arrive_is_tried_again_with_the_same_key(
    hub: EventHub, recorder: Recorder, quick_retries: None
) -> None:
    """429 and 5xx are; the receiver can tell that it is the same."""
    recorder.statuses = [503, 429]
    async with telling(hub, slack(recorder.url)) as notifier:
        hub.publish("switch", "shop", **MOVE)
        keys = {(await recorder.next())[1]["Idempotency-Key"] for _ in range(3)}
        assert keys == {"shop-1-switched"}
        await until_counted(notifier, "ops", "sent")


async def test_what_is_refused_for_good_is_logged_without_its_url(
    hub: EventHub, recorder: Recorder
) -> None:
    """A 404 does not get better; nothing secret is in the log."""
    recorder.statuses = [404]
    with structlog.testing.capture_logs() as logs:
        async with telling(hub, slack(recorder.url)) as notifier:
            hub.publish("switch", "shop", **MOVE)
            await until_counted(notifier, "ops", "failed")
    (lost,) = [line for line in logs if line["event"] == "notification_lost"]
    assert (lost["name"], lost["detail"]) == ("ops", "answered 404 X")
    assert "secret-part" not in json.dumps(logs)
    assert recorder.got.qsize() == 1


async def test_a_receiver_that_hangs_holds_up_nobody(
    hub: EventHub, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the others, not the events; a full queue drops and counts."""
    monkeypatch.setattr(module, "_MOST_QUEUED", 2)
    other = Recorder()
    await other.start()
    recorder.gate.clear()
    quick = Notification("quick", Channel.JSON, other.url)
    async with telling(hub, slack(recorder.url), quick) as notifier:
        hub.publish("switch", "shop", **MOVE)
        await recorder.next()  # it is in flight, and will not be answered
        await other.next()
        for number in range(2, 6):
            hub.publish("switch", "shop", **MOVE | {"deployment": number})
            await other.next()
        await until_counted(notifier, "ops", "dropped", 2)
        recorder.gate.set()
        await until_counted(notifier, "ops", "sent", 3)
    other.stop()


async def test_nobody_there_is_said_without_the_url(hub: EventHub, quick_retries: None) -> None:
    """A name that does not resolve, a port that refuses."""
    gone = Notification("gone", Channel.JSON, "http://127.0.0.1:1/secret-part", attempts=2)
    async with telling(hub, gone) as notifier:
        (result,) = (await notifier.test("ann"))["results"]
    assert (result["name"], result["kind"], result["sent"]) == ("gone", "json", False)
    assert result["answered"]
    assert "secret-part" not in result["answered"]


async def test_a_test_says_what_came_back(hub: EventHub, recorder: Recorder) -> None:
    """From each, Grafana with its token among them."""
    grafana = Notification("marks", Channel.GRAFANA, recorder.url, token="abc")
    recorder.statuses = [200, 401]
    async with telling(hub, slack(recorder.url), grafana) as notifier:
        results = (await notifier.test("ann"))["results"]
        sent = [await recorder.next(), await recorder.next()]
    assert sorted(one["answered"] for one in results) == [
        "answered 200 X",
        "answered 401 X",
    ]
    by_path = {line.split()[1]: fields for line, fields, _ in sent}
    assert by_path["/api/annotations"]["Authorization"] == "Bearer abc"
    assert "Authorization" not in by_path["/T0/secret-part"]


async def test_another_configuration_is_followed(hub: EventHub, recorder: Recorder) -> None:
    """One that stays goes on, one that is gone is told nothing, a new one is."""
    other = Recorder()
    await other.start()
    async with telling(hub, slack(recorder.url)) as notifier:
        notifier.configure((Notification("new", Channel.JSON, other.url),))
        hub.publish("switch", "shop", **MOVE)
        _, _, document = await other.next()
        assert document["event"] == "switched"
        await until_counted(notifier, "new", "sent")
        assert recorder.got.empty()
    other.stop()
