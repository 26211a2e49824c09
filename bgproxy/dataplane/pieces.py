"""Bodies on their way: large pieces without a copy, many small ones as one.

Nothing is read for a side that has unsent bytes: every transport's limit of them is zero. So what
waits for a slow reader is one read's bytes, and not an object of nearly a kibibyte for every write
that the kernel has not taken, which is what the loop keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgproxy.dataplane.shared import Shared

LARGE_BYTES = 16 * 1024
"""What is read at once and is worth more care than a copy."""

_MOST_PIECES = 16


def write_all(transport: asyncio.Transport, pieces: Sequence[bytes | memoryview]) -> None:
    """Write what became of a piece of a body; pieces are joined if they are many."""
    if len(pieces) > _MOST_PIECES:
        transport.write(b"".join(pieces))
    elif pieces:
        transport.writelines(pieces)


def keep_unsent(shared: Shared, transport: asyncio.Transport) -> None:
    """To be called after a write out of the scratch buffer, before anything else is read.

    The loop writes at once, and keeps a view of what the kernel did not take. That part of the
    scratch buffer must stay as it is, so it is given away, and a new one taken.
    """
    if transport.get_write_buffer_size():
        shared.renew_scratch()
