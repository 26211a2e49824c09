"""More than one worker: what two carry, how connections spread, and whether a large body starves.

Everything may use both cores when throughput is measured, load and backend too; so beside the ratio
stands what two workers could reach at most on these cores, given what load and backend take.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import requests, results
from benchmarks.bgproxy_file import BgproxyFile
from benchmarks.peer_files import haproxy, nginx
from benchmarks.processes import LOAD_CORE, Server
from benchmarks.programs import missing
from benchmarks.site import Site
from benchmarks.stage import Running, Stage, on_stage
from benchmarks.steady import Spread, steady_load
from benchmarks.tables import shown, table
from benchmarks.tools import COMPILER

CORES = "0,1"
CONNECTIONS = 64
WARM_UP = 0.5
SPREADS = {10: 20, 100: 10, 1000: 3}
"""Connections that are opened, and how often."""

SMALL_RATE = 500.0
"""Small requests a second beside the large bodies."""

LARGE = {
    "10 MiB answers, one after the other": requests.curl("/10m"),
    "16 MiB uploads, one after the other": requests.post("/upload", 16 << 20),
}
"""What keeps the one worker busy; each on one connection."""


def bgproxy_with(workers: int, site: Site) -> Sequence[str]:
    """The command of a proxy with so many workers."""
    file = BgproxyFile(
        port=site.port,
        admin=site.admin,
        blue=[site.backend],
        green=[site.other_backend],
        workers=workers,
    )
    return [sys.executable, "-m", "bgproxy", "run", "-c", file.write(site.folder)]


@dataclass(frozen=True, slots=True)
class Throughput:
    """One measurement at full load.

    Args:
        cpu_us: of the proxy, per request.
        other_us: of load and backends, per request.
    """

    workers: int
    rate: float
    cpu_us: float
    other_us: float


def throughput(
    running: Running, backends: Sequence[Server], workers: int, stage: Stage, seconds: float
) -> Throughput:
    """Requests a second, and what they cost whom."""
    with steady_load(
        stage.tools.load,
        running.site.port,
        requests.browser("/small"),
        connections=CONNECTIONS,
        rate=0,
        core=CORES,
        warm_up=WARM_UP,
        seconds=seconds,
    ) as load:
        before = running.server.cpu_time()
        others = [each.cpu_time() for each in backends]
        records = load.wait()
        used = running.server.cpu_time().since(before).total
        took = sum(
            each.cpu_time().since(earlier).total
            for each, earlier in zip(backends, others, strict=True)
        )
    count = len(records) - records.failed
    took += load.cpu_seconds * seconds / (seconds + WARM_UP)
    return Throughput(workers, count / seconds, used / count * 1e6, took / count * 1e6)


@contextlib.contextmanager
def opened(port: int, count: int) -> Iterator[None]:
    """So many connections for as long as the block runs, each with one request behind it."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            one.sendall(requests.curl("/small")[0])
            one.recv(4096)
        yield


def connections_of(server: Server, port: int) -> list[int]:
    """How many client connections each worker of bgproxy has, in no order.

    A connection belongs to the worker that has its socket among its descriptors.
    """
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":  # established
            inodes.add(f"socket:[{fields[9]}]")
    counts = []
    for pid in server.members():
        links = []
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(descriptor.readlink()))
        counts.append(len(inodes.intersection(links)))
    return sorted(count for count in counts if count)


def busier_shares(running: Running, count: int, trials: int) -> list[float]:
    """The share of connections that the busier of two workers has, trial by trial, 0.5 to 1."""
    shares = []
    for _ in range(trials):
        with opened(running.site.port, count):
            found = connections_of(running.server, running.site.port)
            shares.append(found[-1] / sum(found))
    return shares


def beside_large(
    running: Running, stage: Stage, large: Sequence[bytes] | None, seconds: float
) -> Spread:
    """Latency of small requests at a low rate, alone or while a large body is on its way."""
    small = partial(
        steady_load,
        stage.tools.load,
        running.site.port,
        requests.browser("/small"),
        connections=16,
        rate=SMALL_RATE,
        core=LOAD_CORE,
        seconds=seconds,
    )
    with contextlib.ExitStack() as stack:
        if large:
            bodies = steady_load(
                stage.tools.load,
                running.site.port,
                large,
                connections=1,
                rate=0,
                core=LOAD_CORE,
                is_nice=True,
            )
            stack.enter_context(bodies)
        load = stack.enter_context(small())
        return Spread.of(load.wait().latencies())


