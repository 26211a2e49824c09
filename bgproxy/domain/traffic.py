"""Invented traffic for simulations: requests that come, and fail, by chance alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from bgproxy.domain.simulation import Second

_MANY = 30.0


def poisson(random: Random, mean: float) -> int:
    """How many of many unlikely things happen where `mean` happen on average.

    Knuth's method; from `_MANY` on the normal distribution, which is as good there and quicker.
    """
    if mean > _MANY:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit = math.exp(-mean)
    count, product = 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def steady(random: Random, rate: float, share: float) -> Iterator[Second]:
    """Seconds without end, of `rate` requests each on average, `share` of them failures.

    Successes and failures of such traffic are Poisson each, and independent of one another.
    """
    while True:
        yield Second(poisson(random, rate * (1 - share)), poisson(random, rate * share))
