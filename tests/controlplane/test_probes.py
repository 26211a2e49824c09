"""Probes: what they send and what passes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bgproxy.controlplane.entries import BackendEntry
from bgproxy.controlplane.exchange import Exchanger, Place
from bgproxy.controlplane.probes import send_probe, show_status
from bgproxy.domain.model import Backend, HealthPolicy
from tests.controlplane.harness import FakeBackend


@pytest.fixture
async def exchanger() -> AsyncIterator[Exchanger]:
    """One that is closed afterwards."""
    exchanger = Exchanger()
    yield exchanger
    await exchanger.close()


@pytest.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    """A server that answers."""
    backend = FakeBackend()
    await backend.start()
    yield backend
    await backend.stop()


def entry_of(backend: FakeBackend, port: int = 0) -> BackendEntry:
    port = port or backend.port
    return BackendEntry(
        Backend.parse(f"http://localhost:{port}"), Place("http", "127.0.0.1", port), 0
    )


@pytest.mark.parametrize(
    ("policy", "status", "body", "passes", "detail"),
    [
        (HealthPolicy(), 200, b"", True, "200 X"),
        (HealthPolicy(), 302, b"", True, "302 X"),
        (HealthPolicy(), 404, b"", False, "404 X"),
        (HealthPolicy(), 503, b"", False, "503 X"),
        (HealthPolicy(expect_status=((200, 200), (404, 404))), 404, b"", True, "404 X"),
        (HealthPolicy(expect_status=((200, 200),)), 204, b"", False, "204 X"),
        (HealthPolicy(expect_body="ok"), 200, b"all ok", True, "200 X"),
        (HealthPolicy(expect_body="ok"), 200, b"no", False, "200 X, but its body lacks 'ok'"),
    ],
)
async def test_what_passes(
    exchanger: Exchanger,
    backend: FakeBackend,
    policy: HealthPolicy,
    status: int,
    body: bytes,
    passes: bool,
    detail: str,
) -> None:
    """Status and body as the policy says; the detail is what was answered."""
    backend.status, backend.body = status, body
    result = await send_probe(entry_of(backend), policy, "", exchanger)
    assert (result.has_passed, result.detail) == (passes, detail)
    assert result.at > 0


@pytest.mark.parametrize(
    ("policy", "plain_host", "expected"),
    [
        (HealthPolicy(), "", "localhost:{port}"),
        (HealthPolicy(), "shop.example", "shop.example"),
        (HealthPolicy(host="probe.example"), "shop.example", "probe.example"),
    ],
)
async def test_host_is_one_that_strict_applications_take(
    exchanger: Exchanger,
    backend: FakeBackend,
    policy: HealthPolicy,
    plain_host: str,
    expected: str,
) -> None:
    """The policy's, else the service's own, else the backend's address."""
    await send_probe(entry_of(backend), policy, plain_host, exchanger)
    assert backend.requests[0][1]["host"] == expected.format(port=backend.port)


async def test_path_port_and_fields_can_be_set(exchanger: Exchanger, backend: FakeBackend) -> None:
    """A probe may go to another port than the traffic."""
    policy = HealthPolicy(path="/live?x=1", port=backend.port, headers=(("X-Key", "k"),))
    result = await send_probe(entry_of(backend, port=1), policy, "", exchanger)
    assert result.has_passed
    line, fields = backend.requests[0]
    assert line == "GET /live?x=1 HTTP/1.1"
    assert fields["x-key"] == "k"


async def test_a_silent_backend_fails(exchanger: Exchanger, backend: FakeBackend) -> None:
    """With the time-out in its words."""
    backend.gate.clear()
    result = await send_probe(entry_of(backend), HealthPolicy(timeout=0.05), "", exchanger)
    assert (result.has_passed, result.detail) == (False, "no answer within 0.05 s")
    backend.gate.set()


@pytest.mark.parametrize(
    ("status", "phrase", "shown"),
    [(503, "", "503 Service Unavailable"), (200, "Fine", "200 Fine"), (799, "", "799")],
)
def test_statuses_can_be_shown(status: int, phrase: str, shown: str) -> None:
    """With their phrase where there is one."""
    assert show_status(status, phrase) == shown
