"""The admin API over TLS, and settings that change while it runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from bgproxy.client import AdminClient, UnreachableError
from bgproxy.config.settings import (
    Address,
    AdminSettings,
    CertificateFiles,
    ListenerTls,
    Role,
    Token,
)
from bgproxy.domain.tls import Certificate
from tests.admin_double import TOKENS, Admin, tokens

AUTHORITY = trustme.CA()


def _tls(**options: Any) -> ListenerTls:
    """A listener's, with a certificate that was made just now."""
    issued = AUTHORITY.issue_cert("127.0.0.1")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    content = Certificate.read(chain, issued.private_key_pem.bytes())
    return ListenerTls((CertificateFiles(Path("a"), Path("b"), content),), **options)


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """The file of the authority."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


async def _serial(admin: Admin, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.maximum_version = version
    port = int(admin.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return serial


async def test_the_client_trusts_whom_it_is_told_to(ca: str) -> None:
    """And nobody else: a certificate of another authority is refused."""
    async with Admin(tls=_tls(), tokens=tokens()) as admin:
        assert admin.url.startswith("https://127.0.0.1:")
        client = AdminClient(admin.url, token=TOKENS[Role.READ], ca=ca)
        assert (await asyncio.to_thread(client.service, "default"))["active"] == "blue"
        stranger = AdminClient(admin.url, token=TOKENS[Role.READ])
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            await asyncio.to_thread(stranger.service, "default")


async def test_plain_http_is_not_spoken_beside_it() -> None:
    """A token that was sent by mistake is not answered as if all were well."""
    async with Admin(tls=_tls()) as admin, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(admin.url.replace("https:", "http:") + "/healthz")


async def test_a_least_version_is_kept() -> None:
    """Older ones do not get in."""
    async with Admin(tls=_tls(min_version="1.3")) as admin:
        assert await _serial(admin)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await _serial(admin, ssl.TLSVersion.TLSv1_2)


def _settings(admin: Admin, **changes: Any) -> AdminSettings:
    port = int(admin.url.rpartition(":")[2])
    given = {"listen": (Address("127.0.0.1", port),), "socket": "", **changes}
    return AdminSettings(**given)


async def test_a_renewed_certificate_is_shown_to_new_connections() -> None:
    """Without a restart."""
    async with Admin(tls=_tls()) as admin:
        before = await _serial(admin)
        admin.server.take(_settings(admin, tls=_tls()))
        assert await _serial(admin) != before


async def test_tokens_and_names_change_while_it_runs() -> None:
    """A token that was taken away opens nothing any more, and ends its event streams."""
    async with Admin(tokens=tokens()) as admin, aiohttp.ClientSession(admin.url) as http:
        headers = {"Authorization": f"Bearer {TOKENS[Role.READ]}"}
        stream = await http.get("/v1/events", headers=headers)
        fresh = Token("new", Role.READ, "another-token-0123")
        admin.server.take(_settings(admin, tokens=(fresh,), allowed_hosts=("Ops.example",)))
        async with asyncio.timeout(10):
            await stream.read()
        for token, host, status in (
            (TOKENS[Role.READ], "localhost", 401),
            ("another-token-0123", "localhost", 200),
            ("another-token-0123", "ops.example:1", 200),
            ("another-token-0123", "else.example", 421),
        ):
            headers = {"Authorization": f"Bearer {token}", "Host": host}
            async with http.get("/v1/services", headers=headers) as response:
                assert response.status == status


async def test_what_needs_a_restart_is_named() -> None:
    """Listeners stay as they are."""
    async with Admin(tokens=tokens()) as admin:
        changed = AdminSettings((Address("127.0.0.1", 1),), tokens(), socket="/x", tls=_tls())
        assert admin.server.take(changed) == ["admin.listen", "admin.socket", "admin.tls"]
