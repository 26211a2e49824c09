"""Polls the signals of a service while a release of it bakes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import structlog

from bgproxy.controlplane.bake import Bake
from bgproxy.controlplane.json_path import find
from bgproxy.controlplane.late import LateModule
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.signals import Signal, SignalWatch, number_in_result, number_of

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = LateModule("aiohttp")

_MOST_BYTES = 1024 * 1024

_log = structlog.get_logger("bgproxy.signals")


class SignalPoller:
    """Asks signals for as long as a bake lasts; `close` in the end."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._session: aiohttp.ClientSession | None = None

    def begin(self, bake: Bake) -> None:
        """Poll every signal of the bake's service until the bake has ended."""
        for signal in bake.service.settings.rollback.signals:
            watch = SignalWatch(signal)
            bake.signals.append(watch)
            self._tasks.start(self._poll(bake, signal, watch), f"signal {signal.name}")

    async def _poll(self, bake: Bake, signal: Signal, watch: SignalWatch) -> None:
        while not bake.has_ended.is_set():
            watch.polled(await self._ask(signal))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(signal.interval):
                    await bake.has_ended.wait()

    async def _ask(self, signal: Signal) -> float | None:
        """The signal's number; None where there is none to be had."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(signal.timeout),
                self._session.get(
                    signal.url,
                    params={"query": signal.query} if signal.query else None,
                    headers=dict(signal.headers),
                    allow_redirects=False,
                ) as answer,
            ):
                body = await answer.content.read(_MOST_BYTES)
                while piece := await answer.content.read(_MOST_BYTES - len(body)):
                    body += piece
                return _read(signal, answer.status, body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            # Not the URL: it may hold a secret.
            what = type(error).__name__ if not str(error) else str(error)
            _log.warning("signal_unreadable", signal=signal.name, detail=what)
            return None

    async def close(self) -> None:
        """Ask nothing any more; the tasks have ended."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _read(signal: Signal, status: int, body: bytes) -> float | None:
    """The number in an answer; None where a query found nothing.

    Raises:
        ValueError: there is none.
    """
    # Prometheus tells in an error's body what is wrong with a query.
    if not 200 <= status <= 299 and not (signal.query and status in (400, 422)):
        raise ValueError(f"answered {status}")
    if signal.query:
        return number_in_result(json.loads(body))
    value = number_of(find(json.loads(body), signal.path))
    if value is None:
        raise ValueError(f"there is no number at {signal.path}")
    return value
