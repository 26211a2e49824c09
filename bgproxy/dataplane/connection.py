"""A client's connection by itself: buffers, flow control, and an end that loses no answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from math import inf
from typing import TYPE_CHECKING, cast

from bgproxy.protocol.render import error_answer

if TYPE_CHECKING:
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.dataplane.worker import Worker

IDLE, WAITING, CONNECTING, EXCHANGE, TUNNEL, LINGER, CLOSED = range(7)

BUFFER_BYTES = 64 * 1024
LINGER_SECONDS = 5.0
_LINGER_MOST = 30.0
_UNTAKEN_SECONDS = 30.0
"""How long a client may take nothing of an answer's last bytes."""

# Why the client's socket is not read just now; bits of `_stops`.
STOP_PENDING = 1
STOP_UPSTREAM = 2


class ClientConnection:
    """What a `Downstream` is built on; `phase` and `deadline` are the exchange's to set.

    Args:
        scheme: ``http`` or ``https``, as the client speaks it.
        client: its address where somebody else told it; empty for the peer's own.
    """

    __slots__ = (
        "_linger_until",
        "_stops",
        "_unsent",
        "client",
        "deadline",
        "is_client_done",
        "is_trusted",
        "is_write_paused",
        "pending",
        "phase",
        "quiet_since",
        "scheme",
        "transport",
        "upstream",
        "worker",
    )

    transport: asyncio.Transport

    def __init__(self, worker: Worker, scheme: bytes = b"http", client: str = "") -> None:
        self.worker = worker
        self.scheme = scheme
        self.phase = IDLE
        self.deadline = inf
        self.client = client
        self.is_trusted = False
        self.is_client_done = False
        self.is_write_paused = False
        self.upstream: Upstream | None = None
        self.pending: bytes | memoryview = b""
        self.quiet_since = worker.now
        self._stops = 0
        self._linger_until = inf
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; one too many is told so."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(0)
        if not self.client:
            peer = transport.get_extra_info("peername")
            self.client = peer[0] if isinstance(peer, tuple) else ""
        self.deadline = self.quiet_since + self.worker.idle_timeout
        if self.worker.welcome(self):
            self.is_trusted = self.worker.is_trusted(self.client)
        else:
            self.worker.turn_away(self)
            detail = "the proxy carries as many connections as it may"
            self.answer_error(503, "too_many_connections", detail, retry_after=1)

    @property
    def as_protocol(self) -> asyncio.BufferedProtocol:
        """This, for the loop: compiled, the class cannot have asyncio's for a base."""
        return cast("asyncio.BufferedProtocol", self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """All connections of a worker read through one buffer; it is copied out at once."""
        return self.worker.scratch

    # -- flow control ---------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads slower than the backend answers."""
        self.is_write_paused = True
        if self.upstream is not None:
            self.upstream.stop_reading()

    def stop_reading(self, why: int = STOP_UPSTREAM) -> None:
        """Leave the client's bytes in the kernel for now."""
        if not self._stops and not self.transport.is_closing():
            self.transport.pause_reading()
        self._stops |= why

    def go_on_reading(self, why: int = STOP_UPSTREAM) -> None:
        """Take the client's bytes again, if nothing else is in the way."""
        if self._stops:
            self._stops &= ~why
            if not self._stops and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def is_stopped(self) -> bool:
        """Whether the client's bytes are left in the kernel just now."""
        return self._stops != 0

    def keep(self, data: bytes) -> None:
        """Keep bytes whose turn has not come: the next request's, or an unclaimed one's body."""
        self.pending = bytes(self.pending) + data if self.pending else data
        if len(self.pending) >= BUFFER_BYTES:
            self.stop_reading(STOP_PENDING)

    # -- the end --------------------------------------------------------------------------------

    def answer_error(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        accept: bytes = b"",
        is_head: bool = False,
        is_sending: bool = True,
        retry_after: int | None = None,
        page: bytes | None = None,
        fields: bytes = b"",
    ) -> None:
        """An answer of our own; the connection is closed behind it.

        Args:
            accept: the request's Accept field.
            is_head: whether the request was a HEAD.
            is_sending: whether the client may still be sending its request.
            retry_after: seconds.
            page: HTML that stands in for the proxy's own.
            fields: further field lines, each with its CRLF.
        """
        self.transport.write(
            error_answer(
                status,
                reason,
                detail,
                keep_alive=False,
                accept=accept,
                retry_after=retry_after,
                head_only=is_head,
                page=page,
                fields=fields,
                now=self.worker.now + self.worker.epoch_offset,
            )
        )
        self.end(is_sending=is_sending)

    def end(self, *, is_sending: bool) -> None:
        """Close behind what is written.

        A client still sending is read for a while: closing on it would make the kernel send a
        reset, which can destroy the answer on its way (RFC 9112 section 9.6).
        """
        now = self.worker.now
        is_sending = is_sending or bool(self.pending)
        self.pending = b""
        self.deadline = now + LINGER_SECONDS
        if is_sending and not self.is_client_done and self.transport.can_write_eof():
            self.phase = LINGER
            self._linger_until = now + _LINGER_MOST
            self.transport.write_eof()
            self.go_on_reading(~0)
        else:
            self.phase = CLOSED
            self.transport.close()

    def linger(self) -> None:
        """More came from a client that is only being let finish."""
        self.deadline = min(self.worker.now + LINGER_SECONDS, self._linger_until)

    def expire_end(self) -> None:
        """The time to close is over; a client that still takes what was written gets more."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._unsent = unsent
            self.deadline = self.worker.now + _UNTAKEN_SECONDS
        else:
            self.transport.abort()

    def cut(self, *, is_reset: bool) -> None:
        """End the connection inside an answer, so that nobody takes the part for the whole.

        Args:
            is_reset: the only way to show it where nothing but the close marks the answer's end.
        """
        self.phase = CLOSED
        self.deadline = self.worker.now + LINGER_SECONDS
        if is_reset:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()
