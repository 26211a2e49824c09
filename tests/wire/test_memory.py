"""What connections and bodies cost: buffers are fixed, whatever passes through them."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bgproxy.domain.model import Timeouts
from bgproxy.state import ledger
from tests.dataplane.harness import read_head
from tests.wire.wire import OK, Wire, reading_side, wired, worker_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

_MIB = 1 << 20
_PIECE = bytes(range(256)) * 1024
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_wire() -> AsyncIterator[Wire]:
    """A proxy of its own, as its memory is what is measured; warm."""
    async with wired(timeouts=Timeouts(idle=600.0)) as wire:
        for _ in range(50):
            await wire.send(_GET * 20)
        yield wire


def _resident(wire: Wire) -> int:
    """Bytes of memory that the worker has in use."""
    status = Path(f"/proc/{worker_of(wire.proxy)}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def _push(writer: asyncio.StreamWriter, *, is_chunked: bool, total: int) -> str:
    """Send a body; its checksum."""
    digest = hashlib.sha256()
    for _ in range(total // len(_PIECE)):
        if is_chunked:
            writer.writelines((b"%x\r\n" % len(_PIECE), _PIECE, b"\r\n"))
        else:
            writer.write(_PIECE)
        digest.update(_PIECE)
        await writer.drain()
    if is_chunked:
        writer.write(b"0\r\n\r\n")
    return digest.hexdigest()


async def _pull(reader, *, is_chunked: bool, total: int) -> str:
    """Read a body; its checksum."""
    digest = hashlib.sha256()
    if is_chunked:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            digest.update((await reader.readexactly(size + 2))[:size])
        await reader.readuntil(b"\r\n")
    else:
        while total:
            data = await reader.readexactly(min(total, 1 << 18))
            digest.update(data)
            total -= len(data)
    return digest.hexdigest()


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
async def test_hundred_mebibytes_up_and_down(wire: Wire, is_chunked: bool) -> None:
    """Every byte arrives, and the worker stays as it was."""
    total = 100 * _MIB
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % total
    taken: list[str] = []

    async def swallow_then_serve(reader, writer):
        # Around the recording reader: a hundred megabytes are not to be kept.
        taken.append(await _pull(reader._reader, is_chunked=is_chunked, total=total))
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        taken.append(await _push(writer, is_chunked=is_chunked, total=total))

    wire.answer = swallow_then_serve
    before = _resident(wire)
    reader, writer = await wire.pair()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing)
    sent = await _push(writer, is_chunked=is_chunked, total=total)
    await read_head(reader)
    got = await _pull(reader, is_chunked=is_chunked, total=total)
    writer.close()
    assert taken == [sent, got]
    assert _resident(wire) - before < 10 * _MIB


async def test_idle_connections_are_cheap(wire: Wire) -> None:
    """At most 4 KiB for each that has carried a request and waits for the next."""
    count = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 3 * count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * count), hard))
    before = _resident(wire)
    pairs = []
    for _ in range(count // 50):
        fresh = await asyncio.gather(*(wire.pair() for _ in range(50)))
        for reader, writer in fresh:
            writer.write(_GET)
            assert await reader.readexactly(len(OK)) == OK
        pairs += fresh
    assert wire.proxy.ledger.head(0, ledger.ACCEPTED) >= count
    assert _resident(wire) - before < 4096 * count
    for _, writer in pairs:
        writer.transport.abort()


async def test_slow_readers_are_bounded(wire: Wire) -> None:
    """At most 128 KiB for each, however much its answer has to say."""
    count = 50

    async def pour(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        while True:
            writer.write(_PIECE)
            await writer.drain()

    wire.answer = pour
    before = _resident(wire)
    pairs = []
    for _ in range(count):
        reader, writer = await wire.pair()
        reading_side(writer).pause_reading()
        writer.write(_GET)
        pairs.append((reader, writer))
    await asyncio.sleep(2.0)
    assert wire.proxy.in_flight() == (count, 0)
    assert _resident(wire) - before < 128 * 1024 * count
    for _, writer in pairs:
        writer.transport.abort()
    await wire.proxy.until(lambda: wire.proxy.in_flight() == (0, 0))
