"""What a request costs when there is more of something: services, backends, connections, fields.

CPU time per request of all processes of bgproxy, at a rate that leaves it time to wait, so that
batches are small in every case alike; what the proxy uses without a request in the same time (its
health checks above all) is taken off. And memory against connections that are open.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import requests, results
from benchmarks.bgproxy_file import BgproxyFile, host_of
from benchmarks.processes import LOAD_CORE
from benchmarks.programs import missing
from benchmarks.site import Site
from benchmarks.stage import Running, Stage, on_stage
from benchmarks.steady import steady_load
from benchmarks.tables import shown, table
from benchmarks.tools import COMPILER
from benchmarks.workers import opened

SERVICES = (1, 10, 100, 1000)
BACKENDS = (1, 2, 8, 64)
CONNECTIONS = (10, 100, 1000, 5000)
FIELDS = (1, 3, 10, 30, 100)

RATE = 4000.0
USUAL_CONNECTIONS = 64
PATIENCE, QUIET_SHARE = 20, 0.3
"""Seconds to wait for a proxy that has just started to use less than that share of a core."""

HEALTH: Mapping[str, str | int] = {"interval": "10m", "healthy_after": 1}
"""Seldom: two thousand backends would be probed more often than requests arrive."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Args:
        what: that there is more of.
        count: how many.
        cpu_us: per request.
    """

    what: str
    count: int
    cpu_us: float


def command_with(services: int, backends: Sequence[int], site: Site) -> Sequence[str]:
    """The command of a bgproxy with so many services, and these ports of backends in each."""
    file = BgproxyFile(
        port=site.port,
        admin=site.admin,
        blue=backends or [site.backend],
        green=[site.other_backend],
        services=services,
        health=HEALTH,
    )
    return [sys.executable, "-m", "bgproxy", "run", "-c", file.write(site.folder)]


def cost(
    running: Running,
    stage: Stage,
    load: Sequence[bytes],
    seconds: float,
    connections: int = USUAL_CONNECTIONS,
) -> float:
    """CPU time per request in microseconds.

    Raises:
        RuntimeError: when a request failed.
    """
    before = running.server.cpu_time()
    time.sleep(seconds)
    idle = running.server.cpu_time().since(before).total / seconds
    with steady_load(
        stage.tools.load,
        running.site.port,
        load,
        connections=connections,
        rate=RATE,
        core=LOAD_CORE,
        seconds=seconds,
    ) as sender:
        before = running.server.cpu_time()
        records = sender.wait()
        used = running.server.cpu_time().since(before).total - idle * records.seconds
    if records.failed:
        raise RuntimeError(f"{records.failed} requests failed")
    return used / len(records) * 1e6


def _wait_until_quiet(running: Running) -> None:
    """Return when the first probes of all backends are over, or after a while at the latest."""
    used = [running.server.cpu_time().total]
    for _ in range(PATIENCE):
        time.sleep(1)
        used.append(running.server.cpu_time().total)
        if used[-1] - used[-2] < QUIET_SHARE:
            return


def _of_services(stage: Stage) -> dict[int, Callable[[float], float]]:
    """Requests for the last of the services, in each proxy."""
    found: dict[int, Callable[[float], float]] = {}
    for count in SERVICES:
        running = stage.start(f"services-{count}", partial(command_with, count, ()))
        _wait_until_quiet(running)
        host = host_of(count - 1) if count > 1 else "shop.example.com"
        found[count] = partial(cost, running, stage, requests.browser("/small", host=host))
    return found


def _of_backends(stage: Stage) -> dict[int, Callable[[float], float]]:
    found: dict[int, Callable[[float], float]] = {}
    for count in BACKENDS:
        running = stage.start(
            f"backends-{count}", partial(command_with, 1, stage.more_backends(count))
        )
        found[count] = partial(cost, running, stage, requests.browser("/small"))
    return found


def _of_connections(stage: Stage) -> dict[int, Callable[[float], float]]:
    running = stage.start("connections", partial(command_with, 1, ()))
    load = requests.browser("/small")
    return {count: partial(cost, running, stage, load, connections=count) for count in CONNECTIONS}


def _of_fields(stage: Stage) -> dict[int, Callable[[float], float]]:
    """A Host, and as many more as it takes; 40 bytes each."""
    running = stage.start("fields", partial(command_with, 1, ()))
    return {
        count: partial(cost, running, stage, requests.with_fields("/small", count))
        for count in FIELDS
    }


KINDS: Mapping[str, Callable[[Stage], dict[int, Callable[[float], float]]]] = {
    "services": _of_services,
    "backends": _of_backends,
    "connections": _of_connections,
    "fields": _of_fields,
}


def memory(stage: Stage) -> dict[int, float]:
    """MiB (PSS, all processes) against open connections that have made a request."""
    running = stage.start("memory", partial(command_with, 1, ()))
    found = {0: running.server.memory_bytes() / (1 << 20)}
    for count in CONNECTIONS:
        with opened(running.site.port, count):
            found[count] = running.server.memory_bytes() / (1 << 20)
    return found


def show(found: Mapping[str, Any]) -> str:
    """A table for each kind, and what the curves are."""
    parts = []
    for what in dict.fromkeys(each["what"] for each in found["points"]):
        costs = medians(found, what)
        columns = [f"{count:,}" for count in costs]
        parts.append(table(columns, {"CPU, µs": [shown(each) for each in costs.values()]}, what))
    held = {int(count): mib for count, mib in found["memory_mib"].items()}
    columns = [f"{count:,}" for count in held]
    parts.append(
        table(columns, {"memory, MiB": [shown(each) for each in held.values()]}, "connections")
    )
    parts.append("\n".join(f"- {line}" for line in _curves(found, held)))
    return "\n\n".join(parts)


def medians(found: Mapping[str, Any], what: str) -> dict[int, float]:
    """CPU time per request by count."""
    counts = sorted({each["count"] for each in found["points"] if each["what"] == what})
    return {
        count: statistics.median(
            each["cpu_us"]
            for each in found["points"]
            if (each["what"], each["count"]) == (what, count)
        )
        for count in counts
    }


def _curves(found: Mapping[str, Any], held: Mapping[int, float]) -> list[str]:
    """In words: what grows by how much."""
    lines = []
    for what in ("services", "backends", "connections"):
        costs = medians(found, what)
        (few, low), (many, high) = min(costs.items()), max(costs.items())
        lines.append(
            f"{what}: from {few:,} to {many:,} a request costs {high / low:.2f} times as much"
        )
    costs = medians(found, "fields")
    (few, low), (many, high) = min(costs.items()), max(costs.items())
    lines.append(f"fields: {(high - low) / (many - few) * 1e3:,.0f} ns for each more")
    most = max(held)
    each = (held[most] - held[0]) * 1024 / most
    lines.append(f"memory: {each:.1f} KiB for each connection that is open")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write.

    Returns:
        0, or 2 when a program is missing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description="What more of something costs."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder")
    options = parser.parse_args(arguments)
    if absent := missing([COMPILER]):
        print(f"install first: {', '.join(absent)}", file=sys.stderr)
        return 2
    points = []
    for what, prepare in KINDS.items():
        with on_stage() as stage:
            measures = prepare(stage)
            for _ in range(options.rounds):
                for count, measure in measures.items():
                    points.append(Point(what, count, measure(options.seconds)))
                    print(points[-1], flush=True)
    with on_stage() as stage:
        held = memory(stage)
    document = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rate": RATE,
        "points": [asdict(each) for each in points],
        "memory_mib": {str(count): mib for count, mib in held.items()},
    }
    print(show(document))
    results.save("growth", document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
