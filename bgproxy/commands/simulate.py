"""The command that tries the configured rollback rule on traffic of the past, or invented."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import click

from bgproxy.commands.evidence_plot import evidence_svg
from bgproxy.domain.baseline import Baseline, break_even, harm_share
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.simulation import Second, Simulation, baseline_of, read_trace, simulate
from bgproxy.domain.traffic import steady
from bgproxy.units import parse_share

_RECORD_SECONDS = 600
_LEAST_USUAL = 0.001


class ShareType(click.ParamType[float]):
    """A share such as ``5%``; becomes 0 to 1."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        try:
            share = parse_share(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 <= share <= 1:
            self.fail(f"{value} is not between 0% and 100%", param, ctx)
        return share


_SHARE = ShareType()
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("simulate")
@click.argument("trace", type=_FILE, required=False)
@click.option("-c", "--config", type=_FILE, help="The YAML file with the rule; else the defaults.")
@click.option("--service", "name", metavar="NAME", help="Which of its services.")
@click.option("--baseline", type=_FILE, help="The old environment's own trace, ten minutes of it.")
@click.option("--usual", type=_SHARE, default="0.1%", show_default=True, help="Its failures.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=10.0,
    show_default=True,
    help="Invented traffic: requests a second.",
)
@click.option(
    "--failing", type=_SHARE, default="5%", show_default=True, help="Invented traffic: failures."
)
@click.option(
    "--runs",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Invented traffic: how often.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Invented traffic: its dice.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the evidence.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def simulation(
    trace: Path | None,
    config: Path | None,
    name: str | None,
    baseline: Path | None,
    usual: float,
    rate: float,
    failing: float,
    runs: int,
    seed: int,
    svg: Path | None,
    is_json: bool,
) -> None:
    r"""Say when the rollback rule would have decided; no proxy is needed.

    TRACE is a CSV of second,successes,failures since the switch. Without one, traffic is invented.
    It is the rule that runs in the proxy, with a clock of its own and an old environment that is
    healthy.

    \b
    Examples:
      bgproxy simulate -c bgproxy.yaml incident.csv --baseline before.csv
      bgproxy simulate --rate 2 --failing 10%
    """
    policy = _policy(config, name)
    if trace is not None:
        against = (
            baseline_of(_read(baseline))
            if baseline
            else Baseline(failure_share=max(usual, _LEAST_USUAL))
        )
        seconds = _read(trace)
        found = simulate(policy, against, seconds)
        document = _rule(policy, against) | _trace_facts(seconds) | _facts(found)
        lines = _trace_lines(document)
    else:
        against, every = _invent(policy, usual, rate, failing, runs, random.Random(seed))
        found = every[0]
        document = _rule(policy, against) | _summary(every)
        lines = _summary_lines(document, rate, failing)
    if svg is not None:
        svg.write_text(evidence_svg(found, policy.evidence), "utf-8")
    click.echo(json.dumps(document, indent=2) if is_json else "\n".join(lines))


def _policy(config: Path | None, name: str | None) -> RollbackPolicy:
    """The configured rule.

    Raises:
        click.UsageError: the file has no such service, or several and none is named.
    """
    if config is None:
        return RollbackPolicy()
    from bgproxy.config.load import load_config

    services = {one.name: one for one in load_config(config, os.environ).services}
    wanted = name or (next(iter(services)) if len(services) == 1 else "default")
    if wanted not in services:
        raise click.UsageError(f"which service? give --service, one of: {', '.join(services)}")
    return services[wanted].rollback


def _read(path: Path) -> list[Second]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return read_trace(lines)
    except (ValueError, OSError) as error:
        raise click.UsageError(f"{path}: {error}") from None


def _invent(
    policy: RollbackPolicy,
    usual: float,
    rate: float,
    failing: float,
    runs: int,
    dice: random.Random,
) -> tuple[Baseline, list[Simulation]]:
    """Runs of ten minutes before a switch and a whole bake after it; the last run's baseline."""
    found: list[Simulation] = []
    baseline = Baseline()
    for _ in range(runs):
        baseline = baseline_of(list(islice(steady(dice, rate, usual), _RECORD_SECONDS)))
        after = islice(steady(dice, rate, failing), math.ceil(policy.bake))
        found.append(simulate(policy, baseline, after))
    return baseline, found


def _rule(policy: RollbackPolicy, baseline: Baseline) -> dict[str, Any]:
    usual = baseline.failure_share
    harm = harm_share(usual, policy)
    return {
        "rule": str(policy.rule),
        "usual": usual,
        "harm_level": harm,
        "break_even": break_even(usual, harm),
    }


def _trace_facts(seconds: Sequence[Second]) -> dict[str, Any]:
    failures = sum(second.failures for second in seconds)
    requests = failures + sum(second.successes for second in seconds)
    return {"trace_seconds": len(seconds), "requests": requests, "failures": failures}


def _facts(found: Simulation) -> dict[str, Any]:
    return {
        "outcome": str(found.outcome),
        "seconds": found.seconds,
        "detail": found.detail,
        "holds": list(found.holds),
        "evidence": [round(value, 2) for value in found.evidence],
    }


def _summary(every: Sequence[Simulation]) -> dict[str, Any]:
    outcomes = [found.outcome for found in every]
    delays = sorted(found.seconds for found in every if found.outcome is Outcome.ROLLED_BACK)
    return {
        "runs": len(every),
        "rolled_back": len(delays),
        "passed": outcomes.count(Outcome.PASSED),
        "inconclusive": outcomes.count(Outcome.INCONCLUSIVE),
        "median_seconds": median(delays) if delays else None,
        "p95_seconds": delays[math.ceil(0.95 * len(delays)) - 1] if delays else None,
    }


def _rule_line(document: dict[str, Any]) -> str:
    if document["rule"] != "sequential":
        return f"rule {document['rule']}"
    usual, harm, even = (_percent(document[k]) for k in ("usual", "harm_level", "break_even"))
    return f"rule sequential: usual {usual}, harm from {harm} on, evidence grows above {even}"


def _trace_lines(document: dict[str, Any]) -> Iterable[str]:
    yield _rule_line(document)
    yield (
        f"{document['requests']:,} requests in {document['trace_seconds']} s, "
        f"{document['failures']:,} failed"
    )
    if document["holds"]:
        yield f"held at {', '.join(f'{at:.0f} s' for at in document['holds'])}"
    outcome = document["outcome"].replace("_", " ")
    yield f"{outcome} after {document['seconds']:.0f} s: {document['detail']}"


def _summary_lines(document: dict[str, Any], rate: float, failing: float) -> Iterable[str]:
    yield _rule_line(document)
    yield f"{document['runs']:,} runs, {rate:g} requests/s, {_percent(failing)} failing"
    if document["rolled_back"]:
        yield (
            f"rolled back {document['rolled_back']:,}: after {document['median_seconds']:.0f} s in "
            f"the median, {document['p95_seconds']:.0f} s at the 95th percentile"
        )
    else:
        yield "rolled back 0"
    yield f"passed {document['passed']:,}, inconclusive {document['inconclusive']:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
