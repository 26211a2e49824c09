"""What a configuration asks for, held against what the journal knows: at starts and reloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bgproxy.controlplane.entries import ServiceEntry, reconcile
from bgproxy.domain.deployment import Deployment
from bgproxy.domain.model import COLORS, Service
from bgproxy.state.changes import Change, SaveDeployment, SaveEnvironment, SavePointer, Snapshot


@dataclass(frozen=True, slots=True)
class PlannedService:
    """A service as it will be.

    Args:
        saved: what holds for blue and for green.
        pointer: where its pointer stands, or begins.
        last: the deployment that made that generation, if one did.
    """

    settings: Service
    saved: tuple[SaveEnvironment, ...]
    pointer: SavePointer
    last: Deployment | None


def plan(
    services: Iterable[Service],
    snapshot: Snapshot,
    present: Mapping[str, ServiceEntry],
    now: float,
) -> tuple[list[PlannedService], list[Change]]:
    """Work out what every service will be.

    Args:
        present: services that run already; they know better than the snapshot.
        now: Unix time.

    Returns:
        The services in the configuration's order, and what has to be saved before they may be so.
    """
    planned: list[PlannedService] = []
    changes: list[Change] = []
    for settings in services:
        name = settings.name
        running = present.get(name)
        saved = []
        for color in COLORS:
            kept = (
                running.environment(color).saved
                if running
                else snapshot.environments.get((name, color))
            )
            holds, is_new = reconcile(settings, color, kept, now)
            saved.append(holds)
            if is_new:
                changes.append(holds)
        pointer = snapshot.pointers.get(name)
        if pointer is None:
            pointer = SavePointer(name, 1, settings.active)
            changes.append(pointer)
        last = snapshot.last.get(name)
        if running is None and last is not None and last.applied_at is None:
            # A state from before it was part of the commit; the time of this start would be wrong.
            last = replace(last, applied_at=last.requested_at)
            changes.append(SaveDeployment(last))
        planned.append(PlannedService(settings, tuple(saved), pointer, last))
    return planned, changes
