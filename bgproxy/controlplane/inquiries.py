"""Why a request ended as it did: asked of all workers, shown with the deployment it met."""

from __future__ import annotations

from typing import Any

from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.times import rfc3339
from bgproxy.errors import Refused, StateError
from bgproxy.state.channel import FoundRequest
from bgproxy.state.journal import Journal

_MOST_DEPLOYMENTS = 100


class Inquiries:
    """Finds requests by their id."""

    def __init__(self, fleet: Fleet, journal: Journal) -> None:
        self._fleet = fleet
        self._journal = journal

    async def find(self, request_id: str) -> dict[str, Any]:
        """Every request of that id that a worker remembers, newest first.

        Raises:
            Refused: 404, none does.
        """
        found = await self._fleet.find_request(request_id)
        if not found:
            raise Refused(
                404,
                "unknown-request",
                f"No worker remembers {request_id}. Kept are the last 1,024 failed requests of "
                "each worker, and as many others as proxy.request_ring says.",
            )
        found.sort(key=lambda request: -request.at)
        return {
            "request_id": request_id,
            "requests": [await self._shown(request) for request in found],
        }

    async def _shown(self, request: FoundRequest) -> dict[str, Any]:
        return {
            "service": request.service or None,
            "environment": request.color or None,
            "backend": request.backend or None,
            "generation": request.generation or None,
            "deployment": await self._deployment(request),
            "method": request.method,
            "path": request.path,
            "status": request.status,
            "outcome": request.outcome,
            "at": rfc3339(request.at),
            "seconds": round(request.seconds, 6),
            "worker": request.worker,
        }

    async def _deployment(self, request: FoundRequest) -> int | None:
        """The deployment that made the request's generation, if one of the last did."""
        if not request.service or not request.generation:
            return None
        try:
            await self._journal.flush()
            last = await self._journal.history(request.service, _MOST_DEPLOYMENTS)
        except StateError:
            return None
        ids = (d.id for d in last if d.generation == request.generation)
        return next(ids, None)
