"""All services by name, and the places of their backends in the ledger.

Here what names stand for becomes entries with slots, and entries become the routing table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bgproxy.controlplane.entries import BackendEntry, EnvironmentEntry, ServiceEntry
from bgproxy.controlplane.exchange import Place
from bgproxy.domain.allow_list import AllowList
from bgproxy.domain.model import COLORS, Backend, Color, Service
from bgproxy.domain.tls import UpstreamTls
from bgproxy.errors import Refused
from bgproxy.state.changes import SaveEnvironment
from bgproxy.state.ledger import MAX_BACKENDS, MAX_SERVICES, Ledger
from bgproxy.state.table import ServiceRoute

Addresses = Callable[[str], Sequence[str]]
"""Looks up what a host name stands for now."""


class Registry:
    """All services by name, and the slots they have in the ledger.

    Attributes:
        backend_allow: what backends that were set over the API may be.

    A service's slot stays its own as long as this process runs, also while the configuration does
    not name it: its counters must not become another's.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.services: dict[str, ServiceEntry] = {}
        self.backend_allow = AllowList()
        self._ledger = ledger
        self._service_slots: dict[str, int] = {}
        self._free: list[int] = []
        self._used = 0
        self._retired: dict[int, tuple[int, EnvironmentEntry]] = {}
        self._owners: dict[int, tuple[ServiceEntry, BackendEntry]] = {}

    def add(self, service: Service, saved: Iterable[SaveEnvironment]) -> ServiceEntry:
        """Take a service in.

        Args:
            saved: what the journal holds about blue and green, see `reconcile`.

        Raises:
            Refused: there are more services than the ledger has room for.
        """
        slot = self._service_slots.setdefault(service.name, len(self._service_slots))
        if slot >= MAX_SERVICES:
            raise Refused(409, "invalid", f"At most {MAX_SERVICES} services are possible.")
        blue, green = (
            EnvironmentEntry(color, service.environment(color), kept)
            for color, kept in zip(COLORS, saved, strict=True)
        )
        entry = self.services[service.name] = ServiceEntry(service, slot, (blue, green))
        return entry

    def remove(self, name: str, next_table: int) -> ServiceEntry:
        """Take a service out; `next_table` is the first table that does not name it."""
        entry = self.services.pop(name)
        for environment in entry.environments:
            for backend in environment.routed:
                self._retire(environment, backend, next_table)
            environment.entries, environment.leaving = [], []
        return entry

    def owner(self, slot: int) -> tuple[ServiceEntry, BackendEntry] | None:
        """Whose backend slot this is, unless it is nobody's any more."""
        return self._owners.get(slot)

    def names(self) -> set[str]:
        """Every host name that has to be resolved."""
        return {
            backend.host
            for service in self.services.values()
            for environment in service.environments
            for backend in environment.backends
            if backend.is_name
        }

    def refresh(
        self,
        service: ServiceEntry,
        color: Color,
        addresses: Addresses,
        next_table: int,
        *,
        is_active: bool,
    ) -> bool:
        """Bring an environment's entries in line with its backends and what their names stand for.

        What the active environment loses is kept until something that counts is ready, so that
        traffic never goes to unproven backends while proven ones are there.

        Returns:
            Whether anything changed.
        """
        environment = service.environment(color)
        wanted = _places(
            environment.backends,
            addresses,
            service.settings.upstream_tls,
            AllowList() if environment.saved.backends is None else self.backend_allow,
        )
        present = {(e.backend, e.place): e for e in (*environment.entries, *environment.leaving)}
        entries = [
            present.pop(key) if key in present else BackendEntry(*key, self._take_slot())
            for key in wanted
        ]
        has_changed = entries != environment.entries or bool(
            set(map(id, present.values())) - set(map(id, environment.leaving))
        )
        environment.entries = entries
        environment.leaving = list(present.values())
        for entry, (_, place) in zip(entries, wanted, strict=True):
            entry.place = place  # the same address, maybe under other rules of trust
            self._owners[entry.slot] = (service, entry)
        if not is_active or self.may_drop_leaving(environment):
            self.drop_leaving(environment, next_table)
        self._ledger.use(len(self._service_slots), self._used)
        return has_changed

    def may_drop_leaving(self, environment: EnvironmentEntry) -> bool:
        """Whether replaced addresses are no longer needed: a new one is ready, or none of them."""
        return environment.ready > 0 or not any(e.health.is_ready for e in environment.leaving)

    def drop_leaving(self, environment: EnvironmentEntry, next_table: int) -> None:
        """Retire the addresses that were replaced."""
        for entry in environment.leaving:
            self._retire(environment, entry, next_table)
        environment.leaving = []

    def routes(self) -> tuple[ServiceRoute, ...]:
        """Every service as workers see it."""
        return tuple(service.route() for service in self.services.values())

    # -- slots ------------------------------------------------------------------------------------

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used == MAX_BACKENDS:
            detail = f"At most {MAX_BACKENDS} backend addresses are possible."
            raise Refused(409, "invalid", detail)
        self._used += 1
        return self._used - 1

    def _retire(self, environment: EnvironmentEntry, entry: BackendEntry, next_table: int) -> None:
        environment.retired.append(entry.slot)
        self._retired[entry.slot] = (next_table, environment)
        self._owners.pop(entry.slot, None)

    def collect(self, acknowledged: int) -> None:
        """Free the slots that no worker's table names any more and that carry nothing.

        Args:
            acknowledged: the newest table that every worker has.
        """
        for slot, (table, environment) in list(self._retired.items()):
            if table <= acknowledged and self._ledger.in_flight((slot,)) == (0, 0):
                self._ledger.clear_backend(slot)
                environment.retired.remove(slot)
                del self._retired[slot]
                self._free.append(slot)


def _places(
    backends: Iterable[Backend], addresses: Addresses, tls: UpstreamTls, allow: AllowList
) -> list[tuple[Backend, Place]]:
    """Every address of every backend, each once."""
    places: dict[tuple[Backend, Place], None] = {}
    for backend in backends:
        if backend.scheme == "unix":
            places[backend, Place("unix", backend.path)] = None
            continue
        found = addresses(backend.host) if backend.is_name else ()
        hosts = allow.usable(backend, found) if backend.is_name else (backend.host,)
        for host in hosts:
            is_tls = backend.scheme == "https"
            name = tls.server_name or backend.host.removesuffix(".") if is_tls else ""
            places[backend, Place(backend.scheme, host, backend.port, name, tls)] = None
    return list(places)
