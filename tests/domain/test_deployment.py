"""Deployments: the table, who is let in, and what holds over any history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgproxy.domain.deployment import (
    TABLE,
    Deployment,
    Effect,
    Event,
    ImpossibleTransitionError,
    Kind,
    Outcome,
    Phase,
    Standing,
    admit_rollback,
    admit_switch,
    advance,
    render_table,
)
from bgproxy.domain.model import Color
from bgproxy.errors import Refused

BLUE, GREEN = Color.BLUE, Color.GREEN


def make(id: int = 1, **fields: Any) -> Deployment:
    """A switch from blue to green."""
    plain = Deployment(id, "s", Kind.SWITCH, BLUE, GREEN, requested_at=100.0, bake=600.0)
    return replace(plain, **fields)


@pytest.mark.parametrize("phase", [p for p in Phase if p.is_over])
@pytest.mark.parametrize("event", list(Event))
def test_nothing_happens_after_the_end(phase: Phase, event: Event) -> None:
    """An ended deployment stays as it is."""
    with pytest.raises(ImpossibleTransitionError, match=event.value):
        advance(phase, event)


@pytest.mark.parametrize("phase", [p for p in Phase if not p.is_over])
def test_every_phase_survives_a_restart(phase: Phase) -> None:
    """A restart fails what was not applied and resumes what was."""
    step = advance(phase, Event.RESTARTED)
    assert step.phase is (Phase.FAILED if phase.is_pending else phase)


@pytest.mark.parametrize("phase", [Phase.SETTLING, Phase.DRAINING, Phase.BAKING])
def test_whatever_drains_or_bakes_can_be_superseded_and_taken_back(phase: Phase) -> None:
    """Manual always wins: the watch of the earlier one ends."""
    for event in (Event.OVERTAKEN, Event.TAKEN_BACK):
        step = advance(phase, event)
        assert step.phase.is_over
        assert {Effect.STOP_DRAIN, Effect.STOP_BAKE, Effect.RECORD} <= set(step.effects)


def test_the_pointer_is_stored_only_after_the_commit() -> None:
    """No entry stores a pointer but the one that follows the commit."""
    storing = [key for key, step in TABLE.items() if Effect.STORE_POINTER in step.effects]
    assert {phase for phase, _ in storing} == {Phase.SWITCHING}
    assert {event for _, event in storing} == {Event.COMMITTED, Event.COMMITTED_UNWATCHED}


def test_every_phase_can_be_reached_and_left() -> None:
    """The table has no island and no trap."""
    reached = {Phase.VERIFYING}
    while more := {s.phase for (p, _), s in TABLE.items() if p in reached} - reached:
        reached |= more
    assert reached == set(Phase)
    assert {phase for phase, _ in TABLE} == {phase for phase in Phase if not phase.is_over}


def test_the_table_can_be_printed() -> None:
    """One line for each entry."""
    lines = render_table().splitlines()
    assert len(lines) == len(TABLE)
    assert any("switching" in line and "store_pointer" in line for line in lines)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"phase": Phase.BAKING}, None),
        ({"phase": Phase.FINISHED}, Outcome.PASSED),
        ({"phase": Phase.FINISHED, "verdict": Outcome.INCONCLUSIVE}, Outcome.INCONCLUSIVE),
        ({"phase": Phase.SUPERSEDED, "verdict": Outcome.PASSED}, Outcome.SUPERSEDED),
        ({"phase": Phase.ROLLED_BACK}, Outcome.ROLLED_BACK),
        ({"phase": Phase.FAILED}, Outcome.FAILED),
    ],
)
def test_outcome(fields: dict[str, Any], outcome: Outcome | None) -> None:
    """The end decides; a finished deployment has its bake's outcome."""
    assert make(**fields).outcome is outcome


def test_rollback_is_possible_while_the_bake_lasts() -> None:
    """From the moment it is applied until the bake's end or its own, whichever is first."""
    assert make().rollback_possible_until is None
    assert make(applied_at=200.0).rollback_possible_until == 800.0
    assert make(applied_at=200.0, finished_at=300.0).rollback_possible_until == 300.0
    assert make(applied_at=200.0, bake=0.0).rollback_possible_until is None


BAKING = make(3, phase=Phase.BAKING, generation=2, applied_at=200.0)
VERIFYING = make(4)


