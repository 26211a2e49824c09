"""The state file: lock, check, copy and migrate a SQLite database. All of it may block.

One process and one connection use a file (SQLite before 3.51.3 can corrupt a WAL database that two
connections write). Beside ``FILE`` stand ``FILE.lock``, held as long as it is open, and
``FILE.bak``, the last good copy, which takes its place when it cannot be read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from pathlib import Path

from bgproxy.errors import StateError

_LOCK_PATIENCE = 3.0
"""Seconds that a predecessor's workers, which share its lock, get to die after it was killed."""

_MIGRATIONS = (
    """
    CREATE TABLE pointers (
        service TEXT PRIMARY KEY,
        generation INTEGER NOT NULL CHECK (generation > 0),
        color TEXT NOT NULL CHECK (color IN ('blue', 'green'))
    ) STRICT;
    CREATE TABLE environments (
        service TEXT NOT NULL,
        color TEXT NOT NULL CHECK (color IN ('blue', 'green')),
        backends TEXT,
        release TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        changed_at REAL NOT NULL,
        changed_by TEXT NOT NULL,
        locked_by INTEGER,
        PRIMARY KEY (service, color)
    ) STRICT;
    CREATE TABLE deployments (
        id INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        kind TEXT NOT NULL,
        from_color TEXT NOT NULL,
        to_color TEXT NOT NULL,
        release TEXT NOT NULL,
        generation INTEGER,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        phase TEXT NOT NULL,
        verdict TEXT,
        bake REAL NOT NULL,
        requested_at REAL NOT NULL,
        applied_at REAL,
        drained_at REAL,
        finished_at REAL,
        details TEXT NOT NULL
    ) STRICT;
    CREATE INDEX deployments_by_service ON deployments (service, id);
    CREATE INDEX deployments_by_generation ON deployments (service, generation);
    CREATE INDEX deployments_under_way ON deployments (service) WHERE finished_at IS NULL;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        service TEXT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_service ON audit (service, id);
    """,
    """
    CREATE TABLE maintenance (
        service TEXT PRIMARY KEY,
        message TEXT NOT NULL,
        allow TEXT NOT NULL,
        since REAL NOT NULL,
        started_by TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE locks (
        service TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        locked_by TEXT NOT NULL,
        since REAL NOT NULL,
        until REAL
    ) STRICT;
    """,
    "ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT '';",
)
"""Each takes the file one `PRAGMA user_version` further; one that was released never changes."""


class Database:
    """An open state file; `open` is the way to make one, `close` ends it.

    Attributes:
        warnings: sentences for the operator: what had to be done to open the file.
    """

    def __init__(self, path: Path, lock: int, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self.warnings: list[str] = []
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Database:
        """Lock, check and migrate the file; make it if there is none, and no copy either.

        Raises:
            StateError: another process holds it, it cannot be written, it is of a newer version,
                or neither it nor its copy can be read.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock(path)
        except OSError as error:
            raise StateError(f"{path}: the state cannot be opened: {error}") from error
        database = None
        try:
            database, warnings = cls._open_or_recover(path, lock)
            database.warnings = warnings
            _migrate(database.connection, path)
            database.back_up()
        except BaseException as error:
            if database is not None:
                database.connection.close()
            os.close(lock)
            if isinstance(error, sqlite3.Error | OSError):
                raise StateError(f"{path}: the state cannot be opened: {error}") from error
            raise
        return database

    @classmethod
    def _open_or_recover(cls, path: Path, lock: int) -> tuple[Database, list[str]]:
        copy = copy_of(path)
        try:
            if copy.exists() and not (path.exists() and path.stat().st_size):
                raise sqlite3.DatabaseError("the file is missing or empty, its copy is there")
            return cls(path, lock, _connect(path)), []
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            if not copy.exists():
                detail = f"{path}: unreadable ({error}), and there is no copy {copy.name} beside it"
                raise StateError(detail) from error
            aside = _put_aside(path)
            warning = (
                f"{path}: unreadable ({error}); the copy {copy.name} took its place"
                + (f" and the bad file is kept as {aside.name}" if aside else "")
                + ". What changed after the copy was made is lost: check who is active."
            )
        _restore(copy, path)
        try:
            return cls(path, lock, _connect(path)), [warning]
        except sqlite3.DatabaseError as error:
            detail = f"{path}: unreadable, and so is the copy {copy.name}: {error}"
            raise StateError(detail) from error

    @property
    def version(self) -> int:
        """The version of the tables, which is the newest once the file is open."""
        return len(_MIGRATIONS)

    def back_up(self) -> None:
        """Write ``FILE.bak`` anew; the old copy stays until the new one is complete on disk.

        Raises:
            sqlite3.Error, OSError: when it cannot be written.
        """
        copy = copy_of(self.path)
        fresh = copy.with_name(copy.name + ".new")
        fresh.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous=OFF")  # it is synced as a whole, below
            self.connection.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        fresh.chmod(0o600)
        _sync(fresh)
        fresh.replace(copy)
        _sync(copy.parent)

    def close(self) -> None:
        """Close the file and let go of its lock."""
        self.connection.close()
        os.close(self._lock)


def copy_of(path: Path) -> Path:
    """Where the last good copy of a state file stands."""
    return path.with_name(path.name + ".bak")


def _lock(path: Path) -> int:
    descriptor = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    patience = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= patience:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                detail = f"{path}: another proxy uses this state (process {holder or 'unknown'})"
                raise StateError(detail) from None
            time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    """Open and check a file; sqlite3.DatabaseError means that it cannot be trusted."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(_MIGRATIONS):
        detail = f"{path}: made by a newer bgproxy (state version {version}); use that one"
        raise StateError(detail)
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;{script};PRAGMA user_version={number};COMMIT;")


def _put_aside(path: Path) -> Path | None:
    """Keep an unreadable file, and what belongs to it, under a name of its own."""
    aside = path.with_name(f"{path.name}.unreadable-{time.time_ns()}")
    for suffix in ("-wal", "-shm"):
        extra = path.with_name(path.name + suffix)
        if extra.exists():
            extra.rename(aside.with_name(aside.name + suffix))
    if not path.exists():
        return None
    path.rename(aside)
    return aside


def _restore(copy: Path, path: Path) -> None:
    path.write_bytes(copy.read_bytes())
    _sync(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
