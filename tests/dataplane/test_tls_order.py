"""TLS between a socket and a connection, driven by hand: in which order things may come."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from bgproxy.dataplane.shared import Shared
from bgproxy.dataplane.tls import TlsConnection
from tests.dataplane.test_tls import backend_tls, client_tls

RECORD = 16 * 1024


class Raw:
    """A socket's transport that is as quick as one may be: what it has comes within the call.

    Attributes:
        end_is_here: whether the other side's FIN waits in the kernel.
    """

    def __init__(self) -> None:
        self.sent = b""
        self.end_is_here = False
        self.is_paused = False
        self.is_closed = False
        self.tls: TlsConnection

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.sent += b"".join(pieces)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        if self.end_is_here and not self.tls.eof_received():
            self.close()

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close


class App:
    """Takes one piece at a time, and then is paused.

    Attributes:
        keeps_open: what it answers to the other side's end.
    """

    def __init__(self, shared: Shared, *, keeps_open: bool = False, pauses: bool = True) -> None:
        self.shared = shared
        self.keeps_open = keeps_open
        self.pauses = pauses
        self.data = b""
        self.has_ended = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def buffer_updated(self, nbytes: int) -> None:
        self.data += bytes(self.shared.scratch[:nbytes])
        if self.pauses:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.has_ended = True
        return self.keeps_open


class Settled(TlsConnection):
    """A side that has nobody to tell of its handshake."""

    def settle(self, error: Exception | None) -> None:
        assert error is None


class Peer:
    """The other side, by memory alone."""

    def __init__(self, raw: Raw, tls: TlsConnection) -> None:
        self._raw, self._tls = raw, tls
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.side = backend_tls("a.test").wrap_bio(self._in, self._out, server_side=True)

    def hear(self) -> None:
        """Take what was sent to it."""
        self._in.write(self._raw.sent)
        self._raw.sent = b""

    def said(self) -> bytes:
        """What it has to say, encrypted."""
        return self._out.read()

    def shake_hands(self) -> None:
        """Both sides in turn until they are done."""
        for _ in range(10):
            self.hear()
            try:
                self.side.do_handshake()
            except ssl.SSLWantReadError:
                self._tls.data_received(self.said())
            else:
                self._tls.data_received(self.said())
                return
        raise AssertionError("no handshake")


def connected(app: Any, shared: Shared) -> tuple[Settled, Raw, Peer]:
    """A connection with TLS, as it is to a backend."""
    raw = Raw()
    loop = asyncio.get_running_loop()
    tls = Settled(app, client_tls(), loop, shared, "a.test")
    raw.tls = tls
    tls.connection_made(cast("asyncio.Transport", raw))
    peer = Peer(raw, tls)
    peer.shake_hands()
    return tls, raw, peer


def shared() -> Shared:
    """A buffer to read into."""
    return Shared(memoryview(bytearray(8)).cast("Q"), b"test")


async def test_what_is_here_comes_before_the_sockets_end() -> None:
    """A slow reader gets all that came before FIN, however soon the socket tells of that."""
    app = App(buffer := shared())
    tls, raw, peer = connected(app, buffer)
    sent = b"".join(bytes([65 + number]) * RECORD for number in range(6))
    peer.side.write(sent)
    try:
        peer.side.unwrap()
    except ssl.SSLWantReadError:
        tls.data_received(peer.said())
    raw.end_is_here = True
    for _ in range(20):
        if raw.is_closed:
            break
        tls.resume_reading()
        await asyncio.sleep(0)
    assert app.data == sent
    assert app.has_ended
    assert raw.is_closed


async def test_the_socket_is_read_again_once_all_is_handed_on() -> None:
    """And not before."""
    app = App(buffer := shared())
    tls, raw, peer = connected(app, buffer)
    peer.side.write(b"x" * (2 * RECORD))
    tls.data_received(peer.said())
    assert raw.is_paused
    tls.resume_reading()
    await asyncio.sleep(0)
    assert len(app.data) == 2 * RECORD
    assert raw.is_paused
    app.pauses = False
    tls.resume_reading()
    await asyncio.sleep(0)
    assert not raw.is_paused


async def test_nothing_is_kept_of_what_comes_behind_the_end() -> None:
    """A peer that has ended its side, and is still answered, cannot fill the memory."""
    app = App(buffer := shared(), keeps_open=True, pauses=False)
    tls, raw, peer = connected(app, buffer)
    try:
        peer.side.unwrap()
    except ssl.SSLWantReadError:
        tls.data_received(peer.said())
    assert app.has_ended
    assert not raw.is_closed
    for _ in range(100):
        tls.data_received(b"y" * RECORD)
    assert tls._incoming.pending < RECORD
    tls.write(b"still answered")
    assert raw.sent
