"""The state file: one owner, checked, copied, never silently empty."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bgproxy.errors import StateError
from bgproxy.state import database as module
from bgproxy.state.database import _MIGRATIONS, Database, copy_of


def put(database: Database, generation: int) -> None:
    """Write a pointer, as the journal does."""
    database.connection.execute(
        "INSERT OR REPLACE INTO pointers VALUES ('default', ?, 'blue')", (generation,)
    )


def get(database: Database) -> list[int]:
    """The generations that are there."""
    rows = database.connection.execute("SELECT generation FROM pointers")
    return [generation for (generation,) in rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a state file may be, in a directory that is not there yet."""
    return tmp_path / "var" / "state.db"


def test_a_new_file_is_durable_and_private(path: Path) -> None:
    """WAL, one fsync a commit, readable by its owner alone."""
    with contextlib.closing(Database.open(path)) as database:
        assert database.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert path.stat().st_mode & 0o777 == 0o600
        assert copy_of(path).stat().st_mode & 0o777 == 0o600
        assert not database.warnings


def test_what_was_written_is_there_again(path: Path) -> None:
    """Closing and opening changes nothing."""
    with contextlib.closing(Database.open(path)) as database:
        put(database, 7)
    with contextlib.closing(Database.open(path)) as database:
        assert get(database) == [7]


def test_two_proxies_cannot_share_a_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused and told who holds it; afterwards it may."""
    monkeypatch.setattr(module, "_LOCK_PATIENCE", 0.0)
    with (
        contextlib.closing(Database.open(path)),
        pytest.raises(StateError, match=r"another proxy uses this state \(process \d+\)"),
    ):
        Database.open(path)
    Database.open(path).close()


@pytest.mark.parametrize("damage", ["overwritten", "emptied", "missing", "page"])
def test_the_copy_takes_the_place_of_an_unreadable_file(path: Path, damage: str) -> None:
    """Loudly, and the bad file is kept."""
    with contextlib.closing(Database.open(path)) as database:
        put(database, 7)
        database.back_up()
        put(database, 8)
    if damage == "overwritten":
        path.write_bytes(b"this is no database at all" * 1000)
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    with contextlib.closing(Database.open(path)) as database:
        assert get(database) == [7]
        (warning,) = database.warnings
        assert "unreadable" in warning
        assert "check who is active" in warning
    kept = [p for p in path.parent.iterdir() if "unreadable" in p.name]
    assert len(kept) == (damage != "missing")
    with contextlib.closing(Database.open(path)) as database:
        assert not database.warnings


def test_without_a_copy_an_unreadable_file_is_an_error(path: Path) -> None:
    """Never an empty table in its place."""
    Database.open(path).close()
    copy_of(path).unlink()
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StateError, match="unreadable"):
        Database.open(path)
    assert path.read_bytes().startswith(b"nonsense")


def test_an_unreadable_copy_is_an_error_too(path: Path) -> None:
    """Both are named."""
    Database.open(path).close()
    for file in (path, copy_of(path)):
        file.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StateError, match="and so is the copy"):
        Database.open(path)


def test_a_newer_state_is_left_alone(path: Path) -> None:
    """An older program does not touch what it does not know."""
    with contextlib.closing(Database.open(path)) as database:
        database.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="newer bgproxy"):
        Database.open(path)


def test_an_older_state_is_brought_up_to_date(path: Path) -> None:
    """Its audit rows stay; from where they came was not known then."""
    path.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old:
        for script in _MIGRATIONS[:3]:
            old.executescript(script)
        old.execute("PRAGMA user_version = 3")
        old.execute("INSERT INTO audit VALUES (1, 2.0, 'default', 'ann', 'pause', '{}', '{}')")
    with contextlib.closing(Database.open(path)) as database:
        assert database.connection.execute("PRAGMA user_version").fetchone() == (database.version,)
        assert database.connection.execute("SELECT actor, origin FROM audit").fetchall() == [
            ("ann", "")
        ]


def test_an_interrupted_copy_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is complete or the one before."""
    with contextlib.closing(Database.open(path)) as database:
        put(database, 7)
        database.back_up()
        put(database, 8)

        def fail(_path: Path) -> None:
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module, "_sync", fail)
            with pytest.raises(OSError, match="no space"):
                database.back_up()
        with contextlib.closing(sqlite3.connect(copy_of(path))) as copy:
            assert copy.execute("SELECT generation FROM pointers").fetchall() == [(7,)]


def test_a_directory_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    """With the path in it, not a traceback of the system's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file/state\.db"):
        Database.open(tmp_path / "file" / "state.db")


def test_a_second_owner_does_not_hold_the_lock_after_a_failure(path: Path) -> None:
    """A refused opening leaves nothing behind."""
    Database.open(path).close()
    copy_of(path).unlink()
    path.write_bytes(b"nonsense" * 1000)
    for _ in range(2):
        with pytest.raises(StateError, match="unreadable"):
            Database.open(path)
