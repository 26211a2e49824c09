"""The admin listener: guards, routes and sockets put together, started and stopped."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bgproxy.config.settings import Address, AdminSettings
from bgproxy.controlplane import guards
from bgproxy.controlplane.api import Api, Route
from bgproxy.controlplane.auth import Authenticator, FailureLimit
from bgproxy.controlplane.dashboard import Dashboard
from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.idempotency import Changes
from bgproxy.controlplane.metrics import Metrics
from bgproxy.controlplane.operations import Operations
from bgproxy.controlplane.requests import MAX_BODY_BYTES
from bgproxy.controlplane.sse import EventStreams
from bgproxy.controlplane.timeline import Timeline

MAX_CONNECTIONS = 1024

IDLE_TIMEOUT = 15.0
"""Seconds in which a head must be complete, from the connection's start or the last answer."""

_STOP_TIMEOUT = 1.0
_BACKLOG = 512


class AdminServer:
    """Serves the admin API and the dashboard until stopped.

    Args:
        settings: listeners, tokens, names; a reload makes a new server or keeps this one.
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
            _application(settings, self.routes),
            access_log=None,
            logger=_wire_log(),
            keepalive_timeout=IDLE_TIMEOUT,
            shutdown_timeout=_STOP_TIMEOUT,
        )
        self._servers: list[asyncio.Server] = []
        self._unix_paths: list[str] = []

    async def start(self) -> list[str]:
        """Open every listener.

        Returns:
            What was bound, as ``http://address:port`` or ``unix:/path``.

        Raises:
            OSError: when an address cannot be had.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._timeline.run()),
            loop.create_task(self._metrics.deployments.follow(self._events)),
        ]
        bound = []
        for address in self._settings.listen:
            sock = _open(address)
            server = await loop.create_server(self._protocol, sock=sock, backlog=_BACKLOG)
            self._servers.append(server)
            bound.append(_show(sock))
            if address.path:
                self._unix_paths.append(address.path)
        return bound

    def _protocol(self) -> asyncio.Protocol:
        """What a new connection talks to: aiohttp's handler, or a refusal of one too many."""
        server = self._runner.server
        assert server is not None  # between setup and cleanup it is there
        if len(server.connections) >= MAX_CONNECTIONS:
            return _Refuser()
        return server()

    @property
    def subscribers(self) -> int:
        """How many event streams are open."""
        return self._streams.count

    async def stop(self) -> None:
        """Stop listening, end event streams and waits, and close what is left."""
        for server in self._servers:
            server.close()
        _remove(self._unix_paths)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._streams.stop()
        await self._changes.stop()
        await self._runner.cleanup()


def _wire_log() -> logging.Logger:
    """Where aiohttp logs, without the garbage that anybody may send to a port.

    It logs a request that is not HTTP as an error, with nothing that would help; a flood of those
    must not fill the log.
    """
    logger = logging.getLogger("bgproxy.admin.wire")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    is_garbage = error is None or isinstance(error, HttpProcessingError)
    return not (is_garbage and str(record.msg).startswith("Error handling request"))


class _Refuser(asyncio.Protocol):
    """Tells a connection over the bound that it is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.write(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n"
            b"Retry-After: 1\r\n\r\n"
        )
        stream.close()


def _application(settings: AdminSettings, routes: Sequence[Route]) -> web.Application:
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=(
            guards.answer_problems,
            guards.check_host(settings.allowed_hosts),
            guards.check_site,
            guards.TokenCheck(
                Authenticator(settings.tokens),
                FailureLimit(),
                {route.handler: route.role for route in routes},
            ).middleware(),
        ),
    )
    app.on_response_prepare.append(guards.add_headers)
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET" and not route.is_stream:
            app.router.add_route("HEAD", route.path, route.handler)
    return app


def _open(address: Address) -> socket.socket:
    """A listening socket, not yet listening; a unix socket is its owner's alone (mode 0600)."""
    if address.path:
        return _open_unix(address.path)
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"admin.listen {address}: {error.strerror}") from error
    return sock


def _open_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        mask = os.umask(0o177)  # from the first moment, not by a chmod after it
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"admin.listen unix:{path}: {error.strerror}") from error
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody serves any more, as a killed proxy leaves it.

    Raises:
        OSError: when somebody does.
    """
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process serves it")


def _remove(paths: list[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)


def _show(sock: socket.socket) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"
