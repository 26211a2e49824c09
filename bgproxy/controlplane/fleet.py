"""What the control plane needs of the workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.state.channel import FailureSample, FoundRequest
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import RoutingTable


class Fleet(Protocol):
    """All workers as one.

    The coordinator sets the callbacks; they must not block.

    Attributes:
        on_worker_died: called with the worker's place.
        on_backend_trouble: called with a backend slot at which a worker could not connect, and why.
        on_failure_sample: called with a failed exchange, now and then.
    """

    on_worker_died: Callable[[int], None] | None
    on_backend_trouble: Callable[[int, Reason, str], None] | None
    on_failure_sample: Callable[[FailureSample], None] | None

    @property
    def ledger(self) -> Ledger:
        """The shared memory of all workers."""

    async def publish(self, table: RoutingTable) -> None:
        """Send a table; returns when every live worker has acknowledged it (bounded)."""

    async def quiesce(self) -> None:
        """Begin a new epoch; returns when every live worker has passed a quiescent point since.

        Afterwards no claim made before the last `Ledger.store_pointer` can still be hidden.
        """

    def close_leftovers(
        self, service_slot: int, color: Color, generation: int, kind: str, spread: float
    ) -> None:
        """Have the workers close what is still open on a color, spread over so many seconds.

        Args:
            generation: only what began at or before it.
            kind: ``requests`` or ``tunnels``.
        """

    async def find_request(self, request_id: str) -> list[FoundRequest]:
        """What the workers remember of a request."""

    def is_complete(self) -> bool:
        """Whether every worker runs and has a routing table."""

    def workers_view(self) -> list[dict[str, Any]]:
        """Every worker's pid and state, ready for JSON."""
