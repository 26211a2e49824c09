"""How often the rollback judge is wrong, and how long it takes: a seeded study of the real rule.

Healthy releases are judged against ten minutes of their own kind, for a whole bake; releases that
do harm, until it is found. Every run has dice of its own, named after its cell and number, so the
same runs come out the same on every machine. ``python -m benchmarks.simulate`` takes about twenty
minutes of one core and writes ``benchmarks/results/simulate.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from bgproxy.domain.clients import CLIENT_SLOTS, Crowd
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.simulation import Second, Simulation, baseline_of, simulate
from bgproxy.domain.traffic import poisson, steady

RESULTS = Path(__file__).parent / "results"
POLICY = RollbackPolicy()
RECORD = 600
"""Seconds of the old environment's record."""

_NOISY = 0

Traffic = Callable[[Random, float, float], Iterator[Second]]
"""Seconds without end, from dice, requests a second and the share that fails."""


# -- healthy traffic that looks bad -----------------------------------------------------------


def diurnal(random: Random, rate: float, share: float) -> Iterator[Second]:
    """Load that swells and ebbs nine to one within twenty minutes; the share stays."""
    phase = random.uniform(0, math.tau)
    for second in range(10**9):
        now = rate * (1 + 0.8 * math.sin(phase + math.tau * second / 1200))
        yield next(steady(random, now, share))


def clumps_of(size: float) -> Traffic:
    """Failures that come so many at a time on average, all in one second."""

    def clumped(random: Random, rate: float, share: float) -> Iterator[Second]:
        while True:
            clumps = poisson(random, rate * share / size)
            failures = sum(1 + int(random.expovariate(1 / (size - 0.5))) for _ in range(clumps))
            yield Second(poisson(random, rate * (1 - share)), failures)

    return clumped


def noisy_client(random: Random, rate: float, share: float) -> Iterator[Second]:
    """One client asks for something that fails, once a second, besides many others.

    Where less than that is asked for, it asks as often as all others together.
    """
    every = max(1, round(1 / rate))
    for number, second in enumerate(steady(random, rate, share)):
        others = (random.randrange(1, CLIENT_SLOTS) for _ in range(second.failures))
        by_client = tuple((slot, 1) for slot in others)
        if number % every == 0:
            yield Second(second.successes, second.failures + 1, by_client=(*by_client, (_NOISY, 1)))
        else:
            yield replace(second, by_client=by_client)


def late_noisy_client(random: Random, rate: float, share: float) -> Iterator[Second]:
    """The same client, but it only comes with the switch."""
    noisy = noisy_client(random, rate, share)
    for second in islice(noisy, RECORD):
        others = tuple(one for one in second.by_client if one[0] != _NOISY)
        yield Second(second.successes, len(others), by_client=others)
    yield from noisy


def crowd_of(seconds: Sequence[Second], random: Random) -> Crowd:
    """Who asked: whoever succeeds is one of many, whoever fails has told who it was."""
    visits = [0] * CLIENT_SLOTS
    for second in seconds:
        for slot, count in second.by_client:
            visits[slot] += count
    each, others = divmod(sum(second.successes for second in seconds), CLIENT_SLOTS - 1)
    for slot in range(1, CLIENT_SLOTS):
        visits[slot] += each
    for _ in range(others):
        visits[random.randrange(1, CLIENT_SLOTS)] += 1
    return Crowd(visits)


def storms(worse: float) -> Traffic:
    """About once in 100 s, for ten: four times the load, and so many times the failures' share."""

    def stormy(random: Random, rate: float, share: float) -> Iterator[Second]:
        left = 0
        while True:
            left = left - 1 if left else (10 if random.random() < 0.01 else 0)
            load, failing = (4 * rate, min(1.0, worse * share)) if left else (rate, share)
            yield next(steady(random, load, failing))

    return stormy


def bursts(random: Random, rate: float, share: float) -> Iterator[Second]:
    """One second of every minute in which all fails."""
    at = random.randrange(60)
    for second in range(10**9):
        yield next(steady(random, rate, 1.0 if second % 60 == at else share))


HEALTHY: dict[str, Traffic] = {
    "steady": steady,
    "diurnal load": diurnal,
    "clumps of 3 failures": clumps_of(3),
    "noisy client": noisy_client,
    "noisy client from the switch on": late_noisy_client,
    "retry storms, twice the failures": storms(2),
    "a bad second a minute": bursts,
}

