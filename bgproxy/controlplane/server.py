"""The admin listener: guards, routes and sockets put together, started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

from bgproxy.config.settings import AUTO_SOCKET, Address, AdminSettings
from bgproxy.controlplane import guards
from bgproxy.controlplane.acceptor import Acceptor
from bgproxy.controlplane.admin_tls import admin_context, renew
from bgproxy.controlplane.api import Api, Route
from bgproxy.controlplane.auth import Access
from bgproxy.controlplane.dashboard import Dashboard
from bgproxy.controlplane.door import Door
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.idempotency import Changes
from bgproxy.controlplane.listening import (
    SocketFile,
    open_tcp,
    open_unix,
    shown,
    usual_socket_path,
)
from bgproxy.controlplane.metrics import Metrics
from bgproxy.controlplane.operations import Operations
from bgproxy.controlplane.requests import MAX_BODY_BYTES
from bgproxy.controlplane.sse import EventStreams
from bgproxy.controlplane.timeline import Timeline
from bgproxy.controlplane.wire import WireHandler, wire_log

if TYPE_CHECKING:
    import logging

IDLE_TIMEOUT = 15.0
"""Seconds in which a head must be complete, from the connection's start or the last answer."""

_STOP_TIMEOUT = 1.0

_log = structlog.get_logger("bgproxy.admin")


class AdminServer:
    """Serves the admin API and the dashboard until stopped.

    Args:
        settings: listeners, tokens, names.
        operations: the coordinator.
        events: the hub behind ``/v1/events``.
        metrics: what ``/metrics`` shows.
    """

    def __init__(
        self,
        settings: AdminSettings,
        operations: Operations,
        events: EventHub,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._access = Access(settings)
        self._tls = admin_context(settings.tls) if settings.tls else None
        self._streams = EventStreams(events)
        self._changes = Changes()
        self._timeline = Timeline(metrics.ledger, metrics.table)
        metrics.services.operations = operations
        api = Api(operations, self._streams, metrics, self._timeline, Dashboard(), self._changes)
        self.routes = api.routes()
        self._events = events
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._runner = web.AppRunner(
            _application(self._access, self.routes),
            shutdown_timeout=_STOP_TIMEOUT,
        )
        self._wire_log = wire_log()
        self._door = Door(self._access, self._serve, self._count)
        self._acceptors: list[Acceptor] = []
        self._files: list[SocketFile] = []

    async def start(self) -> list[str]:
        """Open every listener.

        Returns:
            What was bound, as ``http://address:port``, ``https://address:port`` or ``unix:/path``.

        Raises:
            OSError: when an address cannot be had.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._timeline.run()),
            loop.create_task(self._metrics.deployments.follow(self._events)),
        ]
        try:
            bound = [self._listen(address) for address in self._settings.listen]
            return bound + self._listen_for_this_machine()
        except OSError:
            await self.stop()  # what was opened before
            raise

    def _listen(self, address: Address) -> str:
        if address.path:
            return self._listen_at(address.path, "admin.listen")
        sock = open_tcp(address)
        self._acceptors.append(Acceptor(sock, self._door, self._tls))
        return shown(sock, is_tls=self._tls is not None)

    def _listen_at(self, path: str, what: str) -> str:
        sock = open_unix(path, what)
        self._files.append(SocketFile.of(path))
        self._acceptors.append(Acceptor(sock, self._door))
        return shown(sock)

    def _listen_for_this_machine(self) -> list[str]:
        """The socket for commands beside this proxy: where they look for it, or where it was put.

        A place that was named must be had. The usual one is a convenience: a proxy does not fail
        to start for want of it.
        """
        wanted = self._settings.socket
        if wanted != AUTO_SOCKET:
            return [self._listen_at(wanted, "admin.socket")] if wanted else []
        ports = [port for acceptor in self._acceptors if (port := acceptor.port)]
        if not ports:
            return []
        try:
            return [self._listen_at(usual_socket_path(ports[0]), "admin.socket")]
        except OSError as error:
            _log.warning("no_admin_socket", error=error.strerror or str(error))
            return []

    def take(self, settings: AdminSettings) -> list[str]:
        """Go on with other tokens, names and certificates; what listens stays until a restart.

        Returns:
            The keys whose change needs one.
        """
        old, self._settings = self._settings, settings
        self._access.take(settings)
        if self._tls is not None and settings.tls is not None:
            renew(self._tls, settings.tls)
        if old.tokens != settings.tokens:
            self._streams.stop()  # whoever still may comes back
        needs = {
            "admin.listen": old.listen != settings.listen,
            "admin.socket": old.socket != settings.socket,
            "admin.tls": (old.tls is None) != (settings.tls is None),
        }
        return [key for key, has_changed in needs.items() if has_changed]

    def _serve(self) -> asyncio.Protocol:
        """What a connection talks to once it has said something."""
        server = self._runner.server
        assert server is not None  # between setup and cleanup it is there
        return WireHandler(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast("logging.Logger", None),  # none; the signature does not allow for it
            logger=self._wire_log,
            keepalive_timeout=IDLE_TIMEOUT,
        )

    def _count(self) -> int:
        """How many connections are served."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    @property
    def subscribers(self) -> int:
        """How many event streams are open."""
        return self._streams.count

    async def stop(self) -> None:
        """Stop listening, end event streams and waits, and close what is left."""
        for acceptor in self._acceptors:
            acceptor.close()
        for file in self._files:
            file.remove()
        self._door.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._streams.stop()
        await self._changes.stop()
        await self._runner.cleanup()


def _application(access: Access, routes: Sequence[Route]) -> web.Application:
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=(
            guards.answer_problems,
            guards.check_host(access),
            guards.check_site,
            guards.TokenCheck(access, {route.handler: route.role for route in routes}).middleware(),
        ),
    )
    app.on_response_prepare.append(guards.add_headers)
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET" and not route.is_stream:
            app.router.add_route("HEAD", route.path, route.handler)
    return app
