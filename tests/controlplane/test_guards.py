"""Who is let in to the admin API, and who is not."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bgproxy.config.settings import Address, Role, Token
from bgproxy.controlplane import auth
from tests.admin_double import TOKENS, Admin, tokens

BASE = "/v1/services/default"
NEEDED = {
    ("GET", "/metrics"): Role.READ,
    ("GET", "/openapi.json"): Role.READ,
    ("GET", "/v1/services"): Role.READ,
    ("GET", BASE): Role.READ,
    ("GET", f"{BASE}/history"): Role.READ,
    ("GET", f"{BASE}/deployments/1"): Role.READ,
    ("GET", f"{BASE}/audit"): Role.READ,
    ("GET", "/v1/audit"): Role.READ,
    ("GET", f"{BASE}/diff"): Role.READ,
    ("GET", f"{BASE}/timeline"): Role.READ,
    ("GET", "/v1/events"): Role.READ,
    ("GET", "/v1/requests/a"): Role.READ,
    ("POST", f"{BASE}/rollback"): Role.ROLLBACK,
    ("POST", f"{BASE}/switch"): Role.SWITCH,
    ("POST", f"{BASE}/verify"): Role.SWITCH,
    ("POST", f"{BASE}/plan"): Role.SWITCH,
    ("POST", f"{BASE}/pause"): Role.SWITCH,
    ("POST", f"{BASE}/resume"): Role.SWITCH,
    ("POST", f"{BASE}/maintenance"): Role.ADMIN,
    ("POST", f"{BASE}/lock"): Role.SWITCH,
    ("POST", f"{BASE}/unlock"): Role.SWITCH,
    ("POST", f"{BASE}/approve"): Role.SWITCH,
    ("POST", f"{BASE}/reject"): Role.SWITCH,
    ("POST", "/v1/notifications/test"): Role.ADMIN,
    ("PUT", f"{BASE}/environments/green/backends"): Role.SWITCH,
}
LADDER = (Role.READ, Role.ROLLBACK, Role.SWITCH, Role.ADMIN)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin(tokens=tokens()) as running:
        yield running


@pytest.fixture
async def http(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(admin.url) as session:
        yield session


def _concrete(path: str) -> str:
    for name, value in (("{name}", "default"), ("{id}", "1"), ("{request}", "a")):
        path = path.replace(name, value)
    return path


def _bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role]}"}


@pytest.mark.parametrize(("method", "path"), NEEDED)
async def test_every_route_asks_for_a_token(
    http: aiohttp.ClientSession, method: str, path: str
) -> None:
    """Without one, or with a wrong one, nothing is told and nothing is done."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        async with http.request(method, path, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="bgproxy"'


@pytest.mark.parametrize(("method", "path"), NEEDED)
async def test_roles_reach_as_far_as_they_say(
    admin: Admin, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    """Each role includes those before it, and none after it."""
    needed = LADDER.index(NEEDED[method, path])
    for place, role in enumerate(LADDER):
        async with http.request(method, path, headers=_bearer(role)) as response:
            assert (response.status == 403) == (place < needed), (role, response.status)


async def test_every_route_is_in_the_table_or_open(admin: Admin) -> None:
    """A new route cannot be forgotten here: what asks for no token is named."""
    open_paths = {"/healthz", "/readyz", "/", "/dashboard/{file}", "/favicon.ico"}
    asked = {
        (route.method, _concrete(route.path))
        for route in admin.server.routes
        if route.role is not None
    }
    named = {(m, p.replace("/green/", "/{environment}/")) for m, p in NEEDED}
    assert asked == named
    assert {r.path for r in admin.server.routes if r.role is None} == open_paths


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
async def test_what_holds_no_secret_is_open(http: aiohttp.ClientSession, path: str) -> None:
    """Probes of a platform, and the page that asks for the token."""
    async with http.get(path) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{BASE}/switch", {}),
        ("POST", f"{BASE}/rollback", {}),
        ("PUT", f"{BASE}/environments/green/backends", {"backends": ["http://10.0.0.1:80"]}),
    ],
)
async def test_force_is_an_admins(
    admin: Admin, http: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any]
) -> None:
    """What refuses unless it is forced is there for a reason."""
    for role in (Role.SWITCH, Role.ADMIN):
        for force in (False, True):
            asked = body | {"force": force}
            async with http.request(method, path, json=asked, headers=_bearer(role)) as response:
                is_forbidden = force and role is not Role.ADMIN
                assert (response.status == 403) == is_forbidden, await response.text()
    assert len(admin.operations.calls) == 3


async def test_the_token_names_the_actor(admin: Admin, http: aiohttp.ClientSession) -> None:
    """The history shows who it was."""
    async with http.post(f"{BASE}/switch", headers=_bearer(Role.SWITCH)) as response:
        assert (await response.json())["actor"] == "switch"