@pytest.mark.parametrize(
    ("standing", "to", "force", "expected", "kind"),
    [
        (Standing(BLUE, 1), None, False, 2, "generation-mismatch"),
        (Standing(BLUE, 1), BLUE, False, None, "already-active"),
        (Standing(BLUE, 1), BLUE, True, 1, "already-active"),
        (Standing(BLUE, 1, pending=VERIFYING), GREEN, True, None, "deployment-in-progress"),
        (Standing(BLUE, 1, pending=VERIFYING), None, False, None, "deployment-in-progress"),
        (Standing(GREEN, 2, watched=BAKING), None, False, None, "target-required"),
        (Standing(BLUE, 3, locked={GREEN: 3}), None, False, None, "locked-after-rollback"),
    ],
)
def test_refused_switches(
    standing: Standing, to: Color | None, force: bool, expected: int | None, kind: str
) -> None:
    """The 409s of the interface, by name."""
    with pytest.raises(Refused) as caught:
        admit_switch(standing, to, force=force, expected_generation=expected)
    assert (caught.value.status, caught.value.kind) == (409, kind)


@pytest.mark.parametrize(
    ("standing", "to", "force", "target"),
    [
        (Standing(BLUE, 1), None, False, GREEN),
        (Standing(BLUE, 1), GREEN, False, GREEN),
        (Standing(GREEN, 2, watched=BAKING), BLUE, False, BLUE),
        (Standing(BLUE, 3, locked={GREEN: 3}), GREEN, True, GREEN),
        (Standing(GREEN, 3, locked={GREEN: 3}), BLUE, False, BLUE),
    ],
)
def test_admitted_switches(
    standing: Standing, to: Color | None, force: bool, target: Color
) -> None:
    """A named target supersedes what drains or bakes; force opens a lock."""
    admitted = admit_switch(standing, to, force=force, expected_generation=standing.generation)
    assert admitted is target


@pytest.mark.parametrize(
    "standing",
    [
        Standing(BLUE, 1),
        Standing(BLUE, 3, last=replace(BAKING, kind=Kind.ROLLBACK, to_color=BLUE)),
        Standing(BLUE, 3, last=replace(BAKING, kind=Kind.AUTO_ROLLBACK, to_color=BLUE)),
        Standing(GREEN, 2, last=BAKING, is_way_back_intact=False),
    ],
)
def test_there_must_be_something_to_roll_back_to(standing: Standing) -> None:
    """No switch yet, one taken back already, or other backends: there is no way back."""
    with pytest.raises(Refused) as caught:
        admit_rollback(standing, expected_generation=None)
    assert caught.value.kind == "nothing-to-roll-back"


@pytest.mark.parametrize("pending", [None, VERIFYING])
@pytest.mark.parametrize("watched", [None, BAKING])
def test_rollback_is_admitted_whatever_is_under_way(
    pending: Deployment | None, watched: Deployment | None
) -> None:
    """Neither a verification nor a bake stands in its way."""
    standing = Standing(GREEN, 2, pending=pending, watched=watched, last=BAKING)
    assert admit_rollback(standing, expected_generation=2) is BLUE
    with pytest.raises(Refused, match="generation is 2, not 1"):
        admit_rollback(standing, expected_generation=1)


def test_what_is_irreversible_is_taken_back_by_force_only() -> None:
    """Whoever said so knew why; the refusal repeats it."""
    last = replace(BAKING, details={"irreversible": "dropped column x"})
    standing = Standing(GREEN, 2, last=last)
    with pytest.raises(Refused, match="dropped column x") as caught:
        admit_rollback(standing, expected_generation=None)
    assert caught.value.kind == "irreversible"
    assert admit_rollback(standing, expected_generation=None, force=True) is BLUE


