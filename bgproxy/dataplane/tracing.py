"""Spans of one worker's requests: which trace each is part of, what the backend is told of it.

There is a `Tracer` only where tracing is configured. Connections that come while there is one are
`Traced`: they tell the backend; all others know nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.log_lines import Place
from bgproxy.dataplane.redirect import RedirectingDownstream
from bgproxy.dataplane.span_attributes import EndedRequest, Span
from bgproxy.dataplane.span_export import SpanExport
from bgproxy.domain.outcome import Reason
from bgproxy.domain.tracing import Tracing
from bgproxy.protocol.trace_context import (
    SAMPLED,
    TraceContext,
    read_trace_context,
    read_trace_state,
    with_trace_context,
)

if TYPE_CHECKING:
    from bgproxy.dataplane.connection import ClientConnection
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import Route
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.dataplane.worker import Worker

_LOW = (1 << 64) - 1
_NOWHERE = Place()


class Tracer:
    """Makes spans of requests, at their end; `tick` passes them on.

    Args:
        on_trouble: see `SpanExport`.
    """

    def __init__(
        self, settings: Tracing, worker: Worker, on_trouble: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self.spans = SpanExport(settings, worker.index, on_trouble)
        # By the trace's number and not by chance, as the SDK does: every hop that samples so
        # chooses the same traces.
        self._bound = round(settings.sample * (1 << 64))

    # -- at a request's start ---------------------------------------------------------------------

    def tell_backend(self, client: Exchange) -> None:
        """Put our span into a request's head that is about to be sent; once for each request.

        A trace that its sender does not record is none of ours: it passes as it came.
        """
        if client.span is not None and client.span.number == client.number:
            return
        span = client.span = self._begin(client)
        if span.is_recorded or not span.parent_id:
            head = client.head
            is_senders = bool(span.parent_id)
            head.lines = with_trace_context(head.lines, span.context, keeps_state=is_senders)

    def _begin(self, client: Exchange) -> Span:
        lines = client.head.lines
        sender = read_trace_context(lines)
        span_id = getrandbits(64) or 1
        if sender is not None:
            context = TraceContext(sender.trace_id, span_id, sender.flags)
            state = read_trace_state(lines)
            return Span(client.number, context, sender.span_id, sender.is_sampled, state)
        trace_id = getrandbits(128) or 1
        is_recorded = trace_id & _LOW < self._bound
        context = TraceContext(trace_id, span_id, SAMPLED if is_recorded else 0)
        return Span(client.number, context, 0, is_recorded, b"")

    # -- at its end -------------------------------------------------------------------------------

    def exchange(self, client: Exchange, status: int, reason: Reason | None) -> None:
        """A claimed exchange has ended."""
        upstream = client.upstream
        bytes_out = upstream.relayed_bytes if upstream is not None and client.status else 0
        self.ended(client, status, reason, client.taken_bytes, bytes_out)

    def ended(
        self, client: Exchange, status: int, reason: Reason | None, bytes_in: int, bytes_out: int
    ) -> None:
        """A claimed exchange has ended whose bytes are known."""
        span = self._span_of(client)
        if span.is_recorded:
            environment = client.environment
            color = environment.color.value
            place = Place(client.route.name, color, client.generation, client.backend.url)
            outcome = "ok" if reason is None else reason.label
            is_preview = not environment.is_judged
            self._add(client, span, place, status, outcome, reason, is_preview, bytes_in, bytes_out)

    def unclaimed(self, client: Exchange, status: int, outcome: str) -> None:
        """A request is over that waited in vain for its environment."""
        span = self._span_of(client)
        if span.is_recorded:
            place = Place(client.route.name, client.environment.color.value)
            self._add(client, span, place, status, outcome)

    def refused(
        self, client: Exchange, status: int, outcome: str, route: Route | None = None
    ) -> None:
        """A request was answered that no environment saw, and perhaps no service."""
        if client.method and (span := self._span_of(client)).is_recorded:
            self._add(client, span, Place(route.name) if route else _NOWHERE, status, outcome)

    def turned_away(self, client: ClientConnection, status: int, outcome: str) -> None:
        """No request could be read, so there is nothing to tell."""

    def _span_of(self, client: Exchange) -> Span:
        """The present request's; one that was never sent anywhere gets it here."""
        span = client.span
        return span if span is not None and span.number == client.number else self._begin(client)

    def _add(
        self,
        client: Exchange,
        span: Span,
        place: Place,
        status: int,
        outcome: str,
        reason: Reason | None = None,
        is_preview: bool = False,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        self.spans.add(
            EndedRequest(
                span,
                client.started + client.worker.epoch_offset,
                monotonic() - client.started,
                client.head,
                client.scheme,
                client.origin,
                client.client,
                place,
                is_preview,
                status,
                outcome,
                reason,
                bytes_in,
                bytes_out,
                client.request_id,
            )
        )


class Traced(Downstream):
    """A client connection that tells backends of its requests' spans."""

    __slots__ = ()

    def send(self, upstream: Upstream) -> None:
        """Put the request on a backend connection, with our span in it."""
        tracer = self.worker.observers.tracer
        if tracer is not None:
            tracer.tell_backend(self)
        super().send(upstream)


class TracedRedirecting(Traced, RedirectingDownstream):
    """The same on a listener that mostly redirects."""

    __slots__ = ()
