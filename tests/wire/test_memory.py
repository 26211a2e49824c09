"""What connections and bodies cost: buffers are fixed, whatever passes through them."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import socket
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
_IDLE = 10_000
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_wire() -> AsyncIterator[Wire]:
    """A proxy of its own, as its memory is what is measured; warm."""
    async with wired(timeouts=Timeouts(idle=600.0)) as wire:
        for _ in range(50):
            await wire.send(_GET * 20)
        yield wire


def _resident(wire: Wire) -> int:
    """Bytes of memory that the worker has in use; what it had at most begins there anew."""
    Path(f"/proc/{worker_of(wire.proxy)}/clear_refs").write_text("5", encoding="ascii")
    return _status(wire, "VmRSS:")


def _peak(wire: Wire) -> int:
    """Bytes of memory that the worker had in use at most since the last look at `_resident`."""
    return _status(wire, "VmHWM:")


def _status(wire: Wire, name: str) -> int:
    status = Path(f"/proc/{worker_of(wire.proxy)}/status").read_text(encoding="ascii")
    return int(status.partition(name)[2].split()[0]) * 1024


async def _push(writer: asyncio.StreamWriter, *, is_chunked: bool, total: int, salt: bytes) -> str:
    """Send a body in which no two pieces are alike, so that each has its place; its checksum."""
    digest = hashlib.sha256()
    for number in range(total // len(_PIECE)):
        mark = salt + number.to_bytes(8, "big")
        piece = mark + _PIECE[len(mark) :]
        if is_chunked:
            writer.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
        else:
            writer.write(piece)
        digest.update(piece)
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
    """Every byte arrives in its place, and the worker never takes more than it did before."""
    total = 100 * _MIB
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % total
    taken: list[str] = []

    async def swallow_then_serve(reader, writer):
        # Around the recording reader: a hundred megabytes are not to be kept.
        taken.append(await _pull(reader._reader, is_chunked=is_chunked, total=total))
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        taken.append(await _push(writer, is_chunked=is_chunked, total=total, salt=b"down"))

    wire.answer = swallow_then_serve
    before = _resident(wire)
    reader, writer = await wire.pair()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing)
    sent = await _push(writer, is_chunked=is_chunked, total=total, salt=b"up")
    await read_head(reader)
    got = await _pull(reader, is_chunked=is_chunked, total=total)
    writer.close()
    assert taken == [sent, got]
    assert sent != got
    assert _peak(wire) - before < 10 * _MIB


async def test_idle_connections_are_cheap() -> None:
    """At most 4 KiB for each that has carried a request and waits for the next."""
    async with wired(timeouts=Timeouts(idle=600.0)) as wire:
        await wire.send(_GET)
        await _hold_many(wire)


async def _hold_many(wire: Wire) -> None:
    count = _allow_connections(wire)
    before = _resident(wire)
    socks = await asyncio.to_thread(_fill, wire.proxy.port, count)
    try:
        await wire.proxy.until(lambda: wire.proxy.ledger.head(0, ledger.CONNECTIONS) >= count)
        assert _peak(wire) - before < 4096 * count
    finally:
        for sock in socks:
            sock.close()
    await wire.proxy.until(lambda: wire.proxy.ledger.head(0, ledger.CONNECTIONS) < count // 2)


def _allow_connections(wire: Wire) -> int:
    """Let this process and the worker have ten thousand; fewer where the system says so."""
    allowed = []
    for pid in (0, worker_of(wire.proxy)):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        allowed.append(hard)
    return min(_IDLE, *(limit - 500 for limit in allowed))


def _fill(port: int, count: int) -> list[socket.socket]:
    """Open connections, each of which has carried a request."""
    socks: list[socket.socket] = []
    while len(socks) < count:
        fresh = [socket.create_connection(("127.0.0.1", port), 10.0) for _ in range(250)]
        socks += fresh
        for sock in fresh:
            sock.sendall(_GET)
        for sock in fresh:
            assert sock.recv(len(OK), socket.MSG_WAITALL) == OK
    return socks


async def test_slow_readers_are_bounded() -> None:
    """At most 128 KiB for each, however much its answer has to say.

    By a worker of its own: what others have let go of would hide what these take.
    """
    count = 200

    async def pour(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        while True:
            writer.write(_PIECE)
            await writer.drain()

    async with wired() as wire:
        await wire.send(_GET)
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
        assert _peak(wire) - before < 128 * 1024 * count
        for _, writer in pairs:
            writer.transport.abort()
        await wire.proxy.until(lambda: wire.proxy.in_flight() == (0, 0))
