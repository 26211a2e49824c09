"""TLS on both sides of a real worker: handshakes, ends, trust, redirects."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import random
import signal
import socket
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme

from bgproxy.domain.model import Color, ProxyLimits, ServiceLimits, Timeouts
from bgproxy.domain.outcome import Reason
from bgproxy.domain.tls import Certificate, UpstreamTls
from bgproxy.state.entrance import EntranceRoute, TlsRoute
from bgproxy.state.table import RoutingTable
from tests.dataplane.harness import (
    PATIENCE,
    Backend,
    Handler,
    Proxy,
    answering,
    echoing,
    read_head,
    running,
    table_of,
)

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@cache
def authority() -> trustme.CA:
    """The authority that signs everything here."""
    return trustme.CA()


@cache
def certificate(*names: str) -> Certificate:
    """A certificate for these names."""
    issued = authority().issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    return Certificate.read(chain, issued.private_key_pem.bytes())


def tls_entrance(*certificates: Certificate, min_version: str = "1.2") -> EntranceRoute:
    """A listener with these certificates; one for a.test by default."""
    return EntranceRoute(TlsRoute(certificates or (certificate("a.test"),), min_version))


def client_tls(**options: Any) -> ssl.SSLContext:
    """What a client that knows the authority uses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in options.items():
        setattr(context, name, value)
    return context


def backend_tls(*names: str) -> ssl.SSLContext:
    """What a backend with a certificate for these names uses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(*names).load_into(context)
    return context


async def connect(
    proxy: Proxy, name: str = "a.test", **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client connection with TLS."""
    return await asyncio.open_connection(
        "127.0.0.1", proxy.port, limit=1 << 22, ssl=client_tls(**options), server_hostname=name
    )


async def ask(proxy: Proxy, request: bytes = GET_CLOSE, name: str = "a.test") -> bytes:
    """One request on a connection of its own; all that comes back."""
    reader, writer = await connect(proxy, name)
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read(-1)
    writer.close()
    return answer


async def in_thread(proxy: Proxy, talk: Callable[[ssl.SSLSocket], bytes]) -> bytes:
    """What a plain blocking TLS socket gets; asyncio's knows no half-close."""

    def run() -> bytes:
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as sock:
            tls = client_tls().wrap_socket(
                sock, server_hostname="a.test", suppress_ragged_eofs=False
            )
            with tls:
                return talk(tls)

    return await asyncio.to_thread(run)


def read_all(tls: ssl.SSLSocket) -> bytes:
    """All bytes up to the peer's close_notify; an end without one raises."""
    parts = []
    while part := tls.recv(65536):
        parts.append(part)
    return b"".join(parts)


def descriptors(proxy: Proxy) -> int:
    """How many the only worker has open."""
    return len(list(Path(f"/proc/{proxy.fleet.workers_view()[0]['pid']}/fd").iterdir()))


# -- listeners --------------------------------------------------------------------------------


