"""One request to one address: what comes back, and what is said when nothing does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from bgproxy.controlplane.exchange import MAX_BODY_BYTES, Exchanger, NoAnswerError, Place
from bgproxy.domain.tls import UpstreamTls
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


def place_of(backend: FakeBackend) -> Place:
    return Place("http", "127.0.0.1", backend.port)


async def test_request_is_sent_as_written(exchanger: Exchanger, backend: FakeBackend) -> None:
    """Path, Host and fields byte for byte; the connection is this request's alone."""
    answer = await exchanger.ask(
        place_of(backend),
        "/a%2Fb/../c?x=%20&y",
        host="shop.example",
        timeout=5,
        method="POST",
        headers=[("X-Probe", "1")],
        body=b"hello",
    )
    assert (answer.status, answer.body) == (200, b"ok")
    line, fields = backend.requests[0]
    assert line == "POST /a%2Fb/../c?x=%20&y HTTP/1.1"
    assert fields["host"] == "shop.example"
    assert fields["x-probe"] == "1"
    assert fields["user-agent"] == "bgproxy"


async def test_a_certificate_must_be_one_that_is_believed(exchanger: Exchanger) -> None:
    """Signed by the service's authority, for the name it must have."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("backend.test").configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trust = UpstreamTls("ca.pem", authorities=authority.cert_pem.bytes().decode())

        async def ask(name: str, tls: UpstreamTls) -> int:
            place = Place("https", "127.0.0.1", port, name, tls)
            return (await exchanger.ask(place, "/", host="x", timeout=5)).status

        assert await ask("backend.test", trust) == 204
        assert await ask("other.test", UpstreamTls(verify=False)) == 204
        for name, tls in (("other.test", trust), ("backend.test", UpstreamTls())):
            with pytest.raises(NoAnswerError, match="its certificate is not trusted"):
                await ask(name, tls)


async def test_redirects_are_answers(exchanger: Exchanger, backend: FakeBackend) -> None:
    """Nobody is followed elsewhere."""
    backend.status, backend.headers = 302, {"Location": "http://127.0.0.1:1/"}
    answer = await exchanger.ask(place_of(backend), "/", host="x", timeout=5)
    assert answer.status == 302
    assert len(backend.requests) == 1


async def test_bodies_are_read_up_to_a_bound(exchanger: Exchanger, backend: FakeBackend) -> None:
    """However much a backend sends."""
    backend.body = b"x" * (4 * MAX_BODY_BYTES)
    answer = await exchanger.ask(place_of(backend), "/", host="x", timeout=5)
    assert len(answer.body) == MAX_BODY_BYTES


async def test_no_answer_in_time(exchanger: Exchanger, backend: FakeBackend) -> None:
    """The time-out is named."""
    backend.gate.clear()
    with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 s"):
        await exchanger.ask(place_of(backend), "/", host="x", timeout=0.05)
    backend.gate.set()


async def test_refused_connections_are_named(exchanger: Exchanger, backend: FakeBackend) -> None:
    """In two words."""
    await backend.stop()
    with pytest.raises(NoAnswerError, match=r"^connection refused$"):
        await exchanger.ask(place_of(backend), "/", host="x", timeout=5)


@pytest.mark.parametrize(
    ("sent", "said"),
    [(b"", "closed the connection"), (b"SSH-2.0-x\r\n\r\n", "not HTTP")],
)
async def test_what_is_no_answer(exchanger: Exchanger, sent: bytes, said: str) -> None:
    """Silence and other protocols."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoAnswerError, match=said):
            await exchanger.ask(Place("http", "127.0.0.1", port), "/", host="x", timeout=5)


async def test_unix_sockets(exchanger: Exchanger, tmp_path: Path) -> None:
    """A path in place of an address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    path = tmp_path / "s"
    async with await asyncio.start_unix_server(serve, path):
        answer = await exchanger.ask(Place("unix", str(path)), "/", host="localhost", timeout=5)
        assert answer.status == 204
    with pytest.raises(NoAnswerError, match=r"cannot connect|refused"):
        await exchanger.ask(Place("unix", str(tmp_path / "none")), "/", host="x", timeout=5)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (Place("http", "127.0.0.1", 80), "127.0.0.1:80"),
        (Place("http", "::1", 80), "[::1]:80"),
        (Place("unix", "/run/x"), "unix:/run/x"),
    ],
)
def test_places_can_be_shown(place: Place, shown: str) -> None:
    """As people write them."""
    assert str(place) == shown