async def test_a_token_may_be_stored_as_its_digest() -> None:
    """The configuration need not hold the token itself."""
    digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    async with (
        Admin(tokens=(Token("ci", Role.READ, digest),)) as admin,
        aiohttp.ClientSession(admin.url) as http,
    ):
        for token, status in (("test", 200), (digest, 401)):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get("/v1/services", headers=headers) as response:
                assert response.status == status


async def test_too_many_wrong_tokens_are_slowed_down(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twentieth is answered 429, further ones late; a right token gets through."""
    monkeypatch.setattr(auth, "_FIRST_DELAY", 0.05)
    began = time.monotonic()
    answers = []
    for _ in range(22):
        async with http.get("/v1/services", headers={"Authorization": "Bearer x"}) as response:
            answers.append((response.status, int(response.headers.get("Retry-After", 0)) >= 1))
    assert answers == [(401, False)] * 19 + [(429, True)] * 3
    assert time.monotonic() - began > 0.1
    async with http.get("/v1/services", headers=_bearer(Role.READ)) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "a@localhost"]
)
async def test_foreign_hosts_are_refused(http: aiohttp.ClientSession, host: str) -> None:
    """A name that was rebound to this address is not one of its names; not even for probes."""
    for path in ("/healthz", "/", "/v1/services"):
        async with http.get(path, headers={"Host": host}) as response:
            assert response.status == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8081", "localhost.", "127.0.0.1", "127.0.0.2:1", "[::1]:8081"]
)
async def test_loopback_names_are_served(http: aiohttp.ClientSession, host: str) -> None:
    """With any port: forwarded ones are common."""
    async with http.get("/healthz", headers={"Host": host}) as response:
        assert response.status == 200


async def test_configured_names_are_served() -> None:
    """Others have to be named."""
    async with (
        Admin(allowed_hosts=("proxy.example",)) as admin,
        aiohttp.ClientSession(admin.url) as http,
    ):
        async with http.get("/healthz", headers={"Host": "Proxy.Example:8081"}) as response:
            assert response.status == 200
        async with http.get("/healthz", headers={"Host": "other.example"}) as response:
            assert response.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_changes_from_other_sites_are_refused(
    headers: dict[str, str],
) -> None:
    """Even where no token is needed, a page in the operator's browser must not switch."""
    async with Admin() as admin, aiohttp.ClientSession(admin.url) as http:
        async with http.post(f"{BASE}/switch", headers=headers) as response:
            assert response.status == 403
            document = await response.json(content_type=None)
            assert document["type"].endswith(":cross-site")
        assert admin.operations.calls == []


async def test_changes_from_the_own_page_are_taken() -> None:
    """The dashboard's own requests carry the same fields, with other values."""
    async with Admin() as admin, aiohttp.ClientSession(admin.url) as http:
        headers = {"Sec-Fetch-Site": "same-origin", "Origin": admin.url}
        async with http.post(f"{BASE}/switch", headers=headers) as response:
            assert response.status == 200


async def test_the_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    """Who can open it needs no token: its mode is the check."""
    path = tmp_path / "admin.sock"
    address = Address("", 0, str(path))
    async with Admin(listen=(address,), tokens=tokens()):
        assert path.stat().st_mode & 0o777 == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.post(f"http://localhost{BASE}/switch") as response,
        ):
            name = pwd.getpwuid(os.geteuid()).pw_name
            assert (await response.json())["actor"] == f"unix:{name}"
    assert not path.exists()


async def test_a_token_says_more_than_the_socket(tmp_path: Path) -> None:
    """Two people who share a user are told apart by their tokens; a wrong one is not ignored."""
    path = str(tmp_path / "admin.sock")
    connector = aiohttp.UnixConnector(path)
    async with (
        Admin(socket=path, tokens=tokens()),
        aiohttp.ClientSession(connector=connector) as http,
    ):
        url = f"http://localhost{BASE}/switch"
        async with http.post(url, headers=_bearer(Role.SWITCH)) as response:
            assert (await response.json())["actor"] == "switch"
        async with http.post(url, headers=_bearer(Role.READ)) as response:
            assert response.status == 403
        async with http.post(url, headers={"Authorization": "Bearer wrong"}) as response:
            assert response.status == 401


async def test_a_stale_unix_socket_is_replaced_and_a_served_one_is_not(tmp_path: Path) -> None:
    """A killed proxy leaves its socket behind; a living one keeps it."""
    path = tmp_path / "admin.sock"
    left = await asyncio.start_unix_server(lambda _r, w: w.close(), str(path))
    address = Address("", 0, str(path))
    with pytest.raises(OSError, match="another process"):
        async with Admin(listen=(address,)):
            pass
    left.close()
    path.unlink(missing_ok=True)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with Admin(listen=(address,)) as admin:
        assert admin.urls == [f"unix:{path}"]
