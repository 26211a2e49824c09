"""The allow-list for backends that are set over the API, before and after names are looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgproxy.controlplane.resolver import Resolver
from bgproxy.domain.allow_list import AllowList, AllowRule
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from tests.controlplane.harness import ControlPlane, control_plane

METADATA = "169.254.169.254"
Names = dict[str, tuple[str, ...]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What names stand for, to be changed by a test."""
    known: Names = {}

    async def resolve(resolver: Resolver, name: str) -> None:
        if known.get(name, ()) != resolver.addresses(name):
            resolver._addresses[name] = known[name]
            resolver._on_change(name)

    monkeypatch.setattr(Resolver, "_resolve", resolve)
    return known


def _allow(plane: ControlPlane, *rules: str) -> None:
    plane.settings.admin.backend_allow = AllowList(  # type: ignore[misc]
        tuple(map(AllowRule.parse, rules))
    )
    plane.coordinator._take_limits(plane.settings)


async def _set(plane: ControlPlane, url: str) -> list[str]:
    """Give green that backend; the addresses it leads to."""
    document = await plane.coordinator.set_backends(
        "default", Color.GREEN, [url], release="v9", actor="ci"
    )
    backends = document["environments"]["green"]["backends"]
    return [address["address"] for backend in backends for address in backend["addresses"]]


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        (("10.0.0.0/8",), f"http://{METADATA}:80"),
        (("10.0.0.0/8",), "unix:/run/docker.sock"),
        (("*.internal",), "http://evil.example:80"),
        (("*.internal",), "http://rebound.internal:80"),
        (("10.0.0.0/8",), "http://rebound.internal:80"),
    ],
)
async def test_what_is_not_on_the_list_is_refused(
    tmp_path: Path, names: Names, rules: tuple[str, ...], url: str
) -> None:
    """With what and why; nothing has changed, and a name not on it is not even looked up."""
    names["rebound.internal"] = (METADATA,)
    async with control_plane(tmp_path) as (plane, _, _):
        _allow(plane, *rules)
        before = plane.coordinator.diff("default")
        with pytest.raises(Refused) as refused:
            await _set(plane, url)
        assert (refused.value.status, refused.value.kind) == (403, "backend-not-allowed")
        assert refused.value.facts == {"backend": url}
        assert plane.coordinator.diff("default") == before


async def test_what_is_on_the_list_is_taken(tmp_path: Path, names: Names) -> None:
    """By its name and by what it stands for."""
    names["app.internal"] = ("10.0.0.1", "10.0.0.2")
    async with control_plane(tmp_path) as (plane, _, _):
        _allow(plane, "*.internal:80", "10.0.0.0/8")
        assert len(await _set(plane, "http://app.internal:80")) == 2


async def test_a_name_that_is_bound_anew_loses_what_it_may_not_lead_to(
    tmp_path: Path, names: Names
) -> None:
    """Whoever owns the name cannot point the proxy at the metadata service afterwards."""
    names["app.internal"] = ("10.0.0.1",)
    async with control_plane(tmp_path) as (plane, _, _):
        _allow(plane, "*.internal", "10.0.0.0/8")
        await _set(plane, "http://app.internal:80")
        names["app.internal"] = ("10.0.0.2", METADATA)
        resolver = plane.coordinator._inventory._resolver
        await resolver._resolve("app.internal")
        places = [str(e.place) for e in plane.entry.environment(Color.GREEN).entries]
        assert len(places) == 1
        assert "10.0.0.2" in places[0]
        event = await plane.event("backend_not_allowed")
        assert event.data["addresses"] == [METADATA]


async def test_the_file_may_say_anything(tmp_path: Path) -> None:
    """The list is about the API; whoever writes the file is trusted."""
    async with control_plane(tmp_path) as (plane, _, _):
        _allow(plane, "10.0.0.0/8")
        plane.coordinator._inventory.update([plane.entry])
        assert plane.entry.environment(Color.GREEN).entries
