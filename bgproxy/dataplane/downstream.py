"""A client connection's exchanges: one request at a time, from head to record, top to bottom.

Phases: IDLE (a head is awaited) → WAITING (held by a pause, or queued) → CONNECTING (claimed, no
connection at hand) → EXCHANGE (on a backend connection) → IDLE again, or TUNNEL, LINGER, CLOSED.
Every claimed exchange ends in `record`, on every path; what goes wrong stands in `failing`.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane import failing, pieces, waiting
from bgproxy.dataplane.closure import turn_away
from bgproxy.dataplane.connection import (
    CLOSED,
    CONNECTING,
    EXCHANGE,
    IDLE,
    LINGER,
    LINGER_SECONDS,
    STOP_PENDING,
    TUNNEL,
    WAITING,
)
from bgproxy.dataplane.exchange import HALF_CLOSED_SECONDS, IDEMPOTENT, Exchange
from bgproxy.dataplane.pieces import LARGE_BYTES
from bgproxy.dataplane.preview import admit
from bgproxy.domain.outcome import Reason, reason_of_status
from bgproxy.errors import BadRequest
from bgproxy.protocol.chunked import ChunkedReader
from bgproxy.protocol.forwarding import (
    field_value,
    forwarded_lines,
    kept_request_id,
    without,
)
from bgproxy.protocol.head import UNTIL_CLOSE, read_request_head, request_head, small_answer
from bgproxy.protocol.last_hop import is_last_hop
from bgproxy.protocol.request import asks_for_head
from bgproxy.protocol.values import RequestHead, ResponseHead

if TYPE_CHECKING:
    from bgproxy.dataplane.preview_keys import PreviewKeys
    from bgproxy.dataplane.routes import (
        Route,
    )
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.dataplane.worker import Worker

_CLIENT_GONE = 499
_HSTS = b"strict-transport-security"


class Downstream(Exchange):
    """One client connection and the exchange that it carries."""

    __slots__ = (
        "_forwarded",
        "_forwarded_host",
        "_partial",
        "body_mark",
        "is_kept_alive",
        "takes_answer_as_is",
    )

    def __init__(self, worker: Worker, scheme: bytes = b"http", client: str = "") -> None:
        super().__init__(worker, scheme, client)
        self.takes_answer_as_is = True
        self.body_mark = 0
        self.is_kept_alive = True
        self._partial = b""
        self._forwarded = b""
        self._forwarded_host: bytes | None = None

    # -- what the loop calls ----------------------------------------------------------------------

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the client, in the shared buffer."""
        if nbytes >= pieces.LARGE_BYTES and self.phase == EXCHANGE and self.body_left:
            assert self.upstream is not None
            transport = self.upstream.transport
            self._relay_body(self.worker.scratch[:nbytes])
            pieces.keep_unsent(self.worker, transport)
        else:
            self.data_received(self.worker.scratch[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        phase = self.phase
        if phase == IDLE and not self.pending:
            self._read(self._partial + data if self._partial else data)
        elif phase == EXCHANGE and self.body_left:
            self._relay_body(data)
        elif phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.from_client(data)
        elif phase == LINGER:
            self.linger()
        elif phase != CLOSED:
            self.keep(data)

    def eof_received(self) -> bool:
        """The client sends no more; it may still be waiting for its answer (half-close)."""
        if self.phase == TUNNEL:
            assert self.tunnel is not None
            return self.tunnel.client_ended()
        self.is_client_done = True
        if not self.pending:
            self.is_kept_alive = False
            if self.phase == IDLE or (self.phase == EXCHANGE and self.body_left):
                return False
        if self.phase in (LINGER, CLOSED):
            return False
        # A client that is gone looks the same until something is sent to it.
        self.deadline = min(self.deadline, self.worker.now + HALF_CLOSED_SECONDS)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what it carried is given up at once."""
        phase, self.phase = self.phase, CLOSED
        self.worker.farewell(self)
        if phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.client_lost()
        elif phase == WAITING:
            waiting.leave(self)
            if self.worker.log is not None:
                self.worker.log.unclaimed(self, _CLIENT_GONE, Reason.CLIENT_ABORT.label)
        elif phase in (CONNECTING, EXCHANGE):
            self.record(self.status or _CLIENT_GONE, Reason.CLIENT_ABORT)
            failing.give_up_upstream(self)

    def expire(self) -> None:
        """The deadline of the present phase has passed."""
        self.deadline = inf
        phase = self.phase
        if phase == IDLE:
            self._expire_idle()
        elif phase == WAITING:
            waiting.expire(self)
        elif phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.expire()
        elif phase in (LINGER, CLOSED):
            self.expire_end()
        elif self.is_client_done or self.is_write_paused:
            self.transport.abort()
        elif self.body_left and not self.is_stopped:
            detail = "the request's body did not come in time"
            error = BadRequest(408, "request_timeout", detail)
            failing.fail_client(self, Reason.REQUEST_TIMEOUT, error)
        else:
            failing.fail(self, Reason.RESPONSE_TIMEOUT, "the backend did not answer in time")

    def check_body_rate(self, least_bytes: int, since: float) -> None:
        """End an upload that crawls: called at even intervals, of which each must bring so much.

        A client that the backend holds back is not to blame, nor is one that began after `since`,
        the interval's start.
        """
        if self.phase != EXCHANGE or not self.body_left:
            return
        body = self.body
        taken = self.head.length - self.body_left if body is None else body.payload_bytes
        progress, self.body_mark = taken - self.body_mark, taken
        if progress < least_bytes and self.started < since and not self.is_stopped:
            detail = "the request's body comes too slowly"
            failing.fail_client(
                self, Reason.REQUEST_TIMEOUT, BadRequest(408, "request_too_slow", detail)
            )

    def _expire_idle(self) -> None:
        if self._partial:
            self.method = b""
            is_head = asks_for_head(self._partial)
            detail = "the head did not come in time"
            failing.refuse(self, 408, "request_timeout", detail, is_head=is_head)
        else:
            self.phase = CLOSED
            # Of the last answer something may be unsent still, to a client that takes nothing.
            self.deadline = self.worker.now + LINGER_SECONDS
            self.transport.close()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_write_paused = False
        if self.upstream is not None:
            self.upstream.go_on_reading()
        elif self.phase == IDLE and self.pending:
            self._next()

    # -- what others ask --------------------------------------------------------------------------

    def is_quiet(self, now: float, seconds: float) -> bool:
        """Whether nothing has come in on this idle connection for so long."""
        return not self._partial and not self.pending and now - self.quiet_since >= seconds

    # -- a request: read, claim, send -------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read a head; `data` starts where it does."""
        worker = self.worker
        try:
            head = read_request_head(data, worker.head_limits)
        except BadRequest as error:
            self.method = b""
            is_head = asks_for_head(data)
            failing.refuse(self, error.status, error.reason, error.detail, is_head=is_head)
            return
        if head is None:
            if self.is_client_done:
                self.phase = CLOSED
                self.transport.close()
            elif not self._partial:
                self.deadline = worker.now + worker.head_timeout
            self._partial = data
            return
        self._partial = b""
        self.started = monotonic()
        worker.requests += 1
        self.number = worker.requests
        self.head = head
        self.method = method = head.method
        self.status = 0
        self.body_left = length = head.length
        # Most are a GET, which is told faster than by a look into the set.
        self.may_be_repeated = not length and (method == b"GET" or method in IDEMPOTENT)
        end = head.end
        if len(data) == end:
            self.pending = b""
        else:
            self.pending = memoryview(data)[end:] if length else data[end:]
        self.is_kept_alive = head.keep_alive and (not self.is_client_done or bool(self.pending))
        if head.extras is not None and is_last_hop(head):
            failing.answer_as_last(self, data[:end])
            return
        route = self.routes.find(head)
        if route is None:
            failing.refuse(self, 404, "unknown_service", "no service has this host and path")
            return
        self.route = route
        self.takes_answer_as_is = head.minor == 1 and not route.hsts
        if length and not self._expects_body(route, length):
            return
        if route.preview is not None and self.enter_preview(route.preview):
            return
        if route.gate is not None and turn_away(self, route.gate):
            return
        if route.held_until:
            waiting.hold(self)
        else:
            self.claim()

    def _expects_body(self, route: Route, length: int) -> bool:
        """Get ready for a request's body; False if it was refused for its size."""
        limit = route.limits.max_body_bytes
        if 0 < limit < length:
            detail = f"at most {limit} bytes of body are taken"
            failing.refuse(self, 413, "body_too_large", detail, route=route)
            return False
        self.body = ChunkedReader(BadRequest, keep_framing=True) if length < 0 else None
        return True

    def enter_preview(self, keys: PreviewKeys) -> bool:
        """Deal with a request to a service that has a preview; False if it is for the public."""
        return admit(self, keys)

    def send(self, upstream: Upstream) -> None:
        """Put the request on a backend connection; body bytes that are here go along."""
        worker = self.worker
        head = self.head
        self.phase = EXCHANGE
        self.upstream = upstream
        milliseconds = (self.started + worker.epoch_offset) * 1000
        if head.extras is None and head.host:
            if head.host != self._forwarded_host:
                self._remember_forwarding(head)
            lines = request_head(head.lines, self._forwarded, self.number, milliseconds)
            upstream.begin(self, lines)
        else:
            upstream.begin(self, self._with_lines_added(head, milliseconds))
        if self.body_left:
            self.body_mark = 0
            self.deadline = worker.now + self.route.timeouts.request_body
            pending, self.pending = self.pending, b""
            if pending:
                self._relay_body(pending)
            if self.body_left and self.is_client_done:
                # Its end came while there was no connection yet: the body will never be whole.
                self.transport.abort()
            elif self.body_left:
                upstream.expect_early_answer()
            self.go_on_reading(STOP_PENDING)
        else:
            patience = HALF_CLOSED_SECONDS if self.is_client_done else self.route.response_timeout
            self.deadline = worker.now + patience

    def _remember_forwarding(self, head: RequestHead) -> None:
        """Make the fields of ours that go behind a plain head; they change with the Host alone.

        The last of them is the request id, up to where the request's number follows.
        """
        lines = self._forwarding(head)
        self._forwarded = b"%bX-Request-Id: %b" % (lines, self.worker.request_prefix)
        self._forwarded_host = head.host

    def _with_lines_added(self, head: RequestHead, milliseconds: float) -> bytes:
        """A head that is not plain, with the fields of ours behind; a request id is kept."""
        lines = [head.lines, self._forwarding(head)]
        if not head.host:
            lines.append(b"Host: %b\r\n" % self.backend.authority)
        if kept_request_id(head.extras) is None:
            if head.extras is not None and b"x-request-id" in head.extras:
                lines[0] = b"\r\n".join(without(head.lines.split(b"\r\n"), {b"x-request-id"}))
            lines.append(b"X-Request-Id: %b%x\r\n" % (self.worker.request_prefix, self.number))
        lines.append(b"X-Request-Start: t=%d\r\n\r\n" % milliseconds)
        return b"".join(lines)

    def _forwarding(self, head: RequestHead) -> bytes:
        return forwarded_lines(
            self.client, self.scheme, head.host, head.extras, is_trusted=self.is_trusted
        )

    def _relay_body(self, data: bytes | memoryview) -> None:
        """Pass body bytes on; what follows the body is the next request's."""
        assert self.upstream is not None
        self.deadline = self.worker.now + self.route.timeouts.request_body
        if self.body is not None:
            self._relay_chunks(self.body, bytes(data))
        else:
            size = len(data)
            left = self.body_left
            if size > left:
                self.pending = bytes(data[left:])
                data, size = memoryview(data)[:left], left
            self.body_left = left - size
            self.upstream.transport.write(data)
        if not self.body_left:
            self.deadline = self.worker.now + self.route.response_timeout

    def _relay_chunks(self, body: ChunkedReader, data: bytes) -> None:
        """Check chunks and pass them on."""
        assert self.upstream is not None
        try:
            consumed = body.feed(data)
            limit = self.route.limits.max_body_bytes
            if 0 < limit < body.payload_bytes:
                raise BadRequest(413, "body_too_large", f"at most {limit} bytes of body are taken")
        except BadRequest as error:
            reason = Reason.TOO_LARGE if error.status == 413 else Reason.BAD_REQUEST
            failing.fail_client(self, reason, error)
            return
        pieces.write_all(self.upstream.transport, body.out)
        if body.is_done:
            self.body_left = 0
            self.pending = data[consumed:]
            if body.trailers:
                # aiohttp (3.14) takes a trailer for a field of the connection's next request,
                # which would be somebody else's.
                self.upstream.is_reusable = False

    # -- its answer: relay, record ----------------------------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on; an HTTP/1.0 client has no use for it (RFC 9110 section 15.2)."""
        if self.head.minor:
            self.transport.write(head.lines + b"\r\n")

    def begin_answer(self, head: ResponseHead, data: bytes | memoryview, end: int) -> None:
        """Send the final head, and the body bytes behind `end` that came with it."""
        self.status = head.status
        if self.body_left or self.worker.is_stopping:
            self.is_kept_alive = False
        size = len(data)
        if self.is_kept_alive and self.takes_answer_as_is:
            if head.as_is:
                self.transport.write(data)
                return
            if size < LARGE_BYTES and isinstance(data, bytes) and head.length != UNTIL_CLOSE:
                date = b"" if head.has_date else self.worker.date_line
                self.transport.write(small_answer(head.lines, date, data, end))
                return
        lines = self._answer_lines(head)
        if size == end:
            self.transport.write(lines)
        else:
            self.transport.writelines((lines, memoryview(data)[end:]))

    def _answer_lines(self, head: ResponseHead) -> bytes:
        """The head as this client must see it."""
        lines = head.lines
        if self.environment.answer_fields:
            lines = self.environment.marked(lines)
        if self.head.minor:
            if head.length == UNTIL_CLOSE:
                lines += b"Transfer-Encoding: chunked\r\n"
            if not self.is_kept_alive:
                lines += b"Connection: close\r\n"
        elif head.length < 0:
            self.is_kept_alive = False
            lines = lines.replace(b"\r\nTransfer-Encoding: chunked\r\n", b"\r\n", 1)
        elif self.is_kept_alive:
            lines += b"Connection: keep-alive\r\n"
        if not head.has_date:
            lines += self.worker.date_line
        if self.route.hsts and self.scheme == b"https" and not field_value(lines, _HSTS):
            lines += self.route.hsts
        return lines + b"\r\n"

    def answer_over(self) -> None:
        """The answer's last byte is written: record, release, and go on or end."""
        upstream = self.upstream
        assert upstream is not None
        status = self.status
        self.record(status, reason_of_status(status) if status >= 500 else None)
        self.upstream = None
        if self.body_left:
            upstream.close()
        else:
            upstream.rest()
        if not self.is_kept_alive or (self.is_client_done and not self.pending):
            self.end(is_sending=self.body_left != 0)
            return
        self.phase = IDLE
        self.quiet_since = now = self.worker.now
        self.deadline = now + self.route.idle_timeout
        if self._stops:
            self.go_on_reading()
        if self.pending and not self.is_write_paused:
            # On the loop's next turn: a client may send any number of requests at once.
            self.worker.loop.call_soon(self._next)

    def _next(self) -> None:
        """Read the request that was sent behind the last one."""
        if self.phase == IDLE and self.pending:
            data, self.pending = bytes(self.pending), b""
            self.go_on_reading(STOP_PENDING)
            self._read(data)
