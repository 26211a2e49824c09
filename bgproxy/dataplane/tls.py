"""TLS between a socket and a connection: a protocol to the one, a transport to the other.

The loop's own TLS would do, but for three things: it drops decrypted bytes when the peer closes
while reading is paused (the end of an answer, for a slow client), it has no half-close, and it
takes a buffer of 256 KiB for every connection. Here bytes are decrypted into the worker's one
buffer, what is paused stays encrypted in memory BIOs (one read at most) and in the kernel, and
close_notify is to a connection what FIN is without TLS (RFC 8446 section 6.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from bgproxy.dataplane.shared import Shared

_RECORD_BYTES = 16 * 1024
"""The most that goes into one record (RFC 8446 section 5.1); smaller pieces are joined to one, as a
record costs more than the copy."""


class TlsConnection(asyncio.Transport, asyncio.BufferedProtocol):
    """One connection's TLS.

    Args:
        app: told of the connection once the handshake is done; it need not know about TLS, except
            that an end without `eof_received` before it may be an attacker's work.
        shared: whose scratch buffer the bytes pass through, in both their forms.
        server_name: what the peer's certificate must be for; None on the accepting side.
    """

    __slots__ = (
        "_error",
        "_has_peer_ended",
        "_has_said_end",
        "_incoming",
        "_is_kept_open",
        "_is_paused",
        "_is_ready",
        "_loop",
        "_outgoing",
        "_raw",
        "_shared",
        "_tls",
        "app",
    )

    _raw: asyncio.Transport

    def __init__(
        self,
        app: asyncio.BufferedProtocol,
        context: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
        shared: Shared,
        server_name: str | None = None,
    ) -> None:
        self.app = app
        self._loop = loop
        self._shared = shared
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name or None,
        )
        self._error: Exception | None = None
        self._is_ready = False
        self._is_paused = False
        self._is_kept_open = False
        self._has_peer_ended = False
        self._has_said_end = False

    def settle(self, error: Exception | None) -> None:
        """The handshake is done, or has failed; called once, for subclasses to hear of it.

        Where it is done the application is told of the connection right behind this.
        """
        raise NotImplementedError

    # -- to the socket: a protocol --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected; the connecting side speaks first."""
        self._raw = cast("asyncio.Transport", transport)
        if not self._tls.server_side:
            self._shake_hands()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Encrypted bytes pass through the buffer of the decrypted ones."""
        return self._shared.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Encrypted bytes have come, in the shared buffer."""
        self.data_received(self._shared.scratch[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        """Encrypted bytes have come; behind the peer's close_notify they are nobody's."""
        if self._has_peer_ended:
            return
        self._incoming.write(data)
        if self._is_ready:
            self._deliver()
        elif self._error is None:
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()
        self._is_ready = True
        self.settle(None)
        self.app.connection_made(self)
        self._deliver()

    def _deliver(self) -> None:
        """Decrypt what is here and hand it on, as long as it is wanted."""
        tls, incoming, shared = self._tls, self._incoming, self._shared
        while (
            (incoming.pending or tls.pending())
            and not self._is_paused
            and not self._has_peer_ended
            and not self._raw.is_closing()
        ):
            try:
                scratch = shared.scratch
                count = cast("int", tls.read(len(scratch), cast("bytearray", scratch)))
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # instead of 0 where our side has ended before
                count = 0
            except ssl.SSLError as error:
                self._fail(error)
                return
            if count:
                self.app.buffer_updated(count)
            else:
                self._take_end()
        if self._outgoing.pending:  # what TLS itself has to say, such as an update of keys
            self._flush()

    def _take_end(self) -> None:
        """The peer's close_notify: it sends no more, and says so."""
        self._has_peer_ended = True
        self._is_kept_open = bool(self.app.eof_received())
        if not self._is_kept_open:
            self.close()

    def eof_received(self) -> bool:
        """FIN; without a close_notify before it the connection was cut, by whomever."""
        if self._is_ready:
            self._deliver()
        return self._is_kept_open

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if self._is_ready:
            self.app.connection_lost(self._error or exc)
        elif self._error is None:
            self.settle(exc or ConnectionResetError("closed inside the TLS handshake"))

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        if self._is_ready:
            self.app.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        if self._is_ready:
            self.app.resume_writing()

    def _fail(self, error: Exception) -> None:
        """The peer breaks TLS, or is not who it should be: say so (an alert) and close."""
        self._error = error
        self._flush()
        self._raw.close()
        if not self._is_ready:
            self.settle(error)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    # -- to the connection: a transport ---------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport knows."""
        return self._raw.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bound what waits to be sent, counted encrypted."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that wait to be sent."""
        return self._raw.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._raw.is_closing()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send."""
        self._send((data,))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Encrypt pieces and send them together."""
        pieces = tuple(list_of_data)
        if sum(map(len, pieces)) <= _RECORD_BYTES:
            pieces = (b"".join(pieces),)
        self._send(pieces)

    def _send(self, pieces: tuple[bytes | bytearray | memoryview[Any], ...]) -> None:
        """Encrypt record by record, and send all of them together.

        Each record is taken out by itself: memory for one large text costs more than its
        encryption.
        """
        if self._raw.is_closing() or self._has_said_end:
            return
        write, read = self._tls.write, self._outgoing.read
        records: list[bytes] = []
        try:
            for piece in pieces:
                view = memoryview(piece)
                for start in range(0, len(view), _RECORD_BYTES):
                    write(view[start : start + _RECORD_BYTES])
                    records.append(read())
        except ssl.SSLError as error:
            self._fail(error)
            return
        if len(records) == 1:
            self._raw.write(records[0])
        elif records:
            self._raw.writelines(records)

    def pause_reading(self) -> None:
        """Decrypt no more; the socket is not read either."""
        if not self._is_paused and not self._raw.is_closing():
            self._is_paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on; what is here already comes on the loop's next turn, before the socket's.

        The socket stays paused until then: its end would close the connection over what is here.
        """
        if self._is_paused and not self._raw.is_closing():
            self._is_paused = False
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._deliver()
        if not self._is_paused and not self._raw.is_closing():
            self._raw.resume_reading()

    def can_write_eof(self) -> bool:
        """As without TLS."""
        return True

    def write_eof(self) -> None:
        """Send no more, and say so."""
        if not self._raw.is_closing() and not self._has_said_end:
            self._say_end()
            self._raw.write_eof()

    def close(self) -> None:
        """Send what is written and a close_notify, and close; the peer's is not waited for."""
        if not self._raw.is_closing():
            self._say_end()
            self._raw.close()

    def _say_end(self) -> None:
        if self._is_ready and not self._has_said_end:
            self._has_said_end = True
            # The library also looks for the peer's, and what it finds instead would be lost.
            unread = self._incoming.read()
            with contextlib.suppress(ssl.SSLError):  # mostly that the peer's has not come
                self._tls.unwrap()
            self._incoming.write(unread)
            self._flush()

    def abort(self) -> None:
        """Close at once."""
        self._raw.abort()


class TlsDeparture(TlsConnection):
    """TLS to a backend.

    Attributes:
        done: has a result when the handshake is done, or the error that ended it.
    """

    __slots__ = ("done",)

    def __init__(
        self,
        app: asyncio.BufferedProtocol,
        context: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
        shared: Shared,
        server_name: str,
    ) -> None:
        super().__init__(app, context, loop, shared, server_name)
        self.done: asyncio.Future[None] = loop.create_future()

    def settle(self, error: Exception | None) -> None:
        """Wake who waits for the handshake."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
