"""PROXY headers before a real worker: who may send them, what they change, how they come."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

import pytest

from bgproxy.domain.model import ProxyLimits, Timeouts
from bgproxy.state.entrance import EntranceRoute
from tests.dataplane.harness import PATIENCE, Backend, Proxy, echoing, running, table_of
from tests.dataplane.test_tls import GET_CLOSE, client_tls, tls_entrance

LOOPBACK = EntranceRoute(proxy_from=("127.0.0.0/8",))
V1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
    "!BBH4s4sHH",
    0x21,
    0x11,
    12,
    socket.inet_aton("203.0.113.7"),
    socket.inet_aton("127.0.0.1"),
    4711,
    80,
)
V2_SIX = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
    "!BBH16s16sHH",
    0x21,
    0x21,
    36,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7"),
    socket.inet_pton(socket.AF_INET6, "::1"),
    4711,
    80,
)


async def closed(proxy: Proxy, data: bytes) -> bytes:
    """What comes back until the proxy closes; a reset is a close."""
    with contextlib.suppress(ConnectionResetError):
        return await proxy.talk(data)
    return b""


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, b"203.0.113.7"),
        (V2, b"203.0.113.7"),
        (V2_SIX, b"2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", b"127.0.0.1"),
    ],
)
async def test_the_client_is_whom_the_header_names(header, client):
    """Or the peer itself, where it names nobody; the request may come in the same packet."""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], []), entrances=(LOOPBACK,)) as proxy:
        answer = await proxy.talk(header + GET_CLOSE)
        assert b"\r\nX-Forwarded-For: %b\r\n" % client in answer


@pytest.mark.parametrize("header", [V1, V2])
async def test_a_header_may_come_in_pieces(header):
    """Byte by byte, as a network is free to do."""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], []), entrances=(LOOPBACK,)) as proxy:
        reader, writer = await proxy.connect()
        writer.transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        for byte in header + GET_CLOSE:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            assert b"X-Forwarded-For: 203.0.113.7\r\n" in await reader.read(-1)
        writer.close()


@pytest.mark.parametrize("header", [V1, V2])
async def test_tls_follows_the_header(header):
    """The handshake may begin in the header's packet."""
    backend = await Backend(echoing()).start()
    entrance = EntranceRoute(tls_entrance().tls, proxy_from=("127.0.0.1",))
    async with running(table_of([backend.port], []), entrances=(entrance,)) as proxy:

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as sock:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = client_tls().wrap_bio(incoming, outgoing, server_hostname="a.test")
                with pytest.raises(ssl.SSLWantReadError):
                    client.do_handshake()
                sock.sendall(header + outgoing.read())
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    incoming.write(sock.recv(65536))
                    with contextlib.suppress(ssl.SSLWantReadError):
                        client.do_handshake()
                        if not answer:
                            client.write(GET_CLOSE)
                            answer = b" "
                        answer += client.read(65536)
                    sock.sendall(outgoing.read())
                return answer

        answer = await asyncio.to_thread(talk)
        assert b"X-Forwarded-For: 203.0.113.7\r\n" in answer
        assert b"X-Forwarded-Proto: https\r\n" in answer


async def test_whoever_is_not_listed_is_closed_at_once():
    """Such a header could claim any address."""
    backend = await Backend(echoing()).start()
    entrance = EntranceRoute(proxy_from=("192.0.2.0/24",))
    async with running(table_of([backend.port], []), entrances=(entrance,)) as proxy:
        assert await closed(proxy, V1 + GET_CLOSE) == b""
        assert await closed(proxy, GET_CLOSE) == b""
        assert backend.received == []


@pytest.mark.parametrize(
    "data", [GET_CLOSE, b"PROXY TCP4 x y 1 2\r\n" + GET_CLOSE, V2[:12] + b"\x11" + V2[13:]]
)
async def test_a_connection_without_a_proper_header_is_closed(data):
    """Nothing says who is there, so nothing is answered."""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], []), entrances=(LOOPBACK,)) as proxy:
        assert await closed(proxy, data) == b""
        assert backend.received == []


async def test_the_named_client_is_the_one_that_is_trusted_and_counted():
    """The load balancer is neither."""
    backend = await Backend(echoing()).start()
    table = table_of(
        [backend.port],
        [],
        trusted_proxies=("203.0.113.7",),
        proxy_limits=ProxyLimits(max_connections_per_client=1),
    )
    forwarded = GET_CLOSE[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n"
    async with running(table, entrances=(LOOPBACK,)) as proxy:
        answer = await proxy.talk(V1 + forwarded)
        assert b"X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n" in answer
        answer = await proxy.talk(V2_SIX + forwarded)
        assert b"X-Forwarded-For: 2001:db8::7\r\n" in answer
        _, writer = await proxy.connect()
        writer.write(V1 + GET_CLOSE[: len(GET_CLOSE) // 2])
        await proxy.until(lambda: proxy.fleet.workers_view()[0]["connections"] == 1)
        assert (await proxy.talk(V1)).startswith(b"HTTP/1.1 503 ")
        assert b" 200 OK" in await proxy.talk(V2_SIX + GET_CLOSE)
        writer.close()


async def test_a_header_that_does_not_come_is_ended():
    """Whoever connects has as long for it as for a request's head."""
    table = table_of([], [], timeouts=Timeouts(request_head=0.2))
    async with running(table, entrances=(LOOPBACK,)) as proxy:
        reader, writer = await proxy.connect()
        writer.write(V1[:10])
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(-1) == b""
        writer.close()


async def test_what_is_behind_a_listener_can_change():
    """For connections that come afterwards."""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], []), entrances=(LOOPBACK,)) as proxy:
        proxy.fleet.use_entrances((EntranceRoute(),))
        await proxy.fleet.quiesce()
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in await proxy.talk(GET_CLOSE)
