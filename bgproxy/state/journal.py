"""What outlives the processes: active pointers, deployments, environments and the audit trail.

Changes are values. `Journal.write` returns once they are on disk, in one transaction; changes for
which nobody has to wait go through `write_later` and ride along with the next transaction, so that
bookkeeping never costs a switch a second fsync. All SQL runs in one thread, in order.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bgproxy.domain.deployment import Deployment, Kind, Outcome, Phase
from bgproxy.domain.maintenance import Maintenance
from bgproxy.domain.model import Color
from bgproxy.errors import StateError
from bgproxy.state.database import Database

T = TypeVar("T")

_LATER = 0.1
"""Seconds after which changes that nobody waits for are written without company."""

_RETRY = 1.0
"""Seconds until changes that could not be written, and nobody waits for, are tried again."""

_BACK_UP_AFTER = 2.0
"""Seconds of quiet after a pointer moved in which the copy is made anew."""


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
class Audit:
    """Somebody changed something; a row that stays."""

    at: float
    service: str
    actor: str
    action: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


Change = SavePointer | SaveDeployment | SaveEnvironment | SaveMaintenance | Audit

_WORTH_A_COPY = (SavePointer, SaveMaintenance)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a restart begins with.

    Args:
        environments: by service and color.
        under_way: deployments without an end, oldest first.
        last: by service, the deployment that made its present generation.
        last_id: the highest deployment id; 0 for none.
        maintenance: by service; those that are open have none.
    """

    pointers: Mapping[str, SavePointer]
    environments: Mapping[tuple[str, Color], SaveEnvironment]
    under_way: Sequence[Deployment]
    last: Mapping[str, Deployment]
    last_id: int
    maintenance: Mapping[str, Maintenance] = field(default_factory=dict)


