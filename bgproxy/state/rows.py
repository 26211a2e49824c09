"""The journal's values as rows of its tables, and back. All of it may block."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from bgproxy.domain.deployment import Deployment, Kind, Outcome, Phase
from bgproxy.domain.lock import Lock
from bgproxy.domain.maintenance import Maintenance
from bgproxy.domain.model import Color
from bgproxy.state.changes import (
    Audit,
    Change,
    SaveDeployment,
    SaveEnvironment,
    SaveLock,
    SaveMaintenance,
    SavePointer,
    Snapshot,
)

_COLUMNS = (
    "id, service, kind, from_color, to_color, requested_at, release, generation, reason, actor, "
    "phase, verdict, bake, applied_at, drained_at, finished_at, details"
)
SELECT_DEPLOYMENTS = f"SELECT {_COLUMNS} FROM deployments"  # noqa: S608 - constants only
_MARKS = ", ".join("?" * len(_COLUMNS.split(", ")))


def load(connection: sqlite3.Connection) -> Snapshot:
    """All that a restart needs."""
    execute = connection.execute
    pointers = {
        service: SavePointer(service, generation, Color(color))
        for service, generation, color in execute("SELECT service, generation, color FROM pointers")
    }
    environments = {
        (row[0], Color(row[1])): SaveEnvironment(
            row[0], Color(row[1]), tuple(json.loads(row[2])) if row[2] else None, *row[3:]
        )
        for row in execute(
            "SELECT service, color, backends, release, fingerprint, changed_at, changed_by, "
            "locked_by FROM environments"
        )
    }
    under_way = execute(f"{SELECT_DEPLOYMENTS} WHERE finished_at IS NULL ORDER BY id").fetchall()
    last = execute(
        f"{SELECT_DEPLOYMENTS} JOIN pointers USING (service, generation) ORDER BY deployments.id"
    ).fetchall()
    return Snapshot(
        pointers=pointers,
        environments=environments,
        under_way=[deployment_of(row) for row in under_way],
        last={row[1]: deployment_of(row) for row in last},
        last_id=execute("SELECT coalesce(max(id), 0) FROM deployments").fetchone()[0],
        maintenance={
            row[0]: Maintenance(row[1], tuple(json.loads(row[2])), row[3], row[4])
            for row in execute("SELECT service, message, allow, since, started_by FROM maintenance")
        },
        locks={
            row[0]: Lock(*row[1:])
            for row in execute("SELECT service, reason, locked_by, since, until FROM locks")
        },
    )


def apply(connection: sqlite3.Connection, change: Change) -> None:
    """Carry a change out; the caller has begun a transaction."""
    match change:
        case SavePointer(service, generation, color):
            written = connection.execute(
                "INSERT INTO pointers VALUES (?, ?, ?) ON CONFLICT (service) DO UPDATE SET "
                "generation = excluded.generation, color = excluded.color "
                "WHERE excluded.generation > pointers.generation",
                (service, generation, str(color)),
            )
            if not written.rowcount:
                raise sqlite3.IntegrityError(f"{service}: generation {generation} is not newer")
        case SaveDeployment(deployment):
            connection.execute(
                f"INSERT OR REPLACE INTO deployments ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608
                _row(deployment),
            )
        case SaveEnvironment():
            backends = None if change.backends is None else json.dumps(change.backends)
            connection.execute(
                "INSERT OR REPLACE INTO environments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(change.service, str(change.color), backends, change.release),
                    *(change.fingerprint, change.changed_at, change.changed_by, change.locked_by),
                ),
            )
        case SaveMaintenance(service, None):
            connection.execute("DELETE FROM maintenance WHERE service = ?", (service,))
        case SaveMaintenance(service, Maintenance() as maintenance):
            connection.execute(
                "INSERT OR REPLACE INTO maintenance VALUES (?, ?, ?, ?, ?)",
                (
                    *(service, maintenance.message, json.dumps(maintenance.allow)),
                    *(maintenance.since, maintenance.by),
                ),
            )
        case SaveLock(service, None):
            connection.execute("DELETE FROM locks WHERE service = ?", (service,))
        case SaveLock(service, Lock() as lock):
            connection.execute(
                "INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?, ?)",
                (service, lock.reason, lock.by, lock.since, lock.until),
            )
        case Audit():
            connection.execute(
                "INSERT INTO audit (at, service, actor, action, before, after, origin) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(change.at, change.service, change.actor, change.action),
                    *(json.dumps(change.before), json.dumps(change.after), change.origin),
                ),
            )


def _row(deployment: Deployment) -> tuple[Any, ...]:
    d = deployment
    return (
        *(d.id, d.service, str(d.kind), str(d.from_color), str(d.to_color), d.requested_at),
        *(d.release, d.generation, d.reason, d.actor, str(d.phase)),
        *(None if d.verdict is None else str(d.verdict), d.bake),
        *(d.applied_at, d.drained_at, d.finished_at, json.dumps(d.details)),
    )


def deployment_of(row: Sequence[Any]) -> Deployment:
    """The deployment of a row that `SELECT_DEPLOYMENTS` gave."""
    (id, service, kind, from_color, to_color, requested_at, *texts) = row
    (release, generation, reason, actor, phase, verdict, bake, *rest) = texts
    (applied_at, drained_at, finished_at, details) = rest
    return Deployment(
        id=id,
        service=service,
        kind=Kind(kind),
        from_color=Color(from_color),
        to_color=Color(to_color),
        requested_at=requested_at,
        release=release,
        generation=generation,
        reason=reason,
        actor=actor,
        phase=Phase(phase),
        verdict=None if verdict is None else Outcome(verdict),
        bake=bake,
        applied_at=applied_at,
        drained_at=drained_at,
        finished_at=finished_at,
        details=json.loads(details),
    )
