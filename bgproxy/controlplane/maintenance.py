"""Maintenance: a service is closed to the public, durably, until it is opened again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.inventory import Inventory
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.maintenance import DEFAULT_MESSAGE, Maintenance, read_networks
from bgproxy.errors import Refused, StateError
from bgproxy.state.changes import Audit, SaveMaintenance
from bgproxy.state.journal import Journal


class MaintenanceMode:
    """Closes services and opens them."""

    def __init__(self, journal: Journal, events: EventHub, inventory: Inventory) -> None:
        self._journal = journal
        self._events = events
        self._inventory = inventory

    async def close(
        self, service: ServiceEntry, message: str, allow: Sequence[str], actor: str
    ) -> None:
        """Close a service, or give one that is closed another message and list.

        Args:
            message: for people; empty for a usual one.
            allow: networks whose clients are served as always.

        Raises:
            Refused: one of `allow` is no network, or the state cannot be written.
        """
        try:
            networks = read_networks(allow)
        except ValueError as error:
            raise Refused(422, "invalid", f"{error}.") from None
        before = service.maintenance
        since = time.time() if before is None else before.since
        after = Maintenance(message or DEFAULT_MESSAGE, networks, since, actor)
        await self._change(service, after, actor)

    async def open(self, service: ServiceEntry, actor: str) -> None:
        """Open a service again.

        Raises:
            Refused: the state cannot be written.
        """
        await self._change(service, None, actor)

    async def _change(self, service: ServiceEntry, after: Maintenance | None, actor: str) -> None:
        """Durable first, then live: returns when every worker knows."""
        facts = {"on": after is not None} | maintenance_facts(after)
        async with service.changing:
            before = {"on": service.maintenance is not None}
            before |= maintenance_facts(service.maintenance)
            audit = Audit(time.time(), service.name, actor, "maintenance", before, facts)
            try:
                await self._journal.write(SaveMaintenance(service.name, after), audit)
            except StateError as error:
                detail = f"The state cannot be written, so nothing was changed: {error}"
                raise Refused(503, "state-unwritable", detail) from error
            service.maintenance = after
        await self._inventory.publish()
        self._events.publish("maintenance", service.name, actor=actor, **facts)


def maintenance_facts(maintenance: Maintenance | None) -> dict[str, Any]:
    """A maintenance as documents, events and the audit trail show it; empty for none."""
    if maintenance is None:
        return {}
    return {
        "message": maintenance.message,
        "allow": list(maintenance.allow),
        "since": rfc3339(maintenance.since),
        "by": maintenance.by,
    }
