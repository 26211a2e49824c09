"""A client connection: one request at a time, from head to record, top to bottom.

Phases: IDLE (a head is awaited) → WAITING (held by a pause, or queued) → CONNECTING (claimed, no
connection at hand) → EXCHANGE (on a backend connection) → IDLE again, or TUNNEL, LINGER, CLOSED.
Every claimed exchange ends in `_record`, on every path.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane import connecting, waiting
from bgproxy.dataplane.tunnel import Tunnel
from bgproxy.domain.outcome import Reason, is_failure, reason_of_status
from bgproxy.errors import BadRequest
from bgproxy.protocol.chunked import ChunkedReader
from bgproxy.protocol.forwarding import forwarded_lines
from bgproxy.protocol.head import UNTIL_CLOSE, RequestHead, ResponseHead, read_request_head
from bgproxy.protocol.render import error_answer
from bgproxy.state import ledger

if TYPE_CHECKING:
    from bgproxy.dataplane.routes import BackendState, EnvironmentState, Route
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.dataplane.worker import Worker

IDLE, WAITING, CONNECTING, EXCHANGE, TUNNEL, LINGER, CLOSED = range(7)

_BUFFER_BYTES = 64 * 1024
_MOST_BACKENDS = 3
_LINGER_SECONDS = 5.0
_LINGER_MOST = 30.0
_HALF_CLOSED_SECONDS = 1.0
_CLIENT_GONE = 499
_STATUS_OF = {
    Reason.CONNECT_TIMEOUT: 504,
    Reason.RESPONSE_TIMEOUT: 504,
    Reason.NO_BACKEND: 503,
    Reason.DRAINED: 503,
}
"""What a client is told where the answer had not begun; 502 for every other reason."""
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

# Why the client's socket is not read just now; bits of `_stops`.
_STOP_PENDING = 1
_STOP_UPSTREAM = 2


class Downstream(asyncio.BufferedProtocol):
    """One client connection and the exchange that it carries."""

    __slots__ = (
        "_forwarded",
        "_forwarded_host",
        "_linger_until",
        "_partial",
        "_pending",
        "_quiet_since",
        "_stops",
        "backend",
        "body",
        "body_left",
        "client",
        "deadline",
        "environment",
        "generation",
        "head",
        "is_client_done",
        "is_kept_alive",
        "is_trusted",
        "is_write_paused",
        "method",
        "number",
        "phase",
        "replay",
        "request",
        "route",
        "scheme",
        "started",
        "status",
        "transport",
        "tried",
        "tunnel",
        "upstream",
        "worker",
    )

    transport: asyncio.Transport
    head: RequestHead
    route: Route
    environment: EnvironmentState
    backend: BackendState

    def __init__(self, worker: Worker, scheme: bytes = b"http") -> None:
        self.worker = worker
        self.scheme = scheme
        self.phase = IDLE
        self.deadline = inf
        self.client = ""
        self.is_trusted = False
        self.method = b""
        self.status = 0
        self.number = 0
        self.started = 0.0
        self.body_left = 0
        self.upstream: Upstream | None = None
        self.tunnel: Tunnel | None = None
        self.is_write_paused = False
        self.is_client_done = False
        self.is_kept_alive = True
        self._stops = 0
        self._partial = b""
        self._pending: bytes | memoryview = b""
        self._quiet_since = 0.0
        self._linger_until = inf
        self._forwarded = b""
        self._forwarded_host: bytes | None = None

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else ""
        transport.set_write_buffer_limits(_BUFFER_BYTES)
        if self.worker.welcome(self):
            self.is_trusted = self.worker.is_trusted(self.client)
            self._quiet_since = self.worker.now
            self.deadline = self._quiet_since + self.worker.idle_timeout
        else:
            self._refuse(503, "too_many_connections", "the proxy carries all it may", retry_after=1)

    def get_buffer(self, sizehint: int) -> memoryview:
        """All connections of a worker read through one buffer; it is copied out at once."""
        return self.worker.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the client."""
        data = bytes(self.worker.scratch[:nbytes])
        phase = self.phase
        if phase == IDLE:
            self._read(self._partial + data if self._partial else data)
        elif phase == EXCHANGE and self.body_left:
            self._relay_body(data)
        elif phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.from_client(data)
        elif phase == LINGER:
            now = self.worker.now
            self.deadline = min(now + _LINGER_SECONDS, self._linger_until)
        elif phase != CLOSED:
            self._keep(data)

    def eof_received(self) -> bool:
        """The client sends no more; it may still be waiting for its answer (half-close)."""
        if self.phase == TUNNEL:
            assert self.tunnel is not None
            return self.tunnel.client_ended()
        self.is_client_done = True
        self.is_kept_alive = False
        if self.phase in (IDLE, LINGER, CLOSED) or (self.phase == EXCHANGE and self.body_left):
            return False
        # A client that is gone looks the same until something is sent to it.
        self.deadline = min(self.deadline, self.worker.now + _HALF_CLOSED_SECONDS)
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
        elif phase in (CONNECTING, EXCHANGE):
            self._give_up_upstream()
            self._record(self.status or _CLIENT_GONE, Reason.CLIENT_ABORT)

    def pause_writing(self) -> None:
        """The client reads slower than the backend answers."""
        self.is_write_paused = True
        if self.upstream is not None:
            self.upstream.stop_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_write_paused = False
        if self.upstream is not None:
            self.upstream.go_on_reading()
        elif self.phase == IDLE and self._pending:
            self._next()

    def stop_reading(self, why: int = _STOP_UPSTREAM) -> None:
        """Leave the client's bytes in the kernel for now."""
        if not self._stops and not self.transport.is_closing():
            self.transport.pause_reading()
        self._stops |= why

    def go_on_reading(self, why: int = _STOP_UPSTREAM) -> None:
        """Take the client's bytes again, if nothing else is in the way."""
        if self._stops:
            self._stops &= ~why
            if not self._stops and not self.transport.is_closing():
                self.transport.resume_reading()

    # -- a request ------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read a head; `data` starts where it does."""
        worker = self.worker
        try:
            head = read_request_head(data, worker.routes.limits)
        except BadRequest as error:
            self.method = b""
            self._refuse(error.status, error.reason, error.detail)
            return
        if head is None:
            if not self._partial and data:
                self.deadline = worker.now + worker.head_timeout
            self._partial = data
            return
        self._partial = b""
        self.started = monotonic()
        self.head = head
        self.method = head.method
        self.is_kept_alive = head.keep_alive and not self.is_client_done
        self.status = 0
        self.body_left = head.length
        self.body: ChunkedReader | None = None
        end = head.end
        self._pending = (
            b"" if len(data) == end else memoryview(data)[end:] if head.length else data[end:]
        )
        router = worker.routes.router
        route = router.only or router.find(head.host, head.target)
        if route is None:
            self._refuse(404, "unknown_service", "no service has this host and path")
            return
        self.route = route
        limit = route.limits.max_body_bytes
        if limit and head.length > limit:
            self._refuse(413, "body_too_large", f"at most {limit} bytes of body are taken")
            return
        if head.length < 0:
            self.body = ChunkedReader(keep_framing=True)
        self.tried: tuple[BackendState, ...] = ()
        if route.held_until:
            waiting.hold(self)
        else:
            self.claim()

    def claim(self) -> None:
        """Read the pointer, pick a backend, count in: one step with nothing awaited inside.

        Why that makes a drain certain stands in `bgproxy.state.ledger`, "Claims and drain".
        """
        cells = self.worker.cells
        route = self.route
        word = cells[route.word]
        environment = route.environments[(word & 0xFF) - 1]
        backend = environment.choose(cells, route.limits.max_in_flight)
        if backend is None:
            self.environment = environment
            waiting.queue(self)
            return
        cells[backend.gauge] += 1
        self.environment = environment
        self.backend = backend
        self.generation = word >> 8
        if not self.send_on_idle():
            self.phase = CONNECTING
            connecting.connect(self)

    def send_on_idle(self) -> bool:
        """Send on a connection that rests in the claimed backend's pool; False if none does."""
        idle = self.backend.idle
        while idle:
            upstream = idle.pop()
            if upstream.is_usable(self.method in _IDEMPOTENT):
                self.send(upstream)
                return True
        return False

    def claim_another(self) -> bool:
        """Move the claim to a backend that was not tried yet; False when there is none.

        The new gauge is raised before the old one is lowered, so that the environment's sum
        never looks drained in between.
        """
        self.tried += (self.backend,)
        cells = self.worker.cells
        if len(self.tried) >= _MOST_BACKENDS:
            return False
        limit = self.route.limits.max_in_flight
        backend = self.environment.choose(cells, limit, self.tried)
        if backend is None:
            return False
        cells[backend.gauge] += 1
        cells[self.backend.gauge] -= 1
        self.backend = backend
        return True

    def is_connecting_to(self, backend: BackendState) -> bool:
        """Whether this still waits for a connection to that backend."""
        return self.phase == CONNECTING and self.backend is backend

    def wait(self, deadline: float) -> None:
        """Wait unclaimed, in a line that `waiting` keeps."""
        self.phase = WAITING
        self.deadline = deadline

    @property
    def is_claimed(self) -> bool:
        """Whether an exchange is counted in somewhere."""
        return self.phase in (CONNECTING, EXCHANGE, TUNNEL)

    @property
    def wants_upgrade(self) -> bool:
        """Whether this request asked for another protocol."""
        return self.head.extras is not None and b"upgrade" in self.head.extras

    @property
    def request_id(self) -> str:
        """The X-Request-Id of the present exchange, the client's or ours."""
        own = (self.head.extras or {}).get(b"x-request-id")
        return (own or b"%b%x" % (self.worker.request_prefix, self.number)).decode("latin-1")

    def is_quiet(self, now: float, seconds: float) -> bool:
        """Whether nothing has come in on this idle connection for so long."""
        return not self._partial and not self._pending and now - self._quiet_since >= seconds

    @property
    def is_going_away(self) -> bool:
        """Whether this carries a tunnel that was told to end."""
        return self.tunnel is not None and self.tunnel.is_going_away

    def send(self, upstream: Upstream) -> None:
        """Put the request on a backend connection; body bytes that are here go along."""
        worker = self.worker
        timeouts = self.route.timeouts
        head = self.head
        self.phase = EXCHANGE
        self.upstream = upstream
        host = head.host
        if head.extras is None and host == self._forwarded_host:
            lines = self._forwarded
        else:
            lines = self._lines_to_add(head)
        worker.requests += 1
        self.number = worker.requests
        request = b"%b%bX-Request-Start: t=%d\r\nX-Request-Id: %b%x\r\n\r\n" % (
            head.lines,
            lines,
            (self.started + worker.epoch_offset) * 1000,
            worker.request_prefix,
            worker.requests,
        )
        upstream.begin(self, request)
        if self.body_left:
            self.replay = None
            self.deadline = worker.now + timeouts.request_body
            pending, self._pending = self._pending, b""
            if pending:
                self._relay_body(pending)
            self.go_on_reading(_STOP_PENDING)
        else:
            self.replay = request if self.method in _IDEMPOTENT else None
            self.deadline = worker.now + timeouts.response

    def _lines_to_add(self, head: RequestHead) -> bytes:
        """The fields of ours that go behind the client's; remembered where only the host matters."""
        lines = forwarded_lines(
            self.client, self.scheme, head.host, head.extras, is_trusted=self.is_trusted
        )
        if not head.host:
            lines += b"Host: %b\r\n" % self.backend.authority
        elif head.extras is None:
            self._forwarded, self._forwarded_host = lines, head.host
        return lines

    def _relay_body(self, data: bytes | memoryview) -> None:
        """Pass body bytes on; what follows the body is the next request's."""
        assert self.upstream is not None
        self.deadline = self.worker.now + self.route.timeouts.request_body
        write = self.upstream.transport.write
        if self.body is None:
            size = len(data)
            left = self.body_left
            if size > left:
                self._pending = bytes(data[left:])
                data, size = memoryview(data)[:left], left
            self.body_left = left - size
            write(data)
        elif not self._relay_chunks(self.body, bytes(data)):
            return
        if not self.body_left:
            self.deadline = self.worker.now + self.route.timeouts.response

    def _relay_chunks(self, body: ChunkedReader, data: bytes) -> bool:
        """Check and pass on chunks; False when the request had to be refused."""
        assert self.upstream is not None
        try:
            consumed = body.feed(data)
        except BadRequest as error:
            self._fail_client(Reason.BAD_REQUEST, error.status, error.reason, error.detail)
            return False
        limit = self.route.limits.max_body_bytes
        if limit and body.payload_bytes > limit:
            detail = f"at most {limit} bytes of body are taken"
            self._fail_client(Reason.TOO_LARGE, 413, "body_too_large", detail)
            return False
        self.upstream.transport.writelines(body.out)
        if body.is_done:
            self.body_left = 0
            self._pending = data[consumed:]
        return True

    def _keep(self, data: bytes) -> None:
        """Keep bytes whose turn has not come: the next request's, or an unclaimed one's body."""
        self._pending = bytes(self._pending) + data if self._pending else data
        if len(self._pending) >= _BUFFER_BYTES:
            self.stop_reading(_STOP_PENDING)

    # -- its answer -----------------------------------------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on; an HTTP/1.0 client has no use for it (RFC 9110 section 15.2)."""
        if self.head.minor:
            self.transport.write(head.lines + b"\r\n")

    def begin_answer(self, head: ResponseHead, data: bytes, end: int) -> None:
        """Send the final head, and the body bytes behind `end` that came with it."""
        self.status = head.status
        self.replay = None
        if self.body_left or self.worker.is_stopping:
            self.is_kept_alive = False
        if head.as_is and self.is_kept_alive and self.head.minor:
            self.transport.write(data)
            return
        lines = self._answer_lines(head)
        if len(data) == end:
            self.transport.write(lines)
        else:
            self.transport.writelines((lines, memoryview(data)[end:]))

    def _answer_lines(self, head: ResponseHead) -> bytes:
        """The head as this client must see it."""
        lines = head.lines
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
        return lines + b"\r\n"

    def answer_over(self) -> None:
        """The answer's last byte is written: record, release, and go on or end."""
        upstream = self.upstream
        assert upstream is not None
        self.upstream = None
        status = self.status
        self._record(status, reason_of_status(status) if status >= 500 else None)
        if self.body_left:
            upstream.close()
        else:
            upstream.rest()
        if not self.is_kept_alive:
            self._end()
            return
        self.phase = IDLE
        self._quiet_since = now = self.worker.now
        self.deadline = now + self.route.timeouts.idle
        if self._stops:
            self.go_on_reading()
        if self._pending and not self.is_write_paused:
            self.worker.loop.call_soon(self._next)

    def _next(self) -> None:
        """Read the request that was sent behind the last one."""
        if self.phase == IDLE and self._pending:
            data, self._pending = bytes(self._pending), b""
            self.go_on_reading(_STOP_PENDING)
            self._read(data)

    def _record(self, code: int, reason: Reason | None) -> None:
        """Count how a claimed exchange ended, and release its claim."""
        cells = self.worker.cells
        environment = self.environment
        cells[environment.codes + code] += 1
        environment.time(monotonic() - self.started)
        cells[self.backend.gauge] -= 1
        route = self.route
        if reason is not None:
            cells[environment.reasons + reason] += 1
            self._note_failure(reason)
        elif self.backend.failures_in_a_row:
            self.backend.failures_in_a_row = self.backend.ejections = 0
        if cells[route.word] >> 8 != self.generation:
            self._count_apart(ledger.LATE, reason)
        elif route.exclude_paths and self.head.target.startswith(route.exclude_paths):
            self._count_apart(ledger.EXCLUDED, reason)
        if route.queue:
            waiting.admit(route, self.worker)

    def _note_failure(self, reason: Reason) -> None:
        """Remember a failure against its backend, and keep a sample of it for people."""
        if is_failure(reason):
            self.worker.cells[self.backend.gauge + ledger.BACKEND_FAILURES] += 1
            self.environment.note_failure(self.backend, self.worker.now)
            self.worker.report_failure(self, reason)

    def _count_apart(self, offset: int, reason: Reason | None) -> None:
        """Count an exchange that the judge must not see: it is late, or on an excluded path."""
        cells = self.worker.cells
        self.environment.count(cells, offset)
        if reason is not None and is_failure(reason):
            self.environment.count(cells, offset + 1)

    def _end(self) -> None:
        """Close after the answer; a client still sending is read for a while, or it would get a
        reset in place of the answer (RFC 9112 section 9.6).
        """
        now = self.worker.now
        is_sending = self.body_left or self._pending
        self._pending = b""
        self._stops = 0
        self.deadline = now + _LINGER_SECONDS
        if is_sending and not self.is_client_done and self.transport.can_write_eof():
            self.phase = LINGER
            self._linger_until = now + _LINGER_MOST
            self.transport.write_eof()
            self.transport.resume_reading()
        else:
            self.phase = CLOSED
            self.transport.close()

    # -- what goes wrong ------------------------------------------------------------------------

    def _refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer a request that was not claimed, and close."""
        self.worker.count_refused(status)
        self.body_left = 1
        self._answer_error(status, reason, detail)

    def refuse_orphan(self) -> None:
        """The service that this request waited for has been removed."""
        self._refuse(404, "unknown_service", "this service has just been removed")

    def refuse_waiting(self, reason: Reason, detail: str) -> None:
        """Answer 503 to a request that waited in vain, and close."""
        self.worker.cells[self.environment.codes + 503] += 1
        self.worker.cells[self.environment.reasons + reason] += 1
        self._answer_error(503, reason.label, detail, retry_after=1)

    def _fail_client(self, reason: Reason, status: int, word: str, detail: str) -> None:
        """The client's fault ends a claimed exchange."""
        self._give_up_upstream()
        self._record(self.status or status, reason)
        if self.status:
            self._cut()
        else:
            self._answer_error(status, word, detail)

    def fail(self, reason: Reason, detail: str) -> None:
        """The backend's fault, or the proxy's, ends a claimed exchange.

        Before the answer began the client gets 502, 503 or 504; afterwards its connection is cut,
        so that a part is never taken for the whole.
        """
        self._give_up_upstream()
        if self.status:
            self._record(self.status, reason)
            self._cut()
            return
        status = _STATUS_OF.get(reason, 502)
        self._record(status, reason)
        self._answer_error(status, reason.label, detail, retry_after=1 if status == 503 else None)

    def _answer_error(
        self, status: int, reason: str, detail: str, retry_after: int | None = None
    ) -> None:
        """An answer of our own; the connection is closed behind it."""
        self.status = status
        is_read = bool(self.method)
        self.transport.write(
            error_answer(
                status,
                reason,
                detail,
                keep_alive=False,
                accept=field(self.head.lines, b"accept") if is_read else b"",
                retry_after=retry_after,
                head_only=self.method == b"HEAD",
            )
        )
        self._end()

    def _give_up_upstream(self) -> None:
        """Drop the backend connection, which is in an unknown state."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.exchange = None
            upstream.close()

    def _cut(self) -> None:
        """End the connection inside an answer, so that nobody takes the part for the whole."""
        self.phase = CLOSED
        if self.head.minor == 0:
            reset_on_close(self.transport)
        self.deadline = self.worker.now + _LINGER_SECONDS
        self.transport.close()

    def upstream_lost(self, was_reused: bool, is_silent: bool) -> None:
        """The backend closed before its answer was whole.

        A request goes out once more only if it cannot have been executed, or may be twice: the
        connection was a kept one, not one byte of an answer came, the method is idempotent, no
        body was under way, and the retry budget has room (RFC 9110 section 9.2.2).
        """
        environment = self.environment
        if was_reused and is_silent and self.replay is not None and environment.retry_tokens >= 1:
            environment.retry_tokens -= 1
            environment.count(self.worker.cells, ledger.RETRIES)
            self.upstream = None
            self.phase = CONNECTING
            connecting.connect(self)
        elif self.status:
            self.fail(Reason.TRUNCATED, "the backend closed inside its answer")
        else:
            self.fail(Reason.RESET, "the backend closed before it answered")

    # -- time -----------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        self.deadline = inf
        phase = self.phase
        if phase == IDLE:
            if self._partial:
                self._refuse(408, "request_timeout", "the request's head did not come in time")
            else:
                self.phase = CLOSED
                self.transport.close()
        elif phase == WAITING:
            waiting.expire(self)
        elif phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.expire(now)
        elif phase in (LINGER, CLOSED) or self.is_client_done or self.is_write_paused:
            self.transport.abort()
        elif self.body_left and not self._stops:
            detail = "the request's body did not come in time"
            self._fail_client(Reason.REQUEST_TIMEOUT, 408, "request_timeout", detail)
        else:
            self.fail(Reason.RESPONSE_TIMEOUT, "the backend did not answer in time")

    def begin_tunnel(self, head: ResponseHead, rest: bytes) -> None:
        """Both sides agreed to another protocol (RFC 9110 section 7.8); `rest` is its first."""
        upstream = self.upstream
        assert upstream is not None
        protocol = (head.extras or {})[b"upgrade"]
        cells = self.worker.cells
        cells[self.backend.gauge + ledger.TUNNELS_IN_FLIGHT] += 1
        cells[self.backend.gauge] -= 1
        self.status = 101
        self.phase = TUNNEL
        self.transport.write(head.lines + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
        self.tunnel = Tunnel(self, upstream, protocol)
        pending, self._pending = bytes(self._pending), b""
        self.go_on_reading(_STOP_PENDING)
        self.tunnel.begin(pending, rest)

    def end_tunnel(self, reason: Reason | None) -> None:
        """Record a tunnel that is over; both connections are closing already."""
        cells = self.worker.cells
        self.phase = CLOSED
        self.upstream = None
        self.deadline = self.worker.now + _LINGER_SECONDS
        cells[self.backend.gauge + ledger.TUNNELS_IN_FLIGHT] -= 1
        cells[self.environment.codes + 101] += 1
        if reason is not None:
            cells[self.environment.reasons + reason] += 1
            self._note_failure(reason)
        if cells[self.route.word] >> 8 != self.generation:
            self._count_apart(ledger.LATE, reason)

    def drain(self) -> None:
        """The time of what began on the old environment is over: close what this carries."""
        if self.phase == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.go_away()
        elif self.phase in (CONNECTING, EXCHANGE):
            self.fail(Reason.DRAINED, "the release that this request ran on is being replaced")


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make a close a reset: the only way to show that an answer without a length is cut short."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
