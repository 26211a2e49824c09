"""The admin API over real sockets, with a pretended control plane behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bgproxy.controlplane import door as door_module
from bgproxy.controlplane.schemas import AuditDocument, DeploymentDocument, ServiceDocument
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from tests.admin_double import Admin, deployment

SWITCH = "/v1/services/default/switch"
NO_DURATION = "'5x' is not a duration; write a number and its unit, such as 250ms, 1.5s, 5m or 1h"


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin() as running:
        yield running


@pytest.fixture
async def http(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(admin.url) as session:
        yield session


async def _problem(response: aiohttp.ClientResponse, status: int, kind: str) -> dict[str, Any]:
    document: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert (response.status, document["status"]) == (status, status)
    assert document["type"] == f"urn:bgproxy:problem:{kind}"
    assert document["title"]
    assert document["detail"]
    return document


async def test_services_are_listed_and_shown(http: aiohttp.ClientSession) -> None:
    """Both reads give the SERVICE document, and its ETag is the generation."""
    async with http.get("/v1/services") as response:
        (listed,) = (await response.json())["services"]
    async with http.get("/v1/services/default") as response:
        shown = await response.json()
        assert response.headers["ETag"] == '"1"'
    assert listed == shown
    ServiceDocument.model_validate(shown)


@pytest.mark.parametrize("path", ["", "/history", "/audit", "/diff", "/timeline", "/deployments/1"])
async def test_an_unknown_service_is_404(http: aiohttp.ClientSession, path: str) -> None:
    """Every read of a service says so when there is none of that name."""
    async with http.get(f"/v1/services/nothing{path}") as response:
        await _problem(response, 404, "unknown-service")


async def test_a_switch_passes_everything_on(admin: Admin, http: aiohttp.ClientSession) -> None:
    """All members of the body reach the coordinator, with who asked."""
    body = {
        "to": "green",
        "verify": False,
        "force": True,
        "wait": "drained",
        "reason": "release 2",
        "expected_generation": 1,
        "release": "v2",
        "irreversible": "dropped a column",
    }
    async with http.post(SWITCH, json=body) as response:
        assert response.status == 200
        DeploymentDocument.model_validate(await response.json())
    expected = {**body, "to": Color.GREEN, "hold": None, "actor": "local"}
    assert admin.operations.calls == [("switch", expected)]


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_switch_needs_no_body(
    admin: Admin, http: aiohttp.ClientSession, body: bytes
) -> None:
    """Nothing said means: to the idle one, verified, answered when applied."""
    headers = {"Content-Type": "application/json"} if body else {}
    async with http.post(SWITCH, data=body, headers=headers) as response:
        assert response.status == 200
    ((_, asked),) = admin.operations.calls
    assert (asked["to"], asked["verify"], asked["force"]) == (None, True, False)
    assert asked["wait"] == "applied"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"too": "green"}, "too"),
        ({"to": "red"}, "to"),
        ({"verify": "yes"}, "verify"),
        ({"wait": "long"}, "wait"),
        ({"expected_generation": 0}, "expected_generation"),
        ({"expected_generation": "1"}, "expected_generation"),
        ([], ""),
    ],
)
async def test_a_body_that_does_not_fit_is_422(
    admin: Admin, http: aiohttp.ClientSession, body: object, path: str
) -> None:
    """Unknown keys, wrong types and wrong values are named, and nothing is switched."""
    async with http.post(SWITCH, json=body) as response:
        document = await _problem(response, 422, "invalid")
    assert [fault["path"] for fault in document["errors"]] == [path]
    assert admin.operations.calls == []


@pytest.mark.parametrize(
    ("action", "body", "told"),
    [
        ("switch", {"too": "green"}, "too: is not a known key (did you mean to?)"),
        ("switch", {"zzzz": 1}, "zzzz: is not a known key"),
        ("switch", {"to": "red"}, "to: must be 'blue' or 'green'"),
        ("switch", [], "body: must be a JSON object"),
        ("pause", {"timeout": "5x"}, f"timeout: {NO_DURATION}"),
    ],
)
async def test_a_body_that_does_not_fit_is_told_in_plain_words(
    http: aiohttp.ClientSession, action: str, body: object, told: str
) -> None:
    """A client need not know what checks its body."""
    async with http.post(SWITCH.replace("switch", action), json=body) as response:
        document = await _problem(response, 422, "invalid")
    assert document["detail"] == told


@pytest.mark.parametrize("raw", [b"{", b'{"to": NaN}', b'{"to": "blue", "to": "green"}', b"\xff"])
async def test_what_is_not_json_is_400(http: aiohttp.ClientSession, raw: bytes) -> None:
    """Broken JSON, and JSON that two readers could read differently."""
    headers = {"Content-Type": "application/json"}
    async with http.post(SWITCH, data=raw, headers=headers) as response:
        await _problem(response, 400, "malformed-json")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_bodies_must_be_declared_as_json(
    http: aiohttp.ClientSession, content_type: str
) -> None:
    """A form of a foreign page cannot pass for a change."""
    headers = {"Content-Type": content_type}
    async with http.post(SWITCH, data=b"{}", headers=headers) as response:
        await _problem(response, 415, "unsupported-media-type")


async def test_a_large_body_is_413(http: aiohttp.ClientSession) -> None:
    """Bodies have a bound."""
    async with http.post(SWITCH, json={"reason": "x" * 100_000}) as response:
        await _problem(response, 413, "body-too-large")


async def test_a_slow_body_is_408(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come does not hold a handler for ever."""
    monkeypatch.setattr("bgproxy.controlplane.requests.BODY_TIMEOUT", 0.05)
    reader, writer = await _connect(admin)
    writer.write(
        b"POST /v1/services/default/switch HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def _connect(admin: Admin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = admin.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_refusal_is_a_problem_with_its_facts(
    admin: Admin, http: aiohttp.ClientSession
) -> None:
    """What the coordinator found is told: kind, detail and facts."""
    facts = {"backends": [{"url": "http://127.0.0.1:9002", "answered": "503"}]}
    admin.operations.refusal = Refused(409, "target-not-healthy", "green is not healthy.", facts)
    async with http.post(SWITCH, json={}) as response:
        document = await _problem(response, 409, "target-not-healthy")
    assert document["backends"] == facts["backends"]
    assert document["title"] == "The target is not healthy"


