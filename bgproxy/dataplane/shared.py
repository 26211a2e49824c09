"""What the connections of one worker look at for every request."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgproxy.dataplane.observers import Observer

SCRATCH_BYTES = 64 * 1024


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
        "epoch_offset",
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
        self.now = monotonic()
        self.epoch_offset = time.time() - self.now
        self.head_timeout = 10.0
        self.idle_timeout = 75.0
        self.is_stopping = False
        self.requests = 0
        self.request_prefix = prefix

    def renew_scratch(self) -> None:
        """Leave the buffer to those who hold a view of it."""
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
