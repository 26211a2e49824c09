"""Lines on their way to a file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from bgproxy.dataplane import log_file
from bgproxy.dataplane.log_file import LogFile
from tests.dataplane.harness import PATIENCE


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the thread does; a file has no event to wait for."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.002)


def no_trouble(detail: str) -> None:
    raise AssertionError(detail)


async def end(file: LogFile) -> None:
    file.close()
    await asyncio.to_thread(file.join, PATIENCE)


async def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    """Behind what is there, and for nobody else to read."""
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    file = LogFile(str(path), no_trouble)
    for number in range(3):
        file.add(b"%d\n" % number)
    file.pass_on()
    file.add(b"last\n")
    await end(file)
    assert path.read_bytes() == b"before\n0\n1\n2\nlast\n"


async def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    """It holds people's addresses."""
    file = LogFile(str(tmp_path / "log"), no_trouble)
    await end(file)
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


async def test_reopening_follows_a_file_that_was_moved(tmp_path: Path) -> None:
    """What was passed on before goes to the old one, what comes after to the new one."""
    path, moved = tmp_path / "log", tmp_path / "log.1"
    file = LogFile(str(path), no_trouble)
    file.add(b"old\n")
    file.pass_on()
    await until(lambda: path.exists() and path.read_bytes() == b"old\n")
    path.rename(moved)
    file.reopen()
    file.add(b"new\n")
    await end(file)
    assert moved.read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


async def test_trouble_is_told_once_and_lines_are_counted(tmp_path: Path) -> None:
    """Until it works again, which is found out when the file is opened anew."""
    path = tmp_path / "missing" / "log"
    told: list[str] = []
    file = LogFile(str(path), told.append)
    for count in (1, 2):
        file.add(b"lost\n")
        file.pass_on()
        await until(lambda count=count: file.dropped == count)  # type: ignore[misc]
    assert told == [f"{path} cannot be opened: No such file or directory"]
    path.parent.mkdir()
    file.reopen()
    file.add(b"kept\n")
    file.pass_on()
    await end(file)
    assert path.read_bytes() == b"kept\n"
    assert file.dropped == 2


async def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(tmp_path: Path) -> None:
    """What has gathered is bounded; what is over that is dropped, and the loop never waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDWR)
    file = LogFile(str(path), no_trouble)
    line = b"x" * 1023 + b"\n"
    for _ in range(200):  # more than a pipe holds: the thread waits from now on
        file.add(line)
    file.pass_on()
    for _ in range(2 * log_file._MOST_BYTES // len(line)):
        file.add(line)
        file.pass_on()
    assert file.dropped == log_file._MOST_BYTES // len(line)
    file.close()
    whole = 200 + log_file._MOST_BYTES // len(line)
    received = await asyncio.to_thread(_read, reading, whole * len(line))
    await asyncio.to_thread(file.join, PATIENCE)
    os.close(reading)
    assert received == line * whole


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, 1 << 20)
    return data


async def test_lines_of_several_writers_are_never_mixed_in_a_pipe(tmp_path: Path) -> None:
    """A pipe keeps some KiB together, so lines go there in such pieces."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDWR)
    files = [LogFile(str(path), no_trouble) for _ in range(2)]
    lines = [b"%c" % letter * 999 + b"\n" for letter in b"ab"]
    for _ in range(100):
        for file, line in zip(files, lines, strict=True):
            file.add(line)
    for file in files:
        file.close()
    received = await asyncio.to_thread(_read, reading, 200_000)
    for file in files:
        await asyncio.to_thread(file.join, PATIENCE)
    os.close(reading)
    assert sorted(received.splitlines(keepends=True)) == sorted(lines * 100)


async def test_the_thread_ends_with_the_file(tmp_path: Path) -> None:
    """None is left behind."""
    before = threading.active_count()
    file = LogFile(str(tmp_path / "log"), no_trouble)
    assert threading.active_count() == before + 1
    file.close()
    file.join(PATIENCE)
    assert threading.active_count() == before
