"""One deployment from request to finish: a table, and the rules for letting a new one in.

::

    verifying → switching → settling (draining and baking) → draining or baking → finished

At most one deployment of a service is *pending* (verifying or switching) and at most one is
*watched* (draining, baking or both). A missing entry of `TABLE` is the error.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bgproxy.domain.model import Color
from bgproxy.errors import BgproxyError, Refused


class Kind(enum.StrEnum):
    """Why the pointer moves."""

    SWITCH = "switch"
    ROLLBACK = "rollback"
    AUTO_ROLLBACK = "auto_rollback"


class Outcome(enum.StrEnum):
    """How a deployment ended."""

    PASSED = "passed"
    INCONCLUSIVE = "inconclusive"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class Phase(enum.StrEnum):
    """Where a deployment stands; the last four are its ends."""

    VERIFYING = "verifying"
    SWITCHING = "switching"
    SETTLING = "settling"
    DRAINING = "draining"
    BAKING = "baking"
    FINISHED = "finished"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"

    @property
    def is_pending(self) -> bool:
        """Before the pointer has moved."""
        return self in (Phase.VERIFYING, Phase.SWITCHING)

    @property
    def is_draining(self) -> bool:
        """The old environment may still carry something."""
        return self in (Phase.SETTLING, Phase.DRAINING)

    @property
    def is_baking(self) -> bool:
        """The new environment is being judged."""
        return self in (Phase.SETTLING, Phase.BAKING)

    @property
    def is_over(self) -> bool:
        """One of the ends."""
        return not self.is_pending and not self.is_draining and not self.is_baking


class Event(enum.StrEnum):
    """What can happen to a deployment."""

    VERIFIED = "verified"
    REFUSED = "refused"
    COMMITTED = "committed"
    COMMITTED_UNWATCHED = "committed_unwatched"
    UNWRITABLE = "unwritable"
    DRAINED = "drained"
    BAKED = "baked"
    WATCH_ENDED = "watch_ended"
    OVERTAKEN = "overtaken"
    TAKEN_BACK = "taken_back"
    RESTARTED = "restarted"


class Effect(enum.StrEnum):
    """What has to be done about it, in this order."""

    COMMIT = "commit"
    STORE_POINTER = "store_pointer"
    STOP_CHECKS = "stop_checks"
    STOP_DRAIN = "stop_drain"
    STOP_BAKE = "stop_bake"
    START_DRAIN = "start_drain"
    START_BAKE = "start_bake"
    RECORD = "record"


class Step(NamedTuple):
    """Where an event leads and what it asks for."""

    phase: Phase
    effects: tuple[Effect, ...]


_STOP_ALL = (Effect.STOP_DRAIN, Effect.STOP_BAKE, Effect.RECORD)

TABLE: Mapping[tuple[Phase, Event], Step] = {
    (Phase.VERIFYING, Event.VERIFIED): Step(Phase.SWITCHING, (Effect.COMMIT,)),
    (Phase.VERIFYING, Event.REFUSED): Step(Phase.FAILED, (Effect.RECORD,)),
    (Phase.VERIFYING, Event.OVERTAKEN): Step(Phase.SUPERSEDED, (Effect.STOP_CHECKS, Effect.RECORD)),
    # Checks that a restart interrupted never count as passed.
    (Phase.VERIFYING, Event.RESTARTED): Step(Phase.FAILED, (Effect.RECORD,)),
    (Phase.SWITCHING, Event.COMMITTED): Step(
        Phase.SETTLING, (Effect.STORE_POINTER, Effect.START_DRAIN, Effect.START_BAKE)
    ),
    (Phase.SWITCHING, Event.COMMITTED_UNWATCHED): Step(
        Phase.DRAINING, (Effect.STORE_POINTER, Effect.START_DRAIN)
    ),
    (Phase.SWITCHING, Event.UNWRITABLE): Step(Phase.FAILED, (Effect.RECORD,)),
    # Nothing overtakes a commit under way: the next one waits until the pointer has moved.
    (Phase.SWITCHING, Event.RESTARTED): Step(Phase.FAILED, (Effect.RECORD,)),
    (Phase.SETTLING, Event.DRAINED): Step(Phase.BAKING, (Effect.RECORD,)),
    (Phase.SETTLING, Event.BAKED): Step(Phase.DRAINING, (Effect.RECORD,)),
    (Phase.SETTLING, Event.WATCH_ENDED): Step(Phase.DRAINING, (Effect.STOP_BAKE, Effect.RECORD)),
    (Phase.SETTLING, Event.OVERTAKEN): Step(Phase.SUPERSEDED, _STOP_ALL),
    (Phase.SETTLING, Event.TAKEN_BACK): Step(Phase.ROLLED_BACK, _STOP_ALL),
    (Phase.SETTLING, Event.RESTARTED): Step(
        Phase.SETTLING, (Effect.START_DRAIN, Effect.START_BAKE)
    ),
    (Phase.DRAINING, Event.DRAINED): Step(Phase.FINISHED, (Effect.RECORD,)),
    (Phase.DRAINING, Event.OVERTAKEN): Step(Phase.SUPERSEDED, _STOP_ALL),
    (Phase.DRAINING, Event.TAKEN_BACK): Step(Phase.ROLLED_BACK, _STOP_ALL),
    (Phase.DRAINING, Event.RESTARTED): Step(Phase.DRAINING, (Effect.START_DRAIN,)),
    (Phase.BAKING, Event.BAKED): Step(Phase.FINISHED, (Effect.RECORD,)),
    (Phase.BAKING, Event.WATCH_ENDED): Step(Phase.FINISHED, (Effect.STOP_BAKE, Effect.RECORD)),
    (Phase.BAKING, Event.OVERTAKEN): Step(Phase.SUPERSEDED, _STOP_ALL),
    (Phase.BAKING, Event.TAKEN_BACK): Step(Phase.ROLLED_BACK, _STOP_ALL),
    (Phase.BAKING, Event.RESTARTED): Step(Phase.BAKING, (Effect.START_BAKE,)),
}


class ImpossibleTransitionError(BgproxyError):
    """An event came in a phase that has no place for it; a mistake of ours."""


def advance(phase: Phase, event: Event) -> Step:
    """Where `event` leads from `phase`.

    Raises:
        ImpossibleTransitionError: when the table has no such entry.
    """
    try:
        return TABLE[phase, event]
    except KeyError:
        raise ImpossibleTransitionError(f"{event} cannot happen while {phase}") from None


def render_table() -> str:
    """The table as text, a line for each entry; the documentation shows it."""
    return "\n".join(
        f"{phase:<10} {event:<20} → {step.phase:<12} {', '.join(step.effects)}"
        for (phase, event), step in TABLE.items()
    )


@dataclass(frozen=True, slots=True)
class Deployment:
    """One change of a service's active pointer, or the attempt.

    Args:
        id: grows by one with every deployment of this state.
        generation: the one it made; None before the pointer has moved.
        bake: seconds of the watch; 0 for none.
        verdict: what the bake ended with, while the drain goes on.
        requested_at, applied_at, drained_at, finished_at: Unix time; None while not reached.
            Applied is when the pointer's commit began: what is answered is what is on disk.
        details: the explanation, ready for JSON: baseline, evidence, checks, and so on.
    """

    id: int
    service: str
    kind: Kind
    from_color: Color
    to_color: Color
    requested_at: float
    release: str = ""
    generation: int | None = None
    reason: str = ""
    actor: str = ""
    phase: Phase = Phase.VERIFYING
    verdict: Outcome | None = None
    bake: float = 0.0
    applied_at: float | None = None
    drained_at: float | None = None
    finished_at: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def irreversible(self) -> str:
        """Why it must not be taken back by itself; empty where it may."""
        return str(self.details.get("irreversible", ""))

    @property
    def held(self) -> Mapping[str, Any] | None:
        """Since when it waits for an approval, until when, and what comes then; None if not."""
        hold: Mapping[str, Any] | None = self.details.get("hold")
        is_waiting = self.phase is Phase.VERIFYING and hold is not None
        return hold if is_waiting and hold is not None and "decision" not in hold else None

    @property
    def approved_by(self) -> str:
        """Who approved it; empty for nobody."""
        hold = self.details.get("hold", {})
        return str(hold["by"]) if hold.get("decision") == "approved" else ""

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while under way."""
        if self.phase is Phase.FINISHED:
            return self.verdict or Outcome.PASSED
        return _OUTCOMES.get(self.phase)

    @property
    def rollback_possible_until(self) -> float | None:
        """Unix time until which the old environment is kept as the way back; None for no watch."""
        if not self.bake or self.applied_at is None:
            return None
        end = self.applied_at + self.bake
        return end if self.finished_at is None else min(end, self.finished_at)


