"""The workers, from the supervisor's side: started, told, replaced when they die, stopped.

This is what the control plane's `Fleet` asks for. Every wait has a limit: a worker that does not
answer in time is killed and replaced, so that one that hangs cannot hold a switch up.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

import structlog

from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.listeners import refuse_new_attempts
from bgproxy.recruits import Recruit
from bgproxy.state import channel, ledger
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.ledger import Ledger
from bgproxy.state.posting import WorkerArguments
from bgproxy.state.table import RoutingTable

_ANSWER_SECONDS = 5.0
_START_SECONDS = 20.0
_FAST_DEATH_SECONDS = 1.0
_LONGEST_RESPAWN_DELAY = 0.5
_KILL_SECONDS = 5.0
_FIND_SECONDS = 2.0

log = structlog.get_logger("bgproxy.fleet")


class WorkerProcess:
    """One worker slot's present process and the channel to it."""

    def __init__(self, index: int, process: Recruit, writer: asyncio.StreamWriter) -> None:
        self.index = index
        self.process = process
        self.writer = writer
        self.table = 0
        self.epoch = 0
        self.found: dict[int, channel.FoundRequest | None] = {}
        """Answers to questions about requests, until they are fetched."""
        self.changed = asyncio.Event()
        self.is_alive = True

    def say(self, message: channel.Message) -> None:
        """Send a message; a worker that is gone will be noticed elsewhere."""
        if self.is_alive and not self.writer.is_closing():
            self.writer.write(channel.pack(message))

    def answered(self) -> None:
        """Wake whoever waits for this worker's answers."""
        event, self.changed = self.changed, asyncio.Event()
        event.set()

    async def until(self, is_done: Callable[[WorkerProcess], bool], seconds: float) -> bool:
        """Wait until something about the worker is true, or it is dead; False when time is up."""
        try:
            async with asyncio.timeout(seconds):
                while self.is_alive and not is_done(self):
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """End the process the hard way."""
        self.process.kill()


