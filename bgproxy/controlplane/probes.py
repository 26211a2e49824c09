"""Health probes: every backend address on its own timer, and at once where there is trouble."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus

import structlog

from bgproxy.controlplane.entries import BackendEntry, ServiceEntry
from bgproxy.controlplane.exchange import Answer, Exchanger, NoAnswerError, ProbeResult
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.health import next_probe_in
from bgproxy.domain.model import HealthPolicy

_log = structlog.get_logger("bgproxy.probes")

_MIN_GAP = 0.1
"""Seconds between two probes of an address, whatever trouble is reported."""


class Prober:
    """Probes one address until it is cancelled.

    Args:
        on_result: called with every result.
    """

    def __init__(
        self,
        service: ServiceEntry,
        entry: BackendEntry,
        exchanger: Exchanger,
        on_result: Callable[[ServiceEntry, BackendEntry, ProbeResult], None],
    ) -> None:
        self._service = service
        self._entry = entry
        self._exchanger = exchanger
        self._on_result = on_result
        self._poke = asyncio.Event()

    def poke(self) -> None:
        """Probe soon."""
        self._poke.set()

    async def probe(self) -> ProbeResult:
        """Probe now; the result counts like any other."""
        policy = self._service.settings.health
        result = await send_probe(
            self._entry, policy, self._service.settings.plain_host, self._exchanger
        )
        self._on_result(self._service, self._entry, result)
        return result

    async def run(self) -> None:
        """Probe on and on, as the policy of the service says at the time."""
        while True:
            try:
                await self.probe()
            except Exception as error:  # a backend must not go unprobed for a mistake of ours
                _log.error("probe_failed", backend=self._entry.backend.url, error=repr(error))
            self._poke.clear()
            policy = self._service.settings.health
            pause = next_probe_in(self._entry.health, policy, random.random())
            await asyncio.sleep(min(_MIN_GAP, pause))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poke.wait(), max(0.0, pause - _MIN_GAP))


class Probes:
    """The probers of all addresses; `follow` after every change of the registry."""

    def __init__(
        self, on_result: Callable[[ServiceEntry, BackendEntry, ProbeResult], None]
    ) -> None:
        self._on_result = on_result
        self._exchanger = Exchanger()
        self._probers: dict[BackendEntry, tuple[Prober, asyncio.Task[None]]] = {}
        self._tasks = Tasks()

    def follow(self, services: Iterable[ServiceEntry]) -> None:
        """Probe every address that workers may use, and no other any more."""
        wanted = {
            entry: service
            for service in services
            for environment in service.environments
            for entry in environment.routed
        }
        for entry in self._probers.keys() - wanted.keys():
            self._probers.pop(entry)[1].cancel()
        for entry, service in wanted.items():
            if entry not in self._probers:
                prober = Prober(service, entry, self._exchanger, self._on_result)
                task = self._tasks.start(prober.run(), f"probe {entry.place}")
                self._probers[entry] = (prober, task)

    def poke(self, entries: Iterable[BackendEntry]) -> None:
        """Probe these addresses soon."""
        for entry in entries:
            if entry in self._probers:
                self._probers[entry][0].poke()

    async def probe_now(
        self, entries: Iterable[BackendEntry]
    ) -> list[tuple[BackendEntry, ProbeResult]]:
        """Fresh results of these addresses, within the policy's time-out."""
        followed = [entry for entry in entries if entry in self._probers]
        results = await asyncio.gather(*(self._probers[entry][0].probe() for entry in followed))
        return list(zip(followed, results, strict=True))

    async def stop(self) -> None:
        """Probe nothing any more."""
        self._probers.clear()
        await self._tasks.stop()
        await self._exchanger.close()


async def send_probe(
    entry: BackendEntry, policy: HealthPolicy, plain_host: str, exchanger: Exchanger
) -> ProbeResult:
    """Ask an address whether it is healthy.

    Args:
        plain_host: the service's own host name, which strict applications insist on; may be empty.
    """
    place = entry.place
    if policy.port and place.scheme != "unix":
        place = replace(place, port=policy.port)
    try:
        answer = await exchanger.ask(
            place,
            policy.path,
            host=policy.host or plain_host or entry.backend.authority,
            timeout=policy.timeout,
            headers=policy.headers,
            reads_body=bool(policy.expect_body),
        )
    except NoAnswerError as error:
        return ProbeResult(False, str(error), time.time())
    return ProbeResult(*_judge(answer, policy), time.time())


def _judge(answer: Answer, policy: HealthPolicy) -> tuple[bool, str]:
    shown = show_status(answer.status, answer.phrase)
    if not any(least <= answer.status <= most for least, most in policy.expect_status):
        return False, shown
    if policy.expect_body and policy.expect_body.encode() not in answer.body:
        return False, f"{shown}, but its body lacks {policy.expect_body!r}"
    return True, shown


def show_status(status: int, phrase: str = "") -> str:
    """A status as people know it, such as ``503 Service Unavailable``."""
    try:
        return f"{status} {phrase or HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
