"""How much one client's failures count: no single one decides what becomes of a release.

A client with a broken script, or a scanner that has found the one page which fails, would else
look like harm that a release does to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest

CLIENT_SLOTS = 256
"""Clients are told apart by a hash of so many values; two that share one count as one."""

KNOWN_LEAST = 5
"""Clients that a service must have before any is held back."""

_MOST_SHARE = 0.2
_USUAL_TIMES = 3.0
_MEMORY = 50.0
_FORGOTTEN = 0.05


class Crowd:
    """A service's clients, and what of their failures counts.

    No client makes up more than a fifth of the failures that count, or three times its usual share
    of the requests if that is more: an address behind which many sit may speak for many. Each
    client's first failure counts in any case. What is held against what are the last `_MEMORY`
    failures or so, however long they took: within a second there are hardly ever five clients.

    Args:
        visits: a sample of requests by client slot, which tells who the clients are. With fewer
            than `KNOWN_LEAST` of them everything counts.
    """

    __slots__ = ("_carried", "_most", "_remembered", "known")

    def __init__(self, visits: Sequence[int] = ()) -> None:
        self.known = 0
        """How many clients there are, as far as slots tell them apart."""
        self._most: Mapping[int, float] = {}
        self._remembered: dict[int, float] = {}
        self._carried = 0.0
        self.meet(visits)

    def meet(self, visits: Sequence[int]) -> None:
        """Learn anew who the clients are, without forgetting who failed."""
        total = sum(visits)
        self.known = sum(1 for count in visits if count)
        self._most = {
            slot: min(1.0, _USUAL_TIMES * count / total)
            for slot, count in enumerate(visits)
            if _USUAL_TIMES * count > _MOST_SHARE * total
        }

    def counted(self, failures: int, by_client: Iterable[tuple[int, int]]) -> int:
        """How many of a second's failures count; fractions are carried on to the next.

        Args:
            by_client: pairs of slot and how many of the failures it had; what is missing is
                nobody's, and counts.
        """
        if self.known < KNOWN_LEAST:
            return failures
        came = [(slot, count) for slot, count in by_client if count]
        theirs = sum(count for _, count in came)
        if not theirs:
            return failures
        fades = (1 - 1 / _MEMORY) ** theirs
        kept = {slot: v * fades for slot, v in self._remembered.items() if v * fades > _FORGOTTEN}
        before = self._weigh(kept)
        for slot, count in came:
            kept[slot] = kept.get(slot, 0.0) + count
        self._remembered = kept
        self._carried += max(0.0, self._weigh(kept) - before)
        # What was carried came earlier and may be more than this second's failures.
        counted = min(failures, int(self._carried + 1e-9))
        self._carried -= counted
        nobodys = max(0, failures - theirs)
        return min(failures, counted + nobodys)

    def clear(self) -> None:
        """Forget who failed."""
        self._remembered, self._carried = {}, 0.0

    def _weigh(self, failures: Mapping[int, float]) -> float:
        """What failures by slot amount to, once those of the greatest are lowered.

        A client is lowered until it has no more than its part of the result; the others then have
        the remaining parts.
        """
        rest, parts = sum(failures.values()), 1.0
        if not failures or max(failures.values()) <= _MOST_SHARE * rest:
            return rest
        # Of those with a part of a fifth no more than four can be lowered.
        slots = {*nlargest(KNOWN_LEAST, failures, failures.__getitem__), *self._most} & {*failures}
        ranked = [(failures[slot], self._most.get(slot, _MOST_SHARE)) for slot in slots]
        for count, most in sorted(ranked, key=lambda one: one[0] / one[1], reverse=True):
            if count * parts <= rest * most:
                break
            rest -= count
            parts -= most
        return max(sum(min(count, 1.0) for count in failures.values()), rest / parts)
