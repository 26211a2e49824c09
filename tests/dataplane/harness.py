"""A real worker process between raw sockets: what the tests of the data plane stand on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, cast

from bgproxy.config.settings import Address
from bgproxy.domain.model import Color, ProxyLimits
from bgproxy.fleet import Fleet
from bgproxy.listeners import close_listeners, open_listeners
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.ledger import Ledger, SeriesTotals
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute
from tests.ports import free_port

PATIENCE = 10.0
"""Seconds after which a test stops waiting for what must come at once."""

_started: list[Backend] = []

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Backend:
    """A backend that does just what its handler says, and keeps the bytes it received."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.received: list[bytes] = []
        self.connections = 0
        self.closed = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    async def start(self, tls: ssl.SSLContext | None = None) -> Backend:
        """Listen on a port of its own; `running` stops it."""
        _started.append(self)
        self.port = free_port()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 20, ssl=tls
        )
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._handler(cast("Any", _Recording(reader, self)), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        writer.close()
        self.closed += 1
        self.note()

    def note(self) -> None:
        """Wake whoever waits in `until`."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of what was received."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._changed.wait()

    async def stop(self) -> None:
        """Close the listener and every connection."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await self._server.wait_closed()


async def stop_backends() -> None:
    """Stop every backend that was started since."""
    while _started:
        await _started.pop().stop()


class _Recording:
    """A reader that keeps what passes through it."""

    def __init__(self, reader: asyncio.StreamReader, backend: Backend) -> None:
        self._reader = reader
        self._backend = backend

    async def readuntil(self, separator: bytes) -> bytes:
        return self._keep(await self._reader.readuntil(separator))

    async def readexactly(self, count: int) -> bytes:
        return self._keep(await self._reader.readexactly(count))

    async def read(self, count: int) -> bytes:
        return self._keep(await self._reader.read(count))

    def _keep(self, data: bytes) -> bytes:
        self._backend.received.append(data)
        self._backend.note()
        return data


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """A request's head, with its empty line."""
    return await reader.readuntil(b"\r\n\r\n")


def answering(answer: bytes) -> Handler:
    """A handler that reads heads (of requests without body) and answers each alike."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(answer)
            await writer.drain()

    return handle


def echoing(name: bytes = b"echo") -> Handler:
    """A handler that reads requests with Content-Length and answers with their bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = await reader.readexactly(length) if length else b""
            seen = head + body
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-Backend: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (name, len(seen), seen)
            )
            await writer.drain()

    return handle


class Proxy:
    """A fleet of real workers, routing by a table that the test makes."""

    def __init__(self, fleet: Fleet, ledger: Ledger, ports: list[int], table: RoutingTable) -> None:
        self.fleet = fleet
        self.ledger = ledger
        self.ports = ports
        self.port = ports[0]
        self.table = table
        self._numbers = itertools.count(2)

    async def switch(self, color: Color) -> None:
        """Move the pointer, and wait until no worker can claim on the old color."""
        generation = self.ledger.pointer(0).generation + 1
        self.ledger.store_pointer(0, generation, color)
        await self.fleet.quiesce()

    async def change(self, **changes: Any) -> None:
        """Publish a table whose only service is changed."""
        service = dataclasses.replace(self.table.services[0], **changes)
        await self.use(dataclasses.replace(self.table, services=(service,)))

    async def use(self, table: RoutingTable) -> None:
        """Publish a table under a number of its own: one that is not new is not waited for."""
        self.table = dataclasses.replace(table, number=next(self._numbers))
        await self.fleet.publish(self.table)

    def totals(self, color: Color = Color.BLUE) -> SeriesTotals:
        """The counters of one color."""
        return self.ledger.series(0, color)

    def in_flight(self) -> tuple[int, int]:
        """Requests and tunnels in flight on all backends."""
        slots = tuple(b.slot for e in self.table.services[0].environments for b in e)
        return self.ledger.in_flight(slots)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the shared counters show something; they have no event to wait for."""
        deadline = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < deadline, "it did not come about in time"
            await asyncio.sleep(0.005)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)

    async def talk(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes on a new connection and read to its end."""
        reader, writer = await self.connect()
        writer.write(data)
        if half_close:
            writer.write_eof()
        try:
            async with asyncio.timeout(PATIENCE):
                return await reader.read(-1)
        finally:
            writer.close()


def backend_route(slot: int, port: int, *, is_ready: bool = True) -> BackendRoute:
    """A backend on loopback."""
    authority = f"127.0.0.1:{port}"
    url = f"http://{authority}"
    return BackendRoute(slot, url, "http", "127.0.0.1", port, authority, is_ready, is_ready)


def table_of(
    blue: Sequence[int],
    green: Sequence[int],
    *,
    proxy_limits: ProxyLimits | None = None,
    trusted_proxies: tuple[str, ...] = (),
    **service: Any,
) -> RoutingTable:
    """A table with one service, by its backends' ports."""
    slots = itertools.count()
    environments = (
        tuple(backend_route(next(slots), port) for port in blue),
        tuple(backend_route(next(slots), port) for port in green),
    )
    service.setdefault("hosts", ("*",))
    service.setdefault("paths", ("/",))
    route = ServiceRoute("default", 0, 0, environments=environments, **service)
    return RoutingTable(1, (route,), proxy_limits or ProxyLimits(), trusted_proxies)


@contextlib.asynccontextmanager
async def running(
    table: RoutingTable, *, workers: int = 1, entrances: tuple[EntranceRoute, ...] = ()
) -> AsyncIterator[Proxy]:
    """Real workers behind a free port; blue is active, generation 1."""
    addresses = (Address("127.0.0.1", 0),) * max(1, len(entrances))
    listeners = open_listeners(addresses, workers)
    ledger = Ledger.create(workers)
    ledger.store_pointer(0, 1, Color.BLUE)
    fleet = Fleet(ledger, listeners, entrances=entrances)
    try:
        await fleet.start(table)
        ports = [sock.getsockname()[1] for sock in listeners[0]]
        yield Proxy(fleet, ledger, ports, table)
    finally:
        await fleet.stop(0.0, 0.0)
        close_listeners(listeners)
        ledger.close()
        await stop_backends()
