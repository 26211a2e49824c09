"""Samples the ledger once a second, keeps every environment's record, and feeds the judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.controlplane.holding import Holding
from bgproxy.controlplane.record import Record, judged
from bgproxy.controlplane.tasks import Tasks
from bgproxy.domain.baseline import Tally, slow_in
from bgproxy.domain.clients import Crowd
from bgproxy.domain.model import COLORS, Color
from bgproxy.domain.rollback import Judge, Verdict
from bgproxy.domain.signals import SignalWatch
from bgproxy.state.ledger import DURATION_BOUNDS, Ledger

_log = structlog.get_logger("bgproxy.bake")

_MOST_POINTS = 240
_SERVICES_AT_ONCE = 50
_ROUNDING = 0.005


class Sampler:
    """Reads the ledger once a second for all services.

    Args:
        services: gives the services there are.
        on_second: called after every reading.
    """

    def __init__(
        self,
        ledger: Ledger,
        services: Callable[[], Iterable[ServiceEntry]],
        on_second: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._services = services
        self._on_second = on_second
        self._records: dict[tuple[int, Color], Record] = {}
        self._bakes: dict[int, Bake] = {}
        self._ends: dict[int, asyncio.TimerHandle] = {}
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to sample."""
        self._tasks.start(self._run(), "sampler")

    async def stop(self) -> None:
        """Sample no more."""
        for end in self._ends.values():
            end.cancel()
        await self._tasks.stop()

    def watch(self, service_slot: int, bake: Bake) -> None:
        """Feed a bake every second and at its end, in place of any other of that service."""
        if service_slot in self._ends:
            self._ends.pop(service_slot).cancel()
        self._bakes[service_slot] = bake
        # To the moment that `rollback_possible_until` has told, and no second later.
        self._ends[service_slot] = asyncio.get_running_loop().call_later(
            max(0.0, bake.seconds - bake.elapsed) + _ROUNDING, self._finish, service_slot, bake
        )

    def _finish(self, service_slot: int, bake: Bake) -> None:
        if self._bakes.get(service_slot) is bake:
            self._try_sample(bake.service)

    def leave(self, service_slot: int, bake: Bake) -> None:
        """Feed a bake no more."""
        bake.has_ended.set()
        if self._bakes.get(service_slot) is bake:
            del self._bakes[service_slot]
            self._ends.pop(service_slot).cancel()

    def record(self, service_slot: int, color: Color) -> list[Tally]:
        """An environment's last ten minutes."""
        record = self._records.get((service_slot, color))
        return record.recent(time.monotonic()) if record else []

    def crowd(self, service_slot: int, color: Color) -> Crowd:
        """An environment's clients, as they were lately."""
        record = self._records.get((service_slot, color))
        return Crowd(record.visits()) if record else Crowd()

    def rate(self, service_slot: int, color: Color) -> float:
        """An environment's judged requests a second, over these minutes."""
        record = self._records.get((service_slot, color))
        return record.rate(time.monotonic()) if record else 0.0

    def sample(self, service: ServiceEntry, now: float) -> None:
        """Read one service's totals and feed its bake."""
        for color in COLORS:
            totals = judged(self._ledger.series(service.slot, color))
            record = self._records.get((service.slot, color))
            if record is None:
                self._records[service.slot, color] = Record(
                    totals,
                    partial(self._ledger.clients, service.slot, color),
                    partial(self._ledger.visits, service.slot, color),
                )
            else:
                record.add(totals, now)
        bake = self._bakes.get(service.slot)
        if bake is not None and (record := self._records.get((service.slot, bake.color))):
            bake.observe(record.latest, now, record.latest_by_client)

    def _try_sample(self, service: ServiceEntry) -> None:
        try:
            self.sample(service, time.monotonic())
        except Exception as error:  # one service must not blind the watch over the others
            _log.error("sample_failed", service=service.name, error=repr(error))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for number, service in enumerate(list(self._services()), 1):
                self._try_sample(service)
                if number % _SERVICES_AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._on_second()
            due = max(due + 1.0, loop.time() + 0.1)
            await asyncio.sleep(due - loop.time())


