"""What counting costs: the benchmark runs, and its committed figure is within the limit."""

from __future__ import annotations

from pathlib import Path

from benchmarks import counting
from benchmarks.results import load

PAGE = (Path(__file__).parent.parent / "docs" / "performance.md").read_text("utf-8")


def test_both_sides_carry_requests() -> None:
    """With counting and without."""
    for kind in counting.SIDES.values():
        assert 0 < counting.best(kind, runs=2, requests=50) < 10_000


def test_the_committed_figure_is_within_the_limit_and_on_the_page() -> None:
    """0.6 µs a request at most."""
    found = load("counting")
    assert found["cost_us"] <= found["limit_us"] == counting.LIMIT_US
    assert f"costs {found['cost_us']:.2f} µs a request" in PAGE