class Fleet:
    """All workers.

    Args:
        block: the ledger; its number of workers is the fleet's.
        listeners: for each worker its listening sockets.
        backlog: connections that may wait in each of them.
        entrances: what clients meet behind each listener, if anything but plain HTTP.
        recruits: processes to begin with, taken out of the list as they are needed.
    """

    def __init__(
        self,
        block: Ledger,
        listeners: list[list[socket.socket]],
        backlog: int = 4096,
        entrances: tuple[EntranceRoute, ...] = (),
        recruits: list[Recruit] | None = None,
    ) -> None:
        self._ledger = block
        self._listeners = listeners
        self._backlog = backlog
        self._entrances = entrances
        self._recruits = [] if recruits is None else recruits
        self._workers: list[WorkerProcess | None] = [None] * block.workers
        self._tasks: set[asyncio.Task[None]] = set()
        self._table = RoutingTable(0, ())
        self._is_stopping = False
        self._questions = 0
        self.deaths = 0
        self.on_worker_died: Callable[[int], None] | None = None
        self.on_backend_trouble: Callable[[int, Reason, str], None] | None = None
        self.on_failure_sample: Callable[[channel.FailureSample], None] | None = None

    @property
    def ledger(self) -> Ledger:
        """The shared memory."""
        return self._ledger

    @property
    def table(self) -> RoutingTable:
        """The table published last."""
        return self._table

    # -- for the control plane ------------------------------------------------------------------

    async def publish(self, table: RoutingTable) -> None:
        """Give every worker a table; returns when each live one has acknowledged it."""
        self._table = table
        self._ledger.use(
            max((s.slot for s in table.services), default=-1) + 1,
            max((b.slot for s in table.services for e in s.environments for b in e), default=-1)
            + 1,
        )
        live = self._live()
        for worker in live:
            worker.say(channel.UseTable(table))
        await self._all(live, lambda worker: worker.table >= table.number, "routing table")

    async def quiesce(self) -> None:
        """Return when every live worker has passed a quiescent point after this call."""
        epoch = self._ledger.raise_epoch()
        live = self._live()
        for worker in live:
            worker.say(channel.PassQuiescentPoint(epoch))
        await self._all(live, lambda worker: worker.epoch >= epoch, "quiescent point")

    def close_leftovers(
        self, service_slot: int, color: Color, generation: int, kind: str, spread: float
    ) -> None:
        """Have the workers close what is still open on a drained environment.

        Args:
            kind: ``requests`` or ``tunnels``.
            spread: seconds over which the closing is spread.
        """
        order = channel.CloseLeftovers(service_slot, color, generation, kind == "tunnels", spread)
        for worker in self._live():
            worker.say(order)

    async def find_request(self, request_id: str) -> list[channel.FoundRequest]:
        """What the workers remember of a request; one that is too busy to say is left out."""
        self._questions = number = self._questions + 1
        live = self._live()
        for worker in live:
            worker.say(channel.FindRequest(number, request_id))
        await asyncio.gather(*(w.until(lambda w: number in w.found, _FIND_SECONDS) for w in live))
        answers = [worker.found.pop(number, None) for worker in live]
        return [request for request in answers if request is not None]

    def reopen_logs(self) -> None:
        """Have the workers open the access log's file anew: it was moved away."""
        for worker in self._live():
            worker.say(channel.ReopenLog())

    def workers_view(self) -> list[dict[str, Any]]:
        """What people may want to know of each worker."""
        return [
            {
                "index": index,
                "pid": worker.process.pid if worker else None,
                "alive": worker is not None and worker.is_alive,
                "table": worker.table if worker else 0,
                "connections": self._ledger.head(index, ledger.CONNECTIONS),
                "held": self._ledger.head(index, ledger.HELD),
            }
            for index, worker in enumerate(self._workers)
        ]

    def is_complete(self) -> bool:
        """Whether every worker runs and has the present table."""
        return all(w is not None and w.is_alive and w.table > 0 for w in self._workers)

    def use_entrances(self, entrances: tuple[EntranceRoute, ...]) -> None:
        """Have connections that come from now on meet this; the next table's answer covers it."""
        self._entrances = entrances
        for worker in self._live():
            worker.say(channel.UseEntrances(entrances))

    # -- lives ----------------------------------------------------------------------------------

    async def start(self, table: RoutingTable) -> None:
        """Start every worker and wait until all accept connections."""
        self._table = table
        await asyncio.gather(*(self._spawn(index) for index in range(len(self._workers))))
        await self.publish(table)

    async def stop(self, timeout: float, quiet: float) -> None:
        """Have every worker accept what is queued, finish what it carries, and end.

        Args:
            timeout: seconds after which what is left is cut.
            quiet: seconds of silence after which a kept-alive connection is closed.
        """
        self._is_stopping = True
        for row in self._listeners:
            for sock in row:
                refuse_new_attempts(sock)
        for worker in self._live():
            worker.say(channel.Stop(timeout, quiet))
        await self._wait_for_ends(timeout + _KILL_SECONDS)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hurry(self) -> None:
        """A second signal: cut what is left now."""
        for worker in self._live():
            worker.say(channel.Stop(0.0, 0.0))

    async def _wait_for_ends(self, seconds: float) -> None:
        live = self._live()
        waits = [asyncio.ensure_future(worker.process.wait()) for worker in live]
        if waits:
            await asyncio.wait(waits, timeout=seconds)
        for worker in live:
            worker.kill()
        await asyncio.gather(*waits)

    def _live(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker is not None and worker.is_alive]

    async def _all(
        self, workers: list[WorkerProcess], is_done: Callable[[WorkerProcess], bool], what: str
    ) -> None:
        """Wait for each worker; one that stays silent is killed, and replaced by its watcher."""
        results = await asyncio.gather(*(w.until(is_done, _ANSWER_SECONDS) for w in workers))
        for worker, has_answered in zip(workers, results, strict=True):
            if not has_answered:
                log.error("worker does not answer, killing it", worker=worker.index, asked=what)
                worker.kill()

    async def _spawn(self, index: int) -> WorkerProcess:
        process = self._recruits.pop() if self._recruits else Recruit()
        process.post(
            WorkerArguments(
                index=index,
                workers=self._ledger.workers,
                ledger=self._ledger.fd,
                channel=-1,
                listeners=tuple(sock.fileno() for sock in self._listeners[index]),
                backlog=self._backlog,
            )
        )
        reader, writer = await asyncio.open_connection(sock=process.channel)
        worker = WorkerProcess(index, process, writer)
        self._workers[index] = worker
        self._keep(self._listen_to(worker, reader))
        self._keep(self._watch(worker))
        if self._entrances:
            worker.say(channel.UseEntrances(self._entrances))
        worker.say(channel.UseTable(self._table))
        if not await worker.until(lambda w: w.table > 0, _START_SECONDS):
            log.error("worker does not start, killing it", worker=index)
            worker.kill()
        return worker

    async def _listen_to(self, worker: WorkerProcess, reader: asyncio.StreamReader) -> None:
        while (message := await channel.read(reader)) is not None:
            match message:
                case channel.TableUsed(number):
                    worker.table = number
                case channel.EpochSeen(epoch):
                    worker.epoch = epoch
                case channel.RequestFound(number, request):
                    worker.found = {number: request} | worker.found
                case channel.BackendTrouble(slot, reason, detail):
                    if self.on_backend_trouble is not None:
                        self.on_backend_trouble(slot, reason, detail)
                case channel.LogTrouble(detail):
                    log.error("access log", worker=worker.index, detail=detail)
                case channel.TraceTrouble(detail):
                    log.error("tracing", worker=worker.index, detail=detail)
                case channel.FailureSample():
                    if self.on_failure_sample is not None:
                        self.on_failure_sample(message)
            worker.answered()
        worker.writer.close()

    async def _watch(self, worker: WorkerProcess) -> None:
        """Wait for the process's end; fold its counts; start its successor."""
        status = await worker.process.wait()
        worker.is_alive = False
        worker.answered()
        self._fold(worker.index)
        if self._is_stopping:
            return
        self.deaths += 1
        log.error("worker died, replacing it", worker=worker.index, status=_words_of(status))
        if self.on_worker_died is not None:
            self.on_worker_died(worker.index)
        lived = monotonic() - worker.process.started
        if lived < _FAST_DEATH_SECONDS:
            await asyncio.sleep(_LONGEST_RESPAWN_DELAY)
        if not self._is_stopping:
            successor = await self._spawn(worker.index)
            if successor.is_alive and successor.table:
                log.info("worker replaced", worker=successor.index, pid=successor.process.pid)

    def _fold(self, index: int) -> None:
        owners = {
            backend.slot: (service.slot, color)
            for service in self._table.services
            for color in Color
            for backend in service.backends(color)
        }
        for slot, exchanges in self._ledger.fold(index).items():
            if slot in owners:
                self._ledger.count_lost(*owners[slot], exchanges)

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _words_of(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
