"""What a switch costs, and when it is there: bgproxy beside the ways of other proxies.

Small requests arrive at a constant rate while one switch is made after the other. The backends'
answers differ in one byte, so each request shows which environment it reached. From the records:
when after a call the first answer of the new environment arrives, when the last request that still
reached the old one was sent, how many of those were sent after the call had returned, how many
requests failed, and what the latency was during switches and without them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import requests, results
from benchmarks.processes import LOAD_CORE
from benchmarks.programs import missing
from benchmarks.stage import Stage, on_stage
from benchmarks.steady import BROKEN_EARLY, Records, Spread, steady_load
from benchmarks.switchers import Bgproxy, Caddy, Haproxy, Nginx, Switcher, Traefik
from benchmarks.tables import shown, table
from benchmarks.tools import COMPILER

RATE = 2000.0
CONNECTIONS = 64
STEADY = 3.0
"""Seconds of traffic without a switch, before the first one."""

AFTERMATH = 0.01
"""Seconds behind a call in which a request still counts as one during a switch."""

MARKS = {"blue": ord("b"), "green": ord("g")}


@dataclass(frozen=True, slots=True)
class Call:
    """One switch: when it was called and returned, by the monotonic clock."""

    color: str
    called_at: float
    returned_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all switches of one proxy; times in milliseconds.

    Args:
        call: how long a call took.
        first_new: from the call to the first answer of the new environment.
        last_old: from the call to when the last request was sent that reached the old one.
        late: requests that were sent after the call had returned and reached the old one.
        broken_early: of the failed, those whose kept connection was closed while they were sent.
        steady, during: latency without and during switches.
    """

    name: str
    way: str
    switches: int
    requests: int
    call: Spread
    first_new: Spread
    last_old: Spread
    late: int
    failed: int
    broken_early: int
    steady: Spread
    during: Spread


def judge(switcher: Switcher, records: Records, calls: Sequence[Call]) -> Outcome:
    """Read the records."""
    order = sorted(range(len(records)), key=records.sent.__getitem__)
    sent = [records.sent[number] for number in order]
    firsts, lasts, during = [], [], []
    late = 0
    for call, following in zip(calls, [*calls[1:], None], strict=True):
        end = following.called_at if following else records.answered[order[-1]]
        # One that was sent just before the call may have met the switch on its way.
        begin = bisect_left(sent, call.called_at - AFTERMATH)
        numbers = order[begin : bisect_left(sent, end)]
        new, old = MARKS[call.color], _other(call.color)
        answers = [
            records.answered[number]
            for number in numbers
            if records.mark[number] == new and records.answered[number] >= call.called_at
        ]
        strays = [
            records.sent[number]
            for number in numbers
            if records.mark[number] == old
            and records.sent[number] >= call.called_at
            and records.answered[number] < end  # else it may have met the next switch
        ]
        if answers:
            firsts.append(min(answers) - call.called_at)
        lasts.append(max(strays, default=call.called_at) - call.called_at)
        late += sum(moment > call.returned_at for moment in strays)
        during += [
            records.answered[number] - records.due[number]
            for number in numbers
            if records.mark[number] > 0
            and call.called_at <= records.due[number] <= call.returned_at + AFTERMATH
        ]
    steady = [
        answered - due
        for due, answered, mark in zip(records.due, records.answered, records.mark, strict=True)
        if mark > 0 and due < calls[0].called_at
    ]
    return Outcome(
        name=switcher.name,
        way=switcher.way,
        switches=len(calls),
        requests=len(records),
        call=Spread.of([call.returned_at - call.called_at for call in calls]),
        first_new=Spread.of(firsts),
        last_old=Spread.of(lasts),
        late=late,
        failed=records.failed,
        broken_early=sum(mark == BROKEN_EARLY for mark in records.mark),
        steady=Spread.of(steady),
        during=Spread.of(during),
    )


def _other(color: str) -> int:
    return next(mark for name, mark in MARKS.items() if name != color)


def measure(switcher: Switcher, stage: Stage, share: float) -> Outcome:
    """Start a proxy, send, switch to and fro, read the records.

    Args:
        share: of its switches.
    """
    running = stage.start(switcher.name.replace(" ", "-"), switcher.command)
    with (
        contextlib.closing(switcher),
        steady_load(
            stage.tools.load,
            running.site.port,
            requests.curl("/small"),
            connections=CONNECTIONS,
            rate=RATE,
            core=LOAD_CORE,
        ) as load,
    ):
        switcher.prepare(running)
        time.sleep(STEADY)
        calls = []
        for number in range(1, max(int(switcher.switches * share), 2) + 1):
            color = ("blue", "green")[number % 2]
            called_at = time.monotonic()
            switcher.switch(running.site, color)
            calls.append(Call(color, called_at, time.monotonic()))
            # Nothing must fall into step with the requests.
            time.sleep(switcher.gap * random.uniform(0.8, 1.2))
        outcome = judge(switcher, load.end(), calls)
    running.server.stop()
    return outcome


def show(found: Mapping[str, Any]) -> str:
    """One table for all."""
    rows = {}
    for each in found["outcomes"]:
        values = [f"{each['switches']:,}"]
        parts = (each[part] for part in ("call", "first_new", "last_old"))
        values += [f"{shown(part['p50_ms'])} / {shown(part['p99_ms'])}" for part in parts]
        values += [f"{each['late']:,}", f"{each['failed']:,} of {each['requests']:,}"]
        values += [shown(each[part]["p99_ms"]) for part in ("steady", "during")]
        rows[f"{each['name']}: {each['way']}"] = values
    columns = [
        "switches",
        "call, ms",
        "first new answer, ms",
        "last request on the old side, ms",
        "on the old side after the call",
        "failed",
        "p99 without, ms",
        "p99 during, ms",
    ]
    return table(columns, rows, "median / p99")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write.

    Returns:
        0, or 2 when a program is missing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.switching", description="What a switch costs."
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the usual count of switches")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder")
    options = parser.parse_args(arguments)
    switchers: list[Switcher] = [Bgproxy(1, 1000), Bgproxy(2, 10_000), Bgproxy(4, 1000)]
    switchers += [Nginx(), Haproxy(), Caddy(), Traefik()]
    if absent := missing([COMPILER, *(each.program for each in switchers if each.program)]):
        print(f"install first: {', '.join(absent)}", file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})
    outcomes = []
    for switcher in switchers:
        with on_stage() as stage:
            outcomes.append(measure(switcher, stage, options.share))
        print(outcomes[-1], flush=True)
    document = {"rate": RATE, "outcomes": [asdict(each) for each in outcomes]}
    print(show(document))
    results.save("switching", document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
