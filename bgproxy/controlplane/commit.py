"""What goes to disk when a pointer moves: one transaction, all or nothing."""

from __future__ import annotations

import time
from dataclasses import replace

from bgproxy.controlplane.entries import ServiceEntry, unlocked
from bgproxy.domain.deployment import Deployment, Event, Kind, advance
from bgproxy.state.changes import Audit, Change, SaveDeployment, SavePointer
from bgproxy.state.origin import ORIGIN


def changes_of(service: ServiceEntry, committed: Deployment, *, force: bool) -> list[Change]:
    """All that goes to disk, at once, before the pointer moves."""
    watched = service.watched
    changes: list[Change] = [
        SavePointer(service.name, committed.generation or 0, committed.to_color),
        SaveDeployment(committed),
        Audit(
            committed.requested_at,
            service.name,
            committed.actor,
            str(committed.kind),
            {"active": str(committed.from_color)},
            {
                "active": str(committed.to_color),
                "generation": committed.generation,
                "deployment": committed.id,
                "reason": committed.reason,
                "force": force,
            },
            origin="" if committed.kind is Kind.AUTO_ROLLBACK else ORIGIN.get(),
        ),
    ]
    if watched is not None:
        event = end_by(committed.kind)
        ended = replace(
            watched.deployment,
            phase=advance(watched.phase, event).phase,
            finished_at=time.time(),
        )  # its explanation follows when nobody waits
        changes.append(SaveDeployment(ended))
    target = service.environment(committed.to_color).saved
    if committed.kind is Kind.SWITCH:
        if target.release != committed.release or target.locked_by is not None:
            changes.append(unlocked(target, release=committed.release))
    elif committed.kind is Kind.AUTO_ROLLBACK and watched is not None:
        left = service.environment(committed.from_color).saved
        changes.append(replace(left, locked_by=watched.deployment.id))
    return changes


def end_by(kind: Kind) -> Event:
    """What a new deployment of that kind is to the one that is being watched."""
    return Event.OVERTAKEN if kind is Kind.SWITCH else Event.TAKEN_BACK
