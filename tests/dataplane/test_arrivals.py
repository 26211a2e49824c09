"""Connections that never become clients: bounded from the moment they are accepted, and counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bgproxy.domain.arrival import HandshakeFault, ProxyHeaderFault
from bgproxy.domain.model import ProxyLimits, Timeouts
from bgproxy.state import ledger
from bgproxy.state.entrance import EntranceRoute, TlsRoute
from tests.dataplane.harness import (
    PATIENCE,
    Backend,
    Proxy,
    answering,
    running,
    table_of,
)
from tests.dataplane.test_tls import GET, OK, ask, connect, descriptors, tls_entrance

LISTED = EntranceRoute(proxy_from=("127.0.0.1",))


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What comes until the connection is closed, by a reset too."""
    data = b""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionResetError):
            data = await reader.read(-1)
    writer.close()
    return data


async def say(proxy: Proxy, data: bytes) -> None:
    """Some bytes on a connection of its own, until it is closed."""
    reader, writer = await proxy.connect()
    writer.write(data)
    await ended(reader, writer)


async def hang_up(proxy: Proxy) -> None:
    """Connect, as whoever only tries the port does."""
    _, writer = await proxy.connect()
    writer.close()


async def distrust(proxy: Proxy) -> None:
    """A client that knows another authority; asyncio's would go without a word about that."""

    def talk() -> None:
        with (
            socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as sock,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(sock, server_hostname="a.test")

    await asyncio.to_thread(talk)


async def speak_old(proxy: Proxy) -> None:
    """A client that knows no new version."""
    with pytest.raises(OSError, match=r".*"):
        await connect(proxy, maximum_version=ssl.TLSVersion.TLSv1_2)


async def speak_http(proxy: Proxy) -> None:
    """A client that knows nothing of TLS."""
    await say(proxy, GET)


async def speak_nonsense(proxy: Proxy) -> None:
    """A client that speaks something else."""
    await say(proxy, b"EHLO a.test, is anybody there?\r\n")


async def say_nothing(proxy: Proxy) -> None:
    """A client that never begins."""
    await say(proxy, b"")


async def reach_nobody(proxy: Proxy) -> None:
    """A client of a listener that has no certificate."""
    with pytest.raises(OSError, match=r".*"):
        await connect(proxy)


@pytest.mark.parametrize(
    ("fail", "fault", "entrance"),
    [
        (hang_up, HandshakeFault.CLOSED, tls_entrance),
        (say_nothing, HandshakeFault.TIMEOUT, tls_entrance),
        (speak_http, HandshakeFault.PLAIN_HTTP, tls_entrance),
        (speak_old, HandshakeFault.VERSION, lambda: tls_entrance(min_version="1.3")),
        (reach_nobody, HandshakeFault.CIPHER, lambda: EntranceRoute(TlsRoute(()))),
        (distrust, HandshakeFault.CERTIFICATE_REFUSED, tls_entrance),
        (speak_nonsense, HandshakeFault.PROTOCOL, tls_entrance),
    ],
    ids=lambda value: value.label if isinstance(value, HandshakeFault) else "",
)
async def test_a_failed_handshake_is_counted_by_its_reason(
    fail: Callable[[Proxy], Coroutine[Any, Any, None]],
    fault: HandshakeFault,
    entrance: Callable[[], EntranceRoute],
) -> None:
    """Once, and by no other."""
    table = table_of([], [], timeouts=Timeouts(request_head=0.5))
    async with running(table, entrances=(entrance(),)) as proxy:
        await fail(proxy)
        cells = [ledger.handshake_cell(each) for each in HandshakeFault]
        await proxy.until(lambda: sum(map(proxy.ledger.head_total, cells)) == 1)
        assert proxy.ledger.head_total(ledger.handshake_cell(fault)) == 1


@pytest.mark.parametrize(
    ("data", "fault", "entrance"),
    [
        (b"PROXY UNKNOWN\r\n", ProxyHeaderFault.NOT_LISTED, EntranceRoute(proxy_from=("::2",))),
        (GET, ProxyHeaderFault.MALFORMED, LISTED),
        (b"PROXY", ProxyHeaderFault.TIMEOUT, LISTED),
        (None, ProxyHeaderFault.CLOSED, LISTED),
    ],
)
async def test_a_connection_without_a_proper_proxy_header_is_counted(
    data: bytes | None, fault: ProxyHeaderFault, entrance: EntranceRoute
) -> None:
    """By why it was refused; one with a header that can be read is not."""
    table = table_of([], [], timeouts=Timeouts(request_head=0.3))
    async with running(table, entrances=(entrance,)) as proxy:
        if data is None:
            await hang_up(proxy)
        else:
            await say(proxy, data)
        cells = [ledger.proxy_header_cell(each) for each in ProxyHeaderFault]
        await proxy.until(lambda: sum(map(proxy.ledger.head_total, cells)) == 1)
        assert proxy.ledger.head_total(ledger.proxy_header_cell(fault)) == 1


async def test_sound_handshakes_count_as_no_failure() -> None:
    """Nor does a connection that a stop ends in the middle of one."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], []), entrances=(tls_entrance(),)) as proxy:
        assert (await ask(proxy)).startswith(b"HTTP/1.1 200 OK")
        _, writer = await proxy.connect()
        await proxy.until(lambda: proxy.ledger.head(0, ledger.ACCEPTED) == 1)
        await proxy.fleet.stop(0.0, 0.0)
        writer.close()
        cells = [ledger.handshake_cell(each) for each in HandshakeFault]
        assert sum(map(proxy.ledger.head_total, cells)) == 0


async def test_one_client_is_bounded_from_accept_on() -> None:
    """Handshakes that never end count as its connections do, and free their place when they go."""
    backend = await Backend(answering(OK)).start()
    limits = ProxyLimits(max_connections_per_client=2)
    table = table_of([backend.port], [], proxy_limits=limits)
    async with running(table, entrances=(tls_entrance(),)) as proxy:
        silent = [await proxy.connect() for _ in range(2)]
        with pytest.raises(OSError, match=r".*"):
            await connect(proxy)
        assert proxy.ledger.head(0, ledger.TURNED_AWAY) == 1
        silent[0][1].close()
        reader, writer = await _as_soon_as_possible(proxy)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(OSError, match=r".*"):
            await connect(proxy)
        for _, each in (*silent[1:], (reader, writer)):
            each.close()


async def _as_soon_as_possible(
    proxy: Proxy,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client connection, once there is room for it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                return await connect(proxy)


async def test_the_total_counts_arrivals_beside_clients() -> None:
    """On a plain listener, too, where the handshakes are another's."""
    backend = await Backend(answering(OK)).start()
    table = table_of([backend.port], [], proxy_limits=ProxyLimits(max_connections=2))
    async with running(table, entrances=(tls_entrance(), EntranceRoute())) as proxy:
        before = descriptors(proxy)
        silent = [await proxy.connect() for _ in range(2)]
        await proxy.until(lambda: descriptors(proxy) == before + 2)
        proxy.port = proxy.ports[1]
        assert (await proxy.talk(GET)).startswith(b"HTTP/1.1 503 ")
        for _, writer in silent:
            writer.close()
