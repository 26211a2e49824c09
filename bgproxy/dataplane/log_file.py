"""Lines on their way to a file: gathered on the loop, written by a thread of their own.

A disk that is slow or a pipe that nobody reads must not hold a request up, so the loop only hands
over what has gathered since, once the thread is done with what it had. What gathers meanwhile is
bounded; lines beyond that are dropped and counted.
"""

from __future__ import annotations

import asyncio
import enum
import os
import queue
import select
import stat
import threading
from collections.abc import Callable, Iterator

STANDARD_OUTPUT = "-"

_MOST_BYTES = 4 * 1024 * 1024
"""Gathered lines of one worker: half a second's at the highest rates, much more at usual ones."""

LOG_FILE_MODE = 0o640
"""Whoever may read it sees addresses of people."""


class _Order(enum.Enum):
    """What the thread is told besides bytes to write."""

    REOPEN = enum.auto()
    END = enum.auto()


class LogFile:
    """A file that lines are appended to; several processes may append to the same one.

    Args:
        path: of the file, or `STANDARD_OUTPUT`.
        on_trouble: called with one sentence when it cannot be opened or written, once until it
            works again.

    Attributes:
        dropped: lines that are lost, since whoever reads this set it to 0.
    """

    def __init__(self, path: str, on_trouble: Callable[[str], None]) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._size = 0
        self._is_busy = False
        self._is_in_trouble = False
        self.dropped = 0
        self._orders: queue.SimpleQueue[bytes | _Order] = queue.SimpleQueue()
        # A daemon: the process may end while a pipe that nobody reads holds a write up.
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    # -- on the loop ------------------------------------------------------------------------------

    def add(self, line: bytes) -> None:
        """Gather a line, which ends in a line feed."""
        self._size += len(line)
        if self._size > _MOST_BYTES:
            self._size -= len(line)
            self.dropped += 1
        else:
            self._lines.append(line)

    def pass_on(self) -> None:
        """Hand over what has gathered, unless the thread is still at the last."""
        if self._lines and not self._is_busy:
            self._is_busy = True
            self._orders.put(b"".join(self._lines))
            self._lines.clear()
            self._size = 0

    def reopen(self) -> None:
        """Open the path anew: the file was moved away."""
        self._orders.put(_Order.REOPEN)

    def close(self) -> None:
        """Write what has gathered, then end; see `join`."""
        if self._lines:
            self._orders.put(b"".join(self._lines))
            self._lines.clear()
        self._orders.put(_Order.END)

    def join(self, timeout: float) -> None:
        """Wait after `close` until all is written, for at most so many seconds."""
        self._thread.join(timeout)

    def _done(self, lost: int, trouble: str) -> None:
        """The thread has written, or could not."""
        self._is_busy = False
        self.dropped += lost
        if trouble and not self._is_in_trouble:
            self._on_trouble(trouble)
        self._is_in_trouble = bool(trouble)

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        descriptor, trouble = self._open()
        while (order := self._orders.get()) is not _Order.END:
            lost = 0
            if isinstance(order, bytes):
                lost, failure = _write(descriptor, order)
                trouble = failure and (trouble or f"{self._path} cannot be written: {failure}")
            else:
                self._close(descriptor)
                descriptor, trouble = self._open()
            self._tell(lost, trouble)
        self._close(descriptor)

    def _open(self) -> tuple[int, str]:
        """A descriptor and why there is none; one of the two."""
        if self._path == STANDARD_OUTPUT:
            return 1, ""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, LOG_FILE_MODE), ""
        except OSError as error:
            return -1, f"{self._path} cannot be opened: {error.strerror}"

    def _close(self, descriptor: int) -> None:
        if descriptor > 1:
            os.close(descriptor)

    def _tell(self, lost: int, trouble: str) -> None:
        try:
            self._loop.call_soon_threadsafe(self._done, lost, trouble)
        except RuntimeError:
            return  # the loop has ended meanwhile, and with it whoever would listen


def _write(descriptor: int, data: bytes) -> tuple[int, str]:
    """Append lines.

    Returns:
        How many are lost, and why.
    """
    written = 0
    try:
        for piece in _pieces(descriptor, data):
            done = 0
            while done < len(piece):
                done += os.write(descriptor, piece[done:])
                written += done if done == len(piece) else 0
    except OSError as error:
        return data.count(b"\n", written), error.strerror or str(error)
    return 0, ""


def _pieces(descriptor: int, data: bytes) -> Iterator[bytes]:
    """What may be written at once.

    To a file that is everything: one write with O_APPEND is never mixed with another process's.
    A pipe promises that for `select.PIPE_BUF` bytes only, so there it is some lines at a time.
    """
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        yield data
        return
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        if end <= start:
            end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end
