"""A storm of switches under load, and a book at each end that proves what became of each request.

The real program with two workers stands before two recording backends. Traffic arrives at a
constant rate over 64 kept-alive connections, every request with an id of its own; meanwhile the
admin API is asked for one switch after the other, the next a moment after the answer to the last.
In the end the books are compared (`storm_verdict`): nothing may have failed, got lost, been
executed twice, or gone where it must not go. The exit status is 0 only then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.processes import Server, free_port
from benchmarks.storm_backend import read_book
from benchmarks.storm_client import Connection, Traffic, get, switch
from benchmarks.storm_verdict import SentRequest, SwitchCall, Verdict, judge

COLORS = ("blue", "green")
READY_TIMEOUT = 30.0
"""Seconds until the proxy must be ready and both environments healthy."""

LEAD = 0.3
"""Seconds of traffic before the first switch and after the last."""

_CONFIGURATION = """\
proxy:
  listen: 127.0.0.1:{port}
  workers: {workers}
admin:
  listen: 127.0.0.1:{admin}
state: {folder}/bgproxy.db
services:
  default:
    environments:
      blue:  {{backends: ["http://127.0.0.1:{blue}"]}}
      green: {{backends: ["http://127.0.0.1:{green}"]}}
    health: {{path: /health, interval: 500ms, healthy_after: 1}}
"""


@dataclass(frozen=True, slots=True)
class Storm:
    """What is to happen.

    Args:
        rate: requests a second.
        gap: the pause between an answer and the next switch, in seconds, on average; between
            half and one and a half times that, so that nothing falls into step.
    """

    switches: int = 1000
    connections: int = 64
    rate: float = 2000.0
    gap: float = 0.01
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Ports:
    """Who listens where on 127.0.0.1."""

    port: int
    admin: int
    blue: int
    green: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it; times in milliseconds."""

    storm: Storm
    verdict: Verdict
    seconds: float
    switch_median_ms: float
    switch_p99_ms: float
    switch_max_ms: float
    request_median_ms: float
    request_p99_ms: float

    def __str__(self) -> str:
        storm, verdict = self.storm, self.verdict
        summary = f"""\
{storm.switches} switches in {self.seconds:.1f} s; {storm.workers} workers, {verdict.sent} requests
  failed {verdict.failed}, lost {verdict.lost}, doubled {verdict.doubled}, \
misrouted {verdict.misrouted} (of {verdict.decided} with one right answer)
  switch call: median {self.switch_median_ms:.2f} ms, p99 {self.switch_p99_ms:.2f} ms, \
longest {self.switch_max_ms:.2f} ms
  request: median {self.request_median_ms:.2f} ms, p99 {self.request_p99_ms:.2f} ms"""
        return "\n  ".join([summary, *verdict.examples])


@contextlib.contextmanager
def started(storm: Storm, folder: Path) -> Iterator[Ports]:
    """The two backends and the proxy before them, for as long as the block runs."""
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    configuration = folder / "bgproxy.yaml"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, workers=storm.workers, **asdict(ports))
    )
    commands = {
        "blue": (["benchmarks.storm_backend", str(ports.blue), "blue"], ports.blue),
        "green": (["benchmarks.storm_backend", str(ports.green), "green"], ports.green),
        "bgproxy": (["bgproxy", "run", "-c", str(configuration)], ports.admin),
    }
    with contextlib.ExitStack() as stack:
        for name, (arguments, port) in commands.items():
            command = [sys.executable, "-m", *arguments]
            server = Server(command, None, log=folder / f"{name}.log")
            stack.callback(server.stop)
            server.wait_for(port)
        yield ports


async def until_healthy(admin: int) -> None:
    """Wait until both environments are healthy: a switch then has nothing to wait for."""
    async with asyncio.timeout(READY_TIMEOUT):
        while True:
            service = json.loads(await get(admin, "/v1/services/default"))
            environments = service["environments"].values()
            if all(backend["healthy"] for each in environments for backend in each["backends"]):
                return
            await asyncio.sleep(0.1)


async def unleash(storm: Storm, ports: Ports) -> Outcome:
    """Traffic and switches at once, then the comparison of the books."""
    await until_healthy(ports.admin)
    traffic = Traffic(ports.port, connections=storm.connections, rate=storm.rate)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        try:
            calls = await _switch_to_and_fro(storm, ports.admin)
        finally:
            traffic.end()
    books = {
        color: read_book(await get(port, "/ledger"))
        for color, port in zip(COLORS, (ports.blue, ports.green), strict=True)
    }
    verdict = judge(traffic.requests, books, calls)
    return _outcome(storm, verdict, calls[1:], list(traffic.requests.values()))


async def _switch_to_and_fro(storm: Storm, admin: int) -> list[SwitchCall]:
    connection = Connection(admin)
    calls = [SwitchCall(COLORS[0], 0.0, 0.0)]
    await asyncio.sleep(LEAD)
    for number in range(1, storm.switches + 1):
        calls.append(await switch(connection, "default", COLORS[number % 2]))
        await asyncio.sleep(storm.gap * random.uniform(0.5, 1.5))
    await asyncio.sleep(LEAD)
    connection.close()
    return calls


def _outcome(
    storm: Storm, verdict: Verdict, calls: Sequence[SwitchCall], requests: Sequence[SentRequest]
) -> Outcome:
    took = sorted(call.answered_at - call.called_at for call in calls)
    answered = sorted(each.answered_at - each.sent_at for each in requests if each.answered_color)
    began = min(each.sent_at for each in requests)
    return Outcome(
        storm=storm,
        verdict=verdict,
        seconds=max(each.answered_at for each in requests) - began,
        switch_median_ms=_quantile(took, 0.5) * 1e3,
        switch_p99_ms=_quantile(took, 0.99) * 1e3,
        switch_max_ms=took[-1] * 1e3,
        request_median_ms=_quantile(answered, 0.5) * 1e3,
        request_p99_ms=_quantile(answered, 0.99) * 1e3,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def run(storm: Storm) -> Outcome:
    """Start everything, let the storm pass, end everything."""
    with (
        tempfile.TemporaryDirectory(prefix="bgproxy-storm-") as folder,
        started(storm, Path(folder)) as ports,
    ):
        return uvloop.run(unleash(storm, ports))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, run, report; 0 only if nothing at all went wrong."""
    usual = Storm()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.switch_storm", description="Switches under load, proven clean."
    )
    parser.add_argument("--switches", type=int, default=usual.switches)
    parser.add_argument("--connections", type=int, default=usual.connections)
    parser.add_argument("--rate", type=float, default=usual.rate, help="requests a second")
    parser.add_argument("--gap", type=float, default=usual.gap, help="seconds between switches")
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args(arguments)
    storm = Storm(options.switches, options.connections, options.rate, options.gap, options.workers)
    outcome = run(storm)
    print(outcome)
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    return 0 if outcome.verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
