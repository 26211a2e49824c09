"""Answers that begin before their request has ended, and clients that end their side early."""

from __future__ import annotations

import asyncio

import pytest

from tests.dataplane.harness import PATIENCE, read_head
from tests.wire.wire import OK, Wire, dated, read_chunks, read_to_end, reset

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_UPLOADS = {
    "length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + bytes(1_000_000),
    "chunks": _CHUNKED_HEAD + (b"1000\r\n%b\r\n" % bytes(4096)) * 250,
}
_ANSWERS = {
    "length": (b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", b"\r\n\r\nno"),
    "chunks": (
        b"HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        b"\r\n2\r\nno\r\n0\r\n\r\n",
    ),
    "close": (b"HTTP/1.1 413 No\r\n\r\nno", b"\r\n2\r\nno\r\n0\r\n\r\n"),
}


# Where the close marks the end, a backend has to read on: a reset behind its end is one for the end
# as well, and then nobody can tell the whole answer from a part.
_ENDS = [
    (kind, then)
    for kind in _ANSWERS
    for then in ("close", "wait")
    if (kind, then) != ("close",) * 2
]


@pytest.mark.parametrize("upload", _UPLOADS)
@pytest.mark.parametrize(("kind", "then"), _ENDS)
async def test_early_answer_is_delivered_whole(
    wire: Wire, upload: str, kind: str, then: str
) -> None:
    """No reset destroys it, however body and answer are framed (RFC 9112 section 9.6)."""
    answer, end = _ANSWERS[kind]

    async def refuse(reader, writer):
        writer.write(dated(answer))
        await writer.drain()
        if kind == "close":
            writer.write_eof()
        if then == "wait":
            await read_to_end(reader)

    wire.answer = refuse
    seen = await wire.send_open(_UPLOADS[upload])
    assert seen.startswith(b"HTTP/1.1 413 No\r\n"), seen
    assert b"\r\nConnection: close\r\n" in seen
    assert seen.endswith(end)


async def test_answer_and_upload_go_on_side_by_side(wire: Wire) -> None:
    """What began early need not be short: both bodies stream at once (RFC 9110 section 7.5)."""

    async def echo(reader, writer):
        writer.write(dated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
        while (line := await reader.readuntil(b"\r\n")) != b"0\r\n":
            writer.write(line + await reader.readexactly(int(line, 16) + 2))
        assert await reader.readuntil(b"\r\n") == b"\r\n"
        writer.write(b"0\r\n\r\n")

    wire.answer = echo
    reader, writer = await wire.pair()
    writer.write(_CHUNKED_HEAD)
    async with asyncio.timeout(PATIENCE):
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        for number in range(20):
            chunk = b"%x\r\n%b\r\n" % (number + 1, b"a" * (number + 1))
            writer.write(chunk)
            assert await reader.readexactly(len(chunk)) == chunk
        writer.write(b"0\r\n\r\n")
        assert await read_chunks(reader) == b"0\r\n\r\n"
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="GET"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", id="POST by length"
        ),
        pytest.param(_CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n\r\n", id="POST in chunks"),
    ],
)
async def test_client_that_ends_its_side_gets_its_answer(wire: Wire, request_: bytes) -> None:
    """A half-close behind a whole request is no abort (RFC 9112 section 9.6)."""

    async def answer_later(reader, writer):
        await wire.until_client_has_head()
        writer.write(OK)

    wire.answer = answer_later
    reader, writer = await wire.pair()
    writer.write(request_)
    writer.write_eof()
    await wire.settle()
    wire.client_has_head.set()
    assert (await read_to_end(reader)).endswith(b"\r\n\r\nok")
    writer.close()


async def test_client_that_ends_its_side_behind_many_requests_gets_all_answers(wire: Wire) -> None:
    """Those that wait for their turn were sent before the end (RFC 9112 section 9.3.2)."""
    seen = await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
    assert seen.count(b"\r\n\r\nok") == 20


async def test_reset_behind_a_half_close_is_an_abort(wire: Wire) -> None:
    """Who is gone for good holds no backend connection."""

    async def silent(reader, writer):
        await reader.read(-1)

    failures = wire.proxy.totals().failures
    wire.answer = silent
    _, writer = await wire.pair()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write_eof()
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
    reset(writer)
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (0, 0))
    await wire.backend.until(lambda: wire.backend.closed == wire.backend.connections)
    assert wire.proxy.totals().failures == failures, "nobody blames the backend"
