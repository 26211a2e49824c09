"""What a request costs: bgproxy beside other proxies, in one run on one machine.

Each proxy has one worker on one core; the load (wrk, or our own sender where it must keep a rate or
speak WebSocket) and a very light backend share the other. All proxies stay up; the rounds are
interleaved, so that whatever else the machine does hits all alike. Per request counts the CPU time
of *all* processes of a proxy, from the scheduler's own nanosecond count.

A run of some workloads replaces what the results had of these, and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import Comparison, Sample
from benchmarks.peers import PEERS, Peer
from benchmarks.processes import CpuTime
from benchmarks.programs import missing
from benchmarks.stage import Running, Stage, on_stage
from benchmarks.tools import COMPILER
from benchmarks.workloads import WORKLOADS, Workload, send

QUICK_PEERS = ("bgproxy", "nginx", "HAProxy")
QUICK_WORKLOADS = ("small", "browser", "10k", "100k")
RESULTS = Path(__file__).with_name("results") / "compare.json"
WARM_UP = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, how long and how often; times in seconds."""

    peers: Sequence[Peer]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    has_all_variants: bool = False

    def measures(self, peer: Peer, workload: Workload) -> bool:
        """Whether this proxy is measured with this workload."""
        if workload.name in peer.cannot:
            return False
        return workload.has_variants or self.has_all_variants or not peer.is_variant


def measure(running: Running, peer: str, workload: Workload, stage: Stage, plan: Plan) -> Sample:
    """One workload through one proxy, once.

    Raises:
        RuntimeError: when requests failed or a process died: such a measurement says nothing.
    """
    before: list[CpuTime] = []
    load = send(
        workload,
        running.site.tls_port if workload.has_tls else running.site.port,
        tools=stage.tools,
        warm_up=min(WARM_UP, plan.seconds),
        seconds=plan.seconds,
        begin=lambda: before.append(running.server.cpu_time()),
    )
    used = running.server.cpu_time().since(before[0])
    if load.failed or not load.requests:
        raise RuntimeError(f"{peer}, {workload.name}: {load.failed} requests failed")
    return Sample(
        peer=peer,
        workload=workload.name,
        cpu_us=used.total / load.requests * 1e6,
        system_share=used.system / used.total,
        busy_share=used.total / load.seconds,
        rate=load.rate,
        p50_ms=load.latency.p50_ms,
        p99_ms=load.latency.p99_ms,
        p999_ms=load.latency.p999_ms,
        peak_mib=running.server.peak_memory_bytes() / (1 << 20),
    )


def run(plan: Plan) -> Comparison:
    """Carry out the plan and show what is found as it comes."""
    found = Comparison.begin(plan.peers, plan.workloads, plan.rounds, plan.seconds)
    with on_stage() as stage:
        running = {peer.name: stage.start(peer.name, peer.command) for peer in plan.peers}
        for workload in plan.workloads:
            for number in range(1, plan.rounds + 1):
                for peer in plan.peers:
                    if plan.measures(peer, workload):
                        sample = measure(running[peer.name], peer.name, workload, stage, plan)
                        found.samples.append(sample)
                        print(f"round {number}: {sample}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, measure, write the results.

    Returns:
        The exit status: 0 when everything could be measured, 2 when a program is missing.
    """
    options = _parse(arguments)
    peers = [peer for peer in PEERS if peer.name in options.peers]
    programs = {peer.program for peer in peers if peer.program}
    if absent := missing([*programs, COMPILER, "wrk"]):
        print(f"install first: {', '.join(absent)}", file=sys.stderr)
        return 2
    found = run(
        Plan(
            peers=peers,
            workloads=[each for each in WORKLOADS if each.name in options.workloads],
            rounds=options.rounds,
            seconds=options.seconds,
            has_all_variants=options.all_variants,
        )
    )
    print(found.markdown())
    if options.output:
        if options.output.exists():
            order = [workload.name for workload in WORKLOADS]
            found = Comparison.read(options.output).updated_by(found, order)
        found.write(options.output)
        print(f"written to {options.output}; python -m benchmarks.report shows it everywhere else")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="CPU time per request, side by side."
    )
    names = [peer.name for peer in PEERS]
    kinds = [workload.name for workload in WORKLOADS]
    parser.add_argument("--quick", action="store_true", help="few peers, few workloads, two rounds")
    parser.add_argument("--peers", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--workloads", nargs="+", choices=kinds, metavar="NAME", help=", ".join(kinds)
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument(
        "--all-variants", action="store_true", help="access logs on and so on for every workload"
    )
    parser.add_argument(
        "--output", type=Path, help="file for the results; none unless every proxy is measured"
    )
    options = parser.parse_args(arguments)
    is_quick = options.quick
    is_whole = not (options.peers or is_quick)
    options.peers = options.peers or (QUICK_PEERS if is_quick else names)
    options.workloads = options.workloads or (QUICK_WORKLOADS if is_quick else kinds)
    options.rounds = options.rounds or (2 if is_quick else 3)
    options.output = options.output or (RESULTS if is_whole else None)
    return options


if __name__ == "__main__":
    sys.exit(main())