class Histories(RuleBasedStateMachine):
    """One service as the rules of admission and the table allow it, with crashes anywhere.

    `journal` is what a restart finds; `pointer` what workers see. A crash forgets the rest.
    """

    @initialize()
    def begin(self) -> None:
        self.pointer = (1, BLUE)
        self.journal_pointer = self.pointer
        self.journal: dict[int, Deployment] = {}
        self.running: dict[int, Deployment] = {}
        self.committed: int | None = None
        self.generations = [1]
        self.next_id = 1

    def _one(self, *phases: Phase) -> Deployment | None:
        return next((d for d in self.running.values() if d.phase in phases), None)

    @property
    def pending(self) -> Deployment | None:
        return self._one(Phase.VERIFYING, Phase.SWITCHING)

    @property
    def watched(self) -> Deployment | None:
        return self._one(Phase.SETTLING, Phase.DRAINING, Phase.BAKING)

    def standing(self) -> Standing:
        generation, active = self.pointer
        last = next((d for d in self.journal.values() if d.generation == generation), None)
        return Standing(active, generation, self.pending, self.watched, last)

    def happened(self, deployment: Deployment, event: Event, *, saves: bool = True) -> Deployment:
        step = advance(deployment.phase, event)
        after = replace(deployment, phase=step.phase)
        self.running[after.id] = after
        if saves:
            self.journal[after.id] = after
        if step.phase.is_over:
            del self.running[after.id]
        return after

    def start(self, kind: Kind, target: Color) -> Deployment:
        deployment = Deployment(self.next_id, "s", kind, target.other, target, 0.0, bake=1.0)
        self.next_id += 1
        self.running[deployment.id] = deployment
        return deployment

    @precondition(lambda self: self.committed is None)
    @rule(to=st.sampled_from([BLUE, GREEN, None]), force=st.booleans())
    def request_switch(self, to: Color | None, force: bool) -> None:
        try:
            target = admit_switch(self.standing(), to, force=force, expected_generation=None)
        except Refused:
            assert to is self.pointer[1] or self.pending or (self.watched and to is None)
            return
        self.start(Kind.SWITCH, target)

    @precondition(lambda self: self.committed is None and self._one(Phase.VERIFYING))
    @rule(passes=st.booleans())
    def checks_end(self, passes: bool) -> None:
        pending = self.pending
        assert pending
        if passes:
            self.commit(self.happened(pending, Event.VERIFIED, saves=False))
        else:
            self.happened(pending, Event.REFUSED)

    @precondition(lambda self: self.committed is None)
    @rule(kind=st.sampled_from([Kind.ROLLBACK, Kind.AUTO_ROLLBACK]))
    def request_rollback(self, kind: Kind) -> None:
        try:
            target = admit_rollback(self.standing(), expected_generation=None)
        except Refused:
            return
        if self.pending:
            self.happened(self.pending, Event.OVERTAKEN)
        rollback = self.start(kind, target)
        self.commit(self.happened(rollback, Event.VERIFIED, saves=False))

    def commit(self, deployment: Deployment) -> None:
        """One transaction: the pointer, the new deployment, the end of the one before."""
        generation = self.pointer[0] + 1
        event = self.event_of(deployment)
        phase = advance(deployment.phase, event).phase
        self.journal[deployment.id] = replace(deployment, phase=phase, generation=generation)
        if self.watched:
            end = Event.OVERTAKEN if deployment.kind is Kind.SWITCH else Event.TAKEN_BACK
            ended = replace(self.watched, phase=advance(self.watched.phase, end).phase)
            self.journal[ended.id] = ended
        self.journal_pointer = (generation, deployment.to_color)
        self.committed = deployment.id

    def event_of(self, deployment: Deployment) -> Event:
        is_switch = deployment.kind is Kind.SWITCH
        return Event.COMMITTED if is_switch else Event.COMMITTED_UNWATCHED

    @precondition(lambda self: self.committed is not None)
    @rule()
    def store(self) -> None:
        """The store that makes the committed pointer live."""
        deployment = self.running[self.committed or 0]
        if self.watched:
            end = Event.OVERTAKEN if deployment.kind is Kind.SWITCH else Event.TAKEN_BACK
            self.happened(self.watched, end)
        self.pointer = self.journal_pointer
        self.generations.append(self.pointer[0])
        self.running[deployment.id] = replace(deployment, generation=self.pointer[0])
        self.happened(self.running[deployment.id], self.event_of(deployment))
        self.committed = None

    @precondition(lambda self: self.committed is None and self.watched)
    @rule(event=st.sampled_from([Event.DRAINED, Event.BAKED, Event.WATCH_ENDED]))
    def watch_goes_on(self, event: Event) -> None:
        watched = self.watched
        assert watched
        if (watched.phase, event) in TABLE:
            self.happened(watched, event)

    @rule()
    def crash_and_restart(self) -> None:
        """Only the journal is left; the committed pointer is put back."""
        self.committed = None
        if self.pointer != self.journal_pointer:
            self.generations.append(self.journal_pointer[0])
        self.pointer = self.journal_pointer
        self.running = {}
        for deployment in list(self.journal.values()):
            if not deployment.phase.is_over:
                self.running[deployment.id] = deployment
                self.happened(deployment, Event.RESTARTED)

    @invariant()
    def one_at_a_time(self) -> None:
        if self.committed is None:
            pending = [d for d in self.running.values() if d.phase.is_pending]
            watched = [d for d in self.running.values() if not d.phase.is_pending]
            assert len(pending) <= 1
            assert len(watched) <= 1

    @invariant()
    def generations_only_grow(self) -> None:
        assert self.generations == list(range(1, self.generations[-1] + 1))

    @invariant()
    def the_journal_explains_the_pointer(self) -> None:
        """Every generation but the first has its deployment, and they chain up to the pointer."""
        made = sorted(
            (d for d in self.journal.values() if d.generation), key=lambda d: d.generation or 0
        )
        assert [d.generation for d in made] == list(range(2, self.journal_pointer[0] + 1))
        color = BLUE
        for deployment in made:
            assert deployment.from_color is color
            color = deployment.to_color
        assert color is self.journal_pointer[1]

    @invariant()
    def only_the_newest_is_under_way(self) -> None:
        if self.committed is None:
            open_ones = [d for d in self.journal.values() if d.generation and not d.phase.is_over]
            assert all(d.generation == self.journal_pointer[0] for d in open_ones)


TestHistories = Histories.TestCase
