"""The journal: durable when it says so, in order, and cheap for what nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgproxy.domain.deployment import Deployment, Kind, Outcome, Phase
from bgproxy.domain.model import Color
from bgproxy.errors import StateError
from bgproxy.state import journal as module
from bgproxy.state.changes import Audit, SaveDeployment, SaveEnvironment, SavePointer
from bgproxy.state.journal import Journal
from bgproxy.state.origin import ORIGIN

DEPLOYMENT = Deployment(
    id=1,
    service="default",
    kind=Kind.SWITCH,
    from_color=Color.BLUE,
    to_color=Color.GREEN,
    requested_at=100.25,
    release="v2",
    generation=2,
    reason="ünïcode 'quotes'",
    actor="ann",
    phase=Phase.BAKING,
    verdict=Outcome.PASSED,
    bake=600.0,
    applied_at=101.5,
    drained_at=102.5,
    details={"baseline": {"requests": 3}, "list": [1, 2]},
)
ENVIRONMENT = SaveEnvironment(
    "default", Color.GREEN, ("http://a:1", "unix:/b"), "v2", "fp", 99.5, "ann", locked_by=4
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is."""
    return tmp_path / "state.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    """An open journal."""
    journal = await Journal.open(path)
    yield journal
    await journal.close()


def on_disk(path: Path, table: str) -> list[Any]:
    """What another process would find, were this one killed now."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        return reader.execute(f"SELECT * FROM {table}").fetchall()


def break_commits(journal: Journal, error: Exception) -> list[int]:
    """Let every transaction fail; returns how many changes each would have had."""
    sizes: list[int] = []

    def fail(changes: Sequence[Any]) -> None:
        sizes.append(len(changes))
        raise error

    journal._commit = fail  # type: ignore[method-assign]
    return sizes


def mend_commits(journal: Journal) -> None:
    """Let them succeed again."""
    del journal._commit


async def test_everything_comes_back_as_it_was(journal: Journal, path: Path) -> None:
    """Values that went in are equal to those that come out, also after a restart."""
    await journal.write(
        SavePointer("default", 2, Color.GREEN), SaveDeployment(DEPLOYMENT), ENVIRONMENT
    )
    snapshot = await journal.load()
    assert snapshot.pointers == {"default": SavePointer("default", 2, Color.GREEN)}
    assert snapshot.environments == {("default", Color.GREEN): ENVIRONMENT}
    assert list(snapshot.under_way) == [DEPLOYMENT]
    assert snapshot.last == {"default": DEPLOYMENT}
    assert snapshot.last_id == 1
    assert await journal.deployment("default", 1) == DEPLOYMENT
    assert await journal.deployment("other", 1) is None
    await journal.close()
    again = await Journal.open(path)
    assert (await again.load()) == snapshot
    await again.close()
    # The fixture closes once more; give it something to close.
    journal.__dict__.update((await Journal.open(path)).__dict__)


async def test_written_is_on_disk(journal: Journal, path: Path) -> None:
    """When `write` returns, a crash loses nothing of it."""
    await journal.write(SavePointer("default", 2, Color.GREEN))
    assert on_disk(path, "pointers") == [("default", 2, "green")]


async def test_what_nobody_waits_for_rides_along(journal: Journal, path: Path) -> None:
    """Bookkeeping shares the next transaction instead of having its own fsync."""
    statements: list[str] = []
    journal._database.connection.set_trace_callback(statements.append)
    for id in range(1, 6):
        journal.write_later(SaveDeployment(replace(DEPLOYMENT, id=id, generation=None)))
    await journal.write(SavePointer("default", 2, Color.GREEN))
    journal._database.connection.set_trace_callback(None)
    assert statements.count("COMMIT") == 1
    assert len(on_disk(path, "deployments")) == 5


async def test_waiting_writers_share_a_transaction(journal: Journal) -> None:
    """Writers that come while one commits go together into the next."""
    statements: list[str] = []
    journal._database.connection.set_trace_callback(statements.append)
    names = [f"s{n}" for n in range(10)]
    await asyncio.gather(*(journal.write(SavePointer(n, 1, Color.BLUE)) for n in names))
    journal._database.connection.set_trace_callback(None)
    assert statements.count("COMMIT") <= 2


async def test_later_comes_by_itself(journal: Journal, path: Path) -> None:
    """Without company it is written after a moment, in order."""
    written = asyncio.Event()
    loop = asyncio.get_running_loop()

    journal.write_later(SavePointer("default", 1, Color.BLUE))
    journal.write_later(SavePointer("default", 2, Color.GREEN))
    commit = journal._commit

    def commit_and_tell(changes: Sequence[Any]) -> None:
        commit(changes)
        loop.call_soon_threadsafe(written.set)

    journal._commit = commit_and_tell  # type: ignore[method-assign]
    await written.wait()
    assert on_disk(path, "pointers") == [("default", 2, "green")]


async def test_a_failed_write_changes_nothing_and_says_so(journal: Journal, path: Path) -> None:
    """All or none; afterwards the journal works again."""
    await journal.write(SavePointer("default", 1, Color.BLUE))
    sizes = break_commits(journal, sqlite3.OperationalError("database or disk is full"))
    with pytest.raises(StateError, match="disk is full"):
        await journal.write(SavePointer("default", 2, Color.GREEN), SaveDeployment(DEPLOYMENT))
    assert sizes == [2]
    assert "disk is full" in journal.trouble
    mend_commits(journal)
    assert on_disk(path, "pointers") == [("default", 1, "blue")]
    await journal.write(SavePointer("default", 2, Color.GREEN))
    assert journal.trouble == ""


