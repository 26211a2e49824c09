"""The study of the rollback judge: its figures, on a few runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import simulate as study
from benchmarks.simulate import Cell
from bgproxy.domain.deployment import Outcome
from bgproxy.domain.simulation import Simulation


@pytest.mark.parametrize(("found", "bound"), [(0, 2.9957e-3), (1, 4.7439e-3), (10, 16.962e-3)])
def test_the_bound_is_the_exact_one(found: int, bound: float) -> None:
    """Of Poisson's distribution, from a table."""
    assert study.upper_bound(found, 1000) == pytest.approx(bound, rel=1e-4)


def test_runs_without_a_verdict_are_the_slowest() -> None:
    """They must not make a delay look better than it is."""

    def run(seconds: float, outcome: Outcome) -> Simulation:
        return Simulation(outcome, seconds, None, "", (), ())

    found = [run(10.0 + n, Outcome.ROLLED_BACK) for n in range(3)] + [run(600, Outcome.PASSED)]
    assert study.cell("x", 1.0, 0.5, found) == Cell("x", 1.0, 0.5, 4, 3, 11.0, None)
    assert study.cell("x", 1.0, 0.5, found[3:]).median is None


def test_a_small_study_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a page and as data; every kind of healthy traffic and shared failures are left alone."""
    monkeypatch.setattr(study, "HARD", {})
    monkeypatch.setattr(study, "TIMES", {})
    monkeypatch.setattr(sys, "argv", ["simulate", "--runs", "1", "--output", str(tmp_path)])
    study.main()
    document = json.loads((tmp_path / "simulate.json").read_text())
    kinds = {(cell["shape"], cell["rate"], cell["share"]) for cell in document["healthy"]}
    assert len(kinds) == 7 * 5 * 4
    assert not any(cell["rolled_back"] for cell in document["healthy"] + document["shared"])
    assert all(c["rolled_back"] for c in document["harm"] if c["share"] >= 0.5)
    page = (tmp_path / "simulate.md").read_text()
    assert "0 false rollbacks in 140 bakes: with 95 % confidence fewer than one in 47" in page
    assert "0 rollbacks in 9 runs" in page


def test_committed_results_hold_what_is_claimed() -> None:
    """No rollback where both fail; harm of 10 % is found within half a minute at 10 requests/s."""
    document = json.loads((study.RESULTS / "simulate.json").read_text())
    runs = sum(cell["runs"] for cell in document["healthy"])
    wrong = sum(cell["rolled_back"] for cell in document["healthy"])
    assert runs >= 100_000
    assert study.upper_bound(wrong, runs) <= 1e-4
    assert not any(cell["rolled_back"] for cell in document["shared"])
    (found,) = (c for c in document["harm"] if (c["rate"], c["share"]) == (10.0, 0.1))
    assert found["rolled_back"] == found["runs"]
    assert found["p95"] <= 30