async def test_a_request_over_tls_says_so_to_the_backend():
    """X-Forwarded-Proto is https, and HTTP/1.1 is what both agreed on."""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        reader, writer = await connect(proxy)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            seen = await reader.readexactly(length)
            assert b"X-Forwarded-Proto: https\r\n" in seen
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in seen
        writer.close()
        assert backend.connections == 1


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", "a.test"),
        ("b.test", "b.test"),
        ("x.wild.test", "*.wild.test"),
        ("x.y.wild.test", "a.test"),
        ("other.test", "a.test"),
        (None, "a.test"),
    ],
)
async def test_the_certificate_is_chosen_by_name(asked, shown):
    """The first one where no other fits; a wildcard stands for one label."""
    backend = await Backend(answering(OK)).start()
    names = ("a.test", "b.test", "*.wild.test")
    entrance = tls_entrance(*(certificate(name) for name in names))
    async with running(table_of([backend.port], []), entrances=(entrance,)) as proxy:
        _, writer = await connect(
            proxy, asked or "127.0.0.1", check_hostname=False, verify_mode=ssl.CERT_REQUIRED
        )
        peer = writer.get_extra_info("peercert")
        assert peer["subjectAltName"] == (("DNS", shown),)
        writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_are_spoken(version):
    """TLS 1.2 and 1.3, forward secret in both."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        reader, writer = await connect(proxy, maximum_version=version)
        writer.write(GET)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 OK")
        cipher, spoken, _ = writer.get_extra_info("cipher")
        assert cipher.startswith(("ECDHE-", "TLS_"))
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        assert spoken.startswith("TLSv1")
        writer.close()


async def test_the_least_version_is_kept_to():
    """A client of TLS 1.2 is refused where 1.3 is asked for."""
    async with running(table_of([], []), entrances=(tls_entrance(min_version="1.3"),)) as proxy:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await connect(proxy, maximum_version=ssl.TLSVersion.TLSv1_2)


async def test_bodies_pass_both_ways_unharmed():
    """Megabytes up and down; record by record, with back-pressure."""
    backend = await Backend(echoing()).start()
    body = bytes(range(256)) * 16384
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        head = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"
        answer = await ask(proxy, head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert hashlib.sha256(answer[-len(body) :]).digest() == hashlib.sha256(body).digest()


async def test_a_client_that_ends_its_side_still_gets_its_answer():
    """close_notify is half a close, as FIN is; the answer ends with one too."""
    backend = await Backend(answering(OK)).start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls().wrap_bio(incoming, outgoing, server_hostname="a.test")

    async def until_done(step: Callable[[], Any]) -> Any:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return step()
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))

    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        reader, writer = await proxy.connect()
        async with asyncio.timeout(PATIENCE):
            await until_done(tls.do_handshake)
            tls.write(GET)
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()
            assert (await until_done(lambda: tls.read(65536))).startswith(b"HTTP/1.1 200 OK")
            with pytest.raises(ssl.SSLZeroReturnError):
                await until_done(lambda: tls.read(65536))
        writer.close()


async def test_an_early_answer_reaches_a_client_that_still_sends():
    """It is not destroyed by a reset on the way."""
    backend = await Backend(answering(OK)).start()
    limits = ServiceLimits(max_body_bytes=1000)

    def talk(tls: ssl.SSLSocket) -> bytes:
        tls.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9999999\r\n\r\n")
        for _ in range(20):
            tls.sendall(bytes(50_000))
        return read_all(tls)

    table = table_of([backend.port], [], limits=limits)
    async with running(table, entrances=(tls_entrance(),)) as proxy:
        assert (await in_thread(proxy, talk)).startswith(b"HTTP/1.1 413 ")


async def test_new_certificates_hold_for_new_handshakes_only():
    """Connections that are there go on."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        reader, writer = await connect(proxy)
        proxy.fleet.use_entrances((tls_entrance(certificate("new.test")),))
        await proxy.change()
        assert (await ask(proxy, name="new.test")).startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(proxy, name="a.test")
        writer.write(GET)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_new_worker_has_the_new_certificates():
    """One that takes a dead one's place."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        proxy.fleet.use_entrances((tls_entrance(certificate("new.test")),))
        first = proxy.fleet.workers_view()[0]["pid"]
        os.kill(first, signal.SIGKILL)
        await proxy.until(
            lambda: proxy.fleet.is_complete() and proxy.fleet.workers_view()[0]["pid"] != first
        )
        assert (await ask(proxy, name="new.test")).startswith(b"HTTP/1.1 200 OK")


async def test_a_handshake_that_does_not_come_is_ended():
    """It has as long as a head has, and no longer because it is no request."""
    table = table_of([], [], timeouts=Timeouts(request_head=0.2))
    async with running(table, entrances=(tls_entrance(),)) as proxy:
        reader, writer = await proxy.connect()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(-1) == b""
        writer.close()


async def test_handshakes_under_way_count_as_connections():
    """A silent crowd cannot take more than the bound."""
    backend = await Backend(answering(OK)).start()
    table = table_of([backend.port], [], proxy_limits=ProxyLimits(max_connections=2))
    async with running(table, entrances=(tls_entrance(),)) as proxy:
        silent = [await proxy.connect() for _ in range(2)]
        with pytest.raises(OSError, match=r".*"):
            await connect(proxy)
        for _, writer in silent:
            writer.close()


async def test_plain_http_on_a_tls_port_is_sent_away():
    """And the worker lives on."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        assert b"HTTP" not in await proxy.talk(GET)
        assert (await ask(proxy)).startswith(b"HTTP/1.1 200 OK")
        assert proxy.fleet.deaths == 0