HARD: dict[str, Traffic] = {
    "clumps of 10 failures": clumps_of(10),
    "retry storms, four times the failures": storms(4),
}
"""Healthy too, but beyond what the rule was made to tell from harm."""


TIMES = {"steady": 3.0, "noisy client": 0.5, "noisy client from the switch on": 0.5}
"""So many times the runs of the other shapes: much is built on the first, and these take long."""


# -- runs -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a table: so many runs of one kind.

    Args:
        rate: requests a second.
        share: of them that fail, after the switch.
        rolled_back: runs that ended so.
        delays: seconds until then, median and 95th percentile; None where fewer than all were.
    """

    shape: str
    rate: float
    share: float
    runs: int
    rolled_back: int
    median: float | None = None
    p95: float | None = None


def healthy_run(traffic: Traffic, rate: float, share: float, dice: Random) -> Simulation:
    """A release that is as the one before, and whose traffic simply goes on."""
    seconds = traffic(dice, rate, share)
    before = list(islice(seconds, RECORD))
    # Only where some client is another than the rest does it matter who they are.
    is_of_clients = traffic in (noisy_client, late_noisy_client)
    crowd = crowd_of(before, dice) if is_of_clients else Crowd()
    baseline = baseline_of(before, crowd)
    crowd.clear()
    return simulate(POLICY, baseline, islice(seconds, int(POLICY.bake)), crowd)


def harmful_run(rate: float, share: float, dice: Random) -> Simulation:
    """One request in a thousand failed before; now `share` of them do."""
    baseline = baseline_of(list(islice(steady(dice, rate, 0.001), RECORD)))
    return simulate(POLICY, baseline, islice(steady(dice, rate, share), int(POLICY.bake)))


def shared_run(rate: float, begins: int, dice: Random) -> Simulation:
    """From a second on both environments fail."""
    traffic = steady(dice, rate, 0.001)
    baseline = baseline_of(list(islice(traffic, RECORD)))
    healthy = islice(traffic, begins - 1)
    failing = (replace(one, is_old_healthy=False) for one in steady(dice, rate, 1.0))
    trace = [*healthy, *islice(failing, int(POLICY.bake) - begins + 1)]
    return simulate(POLICY, baseline, trace)


def runs_of(name: str, count: int, run: Callable[[Random], Simulation]) -> list[Simulation]:
    """As many runs, each with dice of its own."""
    return [run(Random(f"{name} {number}")) for number in range(count)]


def cell(shape: str, rate: float, share: float, found: Sequence[Simulation]) -> Cell:
    """Sum runs up."""
    delays = sorted(one.seconds for one in found if one.outcome is Outcome.ROLLED_BACK)
    middle = p95 = None
    if delays:
        # A run without a verdict took longer than any that has one.
        full = delays + [math.inf] * (len(found) - len(delays))
        middle, p95 = statistics.median_low(full), full[math.ceil(0.95 * len(full)) - 1]
    return Cell(
        shape,
        rate,
        share,
        len(found),
        len(delays),
        *(None if at is None or math.isinf(at) else at for at in (middle, p95)),
    )


def study_healthy(shapes: dict[str, Traffic], runs: int) -> Iterator[Cell]:
    """Every shape at every rate and share."""
    for shape, traffic in shapes.items():
        many = math.ceil(runs * TIMES.get(shape, 1))
        for rate in (0.02, 0.2, 1.0, 10.0, 100.0):
            for share in (0.001, 0.005, 0.01, 0.05):
                run = partial(healthy_run, traffic, rate, share)
                yield cell(shape, rate, share, runs_of(f"{shape} {rate} {share}", many, run))


def study_harm(runs: int) -> Iterator[Cell]:
    """How long it takes."""
    for share in (1.0, 0.5, 0.1, 0.05, 0.03):
        for rate in (1.0, 10.0, 100.0):
            found = runs_of(f"harm {rate} {share}", runs, partial(harmful_run, rate, share))
            yield cell("harm", rate, share, found)


def study_shared(runs: int) -> Iterator[Cell]:
    """Both fail, from the start, from second 5, from second 300."""
    for begins in (1, 5, 300):
        for rate in (1.0, 10.0, 100.0):
            found = runs_of(f"shared {rate} {begins}", runs, partial(shared_run, rate, begins))
            yield cell(f"from second {begins}", rate, 1.0, found)


def upper_bound(found: int, runs: int) -> float:
    """The share that is exceeded with 5 % probability at most, if `found` were seen in `runs`.

    Exact for rare events (Poisson): 3.0 / runs where nothing was seen.
    """
    low, high = 0.0, found + 30.0 + 10 * math.sqrt(found)
    for _ in range(80):
        mean = (low + high) / 2
        log_terms = (k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(found + 1))
        low, high = (mean, high) if sum(map(math.exp, log_terms)) > 0.05 else (low, mean)
    return min(1.0, high / runs)


# -- what is written --------------------------------------------------------------------------


def report(cells: dict[str, list[Cell]], seconds: float) -> str:
    """The study as a page."""
    runs, wrong = _sums(cells["healthy"])
    bound = upper_bound(wrong, runs)
    harm, shared = cells["harm"], cells["shared"]
    shared_runs, shared_wrong = _sums(shared)
    return f"""\
