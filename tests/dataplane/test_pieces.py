"""Pieces of bodies on their way out: many small ones as one, large ones without a copy."""

from __future__ import annotations

import asyncio
import socket

from bgproxy.dataplane import pieces
from bgproxy.dataplane.shared import SCRATCH_BYTES, Shared


async def _transport() -> tuple[asyncio.Transport, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    return transport, theirs


async def _read(theirs: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(theirs, 1 << 16)
    return data


async def test_pieces_go_out_in_their_order() -> None:
    """None, few and many."""
    transport, theirs = await _transport()
    pieces.write_all(transport, [])
    pieces.write_all(transport, [b"few", memoryview(b"-and-")])
    pieces.write_all(transport, [b"%02d" % number for number in range(99)])
    expected = b"few-and-" + b"".join(b"%02d" % number for number in range(99))
    assert await _read(theirs, len(expected)) == expected
    transport.abort()
    theirs.close()


async def test_scratch_is_kept_where_the_kernel_took_all() -> None:
    """The usual case: the next read goes into the same memory."""
    transport, theirs = await _transport()
    shared = Shared(memoryview(bytearray(8)).cast("Q"), b"test")
    before = shared.scratch
    transport.write(before[:1000])
    pieces.keep_unsent(shared, transport)
    assert shared.scratch is before
    transport.abort()
    theirs.close()


async def test_unsent_bytes_outlive_the_next_read() -> None:
    """What a slow reader has not taken stays as it was, whatever is read after it."""
    transport, theirs = await _transport()
    shared = Shared(memoryview(bytearray(8)).cast("Q"), b"test")
    written = b""
    for letter in b"abcdefghij":
        if transport.get_write_buffer_size():
            break
        piece = shared.scratch
        piece[:] = bytes([letter]) * SCRATCH_BYTES
        written += bytes(piece)
        transport.write(piece)
        pieces.keep_unsent(shared, transport)
    else:
        raise AssertionError("the kernel took it all")
    shared.scratch[:] = bytes(SCRATCH_BYTES)
    assert await _read(theirs, len(written)) == written
    transport.abort()
    theirs.close()