class Bake:
    """The watch over one release, from the switch to its end or the discovery of harm.

    Args:
        crowd: the clients of the environment before; without them every failure counts.
        began: monotonic time of the switch.
        on_harm: called, every second anew, while the judge finds harm.
        on_end: called once when the time is over.
        on_progress: called every few seconds.
    """

    def __init__(
        self,
        service: ServiceEntry,
        color: Color,
        judge: Judge,
        ledger: Ledger,
        *,
        crowd: Crowd,
        began: float,
        seconds: float,
        on_harm: Callable[[Bake, Verdict], None],
        on_end: Callable[[Bake], None],
        on_progress: Callable[[Bake], None],
    ) -> None:
        self.service = service
        self.color = color
        self.judge = judge
        self.crowd = crowd
        self.began = began
        self.seconds = seconds
        self.gates: list[dict[str, Any]] = []
        """What the gate said, each time it was asked."""
        self.is_considering = False
        """Whether harm was found and the gate is being asked."""
        self.has_held = False
        """Whether the gate said no before."""
        self.holding: Holding | None = None
        """Whether the gate says no these days, and since when."""
        self.has_reported = False
        """Whether people were told already what the judge would do (mode ``watch``)."""
        self.has_alerted = False
        """Whether people were told already that the release is slow."""
        self.has_ended = asyncio.Event()
        """Set once nothing feeds it any more."""
        self.signals: list[SignalWatch] = []
        """What others say about the release; polled elsewhere."""
        self._on_harm = on_harm
        self._on_end = on_end
        self._on_progress = on_progress
        self._ledger = ledger
        self._reasons_before = ledger.series(service.slot, color).reasons
        self._failures_before = self._backend_failures()
        self._points: list[tuple[float, int, int, float]] = []
        self._every = 1
        self._seconds_seen = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the switch."""
        return time.monotonic() - self.began

    def observe(self, tally: Tally, now: float, by_client: Iterable[tuple[int, int]] = ()) -> None:
        """Take one second in.

        Args:
            by_client: of its failures, how many each client slot had.
        """
        elapsed = now - self.began
        counted = self.crowd.counted(tally.failures, by_client)
        entries = self.service.environment(self.color).entries
        verdict = self.judge.observe(
            elapsed,
            tally.successes,
            counted,
            slow=slow_in(tally, self.judge.baseline, DURATION_BOUNDS),
            failed_probes=min((entry.health.failures for entry in entries), default=0),
        )
        verdict = verdict or self._signalled(elapsed)
        self._keep_point(elapsed, tally)
        if self._seconds_seen % 5 == 0:
            self._on_progress(self)
        if verdict is not None and not self.is_considering:
            self._on_harm(self, verdict)
        elif elapsed >= self.seconds and not self.is_considering:
            self._on_end(self)

    def _signalled(self, elapsed: float) -> Verdict | None:
        """The finding of a signal, where there is one."""
        if elapsed <= self.judge.grace:
            return None
        findings = (signal.finding for signal in self.signals)
        return next((Verdict("signal", finding) for finding in findings if finding), None)

    def hold(self) -> None:
        """The gate said no: harm must be found anew, by the judge as by signals."""
        self.judge.hold()
        self.crowd.clear()
        for signal in self.signals:
            signal.clear()

    def _keep_point(self, elapsed: float, tally: Tally) -> None:
        """A point of the series that explains; when there are too many, every other one goes."""
        self._seconds_seen += 1
        if self._seconds_seen % self._every == 0:
            point = (elapsed, tally.successes, tally.failures, self.judge.evidence.value)
            self._points.append(point)
        if len(self._points) > _MOST_POINTS:
            self._points = self._points[1::2]
            self._every *= 2

    def _backend_failures(self) -> dict[str, int]:
        entries = self.service.environment(self.color).entries
        return {e.backend.url: self._ledger.backend(e.slot).failures for e in entries}

    def explain(self) -> dict[str, Any]:
        """What the judge saw and found, ready for JSON."""
        reasons = self._ledger.series(self.service.slot, self.color).reasons
        before = self._failures_before
        return self.judge.explain() | {
            "seconds": round(self.elapsed, 1),
            "of_seconds": self.seconds,
            "series": [
                {
                    "t": round(t, 1),
                    "successes": successes,
                    "failures": failures,
                    "evidence": round(evidence, 2),
                }
                for t, successes, failures, evidence in self._points
            ],
            "reasons": {
                reason.label: more
                for reason, count in reasons.items()
                if (more := count - self._reasons_before.get(reason, 0))
            },
            "backends": {
                url: more
                for url, count in self._backend_failures().items()
                if (more := count - before.get(url, 0)) > 0
            },
            "clients": self.crowd.known,
            "gates": self.gates,
        }
