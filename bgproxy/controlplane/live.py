"""What the dashboard draws, as it is now: the `live` events of an event stream that asked for them.

A browser keeps six connections to one address, and a page that follows the events has one of them
open already. So the state and the charts' samples come on that same stream, and the page never asks
again and again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from bgproxy.controlplane.operations import Operations
from bgproxy.controlplane.timeline import Timeline

EVERY = 1.0
"""Seconds between two views while nothing happens."""

SOON = 0.2
"""Seconds between two views at least, however much happens."""

EVERYTHING = "*"


class LiveView:
    """One subscriber's view: all services, or one and what its timeline has new.

    Args:
        name: the service, or `EVERYTHING`.
        after: number of the last sample that the subscriber has.
        clock: monotonic seconds.
    """

    __slots__ = ("_after", "_clock", "_due", "_name", "_operations", "_shown", "_timeline")

    def __init__(
        self,
        operations: Operations,
        timeline: Timeline,
        name: str,
        after: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operations = operations
        self._timeline = timeline
        self._name = name
        self._after = after
        self._clock = clock
        self._shown = self._due = clock()

    def due_in(self) -> float:
        """Seconds until the next view should be shown; 0 for now."""
        return max(0.0, self._due - self._clock())

    def hasten(self) -> None:
        """Something has happened: the next view is due as soon as may be."""
        self._due = min(self._due, self._shown + SOON)

    def render(self) -> bytes:
        """The view as an event of the stream; without an id, because it is not to be caught up on.

        Raises:
            Refused: 404 when there is no such service (any more).
        """
        self._shown = self._clock()
        self._due = self._shown + EVERY
        data = json.dumps(self._document(), separators=(",", ":"))
        return f"event: live\ndata: {data}\n\n".encode()

    def _document(self) -> dict[str, Any]:
        if self._name == EVERYTHING:
            names = self._operations.service_names()
            return {"services": [self._operations.service(name) for name in names]}
        service = self._operations.service(self._name)
        timeline = self._timeline.document(self._name, self._after)
        self._after = timeline["last"]
        return {"services": [service], "timeline": timeline}
