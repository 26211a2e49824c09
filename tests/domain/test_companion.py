"""A process that follows its environment: when it starts, when it stops, never twice."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.companion import Companion, Do, Policy, Sighting
from bgproxy.domain.model import Color

GREEN = Policy(Color.GREEN)


def seen(active: Color, generation: int, **facts: object) -> Sighting:
    return Sighting(active, generation, **facts)  # type: ignore[arg-type]


def running(policy: Policy = GREEN, generation: int = 2) -> Companion:
    """Green is active, and its process runs since 0."""
    companion = Companion(policy)
    companion.saw(seen(Color.GREEN, generation), 0.0)
    assert companion.next(0.0)[0] is Do.START
    companion.started(0.0)
    return companion


def test_it_waits_for_its_environment() -> None:
    """Nothing seen, or the other one: nothing runs."""
    companion = Companion(GREEN)
    assert companion.next(0.0) == (Do.WAIT, inf)
    companion.saw(seen(Color.BLUE, 1), 0.0)
    assert companion.next(0.0) == (Do.WAIT, inf)
    companion.saw(seen(Color.GREEN, 2), 1.0)
    assert companion.next(1.0)[0] is Do.START
    companion.started(1.0)
    assert companion.generation == 2


def test_it_is_told_to_end_when_the_pointer_moves_and_killed_after_its_time() -> None:
    """TERM once, KILL once."""
    companion = running()
    companion.saw(seen(Color.BLUE, 3, draining=Color.GREEN), 5.0)
    assert companion.next(5.0) == (Do.TERMINATE, 30.0)
    assert companion.next(6.0) == (Do.WAIT, 29.0)
    assert companion.next(35.0)[0] is Do.KILL
    assert companion.next(36.0) == (Do.WAIT, inf)
    companion.ended(37.0)
    assert companion.next(37.0) == (Do.WAIT, inf)


def test_it_may_stay_until_the_drain_is_over() -> None:
    """Where that is asked for."""
    companion = running(Policy(Color.GREEN, until_drained=True))
    companion.saw(seen(Color.BLUE, 3, draining=Color.GREEN), 5.0)
    assert companion.next(5.0)[0] is Do.WAIT
    companion.saw(seen(Color.BLUE, 3), 9.0)
    assert companion.next(9.0)[0] is Do.TERMINATE


def test_there_and_back_between_two_looks_needs_a_new_process() -> None:
    """Its token is of the time before; the new one starts once the old one is gone."""
    companion = running()
    companion.saw(seen(Color.GREEN, 4), 5.0)
    assert companion.next(5.0)[0] is Do.TERMINATE
    assert companion.next(5.1)[0] is Do.WAIT
    companion.ended(6.0)
    assert companion.next(6.0)[0] is Do.START
    companion.started(6.0)
    assert companion.generation == 4


def test_coming_back_while_it_ends_does_not_save_it() -> None:
    """TERM cannot be taken back."""
    companion = running()
    companion.saw(seen(Color.BLUE, 3), 5.0)
    assert companion.next(5.0)[0] is Do.TERMINATE
    companion.saw(seen(Color.GREEN, 4), 5.5)
    assert companion.next(5.5)[0] is Do.WAIT
    companion.ended(6.0)
    assert companion.next(6.0)[0] is Do.START


def test_old_news_are_ignored() -> None:
    """A lower generation than before says nothing about now."""
    companion = running(generation=5)
    companion.saw(seen(Color.BLUE, 4), 1.0)
    assert companion.next(1.0)[0] is Do.WAIT
    assert companion.generation == 5


def test_one_that_ends_by_itself_is_started_again_ever_more_slowly() -> None:
    """1, 2, 4 … seconds, 60 at most; after a minute of life it begins anew."""
    companion = running()
    now = 0.0
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        companion.ended(now)
        companion.saw(seen(Color.GREEN, 2), now)
        assert companion.next(now) == (Do.WAIT, pause)
        now += pause
        companion.saw(seen(Color.GREEN, 2), now)
        assert companion.next(now)[0] is Do.START
        companion.started(now)
    companion.ended(now + 60.0)
    companion.saw(seen(Color.GREEN, 2), now + 60.0)
    assert companion.next(now + 60.0) == (Do.WAIT, 1.0)


def test_without_restart_its_end_is_the_end() -> None:
    """But not when it was stopped because its environment was left."""
    companion = running(Policy(Color.GREEN, is_restarted=False))
    companion.saw(seen(Color.BLUE, 3), 1.0)
    assert companion.next(1.0)[0] is Do.TERMINATE
    companion.ended(2.0)
    assert companion.next(2.0)[0] is Do.WAIT
    companion.saw(seen(Color.GREEN, 4), 3.0)
    companion.started(3.0)
    companion.ended(4.0)
    assert companion.next(4.0)[0] is Do.LEAVE


def test_when_the_proxy_is_away_it_runs_on_or_is_stopped() -> None:
    """As it was asked for; nothing is started on old knowledge."""
    kept, stopped = running(), running(Policy(Color.GREEN, is_kept=False))
    for companion in (kept, stopped):
        assert companion.next(29.0) == (Do.WAIT, 1.0)
    assert kept.next(31.0)[0] is Do.WAIT
    assert stopped.next(31.0)[0] is Do.TERMINATE
    kept.ended(31.0)
    assert kept.next(100.0) == (Do.WAIT, inf)
    kept.saw(seen(Color.GREEN, 2), 100.0)
    assert kept.next(100.0)[0] is Do.START


def test_told_to_leave_it_stops_and_leaves() -> None:
    """At once where nothing runs."""
    companion = running()
    companion.leave()
    assert companion.next(1.0)[0] is Do.TERMINATE
    companion.ended(2.0)
    assert companion.next(2.0)[0] is Do.LEAVE
    idle = Companion(GREEN)
    idle.leave()
    assert idle.next(0.0)[0] is Do.LEAVE


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("saw"), st.sampled_from(list(Color)), st.integers(1, 6)),
            st.tuples(st.just("ended")),
            st.tuples(st.just("time"), st.floats(0.0, 100.0)),
        ),
        max_size=60,
    ),
    st.booleans(),
    st.booleans(),
)
def test_never_two_and_tokens_only_grow(
    story: list[tuple[Any, ...]], is_restarted: bool, until_drained: bool
) -> None:
    """Whatever happens in whatever order."""
    policy = Policy(Color.GREEN, is_restarted=is_restarted, until_drained=until_drained)
    companion, now, tokens, is_running = Companion(policy), 0.0, [0], False
    for what, *facts in story:
        match what:
            case "saw":
                companion.saw(seen(*facts), now)
            case "ended" if is_running:
                companion.ended(now)
                is_running = False
            case "time":
                now += facts[0]
        action, _ = companion.next(now)
        if action is Do.START:
            assert not is_running
            assert companion.sighting is not None
            assert companion.sighting.active is Color.GREEN
            companion.started(now)
            is_running = True
            assert companion.generation >= tokens[-1]
            tokens.append(companion.generation)
        elif action in (Do.TERMINATE, Do.KILL):
            assert is_running
