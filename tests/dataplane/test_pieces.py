"""Small pieces for a side that does not read: kept few, and none lost."""

from __future__ import annotations

import asyncio
import socket

from bgproxy.dataplane import pieces


class _Side(asyncio.Protocol):
    """Counts what flow control says."""

    def __init__(self) -> None:
        self.is_paused = False
        self.resumed = asyncio.Event()

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.resumed.set()


async def _full_transport() -> tuple[asyncio.Transport, _Side, socket.socket]:
    """A transport whose kernel buffer is full, with room below its own limit."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, side = await asyncio.get_running_loop().create_connection(_Side, sock=ours)
    transport.set_write_buffer_limits(1 << 22)
    transport.write(bytes(1 << 20))
    await asyncio.sleep(0)
    assert transport.get_write_buffer_size()
    return transport, side, theirs


async def _read(theirs: socket.socket, size: int) -> bytes:
    data = b""
    theirs.setblocking(False)
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(theirs, 1 << 16)
    return data


async def test_small_piece_on_unsent_bytes_asks_for_a_pause() -> None:
    """No more is read for a side with unsent bytes until it has taken them all."""
    transport, side, theirs = await _full_transport()
    pieces.write(transport, bytes(4096))
    assert not side.is_paused, "a large piece waits for the limit"
    pieces.write(transport, b"small")
    assert side.is_paused
    pieces.write_all(transport, [b"a", b"b"], 2)
    data = await _read(theirs, (1 << 20) + 4096 + 7)
    assert data.endswith(b"smallab")
    await side.resumed.wait()
    transport.abort()
    theirs.close()


async def test_small_piece_goes_out_at_once_where_nothing_is_unsent() -> None:
    """A reader that keeps up is not held back."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, side = await asyncio.get_running_loop().create_connection(_Side, sock=ours)
    for number in range(100):
        pieces.write(transport, b"%3d" % number)
        await asyncio.sleep(0)
        assert not side.is_paused
    pieces.write_all(transport, [b"x"] * 100, 100)
    pieces.write_all(transport, [], 3)
    assert await _read(theirs, 400) == b"".join(b"%3d" % n for n in range(100)) + b"x" * 100
    transport.abort()
    theirs.close()
