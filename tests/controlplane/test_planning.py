"""Planning: what a configuration makes of what the journal knows."""

from __future__ import annotations

from dataclasses import replace

from bgproxy.controlplane.planning import plan
from bgproxy.domain.deployment import Deployment, Kind, Phase
from bgproxy.domain.model import Backend, Color, Environment, Service
from bgproxy.state.changes import SaveDeployment, SaveEnvironment, SavePointer, Snapshot

EMPTY = Snapshot({}, {}, [], {}, 0)
SERVICE = Service(
    "s",
    (Environment((Backend.parse("http://a:1"),)), Environment((Backend.parse("http://b:1"),))),
    active=Color.GREEN,
)


def test_a_new_service_begins_as_the_file_says() -> None:
    """Generation 1 on its `active`; everything of it has to be saved."""
    (planned,), changes = plan([SERVICE], EMPTY, {}, 100.0)
    assert planned.pointer == SavePointer("s", 1, Color.GREEN)
    assert planned.last is None
    assert [type(change) for change in changes] == [SaveEnvironment, SaveEnvironment, SavePointer]


def test_a_known_service_goes_on_where_it_was() -> None:
    """The file's `active` counts at the very first start only; nothing has to be saved."""
    (before,), _ = plan([SERVICE], EMPTY, {}, 100.0)
    pointer = SavePointer("s", 7, Color.BLUE)
    kept = {("s", saved.color): saved for saved in before.saved}
    snapshot = replace(EMPTY, pointers={"s": pointer}, environments=kept)
    (planned,), changes = plan([SERVICE], snapshot, {}, 200.0)
    assert planned.pointer == pointer
    assert planned.saved == before.saved
    assert changes == []


def test_an_applied_time_that_was_never_written_is_the_time_of_the_request() -> None:
    """A state may lack it; the time of the restart would be far off."""
    last = Deployment(
        *(3, "s", Kind.SWITCH, Color.BLUE, Color.GREEN, 90.0), generation=2, phase=Phase.SETTLING
    )
    pointers = {"s": SavePointer("s", 2, Color.GREEN)}
    snapshot = replace(EMPTY, pointers=pointers, last={"s": last})
    (planned,), changes = plan([SERVICE], snapshot, {}, 100.0)
    assert planned.last == replace(last, applied_at=90.0)
    assert SaveDeployment(planned.last) in changes