async def test_broken_handshakes_and_records_leave_nothing_behind():
    """Neither a descriptor nor a claim, whatever was broken; and the worker lives on."""
    backend = await Backend(answering(OK)).start()
    chance = random.Random(9110)

    async def break_one(proxy: Proxy, *, is_after_handshake: bool) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_tls().wrap_bio(incoming, outgoing, server_hostname="a.test")
        reader, writer = await proxy.connect()
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        while is_after_handshake:
            writer.write(outgoing.read())
            incoming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                tls.write(GET)
                break
        data = bytearray(outgoing.read())
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        writer.write(bytes(data[: chance.randint(1, len(data))]) + chance.randbytes(20))
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            await reader.read(-1)
        writer.close()

    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        assert (await ask(proxy)).startswith(b"HTTP/1.1 200 OK")
        before = descriptors(proxy)
        async with asyncio.timeout(PATIENCE):
            for number in range(60):
                await break_one(proxy, is_after_handshake=number % 2 == 0)
        await proxy.until(lambda: descriptors(proxy) <= before)
        assert proxy.in_flight() == (0, 0)
        assert proxy.fleet.deaths == 0
        assert (await ask(proxy)).startswith(b"HTTP/1.1 200 OK")


async def test_a_listener_without_any_certificate_refuses_handshakes():
    """What is left of one whose files are gone."""
    entrance = EntranceRoute(TlsRoute(()))
    async with running(table_of([], []), entrances=(entrance,)) as proxy:
        with pytest.raises(ssl.SSLError):
            await connect(proxy)


async def test_a_stop_ends_an_idle_connection_with_a_close_notify():
    """So that the client knows that nothing was cut."""
    backend = await Backend(answering(OK)).start()

    def talk(tls: ssl.SSLSocket) -> bytes:
        tls.sendall(GET)
        tls.recv(65536)
        loop.call_soon_threadsafe(stopping.set)
        return b"end" + read_all(tls)

    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        talking = asyncio.ensure_future(in_thread(proxy, talk))
        await stopping.wait()
        await proxy.fleet.stop(5.0, 0.0)
        assert await talking == b"end"


# -- backends ---------------------------------------------------------------------------------


async def https_table(
    handler: Handler, trust: UpstreamTls, *names: str, tls: bool = True, **service: Any
) -> tuple[Backend, RoutingTable]:
    """A backend with TLS, known as backend.test, and a table that trusts it as told."""
    backend = await Backend(handler).start(backend_tls(*names) if tls else None)
    table = table_of([backend.port], [], upstream_tls=trust, **service)
    (service_route,) = table.services
    (route,) = service_route.environments[0]
    route = dataclasses.replace(route, url=f"https://backend.test:{backend.port}", scheme="https")
    service_route = dataclasses.replace(service_route, environments=((route,), ()))
    return backend, dataclasses.replace(table, services=(service_route,))


def trust(**changes: Any) -> UpstreamTls:
    """The authority of the tests is believed."""
    pem = authority().cert_pem.bytes().decode()
    return UpstreamTls(ca="ca.pem", authorities=pem, **changes)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (trust(), ["backend.test"]),
        (trust(server_name="other.test"), ["other.test"]),
        (UpstreamTls(verify=False), ["whoever.test"]),
    ],
)
async def test_a_backend_that_is_who_it_should_be_is_used(settings, names):
    """Its connection is kept like any other."""
    backend, table = await https_table(echoing(), settings, *names)
    async with running(table) as proxy:
        for _ in range(2):
            assert b"X-Forwarded-Proto: http\r\n" in await proxy.talk(GET_CLOSE)
        assert backend.connections == 1


