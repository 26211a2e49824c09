"""What the connections of one worker look at for every request."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.protocol.render import date_line
from bgproxy.protocol.values import REQUEST_LIMITS

if TYPE_CHECKING:
    from bgproxy.dataplane.observers import Observer

SCRATCH_BYTES = 112 * 1024
"""What one read takes at most: an answer of 100 KiB at once, and still no mapping of its own."""


class Shared:
    """The part of a `Worker` that stands on the path of a request.

    Its `scratch` is what all of them read into; whoever is called with bytes in it has done with
    them when it returns, or calls `renew_scratch`.

    Args:
        cells: the ledger's.
        prefix: what the worker's request ids begin with.
    """

    __slots__ = (
        "cells",
        "date_line",
        "epoch_offset",
        "head_limits",
        "head_timeout",
        "idle_timeout",
        "is_stopping",
        "log",
        "now",
        "request_prefix",
        "requests",
        "scratch",
    )

    def __init__(self, cells: memoryview, prefix: bytes) -> None:
        self.cells = cells
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self.log: Observer | None = None
        self.read_clock()
        self.head_limits = REQUEST_LIMITS
        self.head_timeout = 10.0
        self.idle_timeout = 75.0
        self.is_stopping = False
        self.requests = 0
        self.request_prefix = prefix

    def read_clock(self) -> None:
        """Take over the time: `now`, and what it is on the calendar, stand still between calls."""
        self.now = monotonic()
        unix_time = time.time()
        self.epoch_offset = unix_time - self.now
        self.date_line = date_line(int(unix_time))

    def cell(self, index: int) -> int:
        """What a cell of the ledger holds: for every request, where `cells` is for the others."""
        raise NotImplementedError

    def add(self, index: int, count: int) -> None:
        """Add to a cell of this worker's slab, for every request likewise."""
        raise NotImplementedError

    def renew_scratch(self) -> None:
        """Leave the buffer to those who hold a view of it."""
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
