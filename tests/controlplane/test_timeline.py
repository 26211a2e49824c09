"""What each second brought, from a ledger that the test writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.controlplane.timeline import KEPT, Timeline, quantile
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.state import ledger as cells
from bgproxy.state.ledger import DURATION_BOUNDS, Ledger, backend_base, series_base
from bgproxy.state.table import RoutingTable
from tests.admin_double import routing_table


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    block = Ledger.create(1)
    yield block
    block.close()


def _exchange(ledger: Ledger, color: Color, count: int, failures: int = 0, bucket: int = 0) -> None:
    base = series_base(0, 0, color)
    ledger.cells[base + cells.CODES + 200 - cells.FIRST_CODE] += count - failures
    ledger.cells[base + cells.CODES + 500 - cells.FIRST_CODE] += failures
    ledger.cells[base + cells.REASONS + Reason.SERVER_ERROR] += failures
    ledger.cells[base + cells.DURATIONS + bucket] += count


def test_samples_are_what_was_new(ledger: Ledger) -> None:
    """Sums since the start become numbers of each second; the first look only sets the base."""
    timeline = Timeline(ledger, routing_table, clock=iter((1.0, 2.0, 3.0)).__next__)
    _exchange(ledger, Color.BLUE, 100)
    timeline.sample()
    _exchange(ledger, Color.BLUE, 7, failures=2, bucket=3)
    ledger.cells[backend_base(0, 0) + cells.REQUESTS_IN_FLIGHT] = 4
    timeline.sample()
    timeline.sample()
    document = timeline.document("default")
    blue = document["environments"]["blue"]
    assert document["at"] == [2.0, 3.0]
    assert (blue["requests"], blue["failures"]) == ([7, 0], [2, 0])
    assert blue["in_flight"] == [4, 4]
    assert DURATION_BOUNDS[2] < blue["p50"][0] < DURATION_BOUNDS[3]
    assert blue["p50"][1] is None
    assert document["environments"]["green"]["requests"] == [0, 0]


def test_only_what_is_new_is_asked_for(ledger: Ledger) -> None:
    """`last` of one answer is `after` of the next question."""
    timeline = Timeline(ledger, routing_table)
    for _ in range(4):
        timeline.sample()
    first = timeline.document("default")
    assert len(first["at"]) == 3
    timeline.sample()
    then = timeline.document("default", after=first["last"])
    assert len(then["at"]) == 1
    assert timeline.document("default", after=then["last"])["at"] == []


def test_memory_has_a_bound_and_gone_services_are_forgotten(ledger: Ledger) -> None:
    """Ten minutes of what there is."""
    tables = [routing_table()]
    timeline = Timeline(ledger, lambda: tables[-1])
    for _ in range(KEPT + 10):
        timeline.sample()
    assert len(timeline.document("default")["at"]) == KEPT
    tables.append(RoutingTable(2, ()))
    timeline.sample()
    assert timeline.document("default")["at"] == []


def test_quantiles_are_interpolated() -> None:
    """As Prometheus does it; beyond the last bound there is nothing to interpolate towards."""
    counts = [0] * (len(DURATION_BOUNDS) + 1)
    assert quantile(counts, 0.5) is None
    counts[0] = 10
    assert quantile(counts, 0.5) == pytest.approx(DURATION_BOUNDS[0] / 2)
    counts[-1] = 10
    assert quantile(counts, 0.99) == pytest.approx(60.0)


@given(
    st.lists(st.integers(0, 10**6), min_size=len(DURATION_BOUNDS) + 1, max_size=19),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_quantiles_grow_with_their_share(counts: list[int], a: float, b: float) -> None:
    """And stay within the histogram."""
    low, high = (quantile(counts, share) for share in sorted((a, b)))
    if low is None or high is None:
        assert not any(counts)
    else:
        assert 0 <= low <= high <= 60