_STRANGER = "unable to get local issuer certificate"


@pytest.mark.parametrize(
    ("settings", "names", "words"),
    [
        (UpstreamTls(), ["backend.test"], _STRANGER),
        (UpstreamTls(ca="gone.pem"), ["backend.test"], _STRANGER),
        (trust(), ["other.test"], "Hostname mismatch, certificate is not valid for 'backend.test'"),
        (
            trust(server_name="other.test"),
            ["backend.test"],
            "Hostname mismatch, certificate is not valid for 'other.test'",
        ),
    ],
)
async def test_a_backend_that_is_not_is_never_sent_a_request(settings, names, words):
    """An unknown authority, or another name: 502, counted as a failure of TLS.

    The operator is told why, the client is not.
    """
    told: list[tuple[int, Reason, str]] = []
    backend, table = await https_table(echoing(), settings, *names)
    async with running(table) as proxy:
        proxy.fleet.on_backend_trouble = lambda *trouble: told.append(trouble)
        answer = await proxy.talk(GET_CLOSE)
        await proxy.until(lambda: bool(told))
        assert told == [(0, Reason.TLS_FAILED, f"its certificate was refused: {words}")]
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"tls_failed" in answer
        assert b"test" not in answer, "the backend's name is nobody's business outside"
        assert proxy.totals().reasons[Reason.TLS_FAILED] == 1
        assert backend.received == []


async def test_a_backend_without_tls_fails_as_one():
    """Its answer to the handshake is none."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    _, table = await https_table(handle, trust(), tls=False)
    async with running(table) as proxy:
        assert b"tls_failed" in await proxy.talk(GET_CLOSE)


async def test_a_backend_that_hangs_up_inside_the_handshake_fails_as_tls():
    """The connection was accepted, so it is not that."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    _, table = await https_table(handle, trust(), tls=False)
    async with running(table) as proxy:
        assert b"tls_failed" in await proxy.talk(GET_CLOSE)


async def test_a_handshake_that_hangs_is_a_connect_time_out():
    """The time to connect includes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    _, table = await https_table(handle, trust(), tls=False, timeouts=Timeouts(connect=0.2))
    async with running(table) as proxy:
        assert (await proxy.talk(GET_CLOSE)).startswith(b"HTTP/1.1 504 ")
        assert proxy.totals().reasons[Reason.CONNECT_TIMEOUT] == 1


async def test_withdrawn_trust_closes_kept_connections():
    """The next request has to see who is there by the new rules."""
    backend, table = await https_table(answering(OK), trust(), "backend.test")
    async with running(table) as proxy:
        assert b"200 OK" in await proxy.talk(GET_CLOSE)
        await proxy.change(upstream_tls=UpstreamTls())
        assert b"tls_failed" in await proxy.talk(GET_CLOSE)
        await backend.until(lambda: backend.closed >= 1)


@pytest.mark.parametrize("is_cut", [False, True])
async def test_an_answer_that_its_end_delimits_is_whole_only_with_a_close_notify(is_cut):
    """A connection cut by anyone on the way is no end (RFC 9112 section 9.8)."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        await writer.drain()
        if is_cut:
            writer.transport.abort()

    _, table = await https_table(handle, trust(), "backend.test")
    async with running(table) as proxy:
        answer = await proxy.talk(GET_CLOSE)
        assert b"part of it" in answer
        assert answer.endswith(b"\r\n0\r\n\r\n") is not is_cut
        reasons = proxy.totals().reasons
        assert reasons.get(Reason.TRUNCATED, 0) == is_cut


