"""Whether a storm of switches lost, doubled or misrouted anything: the books, compared.

All times come from one monotonic clock that the sender and the backends share. A request is
claimed for an environment at some moment between its departure and its execution. A switch's
environment may be the active one from the moment the switch is called until the answer to the
*next* switch is there. A request that was executed by an environment that cannot have been active
in its window is misrouted. In particular: what is sent after a switch's answer and executed before
the next call must be executed by that switch's environment; `decided` counts the requests that had
only one right answer, and so how much the check could see.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwitchCall:
    """One switch: the color it moved to, when it was called and when its answer was there."""

    color: str
    called_at: float
    answered_at: float


@dataclass(slots=True)
class SentRequest:
    """One request as its sender saw it.

    Args:
        answered_color: who answered; empty until the whole, right answer is there.
        failure: what went wrong instead.
    """

    sent_at: float
    answered_at: float = 0.0
    answered_color: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found: counts, and a few examples of what is wrong.

    Args:
        sent, decided: requests; see the module.
        failed: did not get their whole, right answer.
        lost: executed by nobody.
        doubled: executed more than once.
        misrouted: executed by an environment that cannot have been active.
        examples: of the four, in words.
    """

    sent: int
    decided: int
    failed: int
    lost: int
    doubled: int
    misrouted: int
    examples: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all went wrong."""
        return not (self.failed or self.lost or self.doubled or self.misrouted)


def judge(
    requests: Mapping[int, SentRequest],
    books: Mapping[str, Iterable[tuple[int, float]]],
    switches: Sequence[SwitchCall],
) -> Verdict:
    """Compare what was sent with what was executed.

    Args:
        requests: by id.
        books: by color, the ids and times of what that backend executed.
        switches: in order; the first is the state before the storm, called and answered at 0.
    """
    executions = Counter(request_id for book in books.values() for request_id, _ in book)
    executed = {
        request_id: (color, moment) for color, book in books.items() for request_id, moment in book
    }
    timeline = _Timeline(switches)
    wrong: dict[str, list[str]] = {"failed": [], "lost": [], "doubled": [], "misrouted": []}
    decided = 0
    for request_id, request in requests.items():
        if request.failure:
            wrong["failed"].append(f"{request_id} failed: {request.failure}")
        if not executions[request_id]:
            wrong["lost"].append(f"{request_id} was executed by nobody")
            continue
        if executions[request_id] > 1:
            wrong["doubled"].append(f"{request_id} was executed {executions[request_id]} times")
        color, moment = executed[request_id]
        right = timeline.colors_between(request.sent_at, moment)
        decided += len(right) == 1
        if color not in right or request.answered_color not in ("", color):
            wrong["misrouted"].append(f"{request_id} was executed by {color}, not {right}")
    return Verdict(
        sent=len(requests),
        decided=decided,
        failed=len(wrong["failed"]),
        lost=len(wrong["lost"]),
        doubled=len(wrong["doubled"]),
        misrouted=len(wrong["misrouted"]),
        examples=tuple(text for texts in wrong.values() for text in texts[:3]),
    )


class _Timeline:
    """Which colors may have been active when."""

    def __init__(self, switches: Sequence[SwitchCall]) -> None:
        self._switches = switches
        self._answers = [switch.answered_at for switch in switches]

    def colors_between(self, begin: float, end: float) -> set[str]:
        """Every color that may have been active at some moment from `begin` to `end`."""
        # The last switch that had been answered by `begin` was active then, unless the next one,
        # already called, had moved the pointer; and so may have every one called until `end`.
        first = max(bisect_right(self._answers, begin) - 1, 0)
        colors = {self._switches[first].color}
        for switch in self._switches[first + 1 :]:
            if switch.called_at > end or len(colors) > 1:
                break
            colors.add(switch.color)
        return colors
