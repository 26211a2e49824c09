"""What a comparison found: medians, in a table for people and in JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.workloads import Workload


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one workload through one proxy.

    Args:
        cpu_us: CPU time per request in microseconds, of all processes of the proxy.
        system_share: how much of it was spent in the kernel, 0 to 1.
        busy_share: CPU time used per second; near 1 the proxy was the bottleneck.
        rate: requests a second.
        peak_mib: highest resident size so far.
    """

    peer: str
    workload: str
    cpu_us: float
    system_share: float
    busy_share: float
    rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"{self.workload:8} {self.peer:13} {self.cpu_us:9.1f} µs/request "
            f"{self.rate:9.0f} requests/s  p99 {self.p99_ms:7.2f} ms  busy {self.busy_share:4.0%}"
        )


@dataclass(slots=True)
class Report:
    """A whole run: what it ran on, and every sample."""

    machine: dict[str, str]
    versions: dict[str, str]
    workloads: dict[str, str]
    method: dict[str, float]
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        peers: Sequence[Peer],
        workloads: Sequence[Workload],
        rounds: int,
        seconds: float,
        connections: int,
    ) -> Report:
        """An empty report that knows the machine and the versions."""
        return cls(
            machine=_machine(),
            versions={peer.name: peer.version_text() for peer in peers},
            workloads={workload.name: workload.summary for workload in workloads},
            method={"rounds": rounds, "seconds": seconds, "connections": connections},
        )

    def median(self, peer: str, workload: str, value: Callable[[Sample], float]) -> float:
        """The median over the rounds."""
        return statistics.median(
            value(each) for each in self.samples if (each.peer, each.workload) == (peer, workload)
        )

    def markdown(self) -> str:
        """The tables, with machine and method."""
        parts = [
            "# CPU time per request, side by side",
            self._about(),
            "\n".join(f"- **{name}**: {summary}" for name, summary in self.workloads.items()),
            "## CPU time per request (µs, all processes of the proxy)",
            self._table(lambda sample: sample.cpu_us),
        ]
        if "bgproxy" in self.versions and len(self.versions) > 1:
            parts += ["## bgproxy's CPU time as a multiple of each", self._ratios()]
        parts += [
            "## Requests per second",
            self._table(lambda sample: sample.rate),
            "## Latency at full load: median (ms)",
            self._table(lambda sample: sample.p50_ms),
            "## Latency at full load: p99 (ms)",
            self._table(lambda sample: sample.p99_ms),
            "## Share of the core that was used",
            self._table(lambda sample: sample.busy_share),
            "## Peak memory (MiB, resident, all processes)",
            self._table(lambda sample: sample.peak_mib),
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Write `compare.md` and `compare.json` into the folder."""
        (folder / "compare.md").write_text(self.markdown())
        (folder / "compare.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    def _about(self) -> str:
        machine, method = self.machine, self.method
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{machine['when']}, {machine['cpu']}, {machine['cores']} cores, "
            f"Linux {machine['kernel']}, Python {machine['python']}; {versions}. Each proxy has "
            f"one worker on one core; load (wrk, {method['connections']:g} connections) and a "
            f"light backend share another. {method['rounds']:g} interleaved rounds of "
            f"{method['seconds']:g} s, medians. Compare inside a column only."
        )

    def _table(self, value: Callable[[Sample], float]) -> str:
        rows = {
            peer: [_shown(self.median(peer, each, value)) for each in self.workloads]
            for peer in self.versions
        }
        return _markdown_table(list(self.workloads), rows)

    def _ratios(self) -> str:
        def cpu(peer: str, workload: str) -> float:
            return self.median(peer, workload, lambda sample: sample.cpu_us)

        rows = {
            peer: [f"{cpu('bgproxy', each) / cpu(peer, each):.2f}" for each in self.workloads]
            for peer in self.versions
            if peer != "bgproxy"
        }
        return _markdown_table(list(self.workloads), rows)


def _markdown_table(columns: Sequence[str], rows: dict[str, list[str]]) -> str:
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines)


def _shown(value: float) -> str:
    """Three significant digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "when": time.strftime("%Y-%m-%d"),
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