@dataclass(slots=True)
class _Batch:
    """Changes of one transaction, each with whether it may be tried again, and who waits."""

    changes: list[tuple[Change, bool]] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class Journal:
    """The state database as the event loop sees it; `open`, then `load`, in the end `close`."""

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread
        self._next = _Batch()
        self._timer: asyncio.TimerHandle | None = None
        self._backup_timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self.trouble = ""
        """Why the last write failed; empty while all is well. Tried again by itself."""
        self.copy_trouble = ""
        """Why the copy could not be made; empty while all is well."""

    @classmethod
    async def open(cls, path: Path) -> Journal:
        """Open the state file, or make it.

        Raises:
            StateError: see `Database.open`.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        loop = asyncio.get_running_loop()
        try:
            return cls(await loop.run_in_executor(thread, Database.open, path), thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be done to open the file, for the operator."""
        return tuple(self._database.warnings)

    # -- writing ----------------------------------------------------------------------------------

    async def write(self, *changes: Change) -> None:
        """Make changes durable, all or none; they are when this returns.

        Raises:
            StateError: the file cannot be written; nothing has changed.
        """
        future = asyncio.get_running_loop().create_future()
        self._next.changes.extend((change, False) for change in changes)
        self._next.waiters.append(future)
        self._start()
        await future

    def write_later(self, *changes: Change) -> None:
        """Make changes durable soon, in order with all others; failures are tried again."""
        self._next.changes.extend((change, True) for change in changes)
        self._start_in(_LATER)

    async def flush(self) -> None:
        """Return when all that was handed over is on disk.

        Raises:
            StateError: it cannot be written.
        """
        if self._next.changes or self._writer is not None:
            await self.write()

    def _start_in(self, seconds: float) -> None:
        if self._timer is None and self._writer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_batches())

    async def _write_batches(self) -> None:
        """Write what has gathered, transaction by transaction, until nobody waits any more."""
        try:
            while self._next.waiters or self._next.changes or self.trouble:
                batch, self._next = self._next, _Batch()
                try:
                    await self._run(partial(self._commit, batch.changes))
                except Exception as error:  # whatever it is, nobody may wait for ever
                    self.trouble = str(error)
                    self._give_back(batch, error)
                    return
                self.trouble = ""
                for waiter in batch.waiters:
                    if not waiter.done():
                        waiter.set_result(None)
                if any(isinstance(change, _WORTH_A_COPY) for change, _ in batch.changes):
                    self._back_up_soon()
        finally:
            self._writer = None
            if self._next.waiters:
                self._start()
            elif self._next.changes or self.trouble:
                self._start_in(_RETRY)

    def _give_back(self, batch: _Batch, error: Exception) -> None:
        """A transaction failed: tell who waits, keep for another try what nobody waits for.

        Only what a better moment can help is tried again (a full disk, say), or one change that
        can never be written would stand in the way of all others.
        """
        if isinstance(error.__cause__, sqlite3.OperationalError | OSError):
            self._next.changes[:0] = [entry for entry in batch.changes if entry[1]]
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _commit(self, changes: Sequence[tuple[Change, bool]]) -> None:
        connection = self._database.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change, _ in changes:
                _apply(connection, change)
            if not changes and self.trouble:  # to know whether that is over, change a page
                connection.execute(f"PRAGMA user_version={self._database.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # -- reading ----------------------------------------------------------------------------------

    async def load(self) -> Snapshot:
        """All that a restart needs.

        Raises:
            StateError: the file cannot be read.
        """
        return await self._run(self._load)

    def _load(self) -> Snapshot:
        execute = self._database.connection.execute
        pointers = {
            service: SavePointer(service, generation, Color(color))
            for service, generation, color in execute(
                "SELECT service, generation, color FROM pointers"
            )
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
        under_way = execute(f"{_SELECT} WHERE finished_at IS NULL ORDER BY id").fetchall()
        last = execute(
            f"{_SELECT} JOIN pointers USING (service, generation) ORDER BY deployments.id"
        ).fetchall()
        return Snapshot(
            pointers=pointers,
            environments=environments,
            under_way=[_deployment(row) for row in under_way],
            last={row[1]: _deployment(row) for row in last},
            last_id=execute("SELECT coalesce(max(id), 0) FROM deployments").fetchone()[0],
            maintenance={
                row[0]: Maintenance(row[1], tuple(json.loads(row[2])), row[3], row[4])
                for row in execute(
                    "SELECT service, message, allow, since, started_by FROM maintenance"
                )
            },
        )

    async def history(self, service: str, limit: int) -> list[Deployment]:
        """A service's last deployments, newest first.

        Raises:
            StateError: the file cannot be read.
        """
        query = f"{_SELECT} WHERE service = ? ORDER BY id DESC LIMIT ?"
        rows = await self._query(query, (service, limit))
        return [_deployment(row) for row in rows]

    async def deployment(self, service: str, id: int) -> Deployment | None:
        """One deployment of a service, if there is such a one.

        Raises:
            StateError: the file cannot be read.
        """
        rows = await self._query(f"{_SELECT} WHERE service = ? AND id = ?", (service, id))
        return _deployment(rows[0]) if rows else None

    async def audit(self, service: str, limit: int) -> list[Audit]:
        """Who changed what, newest first.

        Raises:
            StateError: the file cannot be read.
        """
        rows = await self._query(
            "SELECT at, service, actor, action, before, after FROM audit "
            "WHERE service = ? ORDER BY id DESC LIMIT ?",
            (service, limit),
        )
        return [
            Audit(at, name, actor, action, json.loads(before), json.loads(after))
            for at, name, actor, action, before, after in rows
        ]

    async def _query(self, sql: str, values: Sequence[Any]) -> list[Any]:
        connection = self._database.connection
        return await self._run(lambda: connection.execute(sql, values).fetchall())

    # -- the copy, the thread, the end ------------------------------------------------------------

    def _back_up_soon(self) -> None:
        """Make the copy anew once switches have calmed down; never in a switch's way."""
        if self._backup_timer is not None:
            self._backup_timer.cancel()
        self._backup_timer = asyncio.get_running_loop().call_later(
            _BACK_UP_AFTER, lambda: self._thread.submit(self._try_back_up)
        )

    def _try_back_up(self) -> None:
        try:
            self._database.back_up()
        except (sqlite3.Error, OSError) as error:
            self.copy_trouble = f"{self._database.path}: its copy cannot be written: {error}"
        else:
            self.copy_trouble = ""

    async def _run(self, work: Callable[[], T]) -> T:
        """Do something in the journal's thread; its errors become ours."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, OverflowError, TypeError, ValueError) as error:
            raise StateError(f"{self._database.path}: {error}") from error

    async def close(self) -> None:
        """Write what is left, make the copy, close the file.

        Raises:
            StateError: what was left cannot be written.
        """
        try:
            await self.flush()
        finally:
            for timer in (self._timer, self._backup_timer):
                if timer is not None:
                    timer.cancel()
            self._next = _Batch()
            await self._run(self._try_back_up)
            await self._run(self._database.close)
            self._thread.shutdown()


_COLUMNS = (
    "id, service, kind, from_color, to_color, requested_at, release, generation, reason, actor, "
    "phase, verdict, bake, applied_at, drained_at, finished_at, details"
)
_SELECT = f"SELECT {_COLUMNS} FROM deployments"  # noqa: S608 - constants only
_MARKS = ", ".join("?" * len(_COLUMNS.split(", ")))


def _apply(connection: sqlite3.Connection, change: Change) -> None:
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
        case Audit():
            connection.execute(
                "INSERT INTO audit (at, service, actor, action, before, after) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(change.at, change.service, change.actor, change.action),
                    *(json.dumps(change.before), json.dumps(change.after)),
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


def _deployment(row: Sequence[Any]) -> Deployment:
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
