"""Host names of backends, resolved again while running: on a timer, and when there is trouble."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable

import structlog

from bgproxy.controlplane.tasks import Tasks

INTERVAL = 10.0
"""Seconds between two look-ups of a name."""

_MIN_GAP = 1.0
"""Seconds that trouble at a backend has to wait for the next look-up."""

_log = structlog.get_logger("bgproxy.resolver")


class Resolver:
    """Keeps the addresses of names up to date; a name that fails keeps those it had.

    Args:
        on_change: called with a name whose addresses have changed.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()

    def addresses(self, name: str) -> tuple[str, ...]:
        """The IP addresses a name stands for; none before it was resolved."""
        return self._addresses.get(name, ())

    async def look_up(self, names: Iterable[str], timeout: float) -> None:
        """Resolve names now, for at most that many seconds; late ones follow by themselves."""
        missing = [name for name in names if name not in self._addresses]
        if missing:
            looks = [self._tasks.start(self._resolve(n), f"resolve {n}") for n in missing]
            await asyncio.wait(looks, timeout=timeout)

    def watch(self, names: Iterable[str]) -> None:
        """Follow these names, and no others any more."""
        wanted = set(names)
        for name in self._loops.keys() - wanted:
            self._loops.pop(name).cancel()
        for name in wanted - self._loops.keys():
            self._pokes[name] = asyncio.Event()
            self._loops[name] = self._tasks.start(self._follow(name), f"follow {name}")

    def poke(self, name: str) -> None:
        """Resolve a followed name soon: a connection to one of its addresses failed."""
        if name in self._pokes:
            self._pokes[name].set()

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._loops.clear()
        await self._tasks.stop()

    async def _follow(self, name: str) -> None:
        poke = self._pokes[name]
        while True:
            await self._resolve(name)
            await asyncio.sleep(_MIN_GAP)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(poke.wait(), INTERVAL - _MIN_GAP)
            poke.clear()

    async def _resolve(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            level = _log.debug if self.addresses(name) else _log.warning
            level("name_not_resolved", name=name, error=str(error))
            return
        addresses = tuple(sorted({str(entry[4][0]) for entry in found}))
        if addresses != self._addresses.get(name):
            self._addresses[name] = addresses
            self._on_change(name)
