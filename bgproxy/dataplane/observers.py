"""Who is told how each request ended: access log, tracer, memory, several of them, or nobody.

Whoever ends a request looks at `Worker.log` and tells it, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bgproxy.dataplane.access_log import RequestLog
from bgproxy.dataplane.span_export import SpanExport
from bgproxy.dataplane.tracing import Tracer
from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.tracing import Tracing
from bgproxy.state import channel, ledger

if TYPE_CHECKING:
    from bgproxy.dataplane.connection import ClientConnection
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import Route
    from bgproxy.dataplane.worker import Worker
    from bgproxy.domain.outcome import Reason
    from bgproxy.state.table import RoutingTable

_LAST_WRITE_SECONDS = 1.0
_LAST_EXPORT_SECONDS = 2.0


class Observer(Protocol):
    """Is told of every request once, at its end; `RequestLog` says what each means."""

    def exchange(self, client: Exchange, status: int, reason: Reason | None) -> None:
        """A claimed exchange has ended."""

    def ended(
        self, client: Exchange, status: int, reason: Reason | None, bytes_in: int, bytes_out: int
    ) -> None:
        """A claimed exchange has ended whose bytes are known."""

    def unclaimed(self, client: Exchange, status: int, outcome: str) -> None:
        """A request is over that waited in vain for its environment."""

    def refused(
        self, client: Exchange, status: int, outcome: str, route: Route | None = None
    ) -> None:
        """A request was answered that no environment saw."""

    def turned_away(self, client: ClientConnection, status: int, outcome: str) -> None:
        """A connection was answered of which no request could be read."""


class Both:
    """Two observers as one."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def exchange(self, client: Exchange, status: int, reason: Reason | None) -> None:
        """Tell both."""
        self._first.exchange(client, status, reason)
        self._second.exchange(client, status, reason)

    def ended(
        self, client: Exchange, status: int, reason: Reason | None, bytes_in: int, bytes_out: int
    ) -> None:
        """Tell both."""
        self._first.ended(client, status, reason, bytes_in, bytes_out)
        self._second.ended(client, status, reason, bytes_in, bytes_out)

    def unclaimed(self, client: Exchange, status: int, outcome: str) -> None:
        """Tell both."""
        self._first.unclaimed(client, status, outcome)
        self._second.unclaimed(client, status, outcome)

    def refused(
        self, client: Exchange, status: int, outcome: str, route: Route | None = None
    ) -> None:
        """Tell both."""
        self._first.refused(client, status, outcome, route)
        self._second.refused(client, status, outcome, route)

    def turned_away(self, client: ClientConnection, status: int, outcome: str) -> None:
        """Tell both."""
        self._first.turned_away(client, status, outcome)
        self._second.turned_away(client, status, outcome)


class Observers:
    """One worker's, as its routing table says.

    Args:
        say: sends the supervisor a message.

    Attributes:
        tracer: None where tracing is not configured.
    """

    def __init__(self, worker: Worker, say: Callable[[channel.Message], None]) -> None:
        self._worker = worker
        self._say = say
        self._log: RequestLog | None = None
        self._exports: list[SpanExport] = []
        self.tracer: Tracer | None = None

    def use(self, table: RoutingTable) -> Observer | None:
        """Take over what a new table says; returns who is to be told."""
        self._use_log(table.access_log)
        self._use_tracing(table.tracing)
        told: Observer | None = None
        for each in (self._log, self.tracer, self._worker.memory.keep(table.request_ring)):
            if each is not None:
                told = each if told is None else Both(told, each)
        return told

    def _use_log(self, settings: AccessLog) -> None:
        log = self._log
        if log is not None and log.settings == settings:
            log.forget_places()
            return
        if log is not None:
            log.close()
        trouble = self._tell_log_trouble
        self._log = RequestLog(settings, self._worker, trouble) if settings.path else None

    def _use_tracing(self, settings: Tracing) -> None:
        tracer = self.tracer
        if tracer is not None and tracer.settings == settings:
            return
        if tracer is not None:
            tracer.spans.close()
            self.tracer = None
        if settings.endpoint:
            self.tracer = Tracer(settings, self._worker, self._tell_trace_trouble)
            self._exports.append(self.tracer.spans)

    def _tell_log_trouble(self, detail: str) -> None:
        self._say(channel.LogTrouble(detail))

    def _tell_trace_trouble(self, detail: str) -> None:
        self._say(channel.TraceTrouble(detail))

    def tick(self) -> None:
        """Pass on what has gathered, and count what was lost."""
        if self._log is not None:
            self._worker.count_head(ledger.LOG_LINES_LOST, self._log.tick())
        if self._exports:
            self._tend_exports()

    def _tend_exports(self) -> None:
        """One that was replaced is looked after until it has sent its last."""
        for spans in list(self._exports):
            if spans.is_over:
                self._exports.remove(spans)
            spans.pass_on(self._worker.now)
            self._count(spans)

    def _count(self, spans: SpanExport) -> None:
        self._worker.count_head(ledger.SPANS_EXPORTED, spans.exported)
        self._worker.count_head(ledger.SPANS_DROPPED, spans.dropped)
        spans.exported = spans.dropped = 0

    def reopen(self) -> None:
        """The access log's file was moved away."""
        if self._log is not None:
            self._log.reopen()

    async def close(self) -> None:
        """Write and send what there is; what takes too long is given up."""
        loop = self._worker.loop
        if self.tracer is not None:
            self.tracer.spans.close()
        if self._log is not None:
            self._log.close()
            await loop.run_in_executor(None, self._log.file.join, _LAST_WRITE_SECONDS)
        if self.tracer is not None:
            spans = self.tracer.spans
            await loop.run_in_executor(None, spans.join, _LAST_EXPORT_SECONDS)
            spans.give_up()
            self._count(spans)
