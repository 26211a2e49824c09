"""Latency at a rate that the clients choose: bgproxy, nginx and HAProxy at the same one.

First bgproxy's own peak is measured; then each proxy in turn gets browser-like requests at a
constant rate, 70 % of that, and latency counts from the moment when a request was due. What the
sender itself was late, although a connection was free, is shown beside it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import requests, results
from benchmarks.peers import PEERS
from benchmarks.processes import LOAD_CORE
from benchmarks.programs import missing
from benchmarks.stage import Running, on_stage
from benchmarks.steady import Records, Spread, quantile, steady_load
from benchmarks.tables import shown, table
from benchmarks.tools import COMPILER, Tools

COMPARED = ("bgproxy", "nginx", "HAProxy")
SHARE = 0.7
CONNECTIONS = 256
TOLERATED_DELAY = 0.1
"""Of the sender's p99 delay in a p99 latency: above, the figure says little of the proxy."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy in one round.

    Args:
        rate: requests a second that were answered.
        busy_share: of the proxy's core.
        latency: from when a request was due.
        delay: by how much the sender was late.
    """

    peer: str
    rate: float
    failed: int
    busy_share: float
    latency: Spread
    delay: Spread

    def __str__(self) -> str:
        return (
            f"{self.peer:9} {self.rate:7.0f} requests/s, {self.failed} failed, "
            f"busy {self.busy_share:4.0%}, p50 {self.latency.p50_ms:.2f} ms, "
            f"p99 {self.latency.p99_ms:.2f} ms, p99.9 {self.latency.p999_ms:.2f} ms; "
            f"sender late by {self.delay.p99_ms:.2f} ms (p99)"
        )


def peak(running: Running, tools: Tools, seconds: float, rounds: int) -> float:
    """Requests a second when the next one follows each answer at once."""
    found = []
    for _ in range(rounds):
        records, _ = _send(running, tools, 0, seconds)
        found.append((len(records) - records.failed) / seconds)
    return statistics.median(found)


def sample(running: Running, peer: str, tools: Tools, rate: float, seconds: float) -> Sample:
    """One proxy at a constant rate."""
    records, used = _send(running, tools, rate, seconds)
    return Sample(
        peer=peer,
        rate=(len(records) - records.failed) / records.seconds,
        failed=records.failed,
        busy_share=used / records.seconds,
        latency=Spread.of(records.latencies()),
        delay=Spread.of(records.delays()),
    )


def _send(running: Running, tools: Tools, rate: float, seconds: float) -> tuple[Records, float]:
    """The records, and the CPU seconds that the proxy used."""
    with steady_load(
        tools.load,
        running.site.port,
        requests.browser("/small"),
        connections=CONNECTIONS,
        rate=rate,
        core=LOAD_CORE,
        seconds=seconds,
    ) as load:
        before = running.server.cpu_time()
        records = load.wait()
        return records, running.server.cpu_time().since(before).total


def show(found: Mapping[str, Any]) -> str:
    """A table of medians over the rounds."""
    rows = {}
    for peer in COMPARED:
        samples = [each for each in found["samples"] if each["peer"] == peer]
        if not samples:
            continue
        values = [statistics.median(each["busy_share"] for each in samples) * 100]
        for kind, name in (("latency", "p50"), ("latency", "p99"), ("latency", "p999")):
            values.append(statistics.median(each[kind][f"{name}_ms"] for each in samples))
        values.append(statistics.median(each["delay"]["p99_ms"] for each in samples))
        rows[peer] = [shown(value) for value in values]
        rows[peer].append(str(sum(each["failed"] for each in samples)))
    columns = ["core used, %", "p50, ms", "p99, ms", "p99.9, ms", "sender late, p99, ms", "failed"]
    return table(columns, rows, f"{found['rate']:,.0f} requests/s")


def warnings(samples: Sequence[Sample]) -> list[str]:
    """What makes the figures doubtful."""
    by_peer = {peer: [each for each in samples if each.peer == peer] for peer in COMPARED}
    return [
        f"{peer}: the sender itself was late; part of the p99 is not the proxy's"
        for peer, its in by_peer.items()
        if its
        and quantile(sorted(each.delay.p99_ms for each in its), 0.5)
        > TOLERATED_DELAY * quantile(sorted(each.latency.p99_ms for each in its), 0.5)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write.

    Returns:
        0, or 2 when a program is missing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.open_loop", description="Latency at a constant rate."
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=0, help="instead of 70 %% of our own peak")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder")
    options = parser.parse_args(arguments)
    peers = [peer for peer in PEERS if peer.name in COMPARED]
    if absent := missing([COMPILER, *(peer.program for peer in peers if peer.program)]):
        print(f"install first: {', '.join(absent)}", file=sys.stderr)
        return 2
    samples = []
    with on_stage() as stage:
        running = {peer.name: stage.start(peer.name, peer.command) for peer in peers}
        highest = peak(running["bgproxy"], stage.tools, options.seconds, 3)
        rate = options.rate or SHARE * highest
        print(f"peak {highest:.0f} requests/s; rate {rate:.0f}")
        for number in range(options.rounds):
            for peer in peers:
                found = sample(running[peer.name], peer.name, stage.tools, rate, options.seconds)
                samples.append(found)
                print(f"round {number + 1}: {found}", flush=True)
    document = {
        "peak": highest,
        "rate": rate,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": CONNECTIONS,
        "warnings": warnings(samples),
        "samples": [asdict(each) for each in samples],
    }
    print(show(document), *document["warnings"], sep="\n")
    results.save("open_loop", document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
