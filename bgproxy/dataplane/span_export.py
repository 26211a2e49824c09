"""Spans on their way to a collector: gathered on the loop, sent by a thread of their own.

Nothing of OpenTelemetry is imported before there is something to send, and then by that thread. A
span costs it some 0.1 ms, during which the loop must wait for the interpreter now and then, so
there is a bound on how many are sent a second: `MOST_SPANS` for each worker. What is beyond that,
or cannot be sent, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bgproxy import __version__
from bgproxy.dataplane.span_attributes import EndedRequest, attributes_of, is_error, name_of
from bgproxy.domain.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

MOST_SPANS = 2048
"""Spans that are gathered until the next are sent, a second later."""

_BATCH = 512
"""Spans of one request to the collector, as the SDK has it by default."""

_EVERY_SECONDS = 1.0
_SWITCH_SECONDS = 0.0005
"""How long the thread may keep the interpreter while the loop waits for it; 5 ms otherwise."""


class Sent(NamedTuple):
    """What became of some spans.

    Args:
        trouble: one sentence if some were dropped.
    """

    exported: int
    dropped: int
    trouble: str


class SpanExport:
    """Sends spans of requests that have ended.

    Args:
        worker: its number.
        on_trouble: called with one sentence when spans cannot be sent, once until they can again.

    Attributes:
        exported, dropped: spans, since whoever reads this set it to 0.
    """

    def __init__(self, settings: Tracing, worker: int, on_trouble: Callable[[str], None]) -> None:
        self._settings = settings
        self._worker = worker
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._gathered: list[EndedRequest] = []
        self._under_way = 0
        self._send_at = 0.0
        self._is_in_trouble = False
        self.exported = 0
        self.dropped = 0
        self._orders: queue.SimpleQueue[list[EndedRequest] | None] = queue.SimpleQueue()
        sys.setswitchinterval(_SWITCH_SECONDS)
        # A daemon: the process may end while a collector takes its time.
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    # -- on the loop ------------------------------------------------------------------------------

    def add(self, request: EndedRequest) -> None:
        """Gather one."""
        if len(self._gathered) < MOST_SPANS:
            self._gathered.append(request)
        else:
            self.dropped += 1

    def pass_on(self, now: float) -> None:
        """Hand over what has gathered, once a second, unless the thread is still at the last."""
        if self._gathered and not self._under_way and now >= self._send_at:
            self._send_at = now + _EVERY_SECONDS
            self._hand_over()

    def close(self) -> None:
        """Send what has gathered, then end; see `join`."""
        if self._gathered:
            self._hand_over()
        self._orders.put(None)

    def join(self, timeout: float) -> None:
        """Wait after `close` until all is sent, for at most so many seconds.

        Not to be called on the loop.
        """
        self._thread.join(timeout)

    @property
    def is_over(self) -> bool:
        """Whether the last was sent after `close`, or given up."""
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Count what `join` did not see the end of."""
        self.dropped += self._under_way
        self._under_way = 0

    def _hand_over(self) -> None:
        self._under_way += len(self._gathered)
        self._orders.put(self._gathered)
        self._gathered = []

    def _done(self, sent: Sent) -> None:
        """The thread has sent a batch, or could not."""
        self._under_way = max(0, self._under_way - sent.exported - sent.dropped)
        self.exported += sent.exported
        self.dropped += sent.dropped
        if sent.trouble and not self._is_in_trouble:
            self._on_trouble(sent.trouble)
        self._is_in_trouble = bool(sent.trouble)

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        collector = _Collector(self._settings, self._worker)
        while (requests := self._orders.get()) is not None:
            for sent in collector.send(requests):
                try:
                    self._loop.call_soon_threadsafe(self._done, sent)
                except RuntimeError:
                    return  # the loop has ended meanwhile, and with it whoever would listen


class _Collector:
    """The SDK's exporter, and what it says went wrong."""

    def __init__(self, settings: Tracing, worker: int) -> None:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        # What it writes of failures has URLs in it, and comes once for every batch.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        logging.getLogger("opentelemetry").propagate = False
        self._settings = settings
        self._last = ""
        outer = self

        class Session(requests.Session):
            """Keeps what the last attempt came to."""

            def request(self, *args: Any, **kwargs: Any) -> requests.Response:
                try:
                    answer = super().request(*args, **kwargs)
                except Exception as error:
                    outer._last = _words_of(error)
                    raise
                outer._last = f"the collector answers {answer.status_code}"
                return answer

        self._exporter = OTLPSpanExporter(
            settings.endpoint, headers=dict(settings.headers), session=Session()
        )
        self._success = SpanExportResult.SUCCESS
        self._scope = InstrumentationScope("bgproxy", __version__)
        self._resource = Resource.create(
            {
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
                "bgproxy.worker": worker,
                **dict(settings.attributes),
                "service.name": settings.service_name,
            }
        )

    def send(self, requests: Sequence[EndedRequest]) -> Iterator[Sent]:
        """Send spans, some at a time."""
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            self._last = ""
            if self._exporter.export([self._span(each) for each in batch]) is self._success:
                yield Sent(len(batch), 0, "")
            else:
                reason = self._last or "they could not be sent"
                yield Sent(0, len(batch), f"spans are dropped: {reason}")

    def _span(self, request: EndedRequest) -> ReadableSpan:
        """The request as the SDK's exporter takes it.

        Made as the SDK's own tracer would in the end: going through that costs eight times as
        much, for hooks that nobody has here.
        """
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
        from opentelemetry.trace.status import Status, StatusCode

        span = request.span
        flags = TraceFlags(span.context.flags)
        state = TraceState.from_header([span.state.decode("latin-1")]) if span.state else None
        trace_id = span.context.trace_id
        parent = SpanContext(trace_id, span.parent_id, is_remote=True) if span.parent_id else None
        started = int(request.started * 1e9)
        return ReadableSpan(
            name_of(request),
            SpanContext(
                trace_id, span.context.span_id, is_remote=False, trace_flags=flags,
                trace_state=state,
            ),
            parent,
            self._resource,
            attributes_of(request, with_query=self._settings.query),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if is_error(request) else StatusCode.UNSET),
            start_time=started,
            end_time=started + int(request.seconds * 1e9),
            instrumentation_scope=self._scope,
        )  # fmt: skip


def _words_of(error: BaseException) -> str:
    """Why a collector could not be asked; never with its URL, in which there may be a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"the collector cannot be reached: {cause.strerror}"
        cause = cause.__context__
    return f"the collector cannot be reached ({type(error).__name__})"
