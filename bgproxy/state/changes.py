"""What goes to the journal and what comes back from it at a start: plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgproxy.domain.deployment import Deployment
from bgproxy.domain.lock import Lock
from bgproxy.domain.maintenance import Maintenance
from bgproxy.domain.model import Color
from bgproxy.state.origin import ORIGIN


@dataclass(frozen=True, slots=True)
class SavePointer:
    """A service's active pointer is this from now on."""

    service: str
    generation: int
    color: Color


@dataclass(frozen=True, slots=True)
class SaveDeployment:
    """A deployment is in this state from now on."""

    deployment: Deployment


@dataclass(frozen=True, slots=True)
class SaveEnvironment:
    """An environment is this from now on.

    Args:
        backends: as set through the API; None where the configuration file's are followed.
        fingerprint: of the file's value when this was written.
        changed_at: Unix time of the last change of backends or release.
        locked_by: the deployment after which the release was rolled back by itself.
    """

    service: str
    color: Color
    backends: tuple[str, ...] | None
    release: str
    fingerprint: str
    changed_at: float
    changed_by: str
    locked_by: int | None = None


@dataclass(frozen=True, slots=True)
class SaveMaintenance:
    """A service is in maintenance from now on, or (None) no longer."""

    service: str
    maintenance: Maintenance | None


@dataclass(frozen=True, slots=True)
class SaveLock:
    """A service is locked from now on, or (None) no longer."""

    service: str
    lock: Lock | None


@dataclass(frozen=True, slots=True)
class Audit:
    """Somebody changed something; a row that stays.

    Args:
        actor: who; empty for the proxy itself.
        origin: from where, see `ORIGIN`.
    """

    at: float
    service: str
    actor: str
    action: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    origin: str = field(default_factory=ORIGIN.get)


Change = SavePointer | SaveDeployment | SaveEnvironment | SaveMaintenance | SaveLock | Audit

WORTH_A_COPY = (SavePointer, SaveMaintenance, SaveLock)
"""Changes after which the copy of the state is made anew."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a restart begins with.

    Args:
        environments: by service and color.
        under_way: deployments without an end, oldest first.
        last: by service, the deployment that made its present generation.
        last_id: the highest deployment id; 0 for none.
        maintenance: by service; those that are open have none.
        locks: by service; those that are not locked have none.
    """

    pointers: Mapping[str, SavePointer]
    environments: Mapping[tuple[str, Color], SaveEnvironment]
    under_way: Sequence[Deployment]
    last: Mapping[str, Deployment]
    last_id: int
    maintenance: Mapping[str, Maintenance] = field(default_factory=dict)
    locks: Mapping[str, Lock] = field(default_factory=dict)
