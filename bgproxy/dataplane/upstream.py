"""A backend connection: carries one exchange at a time, rests in its backend's pool between them.

Phases: RESTING → HEAD (an answer's head is awaited) → one of the bodies → RESTING, or CLOSED.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from typing import TYPE_CHECKING, cast

from bgproxy.dataplane import failing, pieces
from bgproxy.dataplane.connection import LINGER_SECONDS
from bgproxy.dataplane.tunnel import Tunnel
from bgproxy.domain.outcome import Reason
from bgproxy.errors import BadResponse
from bgproxy.protocol.chunked import ChunkedReader
from bgproxy.protocol.head import CHUNKED, read_response_head
from bgproxy.protocol.render import LAST_CHUNK, chunk_head
from bgproxy.protocol.values import ResponseHead

if TYPE_CHECKING:
    from bgproxy.dataplane.downstream import Downstream
    from bgproxy.dataplane.routes import BackendState
    from bgproxy.dataplane.worker import Worker

RESTING, HEAD, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE, TUNNEL, CLOSED = range(7)

_HEAD_BYTES = 4096
"""How much of a large read is looked at for a head that others follow without a copy."""

_MOST_INTERIM = 64
"""1xx answers before the final one; a backend that sends more is out of its mind."""


class Upstream:
    """One connection to a backend."""

    __slots__ = (
        "_has_ended",
        "_interim",
        "_left",
        "_length",
        "_partial",
        "_reader",
        "_spare",
        "_stopped",
        "backend",
        "exchange",
        "idle_since",
        "is_reusable",
        "is_reused",
        "phase",
        "transport",
        "worker",
    )

    transport: asyncio.Transport

    def __init__(self, worker: Worker, backend: BackendState) -> None:
        self.worker = worker
        self.backend = backend
        self.exchange: Downstream | None = None
        self.phase = RESTING
        self.is_reused = False
        self.is_reusable = True
        self.idle_since = 0.0
        self._partial = b""
        self._stopped = False
        self._has_ended = False
        self._left = 0
        self._length = 0
        self._interim = 0
        self._reader: ChunkedReader | None = None
        self._spare = -1

    # -- the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The backend has accepted."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(0)
        self.worker.upstreams.add(self)

    @property
    def as_protocol(self) -> asyncio.BufferedProtocol:
        """This, for the loop: compiled, the class cannot have asyncio's for a base."""
        return cast("asyncio.BufferedProtocol", self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The worker's one buffer; copied out at once."""
        return self.worker.scratch

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever."""
        if self._spare >= 0:
            self._read_what_was_said()
        phase, self.phase = self.phase, CLOSED
        self.worker.upstreams.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            if phase == RESTING and self in self.backend.idle:
                self.backend.idle.remove(self)
        elif phase == TUNNEL:
            assert exchange.tunnel is not None
            exchange.tunnel.backend_lost()
        elif phase == BODY_UNTIL_CLOSE and exc is None and self._has_ended:
            self._end_until_close(exchange)
        else:
            is_silent = phase == HEAD and not self._partial and not self._interim
            failing.upstream_lost(exchange, was_reused=self.is_reused, is_silent=is_silent)

    def eof_received(self) -> bool:
        """The backend sends no more; only a tunnel lives on in one direction.

        A TLS connection that is cut ends without this, and then nothing is complete.
        """
        self._has_ended = True
        if self.phase == TUNNEL and self.exchange is not None:
            assert self.exchange.tunnel is not None
            return self.exchange.tunnel.backend_ended()
        if self.phase == RESTING and self in self.backend.idle:
            self.backend.idle.remove(self)
        elif self.exchange is not None:
            # No answer can come any more: what is still to be sent would only delay the verdict.
            self.transport.abort()
        return False

    def expect_early_answer(self) -> None:
        """An upload goes on: a backend may answer, and reset what it does not want to read.

        A write that meets the reset makes the loop close its descriptor, with the answer unread
        in the kernel; a second descriptor keeps it within reach.
        """
        if self._spare < 0 and self.backend.scheme != "https":
            # Out of descriptors, such an answer is lost, and the upload goes on.
            with contextlib.suppress(OSError):
                self._spare = os.dup(self.transport.get_extra_info("socket").fileno())

    def _read_what_was_said(self) -> None:
        """Take in what a backend that has reset had answered before."""
        with contextlib.suppress(OSError):
            while self.exchange is not None and (
                count := os.readv(self._spare, [self.worker.scratch])
            ):
                self.buffer_updated(count)
        self._let_spare_go()

    def _let_spare_go(self) -> None:
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)

    def pause_writing(self) -> None:
        """The backend reads slower than the client sends."""
        if self.exchange is not None:
            self.exchange.stop_reading()

    def resume_writing(self) -> None:
        """The backend has caught up."""
        if self.exchange is not None:
            self.exchange.go_on_reading()

    def stop_reading(self) -> None:
        """Leave the backend's bytes in the kernel: the client is slow."""
        if not self._stopped and not self.transport.is_closing():
            self._stopped = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take the backend's bytes again."""
        if self._stopped and not self.transport.is_closing():
            self._stopped = False
            self.transport.resume_reading()

    def close(self) -> None:
        """End the connection; what it carried has been taken off it before."""
        self.phase = CLOSED
        self.exchange = None
        self._let_spare_go()
        self.transport.abort()

    def leave_tunnel(self) -> None:
        """The tunnel is over: send what is written, then close; give up if nobody takes it."""
        self.phase = CLOSED
        self.exchange = None
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.worker.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # -- an exchange ----------------------------------------------------------------------------

    @property
    def relayed_bytes(self) -> int:
        """How much of the present answer's body was passed on, the framing of chunks apart."""
        return self._length - self._left

    def is_usable(self, may_fail: bool) -> bool:
        """Whether a resting connection can carry a request.

        One that could not be sent again if the backend has closed meanwhile, as it must not run
        twice or has a body, must not fail: for these the kernel is asked first whether anything
        has come in.
        """
        if self.phase != RESTING or self.transport.is_closing():
            return False
        if may_fail:
            return True
        poll = select.poll()
        poll.register(
            self.transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP
        )
        if poll.poll(0):
            self.close()
            return False
        return True

    def begin(self, exchange: Downstream, request: bytes) -> None:
        """Carry an exchange: write its head (and all of it, where it has no body)."""
        self.exchange = exchange
        self.phase = HEAD
        self.transport.write(request)
        if exchange.is_write_paused:
            self.stop_reading()

    def rest(self) -> None:
        """The exchange is over: back to the pool, or away if that cannot be trusted."""
        self.exchange = None
        if self._spare >= 0:
            self._let_spare_go()
        backend = self.backend
        if self.is_reusable and backend.is_known:
            self.phase = RESTING
            self.is_reused = True
            self._interim = 0
            self.idle_since = self.worker.now
            if self._stopped:
                self.go_on_reading()
            backend.idle.append(self)
        else:
            self.close()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the backend, in the shared buffer."""
        exchange = self.exchange
        if nbytes >= pieces.LARGE_BYTES and exchange is not None:
            if self.phase == BODY_LENGTH:
                transport = exchange.transport
                self._relay(exchange, self.worker.scratch[:nbytes])
                pieces.keep_unsent(self.worker, transport)
                return
            if self.phase == HEAD and self._read_large(exchange, nbytes):
                return
        self.data_received(self.worker.scratch[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        """Bytes from the backend."""
        exchange = self.exchange
        phase = self.phase
        if exchange is None:
            # Nobody asked: whatever this is, it is no answer to the next request.
            if phase == RESTING and self in self.backend.idle:
                self.backend.idle.remove(self)
            self.close()
        elif phase == HEAD:
            self._read_head(exchange, self._partial + data if self._partial else data)
        elif phase == BODY_LENGTH:
            self._relay(exchange, data)
        elif phase == BODY_CHUNKED:
            self._relay_chunks(exchange, data)
        elif phase == TUNNEL:
            assert exchange.tunnel is not None
            exchange.tunnel.from_backend(data)
        elif phase == BODY_UNTIL_CLOSE:
            self._relay_until_close(exchange, data)

    def _read_head(self, exchange: Downstream, data: bytes) -> None:
        """Read an answer's head, and begin its body."""
        try:
            head = read_response_head(data, exchange.method)
        except BadResponse as error:
            failing.fail(exchange, Reason.BAD_RESPONSE, error.detail)
            return
        if head is None:
            self._partial = data
            return
        self._partial = b""
        length = head.length
        if head.status < 200:
            self._read_interim(exchange, head, data)
        elif length >= 0:
            self._begin_body(exchange, head, data, len(data))
        else:
            self._begin_open_body(exchange, head, data)

    def _read_large(self, exchange: Downstream, nbytes: int) -> bool:
        """Read a head with much of its body behind it, which goes on without a copy.

        Returns:
            False if there is more to this answer, and nothing is done.
        """
        if self._partial:
            return False
        try:
            head = read_response_head(self.worker.scratch[:_HEAD_BYTES].tobytes(), exchange.method)
        except BadResponse:
            return False
        if head is None or head.status < 200 or head.length < nbytes - head.end:
            return False
        transport = exchange.transport
        self._begin_body(exchange, head, self.worker.scratch[:nbytes], nbytes)
        pieces.keep_unsent(self.worker, transport)
        return True

    def _begin_body(
        self, exchange: Downstream, head: ResponseHead, data: bytes | memoryview, size: int
    ) -> None:
        """Begin a body of known length, of which `data` holds the first part behind the head."""
        self.is_reusable &= head.keep_alive
        left = head.length - (size - head.end)
        if left < 0:
            # More than was promised: deliver the promise, never trust the rest.
            self.is_reusable = False
            data = data[: left + size]
            left = 0
        self._length = head.length
        self._left = left
        exchange.begin_answer(head, data, head.end)
        if left:
            self.phase = BODY_LENGTH
            exchange.deadline = self.worker.now + exchange.route.response_timeout
        else:
            exchange.answer_over()

    def _begin_open_body(self, exchange: Downstream, head: ResponseHead, data: bytes) -> None:
        """Begin a body whose end is not known beforehand."""
        self._length = self._left = 0
        if head.length == CHUNKED:
            self.is_reusable &= head.keep_alive
            self.phase = BODY_CHUNKED
            self._reader = ChunkedReader(BadResponse, keep_framing=exchange.head.minor == 1)
            self._begin_chunks(exchange, head, data)
            return
        exchange.begin_answer(head, data[: head.end], head.end)
        exchange.deadline = self.worker.now + exchange.route.response_timeout
        self.is_reusable = False
        self.phase = BODY_UNTIL_CLOSE
        rest = data[head.end :]
        if rest:
            self._relay_until_close(exchange, rest)

    def _begin_chunks(self, exchange: Downstream, head: ResponseHead, data: bytes) -> None:
        """Begin a body in chunks: those that are here are checked before the head goes on.

        Mostly they pass as they came, and all of it is one write.
        """
        reader = self._reader
        assert reader is not None
        rest = data[head.end :]
        if not self._read_chunks(exchange, rest):
            return
        out = reader.out
        if len(out) == 1 and len(out[0]) == len(rest):
            exchange.begin_answer(head, data, head.end)
        else:
            exchange.begin_answer(head, data[: head.end], head.end)
            pieces.write_all(exchange.transport, out)
        self._go_on_with_chunks(exchange)

    def _read_interim(self, exchange: Downstream, head: ResponseHead, data: bytes) -> None:
        """Pass a 1xx on and look for the next head; 101 changes the protocol, where asked."""
        rest = data[head.end :]
        if head.status == 101:
            if not exchange.may_become((head.extras or {}).get(b"upgrade", b"")):
                failing.fail(exchange, Reason.BAD_RESPONSE, "the backend changed protocol unasked")
                return
            self.phase = TUNNEL
            Tunnel.begin(exchange, self, head, rest)
            return
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            failing.fail(
                exchange, Reason.BAD_RESPONSE, "the backend sends interim answers without end"
            )
            return
        exchange.interim(head)
        if rest:
            self._read_head(exchange, rest)

    def _relay(self, exchange: Downstream, data: bytes | memoryview) -> None:
        """Body of a known length."""
        left = self._left - len(data)
        if left < 0:
            self.is_reusable = False
            data = data[:left]
            left = 0
        self._left = left
        exchange.transport.write(data)
        if left:
            exchange.deadline = self.worker.now + exchange.route.response_timeout
        else:
            exchange.answer_over()

    def _relay_chunks(self, exchange: Downstream, data: bytes) -> None:
        """Body in chunks; checked, and passed on as chunks or plain."""
        reader = self._reader
        assert reader is not None
        if self._read_chunks(exchange, data):
            pieces.write_all(exchange.transport, reader.out)
            self._go_on_with_chunks(exchange)

    def _read_chunks(self, exchange: Downstream, data: bytes) -> bool:
        """Check chunks; False if the exchange has failed for them."""
        reader = self._reader
        assert reader is not None
        try:
            consumed = reader.feed(data)
        except BadResponse as error:
            failing.fail(exchange, Reason.BAD_RESPONSE, error.detail)
            return False
        self._left = -reader.payload_bytes
        if consumed < len(data):
            self.is_reusable = False
        return True

    def _go_on_with_chunks(self, exchange: Downstream) -> None:
        """The last chunks have been written; their end is the answer's."""
        reader = self._reader
        assert reader is not None
        if reader.is_done:
            self._reader = None
            exchange.answer_over()
        else:
            exchange.deadline = self.worker.now + exchange.route.response_timeout

    def _relay_until_close(self, exchange: Downstream, data: bytes) -> None:
        """Body that the backend's close ends: chunks for an HTTP/1.1 client, plain for 1.0."""
        self._left -= len(data)
        exchange.deadline = self.worker.now + exchange.route.response_timeout
        if exchange.head.minor:
            size = len(data)
            exchange.transport.writelines((chunk_head(size), data, b"\r\n"))
        else:
            exchange.transport.write(data)

    def _end_until_close(self, exchange: Downstream) -> None:
        """The backend has closed in order: that was the body's end."""
        if exchange.head.minor:
            exchange.transport.write(LAST_CHUNK)
        exchange.answer_over()