async def test_a_mistake_of_ours_is_500_without_its_details(
    admin: Admin, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception is logged, not shown."""

    def fail(_name: str) -> dict[str, Any]:
        raise RuntimeError("inner detail")

    monkeypatch.setattr(admin.operations, "service", fail)
    async with http.get("/v1/services/default") as response:
        document = await _problem(response, 500, "internal")
    assert "inner detail" not in json.dumps(document)


async def test_an_old_expected_generation_is_409(http: aiohttp.ClientSession) -> None:
    """The body's precondition."""
    async with http.post(SWITCH, json={"expected_generation": 7}) as response:
        document = await _problem(response, 409, "generation-mismatch")
    assert document["generation"] == 1


@pytest.mark.parametrize("field", ["7", '"1", "2"', "", '"'])
async def test_an_if_match_that_is_none_is_422(http: aiohttp.ClientSession, field: str) -> None:
    """One ETag, or a star."""
    async with http.post(SWITCH, json={}, headers={"If-Match": field}) as response:
        await _problem(response, 422, "invalid")


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_an_idempotency_key_has_a_sane_length(http: aiohttp.ClientSession, key: str) -> None:
    """They are remembered."""
    async with http.post(SWITCH, json={}, headers={"Idempotency-Key": key}) as response:
        await _problem(response, 422, "invalid")


@pytest.mark.parametrize("field", ['"7"', '"x"', 'W/"1"', '""'])
async def test_an_if_match_that_does_not_match_is_412(
    http: aiohttp.ClientSession, field: str
) -> None:
    """The header's precondition has the header's status."""
    async with http.post(SWITCH, json={}, headers={"If-Match": field}) as response:
        await _problem(response, 412, "generation-mismatch")


@pytest.mark.parametrize(("field", "expected"), [('"1"', 1), ("*", None)])
async def test_an_if_match_that_matches_switches(
    admin: Admin, http: aiohttp.ClientSession, field: str, expected: int | None
) -> None:
    """The ETag of a service stands for its generation."""
    async with http.post(SWITCH, json={}, headers={"If-Match": field}) as response:
        assert response.status == 200
    assert admin.operations.calls[0][1]["expected_generation"] == expected


async def test_two_preconditions_must_agree(http: aiohttp.ClientSession) -> None:
    """A body and a header that name different generations are a mistake."""
    headers = {"If-Match": '"1"'}
    async with http.post(SWITCH, json={"expected_generation": 2}, headers=headers) as response:
        await _problem(response, 422, "invalid")


async def test_an_idempotency_key_makes_a_change_happen_once(
    admin: Admin, http: aiohttp.ClientSession
) -> None:
    """The same request with the same key gets the same answer, and nothing happens again."""
    headers = {"Idempotency-Key": "a"}
    answers = []
    for _ in range(2):
        async with http.post(SWITCH, json={"to": "green"}, headers=headers) as response:
            answers.append((await response.json(), response.headers.get("Idempotency-Replayed")))
    assert len(admin.operations.calls) == 1
    assert answers[0][0] == answers[1][0]
    assert [replayed for _, replayed in answers] == [None, "true"]


async def test_an_idempotency_key_repeats_a_refusal_too(
    admin: Admin, http: aiohttp.ClientSession
) -> None:
    """A change that was refused is not tried again under its key."""
    admin.operations.refusal = Refused(409, "already-active", "green is active already.")
    headers = {"Idempotency-Key": "a"}
    for _ in range(2):
        async with http.post(SWITCH, json={}, headers=headers) as response:
            await _problem(response, 409, "already-active")
    assert len(admin.operations.calls) == 1


async def test_an_idempotency_key_is_for_one_request(http: aiohttp.ClientSession) -> None:
    """The same key with another body is a mistake of the client."""
    headers = {"Idempotency-Key": "a"}
    async with http.post(SWITCH, json={"to": "green"}, headers=headers) as response:
        assert response.status == 200
    async with http.post(SWITCH, json={"to": "blue"}, headers=headers) as response:
        await _problem(response, 422, "idempotency-key-reused")


async def test_a_client_that_goes_away_does_not_end_its_change(admin: Admin) -> None:
    """Who retries with the same key joins the change that is under way."""
    admin.operations.gate = asyncio.Event()
    request = (
        b"POST /v1/services/default/switch HTTP/1.1\r\nHost: localhost\r\n"
        b"Idempotency-Key: k\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    _, first = await _connect(admin)
    first.write(request)
    await admin.operations.called.wait()
    first.transport.abort()
    reader, second = await _connect(admin)
    second.write(request)
    admin.operations.gate.set()
    answer = await reader.read()
    second.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(admin.operations.calls) == 1


async def test_rollback_verify_pause_resume(admin: Admin, http: aiohttp.ClientSession) -> None:
    """Each reaches its operation with what the body says, in the right units."""
    base = "/v1/services/default"
    for path, body in (
        ("rollback", {"reason": "errors", "wait": "drained", "force": True}),
        ("verify", {"environment": "green"}),
        ("pause", {"timeout": "500ms"}),
        ("resume", {}),
    ):
        async with http.post(f"{base}/{path}", json=body) as response:
            assert response.status == 200, await response.text()
    rollback, verify, pause, resume = admin.operations.calls
    assert rollback[1]["reason"] == "errors"
    assert rollback[1]["wait"] == "drained"
    assert rollback[1]["force"] is True
    assert verify == ("verify", {"color": Color.GREEN, "actor": "local"})
    assert pause == ("pause", {"timeout": 0.5, "actor": "local"})
    assert resume == ("resume", {"actor": "local"})


@pytest.mark.parametrize("timeout", ["0s", "soon", -1, "2h", True, None])
async def test_a_pause_has_a_sane_end(http: aiohttp.ClientSession, timeout: object) -> None:
    """A time-out that is none, or too long, is refused."""
    async with http.post("/v1/services/default/pause", json={"timeout": timeout}) as response:
        await _problem(response, 422, "invalid")


async def test_backends_are_set(admin: Admin, http: aiohttp.ClientSession) -> None:
    """The environment comes from the path, the rest from the body."""
    path = "/v1/services/default/environments/green/backends"
    body = {"backends": ["http://127.0.0.1:9003"], "release": "v3", "force": True}
    async with http.put(path, json=body) as response:
        assert response.status == 200
        assert response.headers["ETag"] == '"1"'
    ((_, asked),) = admin.operations.calls
    assert asked == {**body, "color": Color.GREEN, "actor": "local"}


async def test_an_unknown_environment_is_404(http: aiohttp.ClientSession) -> None:
    """There are two."""
    path = "/v1/services/default/environments/red/backends"
    async with http.put(path, json={"backends": ["http://127.0.0.1:9003"]}) as response:
        await _problem(response, 404, "unknown-environment")


async def test_history_and_deployments(http: aiohttp.ClientSession) -> None:
    """The list, and one of its rows."""
    async with http.get("/v1/services/default/history?limit=1") as response:
        assert (await response.json())["deployments"] == [deployment()]
    async with http.get("/v1/services/default/deployments/1") as response:
        assert await response.json() == deployment()
    async with http.get("/v1/services/default/deployments/2") as response:
        await _problem(response, 404, "unknown-deployment")


@pytest.mark.parametrize("path", ["/v1/services/default/audit", "/v1/audit"])
async def test_the_audit_trail_is_shown(http: aiohttp.ClientSession, path: str) -> None:
    """Who, from where, what, before and after; of one service or of all."""
    async with http.get(f"{path}?limit=5") as response:
        document = await response.json()
    AuditDocument.model_validate(document)
    assert document["audit"][0]["actor"] == "local"
    assert document["audit"][0]["origin"] == "uid 0, pid 1"


@pytest.mark.parametrize("limit", ["0", "501", "x", "-1", "1.5", "", "9" * 30, "²"])
async def test_limits_are_checked(http: aiohttp.ClientSession, limit: str) -> None:
    """A limit out of range is the client's mistake, not ours."""
    async with http.get("/v1/services/default/history", params={"limit": limit}) as response:
        await _problem(response, 422, "invalid")


async def test_health_and_readiness(admin: Admin, http: aiohttp.ClientSession) -> None:
    """Alive is always 200; ready is 503 with the reason when it is not."""
    async with http.get("/healthz") as response:
        assert await response.json() == {"status": "ok"}
    async with http.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    admin.operations.ready = (False, "worker 1 has no table yet")
    async with http.get("/readyz") as response:
        assert response.headers["Retry-After"] == "1"
        assert (await _problem(response, 503, "not-ready"))["detail"] == "worker 1 has no table yet"


async def test_unknown_paths_are_404(http: aiohttp.ClientSession) -> None:
    """As problems, like everything else."""
    async with http.get("/v2/services") as response:
        await _problem(response, 404, "not-found")


async def test_other_methods_are_405_with_allow(http: aiohttp.ClientSession) -> None:
    """The answer says which methods there are."""
    async with http.get(SWITCH) as response:
        await _problem(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == "POST"
    async with http.delete("/v1/services/default") as response:
        assert response.headers["Allow"] == "GET, HEAD"


async def test_answers_carry_security_fields(http: aiohttp.ClientSession) -> None:
    """Browsers are told not to sniff, frame, cache or hand on."""
    for path in ("/healthz", "/v1/services", "/nothing"):
        async with http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["Server"] == "bgproxy"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_garbage_is_refused_and_not_logged(
    admin: Admin, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever somebody sends to the port: a problem document for them, and a readable log."""
    reader, writer = await _connect(admin)
    writer.write(garbage)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    for field in (b"Content-Type: application/problem+json", b"Server: bgproxy"):
        assert field in head
    assert json.loads(body)["type"] == "urn:bgproxy:problem:malformed-request"
    assert len(body) < 500, "what was sent is not sent back"
    assert not caplog.records


async def test_connections_over_the_bound_are_refused(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hear why, at once."""
    monkeypatch.setattr(door_module, "MAX_CONNECTIONS", 1)
    served, first = await _connect(admin)
    first.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await served.readuntil(b"}")
    reader, second = await _connect(admin)
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    first.close()
    second.close()


async def test_stopping_ends_waits_and_streams(admin: Admin, http: aiohttp.ClientSession) -> None:
    """A stop does not wait for a bake, nor for event streams; whoever waits is told the state."""
    admin.operations.gate = asyncio.Event()
    waiting = asyncio.ensure_future(http.post(SWITCH, json={"wait": "finished"}))
    stream = await http.get("/v1/events")
    await admin.operations.called.wait()
    async with asyncio.timeout(10):
        await admin.server.stop()
        document = await _problem(await waiting, 503, "stopping")
        await stream.read()
    assert (document["active"], document["generation"]) == ("blue", 1)
