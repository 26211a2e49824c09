"""Which of several interchangeable backends is next: the less loaded of two random ones.

Two random choices (Mitzenmacher 2001) keep the load nearly as even as looking at all of them,
without herding onto one backend that just came back.
"""

from __future__ import annotations


def two_choices(count: int, draw: float) -> tuple[int, int]:
    """Two different places out of `count`.

    Args:
        count: how many there are, at least 2.
        draw: a random number, 0 <= draw < 1.
    """
    pair = int(draw * count * (count - 1))
    first, second = divmod(pair, count - 1)
    return first, second + (second >= first)


def may_eject(ejected: int, count: int) -> bool:
    """Whether one more of `count` backends may be taken out for failing: never more than half."""
    return (ejected + 1) * 2 <= count


def ejection_pause(times_in_a_row: int, base: float = 2.0, most: float = 60.0) -> float:
    """Seconds for which a backend that keeps failing stays out: growing, bounded."""
    return min(most, base * 2.0 ** min(times_in_a_row - 1, 16))
