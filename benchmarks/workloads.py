"""What is measured: the workloads, and how each is sent."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import requests
from benchmarks.processes import LOAD_CORE, pinned
from benchmarks.steady import Records, Spread, steady_load
from benchmarks.tools import SOURCES, Tools

_SCRIPT = SOURCES / "wrk.lua"


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request, sent over and over.

    Args:
        name: short, for tables and the command line.
        summary: what it is, for the report.
        make: the requests, sent in turn; each may be hundreds of kilobytes.
        connections: how many of them.
        rate: requests a second over all connections; 0 for as many as the proxy carries.
        has_tls: whether clients speak TLS.
        greeting: what each connection begins with; then it speaks WebSocket.
        has_variants: whether the variants of proxies are measured as well.
    """

    name: str
    summary: str
    make: Callable[[], list[bytes]]
    connections: int = 64
    rate: float = 0
    has_tls: bool = False
    greeting: bytes = b""
    has_variants: bool = False

    @property
    def is_steady(self) -> bool:
        """Whether our own sender sends it, and not wrk."""
        return bool(self.rate or self.greeting)


_LAST = ["Connection: close"]

WORKLOADS = (
    Workload(
        "small",
        "curl-like head, 60-byte answer",
        partial(requests.curl, "/small"),
        has_variants=True,
    ),
    Workload(
        "browser",
        "browser-like head (17 fields, path and cookie always differ), 60-byte answer",
        partial(requests.browser, "/small"),
        has_variants=True,
    ),
    Workload("10k", "the same head, 10 KiB answer", partial(requests.browser, "/10k")),
    Workload(
        "100k",
        "the same head, 100 KiB answer",
        partial(requests.browser, "/100k"),
        has_variants=True,
    ),
    Workload("10m", "10 MiB answer", partial(requests.curl, "/10m"), connections=16),
    Workload("upload", "1 MiB request body", partial(requests.post, "/upload", 1 << 20)),
    Workload("chunked", "chunked answer, 5 chunks of 2 KiB", partial(requests.curl, "/chunked")),
    Workload(
        "chunked-up",
        "chunked request body, 4 chunks of 16 KiB",
        partial(requests.post, "/upload", 64 << 10, is_chunked=True),
    ),
    Workload(
        "connect",
        "a new connection for each request",
        partial(requests.curl, "/small", fields=_LAST),
    ),
    Workload(
        "tls", "the browser-like head over TLS", partial(requests.browser, "/small"), has_tls=True
    ),
    Workload(
        "tls-connect",
        "a new connection and a full TLS handshake for each request",
        partial(requests.curl, "/small", fields=_LAST),
        has_tls=True,
    ),
    Workload(
        "idle-1000",
        "1,000 connections, 2,000 browser-like requests a second over all of them",
        partial(requests.browser, "/small"),
        connections=1000,
        rate=2000,
    ),
    Workload(
        "websocket",
        "WebSocket echo of 64 bytes",
        lambda: [requests.FRAME],
        greeting=requests.UPGRADE,
    ),
)


@dataclass(frozen=True, slots=True)
class Load:
    """What the load program saw. Times are in milliseconds unless said otherwise.

    Args:
        requests: answers that were complete.
        failed: everything that was not a good answer.
        seconds: how long it took.
    """

    requests: int
    failed: int
    seconds: float
    latency: Spread

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def send(
    workload: Workload,
    port: int,
    *,
    tools: Tools,
    warm_up: float,
    seconds: float,
    begin: Callable[[], None],
) -> Load:
    """Load `port` on 127.0.0.1 with a workload, from one thread on the load's core.

    Args:
        begin: called between the warm-up and what counts.

    Raises:
        RuntimeError: when the load program fails or says nothing.
    """
    if not workload.is_steady:
        return _send_with_wrk(workload, port, warm_up, seconds, begin)
    with steady_load(
        tools.load,
        port,
        workload.make(),
        connections=workload.connections,
        rate=workload.rate,
        core=LOAD_CORE,
        warm_up=warm_up,
        seconds=seconds,
        greeting=workload.greeting,
    ) as load:
        begin()
        return _from_records(load.wait())


def _from_records(records: Records) -> Load:
    good = len(records) - records.failed
    return Load(good, records.failed, records.seconds, Spread.of(records.latencies()))


def _send_with_wrk(
    workload: Workload, port: int, warm_up: float, seconds: float, begin: Callable[[], None]
) -> Load:
    scheme = "https" if workload.has_tls else "http"
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(requests.packed(workload.make()))

        def run(duration: float) -> dict[str, Any]:
            # wrk takes whole seconds only.
            command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{max(round(duration), 1)}s"]
            command += ["--timeout", "10s", "-s", str(_SCRIPT)]
            command += [f"{scheme}://127.0.0.1:{port}", "--", file.name]
            return _result_of(pinned(command, LOAD_CORE))

        run(warm_up)
        begin()
        return _read(run(seconds))


def _result_of(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
            return found
    raise RuntimeError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")


def _read(found: dict[str, Any]) -> Load:
    kinds = ("connect_errors", "read_errors", "write_errors", "status_errors", "timeouts")
    quantiles = (found[f"{name}_us"] / 1e3 for name in ("p50", "p99", "p999", "max"))
    return Load(
        requests=found["requests"],
        failed=sum(found[kind] for kind in kinds),
        seconds=found["seconds"],
        latency=Spread(*quantiles),
    )
