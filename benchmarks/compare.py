"""What a request costs: bgproxy beside other proxies, in one run on one machine.

Each proxy has one worker on core 0; the load (wrk, 64 connections) and a very light backend share
core 1. All proxies stay up; the workloads and rounds are interleaved, so that whatever else the
machine does hits all alike. Per request counts the CPU time of *all* processes of a proxy, from
the scheduler's own nanosecond count. Medians over the rounds go into a table and a JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS, USUAL_PEERS, Peer, find_program
from benchmarks.processes import Server, free_port
from benchmarks.report import Report, Sample
from benchmarks.workloads import WORKLOADS, Workload, send

PROXY_CORE, LOAD_CORE = 0, 1
QUICK_PEERS = ("bgproxy", "nginx", "HAProxy")
QUICK_WORKLOADS = ("small", "browser", "10k", "100k")
RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, how long and how often; times in seconds."""

    peers: Sequence[Peer]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    warm_up: float
    connections: int


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that is up, and the port where it is."""

    server: Server
    port: int


@contextlib.contextmanager
def started(peers: Iterable[Peer], folder: Path) -> Iterator[Mapping[str, Running]]:
    """The backend and the proxies before it, for as long as the block runs."""
    with contextlib.ExitStack() as stack:

        def start(name: str, command: Sequence[str], port: int, core: int) -> Running:
            log = folder / f"{name}.log"
            server = Server(command, core, log=log)
            stack.callback(server.stop)
            server.wait_for(port)
            return Running(server, port)

        backend = free_port()
        program = [sys.executable, "-m", "benchmarks.light_backend", str(backend)]
        start("backend", program, backend, LOAD_CORE)
        running = {}
        for peer in peers:
            port = free_port()
            own = folder / peer.name
            own.mkdir()
            command = peer.command(own, port, backend)
            running[peer.name] = start(peer.name, command, port, PROXY_CORE)
        yield running


def measure(running: Running, peer: str, workload: Workload, plan: Plan) -> Sample:
    """One workload through one proxy, once.

    Raises:
        RuntimeError: when requests failed or a process died: such a measurement says nothing.
    """
    send(workload, running.port, connections=plan.connections, seconds=plan.warm_up, core=LOAD_CORE)
    before = running.server.cpu_time()
    load = send(
        workload, running.port, connections=plan.connections, seconds=plan.seconds, core=LOAD_CORE
    )
    used = running.server.cpu_time().since(before)
    if load.failed or not load.requests:
        raise RuntimeError(f"{peer}, {workload.name}: {load.failed} requests failed")
    return Sample(
        peer=peer,
        workload=workload.name,
        cpu_us=used.total / load.requests * 1e6,
        system_share=used.system / used.total,
        busy_share=used.total / load.seconds,
        rate=load.rate,
        p50_ms=load.p50 * 1e3,
        p99_ms=load.p99 * 1e3,
        p999_ms=load.p999 * 1e3,
        peak_mib=running.server.peak_memory_bytes() / (1 << 20),
    )


def run(plan: Plan) -> Report:
    """Carry out the plan and show what is found as it comes."""
    report = Report.begin(plan.peers, plan.workloads, plan.rounds, plan.seconds, plan.connections)
    with (
        tempfile.TemporaryDirectory(prefix="bgproxy-bench-") as folder,
        started(plan.peers, Path(folder)) as running,
    ):
        for number in range(1, plan.rounds + 1):
            for workload in plan.workloads:
                for peer in plan.peers:
                    sample = measure(running[peer.name], peer.name, workload, plan)
                    report.samples.append(sample)
                    print(f"round {number}: {sample}", flush=True)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, measure, write the results.

    Returns:
        The exit status: 0 when everything could be measured, 2 when a program is missing.
    """
    options = _parse(arguments)
    peers = [peer for peer in PEERS if peer.name in options.peers]
    missing = [package for peer in peers for package in peer.missing()]
    missing += [] if find_program("wrk") else ["wrk (Debian)"]
    if missing:
        print(f"install first: {', '.join(missing)}", file=sys.stderr)
        return 2
    plan = Plan(
        peers=peers,
        workloads=[workload for workload in WORKLOADS if workload.name in options.workloads],
        rounds=options.rounds,
        seconds=options.seconds,
        warm_up=min(1.0, options.seconds),
        connections=options.connections,
    )
    report = run(plan)
    print(report.markdown())
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        report.write(options.output)
        print(f"written to {options.output}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="CPU time per request, side by side."
    )
    names = [peer.name for peer in PEERS]
    kinds = [workload.name for workload in WORKLOADS]
    parser.add_argument("--quick", action="store_true", help="few peers, few workloads, two rounds")
    parser.add_argument("--all", action="store_true", help=f"all of {', '.join(names)}")
    parser.add_argument("--peers", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--workloads", nargs="+", choices=kinds, metavar="NAME")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--output", type=Path, help="folder for the results; none with --quick")
    options = parser.parse_args(arguments)
    is_quick = options.quick
    options.peers = options.peers or (
        names if options.all else QUICK_PEERS if is_quick else USUAL_PEERS
    )
    options.workloads = options.workloads or (QUICK_WORKLOADS if is_quick else kinds)
    options.rounds = options.rounds or (2 if is_quick else 5)
    options.seconds = options.seconds or (2.0 if is_quick else 6.0)
    options.output = options.output or (None if is_quick else RESULTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