def _measure_throughput(stage: Stage, rounds: int, seconds: float) -> list[Throughput]:
    running = {
        workers: stage.start(f"bgproxy-{workers}", partial(bgproxy_with, workers), CORES)
        for workers in (1, 2)
    }
    found = []
    for _ in range(rounds):
        for workers, one in running.items():
            found.append(throughput(one, stage.backend_servers, workers, stage, seconds))
            print(found[-1], flush=True)
    return found


def _measure_starvation(stage: Stage, rounds: int, seconds: float) -> list[dict[str, Any]]:
    commands: dict[str, Callable[[Site], Sequence[str]]] = {
        "bgproxy": partial(bgproxy_with, 1),
        "nginx": nginx,
        "HAProxy": haproxy,
    }
    running = {name: stage.start(name, command) for name, command in commands.items()}
    found = []
    for _ in range(rounds):
        for name, one in running.items():
            for load, large in {"nothing else": None, **LARGE}.items():
                latency = beside_large(one, stage, large, seconds)
                found.append({"peer": name, "load": load, "latency": asdict(latency)})
                print(found[-1], flush=True)
    return found


def show(found: Mapping[str, Any]) -> str:
    """Three tables of medians."""
    one, two = (_medians(found["throughput"], workers) for workers in (1, 2))
    rows = {
        str(each["workers"]): [shown(each[key]) for key in ("rate", "cpu_us", "other_us")]
        for each in (one, two)
    }
    columns = ["requests/s", "CPU of the proxy, µs", "of load and backend, µs"]
    bound = two["bound"] / one["rate"]
    ratio = (
        f"Two workers carry {two['rate'] / one['rate']:.2f} times what one does; with load and "
        f"backend on the same two cores {bound:.2f} is the most that there could be."
    )
    shares = {
        f"{count}": [shown(statistics.median(its) * 100), shown(max(its) * 100)]
        for count, its in found["busier_shares"].items()
    }
    spread = table(["median, %", "worst, %"], shares, "connections: share of the busier worker")
    return "\n\n".join(
        [table(columns, rows, "workers"), ratio, spread, _starvation(found["starvation"])]
    )


def _starvation(samples: Sequence[Mapping[str, Any]]) -> str:
    peers = list(dict.fromkeys(each["peer"] for each in samples))
    rows = {}
    for load in dict.fromkeys(each["load"] for each in samples):
        rows[load] = [
            shown(
                statistics.median(
                    each["latency"][key]
                    for each in samples
                    if (each["peer"], each["load"]) == (peer, load)
                )
            )
            for peer in peers
            for key in ("p50_ms", "p99_ms")
        ]
    columns = [f"{peer} {key}, ms" for peer in peers for key in ("p50", "p99")]
    return table(columns, rows, "small requests beside")


def _medians(samples: Sequence[Mapping[str, Any]], workers: int) -> dict[str, float]:
    its = [each for each in samples if each["workers"] == workers]
    keys = ("workers", "rate", "cpu_us", "other_us")
    found = {key: statistics.median(each[key] for each in its) for key in keys}
    return {**found, "bound": 2e6 / (found["cpu_us"] + found["other_us"])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write.

    Returns:
        0, or 2 when a program is missing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers", description="One worker, and two."
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder")
    options = parser.parse_args(arguments)
    if absent := missing([COMPILER, "nginx", "haproxy"]):
        print(f"install first: {', '.join(absent)}", file=sys.stderr)
        return 2
    with on_stage(CORES) as stage:
        rates = _measure_throughput(stage, options.rounds, options.seconds)
    with on_stage() as stage:
        running = stage.start("bgproxy", partial(bgproxy_with, 2), CORES)
        shares = {str(n): busier_shares(running, n, trials) for n, trials in SPREADS.items()}
    with on_stage() as stage:
        starvation = _measure_starvation(stage, min(options.rounds, 3), options.seconds)
    document = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "throughput": [asdict(each) for each in rates],
        "busier_shares": shares,
        "starvation": starvation,
    }
    print(show(document))
    results.save("workers", document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
