"""One client's share of a second's failures: no single one decides what becomes of a release.

A client with a broken script, or a scanner that has found the one page which fails, would else
look like harm that a release does to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable

CLIENT_SLOTS = 256
"""Clients are told apart by a hash of so many values; two that share one count as one."""

_SEEN = 5
"""Clients that must have failures before any is held back; fewer cannot make up a whole of fifths.

So one fifth of the failures is what each may have at most.
"""


def counted_failures(failures: int, by_client: Iterable[int]) -> int:
    """How many of a second's failures count, with each client's held to a fifth of these.

    Of five clients or more, none makes up more than 20 % of the result; of fewer, all counts.

    Args:
        failures: of the second.
        by_client: of these, how many each client had; what is missing is nobody's, and counts.
    """
    shares = sorted((count for count in by_client if count), reverse=True)
    if len(shares) < _SEEN:
        return failures
    # The greatest are lowered until each has a fifth of what is left of all, so that the others
    # have the remaining fifths. With four lowered, the next cannot have more than its fifth.
    rest = max(failures, sum(shares))
    lowered = 0
    while shares[lowered] * (_SEEN - lowered) > rest:
        rest -= shares[lowered]
        lowered += 1
    return min(failures, _SEEN * rest // (_SEEN - lowered))
