"""A control plane without workers: a real ledger, a real journal, real sockets for backends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bgproxy.config.settings import Settings
from bgproxy.controlplane.coordinator import Coordinator
from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.events import Event, EventHub
from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.allow_list import AllowList
from bgproxy.domain.model import (
    Backend,
    Color,
    DrainPolicy,
    Environment,
    HealthPolicy,
    ProxyLimits,
    RollbackPolicy,
    Service,
    SwitchPolicy,
)
from bgproxy.domain.outcome import Reason
from bgproxy.domain.tracing import Tracing
from bgproxy.state import ledger as cells
from bgproxy.state.channel import FailureSample, FoundRequest
from bgproxy.state.journal import Journal
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import RoutingTable
from tests.ports import free_port


@dataclass
class FakeFleet:
    """Workers that acknowledge everything at once and carry what the test says.

    Attributes:
        quiet: while cleared, `quiesce` does not return.
        open: while cleared, `publish` does not return.
        closed: every call of `close_leftovers`; each also puts something into `told`.
    """

    ledger: Ledger
    on_worker_died: Callable[[int], None] | None = None
    on_backend_trouble: Callable[[int, Reason, str], None] | None = None
    on_failure_sample: Callable[[FailureSample], None] | None = None
    requests: dict[str, list[FoundRequest]] = field(default_factory=dict)
    tables: list[RoutingTable] = field(default_factory=list)
    closed: list[tuple[int, Color, int, str, float]] = field(default_factory=list)
    told: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.quiet.set()
        self.open.set()

    async def publish(self, table: RoutingTable) -> None:
        """Acknowledge, once `open` is set."""
        await self.open.wait()
        self.tables.append(table)

    async def quiesce(self) -> None:
        """Return once `quiet` is set."""
        await self.quiet.wait()

    async def find_request(self, request_id: str) -> list[FoundRequest]:
        """What the test laid ready."""
        return list(self.requests.get(request_id, ()))

    def close_leftovers(
        self, service_slot: int, color: Color, generation: int, kind: str, spread: float
    ) -> None:
        """Remember the call; what is in flight stays until the test takes it away."""
        self.closed.append((service_slot, color, generation, kind, spread))
        self.told.put_nowait(None)

    def is_complete(self) -> bool:
        """Always."""
        return True

    def workers_view(self) -> list[dict[str, Any]]:
        """No workers."""
        return []

    def carry(self, slot: int, requests: int = 0, tunnels: int = 0) -> None:
        """Set what worker 0 has in flight at a backend slot."""
        base = cells.backend_base(0, slot)
        self.ledger.cells[base + cells.REQUESTS_IN_FLIGHT] = requests
        self.ledger.cells[base + cells.TUNNELS_IN_FLIGHT] = tunnels

    def count(self, service: int, color: Color, *, ok: int = 0, failed: int = 0) -> None:
        """Count exchanges that ended, as worker 0 would."""
        base = cells.series_base(0, service, color)
        self.ledger.cells[base + cells.CODES + 200 - cells.FIRST_CODE] += ok
        self.ledger.cells[base + cells.CODES + 500 - cells.FIRST_CODE] += failed
        self.ledger.cells[base + cells.REASONS + 7] += failed  # Reason.SERVER_ERROR


class FakeBackend:
    """An HTTP server on loopback that answers every path with `status` and `body`."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"ok"
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen; on a port of its own unless it is given one."""
        self.port = port or free_port()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def url(self) -> str:
        """As a configuration names it."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            self.requests.append((head[0], {k.lower(): v for k, v in fields.items()}))
            await self.gate.wait()
            extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(
                f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\n{extra}"
                "Connection: close\r\n\r\n".encode()
                + self.body
            )
            await writer.drain()
        writer.close()


QUICK_HEALTH = HealthPolicy(interval=0.05, timeout=5.0, healthy_after=1, unhealthy_after=2)


def make_service(blue: str, green: str, **fields: Any) -> Service:
    """A service with one backend each and policies that suit a test."""
    environments = (
        Environment((Backend.parse(blue),)),
        Environment((Backend.parse(green),)),
    )
    plain: dict[str, Any] = {
        "health": QUICK_HEALTH,
        "switch": SwitchPolicy(ready_timeout=5.0),
        "drain": DrainPolicy(timeout=5.0, tunnel_timeout=5.0, spread=0.1),
        "rollback": RollbackPolicy(bake=600.0),
    }
    return Service("default", environments, **(plain | fields))