# How often the rollback judge is wrong, and how long it takes

`make simulate`, {seconds:.0f} s of one core of {_cpu()}. The rule is the one that runs in the
proxy, with its defaults and a clock of its own: a bake of ten minutes against a record of ten
minutes.
Every run has a seed of its own and comes out the same everywhere.

## Healthy releases

{wrong} false rollbacks in {runs:,} bakes: with 95 % confidence fewer than one in {1 / bound:,.0f}
of this mix. As much fails before the switch as after it: 0.1, 0.5, 1 and 5 % of the requests, at
0.02, 0.2, 1, 10 and 100 requests/s.

{_healthy_table(cells["healthy"])}

### What the rule takes for harm

Traffic of these kinds is healthy, too, but more uneven than the rule allows for. These runs are not
in the figure above.

{_healthy_table(cells["hard"])}

## Harm

Seconds from the switch to the verdict, median / 95th percentile of {harm[0].runs:,} runs; 0.1 %
failed before.

{harm_table(harm)}

## Both environments fail

All requests fail, from the start, from second 5 or from second 300 on, and the old environment
fails its probes: {shared_wrong} rollbacks in {shared_runs:,} runs.
"""


def _sums(cells: Sequence[Cell]) -> tuple[int, int]:
    return sum(c.runs for c in cells), sum(c.rolled_back for c in cells)


def _healthy_table(cells: Sequence[Cell]) -> str:
    lines = ["| traffic | bakes | false rollbacks | 95 % bound | where |", "| --- |" + " --- |" * 4]
    for shape in dict.fromkeys(c.shape for c in cells):
        mine = [c for c in cells if c.shape == shape]
        runs, wrong = _sums(mine)
        worst = sorted(mine, key=lambda c: -c.rolled_back / c.runs)[:3]
        where = ", ".join(
            f"{c.rolled_back} of {c.runs:,} at {c.rate:g}/s and {c.share:.1%}"
            for c in worst
            if c.rolled_back
        )
        lines.append(f"| {shape} | {runs:,} | {wrong} | {upper_bound(wrong, runs):.2g} | {where} |")
    return "\n".join(lines)


def harm_table(harm: Sequence[Cell]) -> str:
    """Delays by share and rate; the documentation shows it, too."""
    lines = ["| failing | 1 request/s | 10 requests/s | 100 requests/s |"]
    lines += ["| --- | --- | --- | --- |"]
    for share in dict.fromkeys(c.share for c in harm):
        shown = " | ".join(_delay(c) for c in harm if c.share == share)
        lines.append(f"| {share:.0%} | {shown} |")
    return "\n".join(lines)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _delay(found: Cell) -> str:
    def shown(at: float | None) -> str:
        return "> 600" if at is None else f"{at:.0f}"

    text = f"{shown(found.median)} / {shown(found.p95)}"
    if found.rolled_back < found.runs:
        text += f" ({found.rolled_back / found.runs:.0%} found)"
    return text


def main() -> None:
    """Run the study and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=630, help="of each healthy cell")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    runs: int = options.runs
    began = time.process_time()
    cells = {
        "healthy": list(study_healthy(HEALTHY, runs)),
        "hard": list(study_healthy(HARD, math.ceil(runs / 4))),
        "harm": list(study_harm(runs)),
        "shared": list(study_shared(math.ceil(runs / 4))),
    }
    page = report(cells, time.process_time() - began)
    options.output.mkdir(exist_ok=True)
    document = {name: [asdict(one) for one in found] for name, found in cells.items()}
    (options.output / "simulate.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "simulate.md").write_text(page, "utf-8")
    print(page)


if __name__ == "__main__":
    main()
