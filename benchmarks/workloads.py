"""What is measured: the workloads, and the load program that makes them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import pinned

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request, sent over and over.

    Args:
        name: short, for tables and the command line.
        summary: what it is, for the report.
        path: its first four letters choose the backend's answer.
        head: ``curl`` or ``browser``.
        body_bytes: of the request.
        is_kept_alive: whether connections are used again.
    """

    name: str
    summary: str
    path: str
    head: str = "curl"
    method: str = "GET"
    body_bytes: int = 0
    is_kept_alive: bool = True


WORKLOADS = (
    Workload("small", "curl-like head, 60-byte answer", "/small"),
    Workload("browser", "browser-like head (17 fields), 60-byte answer", "/small", head="browser"),
    Workload("10k", "10 KiB answer", "/10k", head="browser"),
    Workload("100k", "100 KiB answer", "/100k", head="browser"),
    Workload("10m", "10 MiB answer", "/10m"),
    Workload("upload", "1 MiB request body", "/upload", method="POST", body_bytes=1 << 20),
    Workload("chunked", "chunked answer, 5 chunks of 2 KiB", "/chunked"),
    Workload("connect", "a new connection for each request", "/small", is_kept_alive=False),
)


@dataclass(frozen=True, slots=True)
class Load:
    """What the load program saw. Times are in seconds.

    Args:
        requests: answers that were complete.
        failed: everything that was not a good answer.
    """

    requests: int
    failed: int
    seconds: float
    p50: float
    p99: float
    p999: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def send(workload: Workload, port: int, *, connections: int, seconds: float, core: int) -> Load:
    """Load `port` on 127.0.0.1 with a workload, from one thread on one core.

    Raises:
        RuntimeError: when wrk fails or says nothing.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s"]
    command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", workload.method]
    command += [workload.path, workload.head, str(workload.body_bytes)]
    command += ["keep-alive" if workload.is_kept_alive else "close"]
    done = subprocess.run(pinned(command, core), capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return _read(json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")


def _read(found: dict[str, Any]) -> Load:
    kinds = ("connect_errors", "read_errors", "write_errors", "status_errors", "timeouts")
    return Load(
        requests=found["requests"],
        failed=sum(found[kind] for kind in kinds),
        seconds=found["seconds"],
        p50=found["p50_us"] / 1e6,
        p99=found["p99_us"] / 1e6,
        p999=found["p999_us"] / 1e6,
    )
