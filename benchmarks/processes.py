"""Processes that are measured: kept to one core, CPU time read to the nanosecond, ended surely."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent

START_TIMEOUT = 20.0
"""Seconds within which a server must accept connections."""

STOP_TIMEOUT = 5.0
"""Seconds that a server has to end after TERM before it is killed."""

_STATE, _PARENT, _SESSION, _STIME = 0, 1, 3, 12  # fields of proc(5), counted from the third


PROXY_CORE, LOAD_CORE = 0, 1
"""What is measured has a core for itself; load and backends share the other."""


def pinned(command: Sequence[str], core: int | str) -> list[str]:
    """The command, kept to one core, or to a list of them such as `0,1`."""
    return ["taskset", "--cpu-list", str(core), *command]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ports of 127.0.0.1 that nobody has now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:  # all are held until the last is found, so that none comes twice
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of processor time: all of it, and the part spent in the kernel.

    `total` is the scheduler's own count in nanoseconds; `system` comes in ticks of 10 ms.
    `processes` are those that were counted: what one that died has used is not known any more.
    """

    total: float
    system: float
    processes: frozenset[int]

    def since(self, earlier: CpuTime) -> CpuTime:
        """What was used after `earlier`.

        Raises:
            RuntimeError: when a process came or went between: the difference would be wrong.
        """
        if self.processes != earlier.processes:
            went, came = earlier.processes - self.processes, self.processes - earlier.processes
            raise RuntimeError(f"processes changed: {set(went)} went, {set(came)} came")
        total, system = self.total - earlier.total, self.system - earlier.system
        return CpuTime(total, system, self.processes)


class Server:
    """A server under measurement: one command with all processes that come of it.

    It runs on one core, a list of them such as `0,1`, or anywhere for None, and leads a session of
    its own: whatever belongs to that session is counted and ended with it.
    """

    def __init__(
        self, command: Sequence[str], core: int | str | None, *, log: Path, cwd: Path = PROJECT
    ) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command if core is None else pinned(command, core),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                start_new_session=True,
                env={**os.environ, "GOMAXPROCS": "1"},
            )
        self._log = log

    def wait_for(self, port: int) -> None:
        """Return when somebody accepts connections on the port.

        Raises:
            RuntimeError: with what the server said, when it does not come up.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        said = self._log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self._process.args!r} does not listen on {port}: {said}")

    def cpu_time(self) -> CpuTime:
        """What all processes have used so far."""
        processes = frozenset(self.members())
        total = sum(map(_run_time, processes))
        ticks = sum(int(_stat(pid)[_STIME]) for pid in processes)
        return CpuTime(total, ticks / os.sysconf("SC_CLK_TCK"), processes)

    def peak_memory_bytes(self) -> int:
        """The sum of the processes' highest resident sizes; what they share counts for each."""
        peak = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        peak += int(line.split()[1]) << 10
        return peak

    def memory_bytes(self) -> int:
        """Resident now, of all processes; what several share counts once (PSS)."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.members())
        return sum(
            int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0]) << 10 for text in rollups
        )

    def stop(self) -> None:
        """End it with TERM, then whatever is left with KILL; return when nothing runs any more."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        while left := self.members():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
            time.sleep(0.01)
        self._process.wait()

    def members(self) -> set[int]:
        """Every process that runs and is of the session or descends from one that is.

        The dead who only wait for their parent do not count.
        """
        origins: dict[int, tuple[int, int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    stat = _stat(int(entry.name))
                    if stat[_STATE] not in "ZX":
                        origins[int(entry.name)] = int(stat[_PARENT]), int(stat[_SESSION])
        members: set[int] = set()
        while True:
            more = {
                pid
                for pid, (parent, session) in origins.items()
                if session == self._process.pid or parent in members
            }
            if more == members:
                return members
            members = more


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from the third field on; what comes before may contain anything."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def _run_time(pid: int) -> float:
    """Seconds on a processor, of all threads that live."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
