"""Workers' processes, started before anybody knows what they will do.

A worker loads its code in about the time that the supervisor takes to read its configuration, so
`bgproxy run` starts them first, and tells each its place when that is known. How many it will need
is a guess at that moment, and costs time alone when it is wrong: further ones are started when
they are wanted, and those nobody wants are sent home.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.state import posting

if TYPE_CHECKING:
    import asyncio

    from bgproxy.state.posting import WorkerArguments

_MOST_BYTES = 64 * 1024
"""Of the configuration, to find the number of workers in; it mostly stands at the top."""

_WORKERS = re.compile(r"^[^#\n]*\bworkers:[ \t]*([^\s,}#]*)", re.MULTILINE)


class Recruit:
    """A process that has a worker's code, or is loading it, and waits to be told its place."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bgproxy.dataplane", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self.pid = self._process.pid
        self.started = monotonic()
        self._end: asyncio.Future[int] | None = None

    def post(self, arguments: WorkerArguments) -> None:
        """Tell it its place, once; from then on the channel does not block and carries messages.

        One that is dead already is told nothing: `wait` will say so.
        """
        with contextlib.suppress(ConnectionError):
            posting.post(self.channel, arguments)
        self.channel.setblocking(False)

    def kill(self) -> None:
        """End it the hard way; one that has ended is left alone."""
        self._process.kill()

    async def wait(self) -> int:
        """Return its exit status when it has ended, negative for a signal; may be called again."""
        import asyncio  # before the first recruit is on its way there is no time for it

        if self._end is None:
            loop = asyncio.get_running_loop()
            self._end = loop.create_future()
            # A thread each, as asyncio itself does: it needs neither SIGCHLD nor a recent kernel.
            waiting = threading.Thread(target=self._wait, args=(loop, self._end), daemon=True)
            waiting.start()
        return await asyncio.shield(self._end)

    def _wait(self, loop: asyncio.AbstractEventLoop, end: asyncio.Future[int]) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(end.set_result, status)

    def send_home(self) -> None:
        """End one that was not told anything."""
        self.channel.close()
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def recruited(config_path: Path) -> Iterator[list[Recruit]]:
    """Start what a configuration probably asks for.

    Yields:
        The recruits. Whoever takes one out of the list has it; the others are sent home.
    """
    recruits = [Recruit() for _ in range(probable_workers(config_path))]
    try:
        yield recruits
    finally:
        while recruits:
            recruits.pop().send_home()


def probable_workers(config_path: Path) -> int:
    """How many workers a file asks for, at a glance; 0 if it cannot be read.

    More than there are usable CPUs would load one after the other, as they do without us.
    """
    usable = len(os.sched_getaffinity(0))
    try:
        with config_path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError):
        return 0
    match = _WORKERS.search(text)
    if match is None or match[1] in ("", "auto"):
        return usable
    return min(int(match[1]), usable) if match[1].isdecimal() else 1