async def test_a_slow_client_gets_all_of_what_a_backend_sent_before_it_closed():
    """What was read but not decrypted yet when the backend's end came is not lost."""
    body = bytes(range(256)) * 8192

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (len(body), body)
        )
        await writer.drain()

    backend, table = await https_table(handle, trust(), "backend.test")
    async with running(table) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1024)
        writer.write(GET_CLOSE)
        await backend.until(lambda: bool(backend.received))
        received = b""
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(16384):
                received += part
                await asyncio.sleep(0.001)
        writer.close()
        assert received.endswith(b"\r\n\r\n" + body)


async def test_a_tunnel_goes_through_tls_on_both_sides():
    """With bytes glued to both heads, and the end of one side passed on."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"
        )
        while data := await reader.read(65536):
            writer.write(data.upper())

    _, table = await https_table(handle, trust(), "backend.test")
    async with running(table, entrances=(tls_entrance(),)) as proxy:
        reader, writer = await connect(proxy)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nglued"
        )
        assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(10) == b"helloGLUED"
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
        writer.close()
        await proxy.until(lambda: proxy.in_flight() == (0, 0))


# -- redirects and HSTS -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "request_head", "location"),
    [
        (443, b"GET /a?b=c&d HTTP/1.1\r\nHost: a.test\r\n", b"https://a.test/a?b=c&d"),
        (443, b"GET / HTTP/1.1\r\nHost: a.test:8080\r\n", b"https://a.test/"),
        (8443, b"GET / HTTP/1.1\r\nHost: a.test:80\r\n", b"https://a.test:8443/"),
        (8443, b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n", b"https://[::1]:8443/"),
        (8443, b"GET / HTTP/1.1\r\nHost: [::1]\r\n", b"https://[::1]:8443/"),
        (443, b"GET http://b.test/x HTTP/1.1\r\nHost: b.test\r\n", b"https://b.test/x"),
        (443, b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n", b"https://a.test/"),
        (443, b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n", b"https://a.test/p"),
        (443, b"GET //evil.test/ HTTP/1.1\r\nHost: a.test\r\n", b"https://a.test//evil.test/"),
    ],
)
async def test_plain_http_is_sent_on_to_tls(port, request_head, location):
    """With method, path and query kept (308)."""
    backend = await Backend(answering(OK)).start()
    entrance = EntranceRoute(https_port=port)
    async with running(table_of([backend.port], []), entrances=(entrance,)) as proxy:
        answer = await proxy.talk(request_head + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
        assert b"\r\nLocation: %b\r\n" % location in answer
        assert backend.received == []


async def test_what_cannot_or_must_not_be_sent_on():
    """No host to name; a certificate authority's look; a trusted proxy that had TLS already."""
    backend = await Backend(answering(OK)).start()
    entrance = EntranceRoute(https_port=443)
    table = table_of([backend.port], [], trusted_proxies=("127.0.0.1",))
    async with running(table, entrances=(entrance,)) as proxy:
        assert (await proxy.talk(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        acme = b"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.test\r\n"
        forwarded = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n"
        for head in (acme, forwarded):
            answer = await proxy.talk(head + b"Connection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_hsts_stands_in_answers_over_tls_alone():
    """Browsers ignore it elsewhere, and a backend's own comes first (RFC 6797)."""
    own = b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            writer.write(own if b"/own" in head else OK)

    backend = await Backend(handle).start()
    table = table_of([backend.port], [], hsts="max-age=60; includeSubDomains")
    entrances = (tls_entrance(), EntranceRoute())
    async with running(table, entrances=entrances) as proxy:
        answer = await ask(proxy)
        assert (
            answer.count(b"\r\nStrict-Transport-Security: max-age=60; includeSubDomains\r\n") == 1
        )
        answer = await ask(proxy, GET_CLOSE.replace(b"/ ", b"/own ", 1))
        assert answer.count(b"Strict-Transport-Security") == 1
        assert b"max-age=1\r\n" in answer
        await proxy.switch(Color.GREEN)
        refused = await ask(proxy)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nStrict-Transport-Security: max-age=60; includeSubDomains\r\n" in refused
        proxy.port = proxy.ports[1]
        assert b"Strict-Transport-Security" not in await proxy.talk(GET_CLOSE)
