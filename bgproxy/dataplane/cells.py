"""The ledger's cells, as every request reads and changes them.

Apart from `shared`, as nobody else needs to know what they are made of: compiled, a typed view of
memory makes a module three times as large, and so every module that knows of one.
"""

from __future__ import annotations

from bgproxy.dataplane.shared import Shared


class SharedCells(Shared):
    """What a worker shares among its connections, over a ledger that stays open while they do.

    Args:
        cells: the ledger's.
        prefix: what the worker's request ids begin with.
    """

    __slots__ = ("_view",)

    def __init__(self, cells: memoryview, prefix: bytes) -> None:
        super().__init__(cells, prefix)
        self._view = cells

    def cell(self, index: int) -> int:
        """What a cell holds."""
        return self._view[index]

    def add(self, index: int, count: int) -> None:
        """Add to a cell; only this worker writes there, so nothing can come in between."""
        self._view[index] += count
