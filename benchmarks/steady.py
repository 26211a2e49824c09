"""Requests at a constant rate, or one after the other: the Python side of `steady_load.c`.

At a constant rate latency counts from the moment when a request was *due*: a proxy that stands
still for a second is not spared the requests that would have come meanwhile ("coordinated
omission"). The sender checks itself by the same clock: how late it was although a connection was
free.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import pinned
from benchmarks.requests import packed

_COLUMNS = 5

BROKEN, BROKEN_EARLY = -1, -2
"""Marks of a request whose connection broke: within the answer, or before anything of it came on a
connection that had been used before."""


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of an ordered sequence lies; 0 of an empty one."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of some latencies, in milliseconds."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of durations in seconds, in any order."""
        ordered = sorted(seconds)
        shares = (quantile(ordered, share) * 1e3 for share in (0.5, 0.99, 0.999, 1.0))
        return cls(*shares)


@dataclass(frozen=True, slots=True)
class Records:
    """What became of each request; a column each, times in seconds of the monotonic clock.

    Args:
        due: when it should have been sent.
        sendable: the same, or when a connection came free for it, if later.
        sent: when it was sent.
        answered: when its answer was complete, or it had failed.
        mark: the first byte of a good answer's body; negative for everything else.
    """

    due: Sequence[float]
    sendable: Sequence[float]
    sent: Sequence[float]
    answered: Sequence[float]
    mark: Sequence[float]

    @classmethod
    def read(cls, path: Path) -> Records:
        """Those that the program has written."""
        values = array("d")
        values.frombytes(path.read_bytes())
        return cls(*(values[column::_COLUMNS] for column in range(_COLUMNS)))

    def __len__(self) -> int:
        return len(self.due)

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return sum(mark < 0 for mark in self.mark)

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max(self.answered) - min(self.sent) if len(self) else 0.0

    def latencies(self) -> list[float]:
        """From due to answered, of each good answer, in seconds."""
        return [
            answered - due
            for due, answered, mark in zip(self.due, self.answered, self.mark, strict=True)
            if mark >= 0
        ]

    def delays(self) -> list[float]:
        """How late the sender itself was with each request, in seconds."""
        return [sent - could for could, sent in zip(self.sendable, self.sent, strict=True)]


class SteadyLoad:
    """A sender that runs; made by `steady_load`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._cpu_before = _children_cpu()

    def wait(self) -> Records:
        """Return when its seconds are over and the last answer is there.

        Raises:
            RuntimeError: when it failed.
        """
        _, said = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the load ended with {self._process.returncode}: {said.decode()}")
        return Records.read(self._log)

    @property
    def cpu_seconds(self) -> float:
        """What it has used from its start, once it has ended."""
        return _children_cpu() - self._cpu_before

    def end(self) -> Records:
        """Tell it to end now, and wait."""
        self._process.terminate()
        return self.wait()


def _children_cpu() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def steady_load(
    program: str,
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    rate: float,
    core: int | str,
    warm_up: float = 0.5,
    seconds: float = 0.0,
    greeting: bytes = b"",
    is_nice: bool = False,
) -> Iterator[SteadyLoad]:
    """Send for as long as the block runs; it begins when the warm-up is over.

    Args:
        program: the compiled sender.
        requests: sent one after the other and again from the beginning.
        rate: requests a second over all connections; 0 sends the next as soon as one is answered.
        seconds: after the warm-up; 0 means until `end`.
        greeting: what each connection begins with, an upgrade to WebSocket.
        is_nice: whether everything else on its core goes before it.

    Raises:
        RuntimeError: when not every connection could be opened.
    """
    with tempfile.TemporaryDirectory(prefix="bgproxy-load-") as name:
        folder = Path(name)
        arguments = [str(each) for each in (port, connections, rate, warm_up, seconds)]
        command = [program, *arguments, str(folder / "log")]
        if greeting:
            (folder / "greeting").write_bytes(greeting)
            command.append(str(folder / "greeting"))
        (folder / "requests").write_bytes(packed(requests))
        with (folder / "requests").open("rb") as source:
            process = subprocess.Popen(
                [*(("nice", "-n", "19") if is_nice else ()), *pinned(command, core)],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"begun\n":
                raise RuntimeError(f"the load did not begin: {process.communicate()[1].decode()}")
            yield SteadyLoad(process, folder / "log")
        finally:
            process.kill()
            process.communicate()
