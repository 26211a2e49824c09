"""Bounds: what is too large, too much or too slow gets the answer that says so."""

from __future__ import annotations

import asyncio
import re

import pytest

from bgproxy.domain.model import ProxyLimits, ServiceLimits, Timeouts
from bgproxy.domain.outcome import Reason
from bgproxy.state import ledger
from tests.dataplane.harness import PATIENCE, Backend, read_head, running, table_of
from tests.wire.wire import OK, SMUGGLED, Wire, read_to_end, reading_side, send_until_stuck, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def _line(size: int) -> bytes:
    """A request whose first line has so many bytes."""
    rest = size - len(b"GET / HTTP/1.1")
    return b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * rest)


def _fields(count: int) -> bytes:
    """A request of so many fields, Host included."""
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: 1\r\n" * (count - 1) + b"\r\n"


def _head(size: int) -> bytes:
    """A request whose head has so many bytes."""
    start = b"GET / HTTP/1.1\r\nHost: x\r\nA: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(_line(8192), 200, id="9112 3 line of 8192"),
        pytest.param(_line(8193), 414, id="9110 15.5.15 line of 8193"),
        pytest.param(_line(200_000), 414, id="9110 15.5.15 line of 200000"),
        pytest.param(_fields(100), 200, id="6585 5 100 fields"),
        pytest.param(_fields(101), 431, id="6585 5 101 fields"),
        pytest.param(_fields(20_000), 431, id="6585 5 20000 fields"),
        pytest.param(_head(32768), 200, id="6585 5 head of 32 KiB"),
        pytest.param(_head(32769), 431, id="6585 5 head of 32 KiB and one"),
        pytest.param(_head(1 << 20), 431, id="6585 5 head of 1 MiB"),
        pytest.param(b"A" * 100_000, 414, id="9110 15.5.15 endless method"),
    ],
)
async def test_head_within_bounds_or_not(wire: Wire, data: bytes, status: int) -> None:
    """The last that fits is carried; one byte or field more has a status of its own."""
    answer = await wire.send(data) if status == 200 else await wire.send_open(data + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert len(wire.requests) == (status == 200)


async def test_body_bounds() -> None:
    """A length over the bound is refused unseen; chunks as soon as they are too many."""
    async with wired(limits=ServiceLimits(max_body_bytes=10)) as wire:
        fits = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + bytes(10)
        assert (await wire.send(fits)).startswith(b"HTTP/1.1 200 ")
        fits = _CHUNKED + b"a\r\n" + bytes(10) + b"\r\n0\r\n\r\n"
        assert (await wire.send(fits)).startswith(b"HTTP/1.1 200 ")
        seen = len(wire.requests)
        large = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
        answer = await wire.send_open(large + bytes(11) + SMUGGLED)
        assert answer.startswith(b"HTTP/1.1 413 ")
        answer = await wire.send_open(large[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        answer = await wire.send_open(_CHUNKED + b"b\r\n" + bytes(11) + b"\r\n0\r\n\r\n" + SMUGGLED)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert len(wire.requests) == seen, "a body over the bound never ended"
        assert wire.proxy.totals().reasons == {Reason.TOO_LARGE: 1}


async def test_head_time_is_absolute() -> None:
    """A client that sends a byte now and then does not get more time (Slowloris)."""
    async with wired(timeouts=Timeouts(request_head=0.3)) as wire:
        reader, writer = await wire.pair()
        drip = asyncio.ensure_future(_drip(writer, b"GET / HTTP/1.1\r\nX: " + b"a" * 1000))
        answer = await read_to_end(reader)
        drip.cancel()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert not wire.requests


async def _drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_idle_connections_are_closed_without_an_answer() -> None:
    """Nobody asked anything, so nobody is told anything (RFC 9112 section 9.5)."""
    async with wired(timeouts=Timeouts(idle=0.2)) as wire:
        assert await wire.send_open(b"") == b""
        assert (await wire.send_open(_GET)).endswith(b"\r\n\r\nok")


async def test_silent_upload_is_408() -> None:
    """A body that stops coming frees the backend."""
    async with wired(timeouts=Timeouts(request_body=0.2)) as wire:
        answer = await wire.send_open(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert wire.proxy.totals().reasons == {Reason.REQUEST_TIMEOUT: 1}
        await wire.backend.until(lambda: wire.backend.closed == 1)


@pytest.mark.parametrize("bound", ["max_connections", "max_connections_per_client"])
async def test_one_connection_too_many_is_503(bound: str) -> None:
    """It is told when to come back; those that are there go on, and room is given again."""
    async with wired(proxy_limits=ProxyLimits(**{bound: 2})) as wire:
        pairs = [await wire.pair() for _ in range(2)]
        head = wire.proxy.ledger.head
        await wire.proxy.until(lambda: head(0, ledger.ACCEPTED) == 2)
        answer = await wire.send(_GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        for reader, writer in pairs:
            writer.write(_GET)
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
        await wire.proxy.until(lambda: head(0, ledger.CONNECTIONS) == 0)
        assert (await wire.send(_GET)).startswith(b"HTTP/1.1 200 ")


async def test_queue_outlives_a_change_of_the_table() -> None:
    """Requests that wait for room keep their place when the routing table is published anew."""
    go_on = asyncio.Event()
    seen: list[bytes] = []

    async def handle(reader, writer):
        while True:
            seen.append((await read_head(reader))[4:6])
            await go_on.wait()
            writer.write(OK)

    backend = await Backend(handle).start()
    limits = ServiceLimits(max_in_flight=1, queue_timeout=20.0)
    async with running(table_of([backend.port], [], limits=limits)) as proxy:
        pairs = []
        for number in range(4):
            pair = await proxy.connect()
            pair[1].write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            pairs.append(pair)
            if not number:
                await backend.until(lambda: bool(seen))
            else:
                await _until_read(proxy)
        await proxy.change(exclude_paths=("/changed",))
        await proxy.change(exclude_paths=())
        go_on.set()
        for reader, writer in pairs:
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
        assert seen == [b"/0", b"/1", b"/2", b"/3"]
        assert proxy.fleet.deaths == 0


async def _until_read(proxy) -> None:
    """Return when the worker has been through its loop: it publishes its tick."""
    await proxy.fleet.quiesce()
    await proxy.fleet.quiesce()


async def test_connecting_does_not_inherit_the_heads_time(syn_hole: int) -> None:
    """A head that took long leaves the connect its own time-out, and its own reason."""
    timeouts = Timeouts(request_head=0.4, connect=0.8)
    async with running(table_of([syn_hole], [], timeouts=timeouts)) as proxy:
        reader, writer = await proxy.connect()
        writer.write(_GET[:-2])
        await asyncio.sleep(0.3)
        writer.write(_GET[-2:])
        head = await read_head(reader)
        assert head.startswith(b"HTTP/1.1 504 ")
        assert proxy.totals().reasons == {Reason.CONNECT_TIMEOUT: 1}
        writer.close()


async def test_pipelining_without_reading_fills_fixed_buffers(wire: Wire) -> None:
    """A client that sends requests and reads nothing is not read any further; none is lost."""
    wire.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100000)
    reader, writer = await wire.pair()
    reading_side(writer).pause_reading()
    sent = 1000 * await send_until_stuck(writer, _GET * 1000)
    assert len(wire.requests) < 200
    assert sent < 1_000_000
    reading_side(writer).resume_reading()
    wire.answer = OK
    for _ in range(100):
        head = await read_head(reader)
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r")[0])
        await reader.readexactly(length)
    assert set(wire.forwarded()) == {_GET}
    writer.transport.abort()


async def test_requests_that_come_while_earlier_ones_wait_keep_their_order(wire: Wire) -> None:
    """Bytes that arrive between two pipelined requests' turns are read behind them."""
    reader, writer = await wire.pair()
    count = 500
    for number in range(count):
        writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        if number % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(4 * PATIENCE):
        await reader.readexactly(count * len(OK))
    writer.close()
    targets = [request.split()[1] for request in wire.forwarded() if request != _GET]
    assert targets == [b"/%d" % number for number in range(count)]


async def test_extensions_of_chunks_are_bounded(wire: Wire) -> None:
    """Framing may not outweigh the payload without end (CVE-2023-39326)."""
    chunk = b"1;" + b"a" * 900 + b"\r\nx\r\n"
    answer = await wire.send_open(_CHUNKED + chunk * 1000)
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_trailers_are_bounded(wire: Wire) -> None:
    """More trailers than a head could hold are no trailers."""
    answer = await wire.send_open(_CHUNKED + b"0\r\n" + b"A: 1\r\n" * 3000)
    assert re.match(rb"HTTP/1\.1 (400|431) ", answer)
