"""What outlives the processes: active pointers, deployments, environments and the audit trail.

Changes are values. `Journal.write` returns once they are on disk, in one transaction; changes for
which nobody has to wait go through `write_later` and ride along with the next transaction, so that
bookkeeping never costs a switch a second fsync. All SQL runs in one thread, in order.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bgproxy.domain.deployment import Deployment
from bgproxy.errors import StateError
from bgproxy.state import rows
from bgproxy.state.changes import WORTH_A_COPY, Audit, Change, Snapshot
from bgproxy.state.database import Database

T = TypeVar("T")

_LATER = 0.1
"""Seconds after which changes that nobody waits for are written without company."""

_RETRY = 1.0
"""Seconds until changes that could not be written, and nobody waits for, are tried again."""

_BACK_UP_AFTER = 2.0
"""Seconds of quiet after a pointer moved in which the copy is made anew."""


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
                if any(isinstance(change, WORTH_A_COPY) for change, _ in batch.changes):
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
                rows.apply(connection, change)
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
        return await self._run(partial(rows.load, self._database.connection))

    async def history(self, service: str, limit: int) -> list[Deployment]:
        """A service's last deployments, newest first.

        Raises:
            StateError: the file cannot be read.
        """
        query = f"{rows.SELECT_DEPLOYMENTS} WHERE service = ? ORDER BY id DESC LIMIT ?"
        found = await self._query(query, (service, limit))
        return [rows.deployment_of(row) for row in found]

    async def deployment(self, service: str, id: int) -> Deployment | None:
        """One deployment of a service, if there is such a one.

        Raises:
            StateError: the file cannot be read.
        """
        query = f"{rows.SELECT_DEPLOYMENTS} WHERE service = ? AND id = ?"
        found = await self._query(query, (service, id))
        return rows.deployment_of(found[0]) if found else None

    async def audit(self, service: str | None, limit: int) -> list[Audit]:
        """Who changed what, newest first; of all services unless one is named.

        Raises:
            StateError: the file cannot be read.
        """
        found = await self._query(
            "SELECT at, service, actor, action, before, after, origin FROM audit "
            "WHERE ?1 IS NULL OR service = ?1 ORDER BY id DESC LIMIT ?2",
            (service, limit),
        )
        return [
            Audit(at, name, actor, action, json.loads(before), json.loads(after), origin)
            for at, name, actor, action, before, after, origin in found
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
