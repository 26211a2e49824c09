"""The judge in pictures: evidence over time, and how long harm goes unnoticed.

``make plots`` draws them from the rule that runs in the proxy and from the committed study, as SVG
and PNG. Each carries the digest of what it shows, so that a test can tell an old picture.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.plots import digest
from benchmarks.simulate import POLICY, RECORD, RESULTS
from bgproxy.domain.simulation import baseline_of, simulate
from bgproxy.domain.traffic import steady

FOLDER = Path(__file__).parent.parent / "docs" / "images"
_RATE = 10.0
_USUAL = 0.01
_SECONDS = 120
_RELEASES = {"healthy: 1 % fails, as before": 0.01, "bad: 8 % fails": 0.08}
_SHADES = ("#8250df", "#bc4c00", "#0969da")


def evidence_figures() -> dict[str, list[float]]:
    """By release, the evidence after each second; seeded, so always the same."""
    found = {}
    for name, share in _RELEASES.items():
        dice = Random(7)
        baseline = baseline_of(list(islice(steady(dice, _RATE, _USUAL), RECORD)))
        run = simulate(POLICY, baseline, islice(steady(dice, _RATE, share), _SECONDS))
        found[name] = [round(value, 3) for value in run.evidence]
    return found


def draw_evidence(figures: dict[str, list[float]]) -> Figure:
    """Two curves, and the line at which evidence is enough."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for (name, values), color in zip(figures.items(), ("#1a7f37", "#cf222e"), strict=True):
        axes.plot(range(1, len(values) + 1), values, color=color, label=name)
    taken_back = len(figures[list(figures)[-1]])
    axes.axhline(POLICY.evidence, color="#59636e", linestyle="--")
    axes.annotate(
        "enough", (_SECONDS, POLICY.evidence), (0, 4), textcoords="offset points", ha="right"
    )
    axes.annotate(
        f"taken back after {taken_back} s",
        (taken_back, POLICY.evidence),
        (8, -14),
        textcoords="offset points",
    )
    axes.set(xlabel="seconds since the switch", ylabel="evidence", ylim=(0, 23), xlim=(0, _SECONDS))
    axes.legend(frameon=False, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def delay_figures() -> list[dict[str, Any]]:
    """The committed study's harmful releases."""
    document = json.loads((RESULTS / "simulate.json").read_text("utf-8"))
    harm: list[dict[str, Any]] = document["harm"]
    return harm


def draw_delays(cells: list[dict[str, Any]]) -> Figure:
    """By the share that fails: the median delay as a line, up to the 95th percentile as a band."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for rate, color in zip(sorted({cell["rate"] for cell in cells}), _SHADES, strict=True):
        mine = sorted((c for c in cells if c["rate"] == rate), key=lambda c: float(c["share"]))
        shares = [100 * cell["share"] for cell in mine]
        median = [POLICY.bake if c["median"] is None else c["median"] for c in mine]
        p95 = [POLICY.bake if c["p95"] is None else c["p95"] for c in mine]
        axes.plot(shares, median, "o-", color=color, label=f"{rate:g} requests/s")
        axes.fill_between(shares, median, p95, color=color, alpha=0.15, linewidth=0)
    axes.axhline(POLICY.bake, color="#59636e", linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="% of requests that fail", ylabel="seconds")
    shares = sorted({100 * cell["share"] for cell in cells})
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.set_yticks([5, 10, 30, 60, 180, 600], ["5", "10", "30", "60", "180", "600: not found"])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.94))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Draw both."""
    evidence, delays = evidence_figures(), delay_figures()
    for name, figure, shown in (
        ("judge-evidence", draw_evidence(evidence), digest(evidence)),
        ("judge-delays", draw_delays(delays), digest(delays)),
    ):
        with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            for kind, more in (("svg", {"Date": None}), ("png", {})):
                metadata = {"Description": shown, **more}
                figure.savefig(FOLDER / f"{name}.{kind}", metadata=metadata, dpi=110)


if __name__ == "__main__":
    main()
