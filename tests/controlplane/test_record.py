"""What of the ledger the judge sees, and the records it is kept in."""

from __future__ import annotations

import pytest

from bgproxy.controlplane.record import Record, gained, judged
from bgproxy.domain.baseline import BUCKETS, Tally
from bgproxy.domain.clients import CLIENT_SLOTS
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.state import ledger as cells
from bgproxy.state.ledger import Ledger


def tally(successes: int = 0, failures: int = 0) -> Tally:
    return Tally(successes, failures, (successes + failures,))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"codes": {200: 5, 404: 3, 501: 1}}, (9, 0)),
        ({"codes": {200: 5, 500: 2}, "reasons": {Reason.SERVER_ERROR: 2}}, (5, 2)),
        ({"codes": {502: 2}, "reasons": {Reason.CONNECT_REFUSED: 2}}, (0, 2)),
        ({"codes": {503: 2}, "reasons": {Reason.NO_BACKEND: 2}}, (0, 2)),
        ({"codes": {200: 5, 499: 3}, "reasons": {Reason.CLIENT_ABORT: 3}}, (5, 0)),
        ({"codes": {200: 5, 503: 3}, "reasons": {Reason.OVERLOADED: 3}}, (5, 0)),
        ({"codes": {200: 5}, "reasons": {Reason.WORKER_DIED: 3}}, (5, 0)),
        (
            {
                "codes": {200: 10, 500: 4},
                "reasons": {Reason.SERVER_ERROR: 4},
                "late": 6,
                "late_failures": 3,
            },
            (7, 1),
        ),
        (
            {
                "codes": {200: 10, 500: 4},
                "reasons": {Reason.SERVER_ERROR: 4},
                "excluded": 5,
                "excluded_failures": 2,
            },
            (7, 2),
        ),
    ],
)
def test_only_the_releases_own_exchanges_are_judged(
    counts: dict[str, object], expected: tuple[int, int]
) -> None:
    """Neither clients that leave, nor the proxy, nor an earlier generation, nor probes count."""
    block = Ledger.create(1)
    base = cells.series_base(0, 0, Color.GREEN)
    for code, count in counts.get("codes", {}).items():  # type: ignore[attr-defined]
        block.cells[base + cells.CODES + code - cells.FIRST_CODE] = count
    for reason, count in counts.get("reasons", {}).items():  # type: ignore[attr-defined]
        block.cells[base + cells.REASONS + reason] = count
    for name in ("late", "late_failures", "excluded", "excluded_failures"):
        block.cells[base + getattr(cells, name.upper())] = counts.get(name, 0)  # type: ignore[call-overload]
    found = judged(block.series(0, Color.GREEN))
    block.close()
    assert (found.successes, found.failures) == expected


def test_a_reading_is_what_came_since_the_last() -> None:
    """Totals are subtracted, and never give less than nothing."""
    assert gained(tally(10, 5), tally(7, 5)) == Tally(3, 0, (3,))
    assert gained(tally(1), tally(5)) == Tally(0, 0, (0,))


def test_a_record_keeps_ten_minutes_in_buckets() -> None:
    """Older ones go, empty ones are not kept, the first reading only sets the mark."""
    record = Record(tally(1000))
    for second in range(1, 1000):
        record.add(tally(1000 + second), float(second))
    assert record.latest.requests == 1
    recent = record.recent(1000.0)
    assert len(recent) == BUCKETS - 1  # the present bucket has only begun
    assert {bucket.requests for bucket in recent} == {10}
    assert record.recent(1000.0 + 600) == []
    record.add(tally(1999), 5000.0)
    assert record.latest.requests == 0


def test_one_client_of_many_counts_for_a_fifth() -> None:
    """In the record; the reading itself tells all there was, and whose it was."""
    failed = [0] * CLIENT_SLOTS
    record = Record(tally(), lambda: list(failed), lambda: [9] * CLIENT_SLOTS)
    record.add(tally(), 0.0)
    failed[7] = 100
    record.add(tally(50, 100), 15.0)
    assert (record.latest.failures, record.latest_by_client) == (100, [(7, 100)])
    failed[7] = 101
    record.add(tally(60, 101), 16.0)
    assert record.latest_by_client == [(7, 1)]
    assert [bucket.failures for bucket in record.recent(20.0)] == [101]  # it knows nobody else yet


def test_a_record_knows_who_asked_lately() -> None:
    """Visits of the last ten to twenty minutes; what came before is forgotten."""
    seen = [0] * CLIENT_SLOTS
    record = Record(tally(), visits=lambda: list(seen))
    for second in range(1, 2500):
        seen[1 if second < 1100 else 2] += 1
        record.add(tally(second), float(second))
    visits = record.visits()
    assert visits[1] == 0
    assert 600 <= visits[2] <= 1400


def test_a_quiet_spell_leaves_older_buckets_out() -> None:
    """Ten minutes are ten minutes by the clock, however few buckets there are."""
    record = Record(tally())
    record.add(tally(5), 10.0)
    record.add(tally(12), 700.0)
    assert [bucket.requests for bucket in record.recent(705.0)] == [7]


def test_a_rate_is_over_the_time_there_was() -> None:
    """Ten minutes, or since the record began; nothing before there is one."""
    record = Record(tally())
    assert record.rate(50.0) == 0.0
    for second in range(1, 101):
        record.add(tally(5 * second), 100.0 + second)
    assert record.rate(200.0) == pytest.approx(5.0, rel=0.02)
    assert record.rate(200.0 + 400.0) == pytest.approx(1.0, rel=0.02)
