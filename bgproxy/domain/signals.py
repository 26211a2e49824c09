"""Signals from outside: a number that somebody else knows, and from where on it means harm.

No answer, an answer that is none, and a number that is missing are no verdict: whoever watches may
be down without the release being to blame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """A polled number and the bounds outside of which it speaks against the release.

    Args:
        name: for reports.
        url: asked with GET while a release bakes; answers JSON. With a query, Prometheus' own.
        path: dotted path of the number in the JSON; a text that is a number will do. Unused with a
            query.
        above, below: bounds, either or both; None for none.
        times: polls in a row that must find it so.
        headers: further fields of the request, pairs of name and value.
        interval, timeout: seconds.
        query: in PromQL; its result has to be one number.
    """

    name: str
    url: str
    path: str
    above: float | None = None
    below: float | None = None
    times: int = 3
    headers: tuple[tuple[str, str], ...] = ()
    interval: float = 10.0
    timeout: float = 5.0
    query: str = ""

    def speaks_against(self, value: float) -> bool:
        """Whether the number is outside of its bounds."""
        is_above = self.above is not None and value > self.above
        return is_above or (self.below is not None and value < self.below)


class SignalWatch:
    """One signal over one bake: what its polls found, one after another."""

    __slots__ = ("_in_a_row", "_signal", "_value")

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._in_a_row = 0
        self._value = 0.0

    def polled(self, value: float | None) -> None:
        """Take a poll in; None for one that says nothing, which begins anew."""
        speaks = value is not None and self._signal.speaks_against(value)
        self._in_a_row = self._in_a_row + 1 if speaks else 0
        self._value = value or 0.0

    def clear(self) -> None:
        """Begin anew."""
        self._in_a_row = 0

    @property
    def finding(self) -> str:
        """One sentence for people once it has spoken often enough; empty before."""
        signal = self._signal
        if self._in_a_row < signal.times:
            return ""
        bounds = [f"above {signal.above:g}"] if signal.above is not None else []
        bounds += [f"below {signal.below:g}"] if signal.below is not None else []
        return (
            f"the signal {signal.name} was {self._value:g}, "
            f"{self._in_a_row} times {' or '.join(bounds)}"
        )


def number_in_result(answer: object) -> float | None:
    """The number of an answer of Prometheus' `/api/v1/query`; None where it found nothing.

    Raises:
        ValueError: it is an error, or the result is no single number.
    """
    document = answer if isinstance(answer, dict) else {}
    data = document.get("data")
    if document.get("status") != "success" or not isinstance(data, dict):
        raise ValueError(f"the query failed: {document.get('error', 'no answer of Prometheus')}")
    result = data.get("result")
    if not isinstance(result, list) or data.get("resultType") not in ("scalar", "vector"):
        raise ValueError("the query's result is no number")
    if data["resultType"] == "scalar":
        return number_of(result[-1]) if result else None
    if len(result) > 1:
        raise ValueError(f"the query's result is {len(result)} series; sum them up, say")
    if not result:
        return None
    sample = result[0].get("value") if isinstance(result[0], dict) else None
    return number_of(sample[-1]) if isinstance(sample, list) and sample else None


def number_of(found: object) -> float | None:
    """A number that JSON holds, also as text; None for all else, infinities among it."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = float(found)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
