"""Which backend is next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.balance import ejection_pause, may_eject, two_choices


@given(st.integers(2, 200), st.floats(0, 1, exclude_max=True))
def test_two_choices_are_two_different_places(count: int, draw: float) -> None:
    """Both lie in range and differ, whatever is drawn."""
    first, second = two_choices(count, draw)
    assert first != second
    assert 0 <= first < count
    assert 0 <= second < count


def test_every_pair_is_equally_likely() -> None:
    """An even draw gives every ordered pair the same share."""
    pairs = Counter(two_choices(4, n / 1200) for n in range(1200))
    assert set(pairs.values()) == {100}
    assert len(pairs) == 12


@given(st.integers(1, 50))
def test_never_more_than_half_is_ejected(count: int) -> None:
    """However many fail, at least half stay in."""
    ejected = 0
    while may_eject(ejected, count):
        ejected += 1
    assert ejected * 2 <= count


def test_pause_grows_and_is_bounded() -> None:
    """Each failure in a row doubles the pause, up to a minute."""
    assert [ejection_pause(n) for n in (1, 2, 3, 4)] == [2, 4, 8, 16]
    assert ejection_pause(10_000) == 60
