"""TLS in the whole product: renewal, bad files at every moment, backends that prove themselves."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from bgproxy.domain.tls import Certificate
from tests.dataplane.harness import PATIENCE, Backend, answering
from tests.ports import free_port
from tests.system.harness import Product, running_product, service_of

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Files:
    """The files of one authority, and of what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.authority.cert_pem.bytes())
        self.certificate, self.key = folder / "a.pem", folder / "a.key"
        self.issue()

    def issue(self) -> bytes:
        """Write another certificate for a.test, and its key; as a client sees it."""
        issued = self.authority.issue_cert("a.test")
        (leaf,) = issued.cert_chain_pems
        self.certificate.write_bytes(leaf.bytes())
        self.key.write_bytes(issued.private_key_pem.bytes())
        return ssl.PEM_cert_to_DER_cert(leaf.bytes().decode())

    def listener(self) -> list[Any]:
        """A listener's keys."""
        pair = {"certificate": str(self.certificate), "key": str(self.key)}
        return [{"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [pair]}}]


async def backends(tls: ssl.SSLContext | None = None) -> tuple[Backend, Backend]:
    """Blue and green."""
    return await Backend(answering(OK)).start(tls), await Backend(answering(OK)).start(tls)


class TlsClient:
    """A client of the TLS listener."""

    def __init__(self, product: Product, files: Files) -> None:
        self._address = product.config["proxy"]["listen"][1]["address"]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        files.authority.configure_trust(self._context)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(
            host, int(port), ssl=self._context, server_hostname="a.test"
        )

    async def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        _, writer = await self.connect()
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return shown


def with_tls(product: Product, files: Files) -> None:
    """Add a listener with TLS to the plain one."""
    product.config["proxy"]["listen"] = [f"127.0.0.1:{product.port}", *files.listener()]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One exchange on a kept connection."""
    writer.write(GET)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK"), head
        await reader.readexactly(2)


async def test_certificates_are_renewed_by_hup_without_losing_a_connection(tmp_path):
    """Connections made before stay.

    1. A connection is made. 2. The files change, HUP. 3. New handshakes show the new one, the
    old connection goes on. 4. A bad file changes nothing, and its name is in the log.
    """
    files = Files(tmp_path)
    product = Product(tmp_path, service_of(*await backends()))
    with_tls(product, files)
    async with running_product(product):
        client = TlsClient(product, files)
        old = await client.connect()
        await ask(*old)
        renewed = files.issue()
        product.reload()
        await product.until_logged('"event": "configuration read again"')
        assert [await client.shown() for _ in range(8)] == [renewed] * 8
        await ask(*old)

        files.key.write_text("nothing")
        product.reload()
        await product.until_logged("configuration refused")
        assert f"{files.key} holds no private key" in product.log.read_text()
        assert await client.shown() == renewed
        await ask(*old)
        old[1].close()
        assert "PRIVATE KEY" not in product.log.read_text()


async def test_a_bad_file_is_refused_at_the_first_start_and_stood_in_for_later(tmp_path):
    """One bad file does not take everything down.

    1. The first start is refused with the file's name. 2. With good files it runs. 3. The key is
    gone at the next start: the last good one serves, and log and metric say so. 4. A reload with
    good files ends that.
    """
    files = Files(tmp_path)
    product = Product(tmp_path, service_of(*await backends()))
    with_tls(product, files)
    key = files.key.read_bytes()
    files.key.unlink()
    await product.start(is_expected_to_run=False)
    assert await product.ended() == 2
    assert f"{files.key} cannot be read: No such file" in product.log.read_text()

    files.key.write_bytes(key)
    shown = ssl.PEM_cert_to_DER_cert(files.certificate.read_text())
    async with running_product(product):
        client = TlsClient(product, files)
        assert await client.shown() == shown
        assert await product.stop() == 0

        files.key.unlink()
        await product.start()
        assert await client.shown() == shown
        await product.until_logged("certificate file refused")
        degraded = f'bgproxy_degraded_files{{file="{files.key}",service=""}} 1.0'
        assert degraded in await metrics(product)

        renewed = files.issue()
        product.reload()
        await product.until_logged('"event": "configuration read again"')
        assert await client.shown() == renewed
        assert degraded not in await metrics(product)


async def test_backends_are_probed_and_used_only_if_their_certificate_holds(tmp_path):
    """By the same rules for probes and traffic.

    1. Both are healthy by the file's authority. 2. At a start without that file its copy serves.
    3. With another authority they are down, and traffic to them fails as TLS.
    """
    files = Files(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Certificate.read(files.certificate.read_bytes(), files.key.read_bytes()).load_into(tls)
    blue, green = await backends(tls)
    config = service_of(blue, green, upstream_tls={"ca": str(files.ca), "server_name": "a.test"})
    for color, backend in (("blue", blue), ("green", green)):
        environment = config["services"]["default"]["environments"][color]
        environment["backends"] = [f"https://127.0.0.1:{backend.port}"]
    product = Product(tmp_path, config)
    async with running_product(product):
        assert b"200 OK" in await product.get()
        assert await product.stop() == 0

        files.ca.rename(tmp_path / "away.pem")
        await product.start()
        await product.until(all_healthy)
        assert b"200 OK" in await product.get()
        assert f'file="{files.ca}",service="default"' in await metrics(product)

        trustme.CA().cert_pem.write_to_path(str(files.ca))
        product.reload()
        await product.until_logged('"event": "configuration read again"')
        service = await product.until(lambda document: not any(healthy(document)))
        assert service["active"] == "blue"
        assert b"tls_failed" in await product.get()


async def test_check_names_a_bad_file(tmp_path):
    """And what is wrong with it; exit status 2."""
    files = Files(tmp_path)
    product = Product(tmp_path, service_of(*await backends()))
    with_tls(product, files)
    files.certificate.write_text("nothing")
    await product.start(is_expected_to_run=False)
    await product.ended()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bgproxy", "check", "-c", str(product.file)),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 2
    assert f"{files.certificate} holds no certificate (PEM)" in (out + err).decode()


def healthy(document: dict[str, Any]) -> list[bool]:
    """Of every backend."""
    return [b["healthy"] for e in document["environments"].values() for b in e["backends"]]


def all_healthy(document: dict[str, Any]) -> bool:
    """Whether every backend is."""
    return all(healthy(document))


async def metrics(product: Product) -> str:
    """What Prometheus would see."""
    url = f"http://127.0.0.1:{product.admin_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def test_a_preview_has_tls_and_a_listener_a_name(tmp_path):
    """Both as the file says; certificates of previews are renewed and stood in for like others.

    1. The preview answers over TLS, the public by the name of its listener. 2. HUP with another
    certificate: it is shown. 3. At a start without its key the last good one serves.
    """
    files = Files(tmp_path)
    (preview,) = files.listener()
    product = Product(tmp_path, service_of(*await backends(), preview={"listen": [preview]}))
    product.config["proxy"]["listen"] = [f"localhost:{product.port}", preview]
    client = TlsClient(product, files)
    product.config["proxy"]["listen"] = f"localhost:{product.port}"
    async with running_product(product):
        assert b"200 OK" in await product.get()
        old = await client.connect()
        await ask(*old)
        old[1].close()
        renewed = files.issue()
        product.reload()
        await product.until_logged('"event": "configuration read again"')
        assert "needs a restart" not in product.log.read_text()
        assert [await client.shown() for _ in range(4)] == [renewed] * 4
        expiry = "bgproxy_certificate_expiry_timestamp_seconds"
        assert f'{expiry}{{file="{files.certificate}"}}' in await metrics(product)
        assert await product.stop() == 0

        files.key.unlink()
        await product.start()
        assert await client.shown() == renewed
        await product.until_logged("certificate file refused")
