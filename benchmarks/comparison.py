"""What a comparison found: medians, in tables for people and in JSON for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.machine import described, machine
from benchmarks.peers import Peer
from benchmarks.tables import NOT_MEASURED, shown, table
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
            f"{self.workload:11} {self.peer:15} {self.cpu_us:9.1f} µs/request "
            f"{self.rate:9.0f} requests/s  p99 {self.p99_ms:7.2f} ms  busy {self.busy_share:4.0%}"
        )


@dataclass(frozen=True, slots=True)
class Column:
    """How a workload was measured; only what one run measured can be compared.

    Args:
        summary: what the workload is.
        seconds: of each measurement.
    """

    summary: str
    when: str
    rounds: int
    seconds: float


TABLES: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("CPU time per request (µs, all processes of the proxy)", lambda sample: sample.cpu_us),
    ("Requests per second", lambda sample: sample.rate),
    ("Latency at full load: median (ms)", lambda sample: sample.p50_ms),
    ("Latency at full load: p99 (ms)", lambda sample: sample.p99_ms),
    ("Latency at full load: p99.9 (ms)", lambda sample: sample.p999_ms),
    ("Share of the core that was used", lambda sample: sample.busy_share),
    ("Peak memory so far (MiB, resident, all processes)", lambda sample: sample.peak_mib),
)


@dataclass(slots=True)
class Comparison:
    """All that is known: what it ran on, and every sample of the last run of each workload."""

    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def begin(
        cls, peers: Sequence[Peer], workloads: Sequence[Workload], rounds: int, seconds: float
    ) -> Comparison:
        """An empty one that knows the machine and the versions."""
        ours = machine()
        return cls(
            machine=ours,
            versions={peer.name: peer.version_text() for peer in peers},
            columns={
                each.name: Column(each.summary, ours["when"], rounds, seconds) for each in workloads
            },
        )

    @classmethod
    def read(cls, file: Path) -> Comparison:
        """The one in a file."""
        found = json.loads(file.read_text())
        return cls(
            machine=found["machine"],
            versions=found["versions"],
            columns={name: Column(**column) for name, column in found["columns"].items()},
            samples=[Sample(**sample) for sample in found["samples"]],
        )

    def write(self, file: Path) -> None:
        """Into a file, for `read`."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def updated_by(self, newer: Comparison, order: Sequence[str]) -> Comparison:
        """This one, with every workload that the newer one measured replaced as a whole.

        Args:
            order: of the workloads.
        """
        columns = self.columns | newer.columns
        return Comparison(
            machine=newer.machine,
            versions=self.versions | newer.versions,
            columns={name: columns[name] for name in order if name in columns},
            samples=[each for each in self.samples if each.workload not in newer.columns]
            + newer.samples,
        )

    def median(self, peer: str, workload: str, value: Callable[[Sample], float]) -> float | None:
        """The median over the rounds; None when it was not measured."""
        found = [
            value(each) for each in self.samples if (each.peer, each.workload) == (peer, workload)
        ]
        return statistics.median(found) if found else None

    def cpu_us(self, peer: str, workload: str) -> float | None:
        """CPU time per request in microseconds."""
        return self.median(peer, workload, lambda sample: sample.cpu_us)

    def markdown(self) -> str:
        """The tables, with machine and method."""
        parts = ["# Side by side", self._about(), self._workloads()]
        for number, (title, value) in enumerate(TABLES):
            parts += [f"## {title}", self._table(value)]
            if number == 0 and "bgproxy" in self.versions and len(self.versions) > 1:
                parts += ["### bgproxy's CPU time as a multiple of each", self._ratios()]
        return "\n\n".join(parts) + "\n"

    def _about(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{described(self.machine)}; {versions}. Each proxy has one worker on one core; load "
            "and a light backend share another, and the rounds of all proxies are interleaved. "
            "Medians over the rounds. Compare inside a column only."
        )

    def _workloads(self) -> str:
        return "\n".join(
            f"- **{name}**: {each.summary} ({each.when}, {each.rounds} x {each.seconds:g} s)"
            for name, each in self.columns.items()
        )

    def _table(self, value: Callable[[Sample], float]) -> str:
        rows = {
            peer: [shown(self.median(peer, each, value)) for each in self.columns]
            for peer in self.versions
        }
        return table(list(self.columns), rows)

    def _ratios(self) -> str:
        rows = {
            peer: [self.ratio(peer, each) for each in self.columns]
            for peer in self.versions
            if peer != "bgproxy"
        }
        return table(list(self.columns), rows)

    def ratio(self, peer: str, workload: str) -> str:
        """Our CPU time as a multiple of a peer's, for a table."""
        ours, theirs = self.cpu_us("bgproxy", workload), self.cpu_us(peer, workload)
        return f"{ours / theirs:.2f}" if ours and theirs else NOT_MEASURED
