"""Bodies in small pieces, and what they cost while the other side does not read.

The loop keeps an object of nearly a kibibyte for every write that the kernel has not taken, so
64 KiB of unsent bytes could stand for 50 MB when they came byte by byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

_SMALL_BYTES = 1024
_MOST_PIECES = 16


def write(transport: asyncio.Transport, data: bytes | memoryview) -> None:
    """Write a piece of a body."""
    if len(data) < _SMALL_BYTES:
        _wait_for_slow(transport)
    transport.write(data)


def write_all(
    transport: asyncio.Transport, pieces: Sequence[bytes | memoryview], size: int
) -> None:
    """Write what became of a piece of a body.

    Args:
        pieces: joined if they are many.
        size: bytes of all of them, more or less.
    """
    if size < _SMALL_BYTES:
        _wait_for_slow(transport)
    if len(pieces) > _MOST_PIECES:
        transport.write(b"".join(pieces))
    elif pieces:
        transport.writelines(pieces)


def _wait_for_slow(transport: asyncio.Transport) -> None:
    """Have no more read for a transport with unsent bytes until it has none.

    What comes meanwhile waits in the kernel, where small pieces become large ones.
    """
    if transport.get_write_buffer_size():
        transport.set_write_buffer_limits(0)
