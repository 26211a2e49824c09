"""How much one client's failures count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.clients import counted_failures

shares = st.lists(st.integers(1, 10_000), max_size=50)


@pytest.mark.parametrize(
    ("failures", "by_client", "expected"),
    [
        (0, [], 0),
        (7, [], 7),
        (100, [100], 100),
        (100, [97, 1, 1, 1], 100),
        (100, [96, 1, 1, 1, 1], 5),
        (100, [48, 48, 2, 1, 1], 5),
        (5, [1, 1, 1, 1, 1], 5),
        (100, [20, 20, 20, 20, 20], 100),
        (1009, [1000, 1, 1, 1, 1, 1, 1, 1, 1, 1], 11),
        (50, [30, 4, 4, 4, 4, 4], 25),
        (104, [96, 1, 1, 1, 1], 10),
    ],
    ids=[
        "nothing",
        "nobody's",
        "one client",
        "four clients",
        "one of five",
        "two of five",
        "five alike",
        "five alike and many",
        "one of ten",
        "one of six",
        "some are nobody's",
    ],
)
def test_no_client_counts_for_more_than_a_fifth(
    failures: int, by_client: list[int], expected: int
) -> None:
    """From five clients on the greatest are lowered; below that everything counts."""
    assert counted_failures(failures, by_client) == expected


@given(shares, st.integers(0, 1000))
def test_what_counts_is_a_part_of_what_happened(by_client: list[int], others: int) -> None:
    """Never more than there were, and never fewer than one for each client."""
    failures = sum(by_client) + others
    counted = counted_failures(failures, by_client)
    assert min(len(by_client), failures) <= counted <= failures


@given(st.lists(st.integers(1, 100), min_size=4, max_size=20), st.integers(1, 10**6))
def test_more_from_the_greatest_changes_nothing(by_client: list[int], more: int) -> None:
    """Once a client is held back, it may fail as often as it likes."""
    greatest = sum(by_client)
    once = counted_failures(sum(by_client) + greatest, [greatest, *by_client])
    again = counted_failures(sum(by_client) + greatest + more, [greatest + more, *by_client])
    assert once == again


@given(st.lists(st.integers(0, 50), min_size=5, max_size=30))
def test_empty_slots_are_nobody(by_client: list[int]) -> None:
    """Only clients that failed are seen."""
    failures = sum(by_client)
    seen = [count for count in by_client if count]
    assert counted_failures(failures, by_client) == counted_failures(failures, seen)


@given(shares)
def test_a_reading_that_is_ahead_of_the_sum_does_no_harm(by_client: list[int]) -> None:
    """Workers count the failure first and the client then, and may be read in between."""
    assert counted_failures(3, by_client) <= 3