async def test_bookkeeping_survives_a_full_disk(journal: Journal, path: Path) -> None:
    """What nobody waited for is kept and written when there is room again."""
    break_commits(journal, sqlite3.OperationalError("database or disk is full"))
    journal.write_later(SaveDeployment(DEPLOYMENT))
    with pytest.raises(StateError):
        await journal.write(SavePointer("default", 2, Color.GREEN))
    mend_commits(journal)
    await journal.flush()
    assert len(on_disk(path, "deployments")) == 1
    assert on_disk(path, "pointers") == []


async def test_trouble_ends_by_itself(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the disk takes writes again, nobody has to switch for that to be known."""
    monkeypatch.setattr(module, "_RETRY", 0.01)
    error = sqlite3.OperationalError("database or disk is full")
    sizes = break_commits(journal, error)
    with pytest.raises(StateError):
        await journal.write(SavePointer("default", 2, Color.GREEN))
    async with asyncio.timeout(5):
        while len(sizes) < 3:
            assert journal.trouble
            await asyncio.sleep(0.005)
        mend_commits(journal)
        while journal.trouble:
            assert len(sizes) >= 3
            await asyncio.sleep(0.005)
    assert on_disk(path, "pointers") == []


async def test_a_copy_that_cannot_be_made_is_told_apart(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing goes on; only the copy is missing."""

    def fail() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(journal._database, "back_up", fail)
    await journal._run(journal._try_back_up)
    assert "no space left" in journal.copy_trouble
    await journal.write(SavePointer("default", 2, Color.GREEN))
    assert journal.trouble == ""
    monkeypatch.undo()
    await journal._run(journal._try_back_up)
    assert journal.copy_trouble == ""


async def test_what_can_never_be_written_is_not_tried_for_ever(journal: Journal) -> None:
    """One bad change does not stand in the way of all others."""
    journal.write_later(SaveDeployment(replace(DEPLOYMENT, details={"bad": object()})))
    with pytest.raises(StateError):
        await journal.flush()
    await journal.write(SavePointer("default", 1, Color.BLUE))
    assert await journal.history("default", 10) == []


async def test_a_real_error_inside_a_transaction_rolls_all_of_it_back(
    journal: Journal, path: Path
) -> None:
    """The database itself is asked, not a stand-in."""
    await journal.write(SavePointer("default", 2, Color.BLUE))
    with pytest.raises(StateError, match="not newer"):
        await journal.write(SaveDeployment(DEPLOYMENT), SavePointer("default", 2, Color.GREEN))
    assert on_disk(path, "deployments") == []
    assert on_disk(path, "pointers") == [("default", 2, "blue")]
    await journal.write(SavePointer("default", 3, Color.GREEN))


async def test_history_is_newest_first_and_bounded(journal: Journal) -> None:
    """Of one service only."""
    for id in range(1, 8):
        service = "other" if id == 4 else "default"
        deployment = replace(DEPLOYMENT, id=id, service=service, generation=id, finished_at=1.0)
        await journal.write(SaveDeployment(deployment))
    assert [d.id for d in await journal.history("default", 3)] == [7, 6, 5]
    assert [d.id for d in await journal.history("other", 3)] == [4]
    snapshot = await journal.load()
    assert not snapshot.under_way
    assert snapshot.last_id == 7


async def test_audit_rows_stay(journal: Journal) -> None:
    """Who, what, before and after."""
    rows = [
        Audit(float(n), "default", "ann", "backends", {"backends": ["a"]}, {"backends": ["b"]})
        for n in range(3)
    ]
    await journal.write(*rows)
    assert await journal.audit("default", 2) == [rows[2], rows[1]]


async def test_audit_rows_say_from_where(journal: Journal) -> None:
    """What the task that made them was asked from; nothing for what began by itself."""

    async def change(origin: str) -> None:
        ORIGIN.set(origin)
        await journal.write(Audit(1.0, "default", "ann", "pause", {}, {}))

    await asyncio.create_task(change("10.0.0.7:1234"))
    await journal.write(Audit(2.0, "other", "", "auto_rollback", {}, {}))
    assert [row.origin for row in await journal.audit("default", 5)] == ["10.0.0.7:1234"]
    found = [(row.service, row.origin) for row in await journal.audit(None, 5)]
    assert found == [("other", ""), ("default", "10.0.0.7:1234")]


async def test_the_copy_follows_the_pointer(path: Path) -> None:
    """A good end leaves a copy that has everything."""
    journal = await Journal.open(path)
    await journal.write(SavePointer("default", 2, Color.GREEN))
    journal.write_later(SaveDeployment(DEPLOYMENT))
    await journal.close()
    copy = path.with_name("state.db.bak")
    assert on_disk(copy, "pointers") == [("default", 2, "green")]
    assert len(on_disk(copy, "deployments")) == 1


async def test_a_cancelled_writer_does_not_stop_the_journal(journal: Journal, path: Path) -> None:
    """Its change is written all the same, and the next writer is served."""
    first = asyncio.create_task(journal.write(SavePointer("a", 1, Color.BLUE)))
    await asyncio.sleep(0)
    first.cancel()
    await journal.write(SavePointer("b", 1, Color.BLUE))
    assert [row[0] for row in on_disk(path, "pointers")] == ["a", "b"]
