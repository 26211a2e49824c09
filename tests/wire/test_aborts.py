"""Clients that go away: in every phase, by an end or by a reset; what they began is given up."""

from __future__ import annotations

import asyncio

import pytest

from bgproxy.domain.model import ServiceLimits, Timeouts
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import Backend, Proxy, read_head, running, table_of
from tests.wire.wire import Wire, read_to_end, reset, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin"
_CHUNKS = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"


async def _silent(reader, writer) -> None:
    await reader.read(-1)


async def _endless(reader, writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(1000))
        await writer.drain()
        await asyncio.sleep(0.01)


async def _abort_is_counted(proxy: Proxy, backend: Backend, aborts: int, code: int) -> None:
    await proxy.until(lambda: proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0) == aborts + 1)
    await proxy.until(lambda: proxy.in_flight() == (0, 0))
    await backend.until(lambda: backend.closed == backend.connections)
    assert proxy.totals().failures == 0, "nobody blames the backend"
    assert proxy.totals().codes[code] >= 1


@pytest.mark.parametrize("request_", [_GET, _UPLOAD, _CHUNKS], ids=["GET", "upload", "chunks"])
async def test_reset_while_the_backend_is_silent(wire: Wire, request_: bytes) -> None:
    """The backend connection is given up at once, and the client counted as the cause."""
    wire.answer = _silent
    aborts = wire.proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0)
    _, writer = await wire.pair()
    writer.write(request_)
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
    reset(writer)
    await _abort_is_counted(wire.proxy, wire.backend, aborts, 499)


async def test_reset_inside_the_answer(wire: Wire) -> None:
    """The answer's status stays what it was; the reason is the client's."""
    wire.answer = _endless
    aborts = wire.proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0)
    reader, writer = await wire.pair()
    writer.write(_GET)
    await read_head(reader)
    reset(writer)
    await _abort_is_counted(wire.proxy, wire.backend, aborts, 200)


@pytest.mark.parametrize("request_", [_UPLOAD, _CHUNKS], ids=["length", "chunks"])
async def test_end_inside_a_body(wire: Wire, request_: bytes) -> None:
    """A body that can never be whole is no half-close: given up at once, never a clean end."""
    wire.answer = _silent
    aborts = wire.proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0)
    reader, writer = await wire.pair()
    writer.write(request_)
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
    writer.write_eof()
    assert await read_to_end(reader) == b""
    writer.close()
    await _abort_is_counted(wire.proxy, wire.backend, aborts, 499)
    assert not [data for data in wire.backend.received if b"\r\n0\r\n\r\n" in data]


@pytest.mark.parametrize("request_", [_UPLOAD, _CHUNKS], ids=["length", "chunks"])
async def test_end_inside_a_body_before_there_is_a_connection(request_: bytes) -> None:
    """The same, where the end comes while the backend is still being connected to."""
    async with wired(timeouts=Timeouts(request_body=60.0)) as wire:
        wire.answer = _silent
        assert await wire.send(request_) == b""
        await _abort_is_counted(wire.proxy, wire.backend, 0, 499)


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "end"])
async def test_gone_while_connecting(syn_hole: int, is_reset: bool) -> None:
    """Nobody waits for a connection that nobody needs any more."""
    async with running(table_of([syn_hole], [], timeouts=Timeouts(connect=30.0))) as proxy:
        _, writer = await proxy.connect()
        writer.write(_GET)
        await proxy.until(lambda: proxy.in_flight() == (1, 0))
        if is_reset:
            reset(writer)
        else:
            writer.write_eof()
        await proxy.until(lambda: proxy.in_flight() == (0, 0))
        assert proxy.totals().reasons == {Reason.CLIENT_ABORT: 1}
        writer.close()


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "end"])
async def test_gone_while_queued(is_reset: bool) -> None:
    """The place in the queue is free again, and the backend never sees the request."""
    limits = ServiceLimits(max_in_flight=1, max_queued=1, queue_timeout=30.0)
    async with wired(limits=limits) as wire:
        wire.answer = _silent
        _, first = await wire.pair()
        first.write(_GET)
        await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
        reader, second = await wire.pair()
        second.write(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.settle()
        assert b"HTTP/1.1 503 " in await wire.send_open(_GET), "the queue is full"
        if is_reset:
            reset(second)
        else:
            second.write_eof()
            await read_to_end(reader)
        await wire.settle()
        _, third = await wire.pair()
        third.write(b"GET /third HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.settle()
        reset(first)
        await wire.backend.until(lambda: len(wire.requests) == 2)
        assert [r.split()[1] for r in wire.requests] == [b"/", b"/third"]
        for writer in (second, third):
            writer.close()


async def test_reset_of_an_upload_that_the_backend_does_not_take(wire: Wire) -> None:
    """A client that is not read just now is watched all the same."""

    async def ignore(reader, writer):
        await wire.until_client_has_head()

    wire.answer = ignore
    aborts = wire.proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0)
    _, writer = await wire.pair()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
    writer.write(bytes(20_000_000))
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
    await asyncio.sleep(0.5)
    reset(writer)
    await wire.proxy.until(
        lambda: wire.proxy.totals().reasons.get(Reason.CLIENT_ABORT, 0) == aborts + 1
    )
    wire.client_has_head.set()
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (0, 0))
