"""The parent process: joins both planes, and acts on signals. It carries no user traffic.

TERM and INT stop accepting, let what is under way finish, and end with exit status 0; a second one
cuts what is left. HUP reads the configuration again and keeps the old one if the new one is wrong.
USR1 has the access log opened anew.
Signal handlers only set something; `_serve` acts.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from bgproxy import event_log, notify
from bgproxy.activation import Activation
from bgproxy.config.load import load_config
from bgproxy.config.settings import Address, Listener, Settings
from bgproxy.config.tls_files import Copies
from bgproxy.controlplane.coordinator import Coordinator
from bgproxy.controlplane.events import EventHub
from bgproxy.dataplane.log_file import LOG_FILE_MODE, STANDARD_OUTPUT
from bgproxy.errors import ConfigError, Refused, StateError
from bgproxy.fleet import Fleet
from bgproxy.listeners import close_listeners, entrance_of, open_listeners, resolved
from bgproxy.recruits import Recruit
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.journal import Journal
from bgproxy.state.ledger import Ledger
from bgproxy.watchdog import Watchdog, standing, watchdog_interval

if TYPE_CHECKING:
    from bgproxy.controlplane.metrics import Metrics
    from bgproxy.controlplane.server import AdminServer

_STOPS = (signal.SIGTERM, signal.SIGINT)

_QUIET_SECONDS = 2.0
"""Silence after which a stopping proxy closes a kept-alive connection."""

log = structlog.get_logger("bgproxy.supervisor")


def run(config_path: Path, recruits: list[Recruit]) -> int:
    """Run the proxy until it is told to stop.

    Garbage is not collected until everything is up, whatever was set before.

    Args:
        recruits: processes to make the first workers of, taken out of the list.

    Returns:
        The exit status: 0 after an orderly end, 1 when it cannot start or run, 2 for a
        configuration that cannot be used.
    """
    gc.disable()
    event_log.configure()
    try:
        settings = load_config(config_path, os.environ, uses_copies=True)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log before there is a proxy
        return 2
    try:
        uvloop.run(_Supervisor(config_path, settings, recruits).serve())
    except (StateError, OSError) as error:
        log.error("cannot run", error=str(error))
        return 1
    return 0


class _Supervisor:
    """Everything that lives as long as the proxy does."""

    def __init__(self, config_path: Path, settings: Settings, recruits: list[Recruit]) -> None:
        self._config_path = config_path
        self._settings = settings
        self._recruits = recruits
        self._listen: tuple[Listener, ...] = ()
        """For each socket of a worker, what is behind it."""
        self._state = settings.state
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._events = EventHub()

    async def serve(self) -> None:
        """Start in the order of need, wait for signals, stop in the opposite order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, self._signals.put_nowait, number)
        settings = self._settings
        _try_access_log(settings)
        journal = await Journal.open(settings.state)
        try:
            proxy = settings.proxy
            places = [(each, at) for each in settings.listeners for at in resolved(each.address)]
            self._listen = tuple(listener for listener, _ in places)
            addresses = tuple(address for _, address in places)
            passed = Activation.take(os.environ)
            listeners = open_listeners(addresses, proxy.workers, proxy.backlog, passed)
            try:
                await self._serve_with(journal, Ledger.create(proxy.workers), listeners)
            finally:
                close_listeners(listeners)
        finally:
            await journal.close()

    async def _serve_with(
        self, journal: Journal, block: Ledger, listeners: list[list[socket.socket]]
    ) -> None:
        settings = self._settings
        backlog, entrances = settings.proxy.backlog, self._entrances()
        fleet = Fleet(block, listeners, backlog, entrances, self._recruits)
        coordinator = Coordinator(settings, journal, fleet, self._events)
        event_log.name_generations(lambda service: _generation(fleet, service))
        watchdog = Watchdog(fleet, self._events, watchdog_interval(os.environ))
        try:
            await fleet.start(await coordinator.restore())
            # Workers serve by now; whatever takes time to load is loaded from here on.
            await coordinator.start()
            await self._serve_admin(coordinator, fleet, watchdog, listeners)
        finally:
            await coordinator.stop()
            await fleet.stop(0.0, 0.0)
            event_log.name_generations(None)
            block.close()
        log.info("stopped")

    async def _serve_admin(
        self,
        coordinator: Coordinator,
        fleet: Fleet,
        watchdog: Watchdog,
        listeners: list[list[socket.socket]],
    ) -> None:
        """Open the admin side, say that all is up, and act on signals until told to stop."""
        from bgproxy.controlplane.metrics import Metrics
        from bgproxy.controlplane.server import AdminServer
        from bgproxy.protocol.head import SCANNER

        has_scanner = SCANNER == "compiled"
        metrics = Metrics(fleet.ledger, lambda: fleet.table, has_scanner=has_scanner)
        admin = AdminServer(self._settings.admin, coordinator, self._events, metrics)
        try:
            bound = await admin.start()
            log.info(
                "running",
                listen=[_shown(sock) for sock in listeners[0]],
                admin=bound,
                workers=fleet.ledger.workers,
                scanner=SCANNER,
            )
            _warn(self._settings)
            self._take_stock_of_files(self._settings, metrics)
            gc.collect()
            gc.freeze()
            gc.enable()
            notify.ready(standing(fleet))
            watchdog.start()
            await self._until_told_to_stop(coordinator, fleet, metrics, admin)
            watchdog.is_stopping = True
            notify.stopping()
            coordinator.begin_stop()
            await self._stop_traffic(fleet)
        finally:
            watchdog.stop()
            await admin.stop()

    async def _until_told_to_stop(
        self, coordinator: Coordinator, fleet: Fleet, metrics: Metrics, admin: AdminServer
    ) -> None:
        while (number := await self._signals.get()) in (signal.SIGHUP, signal.SIGUSR1):
            if number is signal.SIGUSR1:
                fleet.reopen_logs()
                log.info("access log is opened anew")
                continue
            notify.reloading()
            await self._reload(coordinator, fleet, metrics, admin)
            notify.ready(standing(fleet))
        log.info("stopping", signal=number.name)

    async def _reload(
        self, coordinator: Coordinator, fleet: Fleet, metrics: Metrics, admin: AdminServer
    ) -> None:
        """Take the file's new content over, or keep the old one with a clear word."""
        try:
            settings = load_config(self._config_path, os.environ)
            _try_access_log(settings)
        except (ConfigError, OSError) as error:
            metrics.reloads.failed()
            log.error("configuration refused, the old one stays", faults=str(error).splitlines())
            return
        for what, old, new in (
            ("proxy.listen", _public(self._listen), _public(settings.listeners)),
            ("preview.listen", _previews(self._listen), _previews(settings.listeners)),
            ("proxy.workers", self._settings.proxy.workers, settings.proxy.workers),
            ("proxy.backlog", self._settings.proxy.backlog, settings.proxy.backlog),
            ("state", self._settings.state, settings.state),
        ):
            if old != new:
                log.warning("change needs a restart", key=what)
        try:
            await coordinator.reconfigure(settings)
        except (Refused, StateError) as error:
            metrics.reloads.failed()
            log.error("configuration not taken over, the old one stays", error=str(error))
            return
        self._settings = settings
        metrics.reloads.succeeded()
        await self._renew_entrances(fleet, settings)
        for key in admin.take(settings.admin):
            log.warning("change needs a restart", key=key)
        self._take_stock_of_files(settings, metrics)
        _warn(settings)
        log.info("configuration read again", file=str(self._config_path))

    async def _renew_entrances(self, fleet: Fleet, settings: Settings) -> None:
        """Have new connections meet what the file says now, certificates above all.

        A listener that is not in the file any more stays as it is until a restart.
        """
        named = {(each.address, each.preview_of): each for each in settings.listeners}
        self._listen = tuple(
            named.get((each.address, each.preview_of), each) for each in self._listen
        )
        fleet.use_entrances(self._entrances())
        await fleet.quiesce()  # what every worker answers now, it answers behind the above

    def _entrances(self) -> tuple[EntranceRoute, ...]:
        """What is behind each listener."""
        return tuple(map(entrance_of, self._listen))

    def _take_stock_of_files(self, settings: Settings, metrics: Metrics) -> None:
        """Say which files of certificates could not be used, and keep copies of all that can."""
        metrics.files.show(settings)
        for bad in settings.degraded:
            serving = "its last good content" if bad.has_copy else "nothing"
            log.error("certificate file refused", file=bad.file, fault=bad.problem, serving=serving)
            self._events.publish(
                "file_degraded",
                bad.service,
                file=bad.file,
                problem=bad.problem,
                has_copy=bad.has_copy,
            )
        try:
            Copies.of(settings).save(self._state)
        except OSError as error:
            log.error("no copies of certificate files can be kept", error=str(error))

    async def _stop_traffic(self, fleet: Fleet) -> None:
        stopping = asyncio.ensure_future(
            fleet.stop(self._settings.proxy.shutdown_timeout, _QUIET_SECONDS)
        )
        while not stopping.done():
            again = asyncio.ensure_future(self._signals.get())
            await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
            if again.done() and not stopping.done() and again.result() in _STOPS:
                log.warning("told to stop again, cutting what is left")
                fleet.hurry()
            again.cancel()
        await stopping


def _generation(fleet: Fleet, service: str) -> int | None:
    """The generation that a service is in, None before the workers know it."""
    words = (route.word for route in fleet.table.services if route.name == service)
    word = next(words, None)
    return None if word is None else fleet.ledger.pointer(word).generation


def _public(listeners: tuple[Listener, ...]) -> set[Address]:
    return {listener.address for listener in listeners if not listener.preview_of}


def _previews(listeners: tuple[Listener, ...]) -> set[tuple[Address, str]]:
    return {(each.address, each.preview_of) for each in listeners if each.preview_of}


def _try_access_log(settings: Settings) -> None:
    """Find out whether the access log can be written before a worker would.

    Raises:
        OSError: it cannot be opened.
    """
    path = settings.proxy.access_log.path
    if path and path != STANDARD_OUTPUT:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, LOG_FILE_MODE))


def _warn(settings: Settings) -> None:
    """Say what is allowed and probably not meant."""
    for warning in settings.warnings:
        log.warning("configuration", warning=str(warning))


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
