"""One worker process: inherited listeners, the routing table, the tick, stop and drain.

Started by the supervisor as ``python -m bgproxy.dataplane``, and told its place and its descriptors
over the channel (`bgproxy.state.posting`). It obeys the channel alone; when the channel ends, the
supervisor is gone, and the worker finishes what it carries and ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import select
import socket
import struct
import time
from collections.abc import Coroutine
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import uvloop

from bgproxy.dataplane import failing, waiting
from bgproxy.dataplane.cells import SharedCells
from bgproxy.dataplane.connection import EXCHANGE, IDLE, TUNNEL
from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.entrance import Entrance
from bgproxy.dataplane.memory import RequestMemory
from bgproxy.dataplane.observers import Observers
from bgproxy.dataplane.routes import BackendState, Routes
from bgproxy.dataplane.sockets import Closable, sockets_of
from bgproxy.state import channel, ledger, posting
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.ledger import Ledger
from bgproxy.state.posting import WorkerArguments
from bgproxy.state.table import RoutingTable

if TYPE_CHECKING:
    from bgproxy.dataplane.connection import ClientConnection
    from bgproxy.dataplane.entrance import ProxyArrival, TlsArrival
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.domain.outcome import Reason

TICK_SECONDS = 0.05
_SAMPLES_PER_TICK = 2
_RATE_TICKS = 100
"""Ticks between two looks at the rate of uploads: 5 s."""


class Worker(SharedCells):
    """Everything that the connections of one worker share."""

    def __init__(self, arguments: WorkerArguments, loop: asyncio.AbstractEventLoop) -> None:
        self.index = arguments.index
        self.loop = loop
        self.ledger = Ledger.attach(arguments.ledger, arguments.workers)
        super().__init__(self.ledger.cells, secrets.token_hex(6).encode())
        self.routes = Routes(arguments.index)
        self.sockets = sockets_of(loop, self)
        self.observers = Observers(self, self._say)
        self.memory = RequestMemory(self)
        self.connections: set[Downstream] = set()
        self.arrivals: set[ProxyArrival | TlsArrival] = set()
        self.upstreams: set[Upstream] = set()
        self._slab = ledger.slab_base(arguments.index)
        self._listeners = [socket.socket(fileno=fd) for fd in arguments.listeners]
        self._backlog = arguments.backlog
        self._servers: list[Closable] = []
        self._entrances = [Entrance(self, EntranceRoute()) for _ in self._listeners]
        self._tasks: set[asyncio.Task[None]] = set()
        self._per_client: dict[str, int] = {}
        self._samples = 0
        self._ticks = 0
        self._stop = channel.Stop(30.0, 2.0)
        self._stop_at = inf
        self._writer: asyncio.StreamWriter | None = None
        self._ended = asyncio.Event()

    # -- for the connections --------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something off the common path; it is kept, and ended with the worker."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def welcome(self, client: ClientConnection) -> bool:
        """Take a new client connection in; False when there are too many."""
        self.connections.add(cast("Downstream", client))
        self.cells[self._slab + ledger.ACCEPTED] += 1
        return self._has_room_for(client.client)

    def arrive(self, arrival: ProxyArrival | TlsArrival) -> None:
        """Give a connection that is no client yet its time; sent away when there are too many."""
        self.arrivals.add(arrival)
        arrival.deadline = self.now + self.head_timeout
        if not self._has_room_for(arrival.client):
            arrival.abort()

    def _has_room_for(self, client: str) -> bool:
        """Count one more connection of this client; False when that is one too many."""
        limits = self.routes.table.limits
        count = self._per_client.get(client, 0) + 1
        self._per_client[client] = count
        is_too_many = bool(client) and 0 < limits.max_connections_per_client < count
        if is_too_many or len(self.connections) + len(self.arrivals) > limits.max_connections:
            self.cells[self._slab + ledger.TURNED_AWAY] += 1
            return False
        return True

    def depart(self, arrival: ProxyArrival | TlsArrival) -> None:
        """It is a client now, or gone; called once."""
        self.arrivals.discard(arrival)
        self._forget_one_of(arrival.client)

    def turn_away(self, client: ClientConnection) -> None:
        """Count and write down a connection that is one too many."""
        self.count_refused(503)
        if self.log is not None:
            self.log.turned_away(client, 503, "too_many_connections")

    def farewell(self, client: Exchange) -> None:
        """A client connection is gone."""
        self.connections.discard(cast("Downstream", client))
        self._forget_one_of(client.client)

    def _forget_one_of(self, client: str) -> None:
        count = self._per_client.get(client, 0) - 1
        if count > 0:
            self._per_client[client] = count
        else:
            self._per_client.pop(client, None)

    def is_trusted(self, address: str) -> bool:
        """Whether a peer's forwarding fields are believed."""
        return bool(self.routes.trusted) and self.routes.trusts(address)

    def count_refused(self, status: int) -> None:
        """Count an answer of our own to a request that no environment saw."""
        self.cells[self._slab + ledger.refused_cell(status)] += 1

    def count_head(self, cell: int, count: int) -> None:
        """Add to a cell of the head of this worker's slab, such as `ledger.SPANS_DROPPED`."""
        self.cells[self._slab + cell] += count

    def report_trouble(self, backend: BackendState, reason: Reason, detail: str) -> None:
        """Tell the supervisor that a backend did not take a connection."""
        self._say(channel.BackendTrouble(backend.slot, reason, detail))

    def report_failure(self, client: Exchange, reason: Reason) -> None:
        """Send the supervisor a sample of a failed exchange, a few per tick at most."""
        if self._samples >= _SAMPLES_PER_TICK:
            return
        self._samples += 1
        path = client.head.target.partition(b"?")[0][:200].decode("latin-1")
        self._say(
            channel.FailureSample(
                service=client.route.name,
                color=client.environment.color,
                generation=client.generation,
                method=client.method.decode("latin-1"),
                path=path,
                status=client.status,
                reason=reason,
                backend=client.backend.url,
                request_id=client.request_id,
                at=time.time(),
            )
        )

    # -- the tick -------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every 50 ms, between two callbacks: publish, and end what took too long."""
        # First of all: whatever may go wrong for one client, time goes on for the others.
        self.loop.call_later(TICK_SECONDS, self.tick)
        self.read_clock()
        now = self.now
        self._samples = 0
        self._ticks += 1
        self._publish()
        for client in [c for c in self.connections if c.deadline < now]:
            client.expire()
        for arrival in [a for a in self.arrivals if a.deadline < now]:
            arrival.expire()
        for route in self.routes.services:
            if route.held and route.held_until <= now:
                route.held_until = 0.0
                waiting.go_on(route)
        if self._ticks % 20 == 0:
            self.routes.end_idle(now)
            self._end_what_is_gone()
        if self._ticks % _RATE_TICKS == 0:
            self._end_what_crawls(now)
        if self.is_stopping:
            self._end_what_is_quiet(now)

    def _end_what_is_gone(self) -> None:
        """Find clients that have reset while their bytes are left in the kernel.

        The loop does not watch a connection that it does not read.
        """
        poll = select.poll()
        clients = {}
        for client in self.connections:
            if client.is_stopped and not client.transport.is_closing():
                fd = client.transport.get_extra_info("socket").fileno()
                clients[fd] = client
                poll.register(fd, 0)
        for fd, _ in poll.poll(0) if clients else ():
            clients[fd].transport.abort()

    def _end_what_crawls(self, now: float) -> None:
        """Hold uploads to the least rate of their bodies, where one is asked for."""
        seconds = _RATE_TICKS * TICK_SECONDS
        least = int(self.routes.table.limits.min_body_rate * seconds)
        if least:
            for client in list(self.connections):
                client.check_body_rate(least, now - seconds)

    def _publish(self) -> None:
        cells = self.cells
        for route in self.routes.services:
            for environment in route.counted:
                environment.flush(cells, route.limits.retry_share)
        cells[self._slab + ledger.CONNECTIONS] = len(self.connections)
        cells[self._slab + ledger.HELD] = sum(len(r.held) for r in self.routes.services)
        self.observers.tick()
        self.ledger.mark_seen(self.index)

    # -- the channel ----------------------------------------------------------------------------

    async def run(self, channel_fd: int) -> None:
        """Obey the channel until told to stop and nothing is left."""
        self.cells[self._slab + ledger.PID] = os.getpid()
        sock = socket.socket(fileno=channel_fd)
        reader, self._writer = await asyncio.open_connection(sock=sock)
        obeying = self.loop.create_task(self._obey(reader))
        self.tick()
        await self._ended.wait()
        obeying.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(obeying, *self._tasks, return_exceptions=True)
        for upstream in list(self.upstreams):
            upstream.close()
        self._publish()
        await self.observers.close()
        self.sockets.close()
        self._writer.close()

    async def _obey(self, reader: asyncio.StreamReader) -> None:
        while True:
            message = await channel.read(reader)
            if message is None:
                self.begin_stop(self._stop)
                return
            match message:
                case channel.UseTable(table):
                    await self._use(table)
                case channel.UseEntrances(entrances):
                    for entrance, route in zip(self._entrances, entrances, strict=True):
                        entrance.use(route)
                case channel.PassQuiescentPoint():
                    self._publish()
                    self._say(channel.EpochSeen(message.epoch))
                case channel.CloseLeftovers():
                    self._close_leftovers(message)
                case channel.Stop():
                    self.begin_stop(message)
                case channel.FindRequest():
                    self._say(self.memory.answer(message))
                case channel.ReopenLog():
                    self.observers.reopen()

    def _say(self, message: channel.Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(channel.pack(message))

    async def _use(self, table: RoutingTable) -> None:
        is_first = self.routes.table.number == 0
        orphans = self.routes.apply(table)
        self.head_limits = self.routes.limits
        self.log = self.observers.use(table)
        timeouts = [service.timeouts for service in table.services]
        self.head_timeout = max((t.request_head for t in timeouts), default=10.0)
        self.idle_timeout = max((t.idle for t in timeouts), default=75.0)
        for client in orphans:
            failing.refuse(client, 404, "unknown_service", "the service was just removed")
        for route in self.routes.services:
            if route.held and not route.held_until:
                waiting.go_on(route)
            if route.queue:
                waiting.go_through(route)
        if is_first:
            await self._listen()
        self.cells[self._slab + ledger.TABLE] = table.number
        self._say(channel.TableUsed(table.number))

    async def _listen(self) -> None:
        for sock, entrance in zip(self._listeners, self._entrances, strict=True):
            self._servers.append(await self.sockets.listen(sock, entrance.accept, self._backlog))

    def _close_leftovers(self, order: channel.CloseLeftovers) -> None:
        for client in list(self.connections):
            if (
                client.is_claimed
                and (client.phase == TUNNEL) is order.tunnels
                and client.route.slot == order.service_slot
                and client.environment.color is order.color
                and client.generation <= order.generation
            ):
                delay = random.uniform(0, order.spread)
                self.loop.call_later(delay, self._drain, client, client.started)

    def _drain(self, client: Downstream, started: float) -> None:
        """Close a leftover, unless its connection carries another exchange by now."""
        if client.is_claimed and client.started == started:
            failing.drain(client)

    # -- the end --------------------------------------------------------------------------------

    def begin_stop(self, stop: channel.Stop) -> None:
        """Accept what is queued, then no more; answers say ``Connection: close`` from now on."""
        if self.is_stopping:
            self._stop_at = min(self._stop_at, monotonic() + stop.timeout)
            return
        self.is_stopping = True
        self._stop = stop
        self._stop_at = monotonic() + stop.timeout
        self.start(self._stop_listening())

    async def _stop_listening(self) -> None:
        """Close the listeners once their queues are empty.

        The supervisor lets no new connection attempt through any more (see `bgproxy.listeners`),
        so the queues only shrink; closing one that is not empty would reset its clients.
        """
        deadline = monotonic() + 1.0
        while (  # noqa: ASYNC110 - the kernel has no event for it
            any(_queued(sock) for sock in self._listeners) and monotonic() < deadline
        ):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _end_what_is_quiet(self, now: float) -> None:
        """Close kept-alive connections that are silent; end when none is left or time is up.

        A client that is about to send gets its answer, with ``Connection: close``, instead of a
        close that crosses its request on the wire.
        """
        if self._servers:
            return
        for client in list(self.connections):
            if client.phase == IDLE and client.is_quiet(now, self._stop.quiet):
                client.transport.close()
            elif client.phase == TUNNEL:
                failing.drain(client)
        for arrival in list(self.arrivals):
            if now >= arrival.deadline - self.head_timeout + self._stop.quiet:
                arrival.abort()
        if now >= self._stop_at:
            for client in list(self.connections):
                if client.phase == EXCHANGE:
                    failing.drain(client)
                else:
                    client.transport.abort()
            for arrival in list(self.arrivals):
                arrival.abort()
        if not (self.connections or self.arrivals) or now >= self._stop_at + 1.0:
            self._ended.set()


def _queued(listener: socket.socket) -> int:
    """How many accepted-by-the-kernel connections wait on a listening TCP socket."""
    if listener.family == socket.AF_UNIX:
        return 0
    with contextlib.suppress(OSError):
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
        unacked: int = struct.unpack_from("I", info, 24)[0]  # of a listener: its queue's length
        return unacked
    return 0


def main(channel_end: socket.socket) -> None:
    """Serve as the supervisor says; the process's entry point, with garbage collection off.

    Args:
        channel_end: blocking.
    """
    arguments = posting.receive(channel_end)
    if arguments is None:
        return
    channel_end.detach()

    async def serve() -> None:
        worker = Worker(arguments, asyncio.get_running_loop())
        gc.collect()
        gc.freeze()
        gc.enable()
        await worker.run(arguments.channel)

    uvloop.run(serve())
