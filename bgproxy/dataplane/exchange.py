"""One exchange's place in the ledger and the routes: claimed, moved, recorded, released.

The wire is `downstream`'s matter; what stands here decides which backend carries the exchange and
what is counted of it, and every claim that begins here ends in `record`.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane import connecting, waiting
from bgproxy.dataplane.connection import CONNECTING, EXCHANGE, TUNNEL, ClientConnection
from bgproxy.domain.outcome import Reason, is_failure
from bgproxy.protocol.forwarding import first_untrusted, kept_request_id, list_members
from bgproxy.state import ledger

if TYPE_CHECKING:
    from bgproxy.dataplane.routes import (
        BackendState,
        EnvironmentState,
        Route,
        Routing,
    )
    from bgproxy.dataplane.span_attributes import Span
    from bgproxy.dataplane.tunnel import Tunnel
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.dataplane.worker import Worker
    from bgproxy.protocol.chunked import ChunkedReader
    from bgproxy.protocol.values import RequestHead, ResponseHead

HALF_CLOSED_SECONDS = 1.0
"""How long a client that sends no more is believed to wait for its answer."""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_MOST_BACKENDS = 3


class Exchange(ClientConnection):
    """A client connection that carries an exchange, one at a time."""

    __slots__ = (
        "backend",
        "body",
        "body_left",
        "environment",
        "generation",
        "head",
        "may_be_repeated",
        "method",
        "number",
        "route",
        "routes",
        "span",
        "started",
        "status",
        "tried",
        "trouble",
        "tunnel",
    )

    head: RequestHead
    route: Route
    environment: EnvironmentState
    backend: BackendState
    generation: int

    def __init__(self, worker: Worker, scheme: bytes, client: str) -> None:
        super().__init__(worker, scheme, client)
        self.routes: Routing = worker.routes
        self.method = b""
        self.status = 0
        self.number = 0
        self.started = 0.0
        self.body_left = 0
        self.body: ChunkedReader | None = None
        self.may_be_repeated = False
        self.tried: tuple[BackendState, ...] = ()
        self.tunnel: Tunnel | None = None
        self.span: Span | None = None
        self.trouble = (0, "")

    def send(self, upstream: Upstream) -> None:
        """Put the request on a backend connection."""
        raise NotImplementedError

    def begin_answer(self, head: ResponseHead, data: bytes | memoryview, end: int) -> None:
        """Send the final head, and the body bytes behind `end` that came with it."""
        raise NotImplementedError

    def answer_over(self) -> None:
        """The answer's last byte is written."""
        raise NotImplementedError

    # -- what others ask --------------------------------------------------------------------------

    @property
    def is_claimed(self) -> bool:
        """Whether an exchange is counted in somewhere."""
        return self.phase in (CONNECTING, EXCHANGE, TUNNEL)

    def may_become(self, protocol: bytes) -> bool:
        """Whether the backend may answer that it speaks this protocol now (RFC 9110 section 7.8).

        It must have been asked for, and the request must be over: its body is HTTP still.
        """
        asked_for = list_members((self.head.extras or {}).get(b"upgrade", b""))
        return protocol.lower() in asked_for and not self.body_left

    def note_trouble(self, detail: str) -> None:
        """Keep what went wrong with the present request, for the access log."""
        self.trouble = (self.number, detail)

    @property
    def detail(self) -> str:
        """What went wrong with the present request, as far as it is known; see `note_trouble`."""
        number, detail = self.trouble
        return detail if number == self.number else ""

    @property
    def request_id(self) -> str:
        """The X-Request-Id of the present exchange, the client's or ours."""
        own = kept_request_id(self.head.extras)
        return (own or b"%b%x" % (self.worker.request_prefix, self.number)).decode("latin-1")

    @property
    def origin(self) -> str:
        """The address of who asks: where a trusted proxy does, the one it speaks for."""
        if self.is_trusted and self.head.extras is not None:
            return first_untrusted(self.head.extras, self.worker.routes.trusts) or self.client
        return self.client

    @property
    def taken_bytes(self) -> int:
        """How much of the present request's body was passed on, the framing of chunks apart."""
        length = self.head.length
        if length >= 0:
            return length - self.body_left
        return 0 if self.body is None else self.body.payload_bytes

    def is_connecting_to(self, backend: BackendState) -> bool:
        """Whether this still waits for a connection to that backend."""
        return self.phase == CONNECTING and self.backend is backend

    # -- claim, move, record ----------------------------------------------------------------------

    def claim(self) -> None:
        """Read the pointer, pick a backend, count in: one step with nothing awaited inside.

        Why that makes a drain certain stands in `bgproxy.state.ledger`, "Claims and drain".
        """
        worker = self.worker
        route = self.route
        word = worker.cell(route.word)
        self.environment = environment = route.environments[(word & 0xFF) - 1]
        backend = environment.choose(worker, route.max_in_flight)
        if backend is None:
            waiting.queue(self)
            return
        worker.add(backend.gauge, 1)
        self.backend = backend
        self.generation = word >> 8
        if not self.send_on_idle():
            self.tried = ()
            self.connect()

    def connect(self) -> None:
        """Open a connection to the claimed backend; `send` follows, or a failure."""
        self.phase = CONNECTING
        # What is left of the head's or the idle time must not end this: connecting has its own.
        self.deadline = self.worker.now + HALF_CLOSED_SECONDS if self.is_client_done else inf
        connecting.connect(self)

    def claim_another(self) -> bool:
        """Move the claim to a backend that was not tried yet; False when there is none.

        The new gauge is raised before the old one is lowered, so that the environment's sum
        never looks drained in between.
        """
        self.tried += (self.backend,)
        worker = self.worker
        if len(self.tried) >= _MOST_BACKENDS:
            return False
        limit = self.route.max_in_flight
        backend = self.environment.choose(worker, limit, self.tried)
        if backend is None:
            return False
        worker.cells[backend.gauge] += 1
        worker.cells[self.backend.gauge] -= 1
        self.backend = backend
        return True

    def send_on_idle(self) -> bool:
        """Send on a connection that rests in the claimed backend's pool; False if none does."""
        idle = self.backend.idle
        while idle:
            upstream = idle.pop()
            if upstream.is_usable(self.may_be_repeated):
                self.send(upstream)
                return True
        return False

    def record(self, code: int, reason: Reason | None) -> None:
        """Count how a claimed exchange ended, then release its claim.

        In this order: whoever sees the gauge at zero sees all that was counted.
        """
        worker = self.worker
        environment = self.environment
        route = self.route
        worker.add(environment.codes + code, 1)
        backend = self.backend
        ended = monotonic()
        environment.durations.add(ended - self.started)
        if (
            reason is not None
            or worker.cell(route.word) >> 8 != self.generation
            or route.exclude_paths
            or backend.failures_in_a_row
        ):
            self.record_apart(code, reason)
        if environment.noted_at != worker.now:
            self.record_visit()
        worker.add(backend.gauge, -1)
        if worker.log is not None:
            worker.log.exchange(self, code, reason)
        if route.queue:
            waiting.admit(route, worker)

    def record_apart(self, code: int, reason: Reason | None) -> None:
        """Count and remember a reason; count what the judge must not see: late, or excluded."""
        cells = self.worker.cells
        route = self.route
        if reason is not None:
            cells[self.environment.reasons + reason] += 1
            self.worker.memory.failed(self, code, reason)
            if is_failure(reason) and self.environment.is_judged:
                cells[self.backend.gauge + ledger.BACKEND_FAILURES] += 1
                self.environment.note_failure(self.backend, self.worker.now)
                self.worker.report_failure(self, reason)
            if not is_failure(reason):
                return  # the judge leaves these out already, late or not
        elif self.backend.failures_in_a_row:
            self.backend.failures_in_a_row = self.backend.ejections = 0
        if cells[route.word] >> 8 != self.generation:
            offset = ledger.LATE
        elif route.exclude_paths and self.head.target.startswith(route.exclude_paths):
            offset = ledger.EXCLUDED
        else:
            if reason is not None:
                slot = self.worker.ledger.client_slot(self.origin)
                self.environment.count_client(cells, slot)
            return
        self.environment.count(cells, offset)
        if reason is not None:
            self.environment.count(cells, offset + 1)

    def record_visit(self) -> None:
        """Count one of a tick's requests by its client: who asks, and how much, for the judge.

        A sample is enough for that, and every request would cost each its share.
        """
        route = self.route
        environment = self.environment
        if (
            environment.is_judged
            and self.worker.cells[route.word] >> 8 == self.generation
            and not (route.exclude_paths and self.head.target.startswith(route.exclude_paths))
        ):
            slot = self.worker.ledger.client_slot(self.origin)
            environment.count_visit(self.worker.cells, slot, self.worker.now)
