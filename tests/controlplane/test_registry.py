"""The registry: slots, addresses, and whose word holds for an environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from bgproxy.controlplane.entries import ServiceEntry, reconcile
from bgproxy.controlplane.registry import Registry
from bgproxy.domain.health import Health
from bgproxy.domain.model import COLORS, Backend, Color, Environment, Service
from bgproxy.state import ledger as cells
from bgproxy.state.changes import SaveEnvironment
from bgproxy.state.ledger import Ledger

BLUE, GREEN = COLORS
READY = Health(is_ready=True, is_proven=True, passes=1, has_verdict=True)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """A block for one worker."""
    ledger = Ledger.create(1)
    yield ledger
    ledger.close()


@pytest.fixture
def registry(ledger: Ledger) -> Registry:
    """An empty one."""
    return Registry(ledger)


def make(*blue: str, name: str = "s") -> Service:
    backends = tuple(Backend.parse(url) for url in blue)
    return Service(name, (Environment(backends), Environment((Backend.parse("unix:/g"),))))


def add(registry: Registry, service: Service) -> ServiceEntry:
    return registry.add(service, [reconcile(service, color, None, 0.0)[0] for color in COLORS])


class Addresses:
    """What names stand for."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known

    def __call__(self, name: str) -> Sequence[str]:
        return self.known.get(name, ())


def refresh(
    registry: Registry,
    entry: ServiceEntry,
    addresses: Addresses,
    *,
    table: int = 2,
    is_active: bool = False,
) -> bool:
    return registry.refresh(entry, BLUE, addresses, table, is_active=is_active)


def test_every_address_of_a_name_is_a_backend(registry: Registry) -> None:
    """Each with a slot of its own, all with the backend's own words."""
    entry = add(registry, make("http://app:80", "http://127.0.0.1:81", "unix:/b"))
    assert refresh(registry, entry, Addresses(app=["10.0.0.1", "::1"]))
    routes = entry.route().backends(BLUE)
    assert [(r.host, r.port, r.slot) for r in routes] == [
        ("10.0.0.1", 80, 0),
        ("::1", 80, 1),
        ("127.0.0.1", 81, 2),
        ("/b", 0, 3),
    ]
    assert routes[0].url == routes[1].url == "http://app:80"
    assert routes[0].authority == "app:80"
    assert not any(r.is_ready or r.is_proven for r in routes)
    assert registry.names() == {"app"}


def test_what_stays_keeps_slot_and_health(registry: Registry) -> None:
    """A name that gains an address leaves the other as it is."""
    entry = add(registry, make("http://app:80"))
    refresh(registry, entry, Addresses(app=["10.0.0.1"]))
    blue = entry.environment(BLUE)
    blue.entries[0].health = READY
    assert not refresh(registry, entry, Addresses(app=["10.0.0.1"]))
    assert refresh(registry, entry, Addresses(app=["10.0.0.2", "10.0.0.1"]))
    assert [(e.slot, e.health.is_ready) for e in blue.entries] == [(1, False), (0, True)]


def test_slots_are_free_again_when_nobody_knows_them_and_they_are_idle(
    registry: Registry, ledger: Ledger
) -> None:
    """Not before every worker has a later table, nor while something is in flight."""
    entry = add(registry, make("http://app:80"))
    refresh(registry, entry, Addresses(app=["10.0.0.1"]))
    gauge = cells.backend_base(0, 0)
    ledger.cells[gauge + cells.REQUESTS_IN_FLIGHT] = 1
    ledger.cells[gauge + cells.BACKEND_FAILURES] = 7
    refresh(registry, entry, Addresses(app=["10.0.0.2"]), table=5)
    blue = entry.environment(BLUE)
    assert blue.slots() == (1, 0)  # what is retired still counts for a drain
    registry.collect(4)
    registry.collect(5)
    assert blue.slots() == (1, 0)
    ledger.cells[gauge + cells.REQUESTS_IN_FLIGHT] = 0
    registry.collect(4)
    assert blue.slots() == (1, 0)
    registry.collect(5)
    assert blue.slots() == (1,)
    assert ledger.backend(0).failures == 0
    refresh(registry, entry, Addresses(app=["10.0.0.2", "10.0.0.3"]))
    assert [e.slot for e in blue.entries] == [1, 0]


def test_the_active_environment_keeps_what_works(registry: Registry) -> None:
    """Replaced addresses stay routed until a new one is ready."""
    entry = add(registry, make("http://app:80"))
    refresh(registry, entry, Addresses(app=["10.0.0.1"]), is_active=True)
    blue = entry.environment(BLUE)
    blue.entries[0].health = READY
    refresh(registry, entry, Addresses(app=["10.0.0.2"]), is_active=True)
    assert [e.place.host for e in blue.routed] == ["10.0.0.2", "10.0.0.1"]
    assert not registry.may_drop_leaving(blue)
    blue.entries[0].health = READY
    assert registry.may_drop_leaving(blue)
    registry.drop_leaving(blue, 3)
    assert [e.place.host for e in blue.routed] == ["10.0.0.2"]


def test_an_address_that_comes_back_is_the_same(registry: Registry) -> None:
    """A name that flaps does not make proven addresses unproven."""
    entry = add(registry, make("http://app:80"))
    refresh(registry, entry, Addresses(app=["10.0.0.1"]), is_active=True)
    blue = entry.environment(BLUE)
    blue.entries[0].health = READY
    refresh(registry, entry, Addresses(app=["10.0.0.2"]), is_active=True)
    refresh(registry, entry, Addresses(app=["10.0.0.1"]), is_active=True)
    assert [(e.slot, e.health.is_ready) for e in blue.routed] == [(0, True)]


def test_a_dead_address_is_not_kept(registry: Registry) -> None:
    """Keeping it would serve nobody."""
    entry = add(registry, make("http://app:80"))
    refresh(registry, entry, Addresses(app=["10.0.0.1"]), is_active=True)
    refresh(registry, entry, Addresses(app=["10.0.0.2"]), is_active=True)
    assert [e.place.host for e in entry.environment(BLUE).routed] == ["10.0.0.2"]


def test_service_slots_belong_to_names(registry: Registry) -> None:
    """Counters of a service that is gone are not another's."""
    first, second = make("unix:/a", name="a"), make("unix:/b", name="b")
    assert [add(registry, first).slot, add(registry, second).slot] == [0, 1]
    registry.remove("a", 2)
    assert add(registry, make("unix:/c", name="c")).slot == 2
    assert add(registry, first).slot == 0


def test_owners_of_slots_are_known(registry: Registry) -> None:
    """Until the backend is gone."""
    entry = add(registry, make("http://10.0.0.1:80"))
    refresh(registry, entry, Addresses())
    owner = registry.owner(0)
    assert owner is not None
    assert owner[0] is entry
    registry.remove("s", 2)
    assert registry.owner(0) is None


def test_api_backends_win_over_the_files(registry: Registry) -> None:
    """And are what is routed."""
    service = make("http://10.0.0.1:80")
    saved = [
        SaveEnvironment("s", BLUE, ("http://10.0.0.9:80",), "v9", "f", 1.0, "ann"),
        reconcile(service, Color.GREEN, None, 0.0)[0],
    ]
    entry = registry.add(service, saved)
    refresh(registry, entry, Addresses())
    assert [r.host for r in entry.route().backends(BLUE)] == ["10.0.0.9"]
    assert entry.environment(BLUE).release == "v9"
