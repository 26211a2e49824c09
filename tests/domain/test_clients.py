"""How much one client's failures count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.clients import CLIENT_SLOTS, Crowd

MANY = [3] * 100
seconds = st.lists(
    st.dictionaries(st.integers(0, CLIENT_SLOTS - 1), st.integers(1, 200), max_size=8), max_size=30
)


def judge(crowd: Crowd, *by_client: dict[int, int]) -> int:
    """What of some seconds counts."""
    return sum(crowd.counted(sum(one.values()), one.items()) for one in by_client)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([{n: 1} for n in range(30)], 30),
        ([dict.fromkeys(range(30), 1)], 30),
        ([{n % 6: 1} for n in range(60)], 58),
        ([{7: 1}] * 100, 1),
        ([{7: 1000}], 1),
        ([{7: 1}] * 100 + [{n: 1} for n in range(20, 40)], 21),
        ([{7: 50, 8: 50}], 2),
        ([{}, {}], 0),
    ],
    ids=[
        "each once",
        "each once in one second",
        "six in turn",
        "one again and again",
        "one at once",
        "one, then everybody",
        "two",
        "nobody",
    ],
)
def test_failures_count_as_far_as_they_come_from_many(
    seconds: list[dict[int, int]], expected: int
) -> None:
    """Where a service has a hundred clients."""
    assert judge(Crowd(MANY), *seconds) == pytest.approx(expected, abs=1)


def test_one_of_many_adds_a_quarter_to_the_others_at_most() -> None:
    """A fifth of what counts is its own, however much it fails."""
    once = judge(Crowd(MANY), *[{n: 1} for n in range(50)])
    noisy = judge(Crowd(MANY), *[{n: 1, 99: 20} for n in range(50)])
    assert once == 50
    assert 50 <= noisy <= 63


@pytest.mark.parametrize("visits", [[], [5, 5, 5, 5], [100]])
def test_a_service_of_few_clients_counts_everything(visits: list[int]) -> None:
    """Whoever there is may be all there is."""
    assert judge(Crowd(visits), *[{0: 1}] * 100) == 100


def test_an_address_behind_which_many_sit_counts_as_it_is_used() -> None:
    """A load balancer that nobody declared, and a few monitors besides."""
    visits = [960, 10, 10, 10, 10]
    assert judge(Crowd(visits), *[{0: 1}] * 100) == 100
    two = [300, 300, *[1] * 100]
    assert judge(Crowd(two), *[{0: 1, 1: 1}] * 50) == 100
    assert judge(Crowd(two), *[{0: 1}] * 100) > 50
    assert judge(Crowd(two), *[{50: 1}] * 100) == 1


def test_failures_of_nobody_count() -> None:
    """An environment without a backend fails before anybody has claimed anything."""
    crowd = Crowd(MANY)
    assert crowd.counted(10, []) == 10
    assert crowd.counted(10, [(1, 4)]) == 7


def test_what_is_cleared_is_forgotten() -> None:
    """A client's first failure is one again."""
    crowd = Crowd(MANY)
    assert judge(crowd, {1: 5}) == 1
    assert judge(crowd, {1: 5}) == 0
    crowd.clear()
    assert judge(crowd, {1: 5}) == 1


@given(seconds, st.lists(st.integers(0, 50), max_size=CLIENT_SLOTS))
def test_what_counts_is_a_part_of_what_happened(
    seconds: list[dict[int, int]], visits: list[int]
) -> None:
    """Never more than there were, in any second."""
    crowd = Crowd(visits)
    for one in seconds:
        failures = sum(one.values())
        assert 0 <= crowd.counted(failures, one.items()) <= failures


@given(st.lists(st.integers(1, 20), max_size=100))
def test_one_client_alone_counts_once(failures: list[int]) -> None:
    """However its failures are spread, as long as it is remembered."""
    assert judge(Crowd(MANY), *[{7: count} for count in failures]) <= 2


@given(seconds)
def test_a_reading_that_is_ahead_of_the_sum_does_no_harm(seconds: list[dict[int, int]]) -> None:
    """Workers count the failure first and the client then, and may be read in between."""
    crowd = Crowd(MANY)
    assert all(crowd.counted(3, one.items()) <= 3 for one in seconds)