_OUTCOMES = {
    Phase.FAILED: Outcome.FAILED,
    Phase.SUPERSEDED: Outcome.SUPERSEDED,
    Phase.ROLLED_BACK: Outcome.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a request to move a service's pointer is held against.

    Args:
        pending: the deployment that verifies or switches now.
        watched: the deployment that drains or bakes now.
        last: the deployment that made the present generation, if one did.
        is_way_back_intact: the idle environment is still what it was when `last` left it.
        locked: colors whose release was rolled back by itself and has not changed since.
    """

    active: Color
    generation: int
    pending: Deployment | None = None
    watched: Deployment | None = None
    last: Deployment | None = None
    is_way_back_intact: bool = True
    locked: Mapping[Color, int] = field(default_factory=dict)


def admit_switch(
    standing: Standing, to: Color | None, *, force: bool, expected_generation: int | None
) -> Color:
    """The target of a switch that may begin.

    Raises:
        Refused: 409, with the kind that says why not.
    """
    _check_generation(standing, expected_generation)
    if standing.pending is not None:
        other = standing.pending
        raise Refused(
            409,
            "deployment-in-progress",
            f"Deployment {other.id} to {other.to_color} is {other.phase}.",
            {"deployment": other.id},
        )
    if to is None and standing.watched is not None:
        other = standing.watched
        raise Refused(
            409,
            "target-required",
            f"Deployment {other.id} to {other.to_color} is {other.phase}: name the target of a "
            "switch that is to supersede it.",
            {"deployment": other.id},
        )
    target = to or standing.active.other
    if target is standing.active:
        raise Refused(
            409, "already-active", f"{target} is active already.", {"active": str(target)}
        )
    if target in standing.locked and not force:
        raise Refused(
            409,
            "locked-after-rollback",
            f"{target} was rolled back by itself after deployment {standing.locked[target]} and "
            "has not changed since; give it another release or use force.",
            {"deployment": standing.locked[target]},
        )
    return target


def admit_rollback(
    standing: Standing, *, expected_generation: int | None, force: bool = False
) -> Color:
    """The target of a rollback that may begin, whatever else is under way.

    A rollback is not rolled back: two people who press the button at once must not flip twice.

    Args:
        force: take back also what was said to be irreversible.

    Raises:
        Refused: 409, when the generation is another, there is no way back, or it must not be gone.
    """
    _check_generation(standing, expected_generation)
    last = standing.last
    if last is None:
        detail = "Nothing was switched yet, so there is no environment to go back to."
        raise Refused(409, "nothing-to-roll-back", detail)
    if last.kind is not Kind.SWITCH:
        detail = f"{standing.active} was taken back by deployment {last.id} already; use switch."
        raise Refused(409, "nothing-to-roll-back", detail, {"deployment": last.id})
    if not standing.is_way_back_intact:
        detail = f"{last.from_color} has other backends than when it was active; use switch."
        raise Refused(409, "nothing-to-roll-back", detail, {"deployment": last.id})
    if last.irreversible and not force:
        detail = f"Deployment {last.id} is irreversible ({last.irreversible}); use force."
        raise Refused(409, "irreversible", detail, {"deployment": last.id})
    return last.from_color


def _check_generation(standing: Standing, expected: int | None) -> None:
    if expected is not None and expected != standing.generation:
        raise Refused(
            409,
            "generation-mismatch",
            f"The generation is {standing.generation}, not {expected}.",
            {"generation": standing.generation, "expected_generation": expected},
        )