def settings_of(*services: Service) -> Settings:
    """What of the settings the coordinator looks at."""
    proxy = SimpleNamespace(
        limits=ProxyLimits(),
        trusted_proxies=(),
        access_log=AccessLog(),
        tracing=Tracing(),
        request_ring=0,
    )
    admin = SimpleNamespace(backend_allow=AllowList())
    plain = SimpleNamespace(services=services, proxy=proxy, admin=admin, notifications=())
    return cast(Settings, plain)


class ControlPlane:
    """A coordinator with everything around it; `restart` is a crash and a new process."""

    def __init__(self, path: Path, service: Service) -> None:
        self.path = path
        self.settings = settings_of(service)
        self.fleet: FakeFleet
        self.journal: Journal
        self.events: EventHub
        self.coordinator: Coordinator

    async def start(self) -> None:
        """Open, restore, start."""
        self.fleet = FakeFleet(Ledger.create(1))
        self.journal = await Journal.open(self.path)
        self.events = EventHub()
        self.coordinator = Coordinator(self.settings, self.journal, self.fleet, self.events)
        self.fleet.tables.append(await self.coordinator.restore())
        await self.coordinator.start()

    async def stop(self) -> None:
        """End in good order."""
        await self.coordinator.stop()
        await self.journal.close()
        self.fleet.ledger.close()

    async def crash(self) -> None:
        """End as `kill -9` would: what is not on disk by now is lost."""
        await self.coordinator._tasks.stop()
        self.journal._next.changes.clear()
        self.journal.write_later = lambda *changes: None  # type: ignore[method-assign]
        await self.stop()

    async def restart(self, service: Service | None = None) -> None:
        """Stop and start, with another configuration if one is given."""
        await self.stop()
        if service is not None:
            self.settings = settings_of(service)
        await self.start()

    @property
    def entry(self) -> ServiceEntry:
        """The service's entry in the registry."""
        return self.coordinator._services["default"]

    def second(self, number: int, *, ok: int = 0, failed: int = 0) -> None:
        """Let one second pass for the judge, after the switch, with what it brought."""
        bake = self.entry.watched and self.entry.watched.bake
        assert bake
        self.fleet.count(self.entry.slot, bake.color, ok=ok, failed=failed)
        self.coordinator._sampler.sample(self.entry, bake.began + number)

    def service(self) -> dict[str, Any]:
        """The SERVICE document."""
        return self.coordinator.service("default")

    async def event(self, type: str, where: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first event of that type, whether it has happened already or not."""
        subscription = self.events.subscribe(after=0)
        async with asyncio.timeout(10):
            async for event in subscription:
                if event.type == type and where(event):
                    subscription.close()
                    return event
        raise AssertionError(f"the events ended without {type}")

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The SERVICE document once it is so; looked at after every event and every probe."""
        async with asyncio.timeout(10):
            while not holds(document := self.service()):
                await self.entry.probed.wait()
        return document

    async def until_healthy(self) -> None:
        """Return when both environments are healthy and the workers know."""

        def healthy(document: dict[str, Any]) -> bool:
            environments = document["environments"].values()
            return all(b["healthy"] for e in environments for b in e["backends"])

        await self.until(healthy)
        await self.coordinator._inventory.publisher.settle()


@contextlib.asynccontextmanager
async def control_plane(
    path: Path, **fields: Any
) -> AsyncIterator[tuple[ControlPlane, FakeBackend, FakeBackend]]:
    """A running control plane with a healthy blue and a healthy green backend."""
    blue, green = FakeBackend(), FakeBackend()
    await blue.start()
    await green.start()
    plane = ControlPlane(path / "state.db", make_service(blue.url, green.url, **fields))
    await plane.start()
    try:
        await plane.until_healthy()
        yield plane, blue, green
    finally:
        await plane.stop()
        await blue.stop()
        await green.stop()


def with_backends(service: Service, blue: str, green: str) -> Service:
    """The same service with other backends in its file."""
    environments = (Environment((Backend.parse(blue),)), Environment((Backend.parse(green),)))
    return replace(service, environments=environments)
