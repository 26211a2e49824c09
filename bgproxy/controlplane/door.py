"""The door of the admin API: what a connection has to pass before anything costly serves it.

Until its first head is complete a connection is no more than a few bytes in a `Gate`. So a crowd
that connects and says nothing costs little and gives way to whoever has something to say; and a
flood of wrong tokens, once its address had too many, is told so without being parsed, later and
later. A right token passes always: nobody can lock the operator out. (Served by the framework like
any request, 200 connections with wrong tokens delayed a switch by 1.5 s; it runs in this process.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from bgproxy.controlplane.auth import Access
from bgproxy.controlplane.guards import extra_headers, too_many
from bgproxy.controlplane.peers import Peer, peer_of, peer_of_socket
from bgproxy.controlplane.problems import MEDIA_TYPE, problem_document
from bgproxy.errors import Refused

MAX_CONNECTIONS = 1024

RESERVE = 64
"""Connections over unix sockets that are taken even then."""

MAX_HEAD_BYTES = 32 * 1024

HEAD_TIMEOUT = 15.0
"""Seconds in which a connection's first head must be complete."""

_FIRST_LOOK = 4096
_SWEEP = 1.0
_END = b"\r\n\r\n"
_FULL = Refused(503, "too-many-connections", "The admin API serves as many as it can.")
_LARGE = Refused(431, "head-too-large", f"A head has at most {MAX_HEAD_BYTES // 1024} KiB.")


class Door:
    """Takes connections in; `stop` ends those that were not served yet.

    Args:
        access: knows the tokens.
        serve: makes the protocol for a connection that has something to say.
        served: how many of these there are.
    """

    def __init__(
        self, access: Access, serve: Callable[[], asyncio.Protocol], served: Callable[[], int]
    ) -> None:
        self.access = access
        self.serve = serve
        self._served = served
        self._gates: OrderedDict[Gate | _Held, float] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def protocol(self) -> asyncio.Protocol:
        """What a new connection talks to first."""
        return Gate(self)

    def turns_away(self, sock: socket.socket) -> bool:
        """Look at a connection that was just accepted, before anything is made for it.

        Returns:
            Whether that was all: it is gone already, or brought a wrong token after too many. Then
            the socket is this door's.
        """
        try:
            received = sock.recv(_FIRST_LOOK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            sock.close()
            return True
        end = received.find(_END)
        peer = peer_of_socket(sock)
        wait = self.wait_of(peer, received[: end + 2]) if end >= 0 else 0.0
        if not wait:
            return False
        sock.recv(_FIRST_LOOK)  # or closing it would reset the connection, answer and all
        held = _Held(self, sock, too_many(peer.limit_key, wait))
        if self.enter(held, is_local_user=False):
            held.answer_in(self.access.limit.delay(peer.limit_key))
        else:
            held.abort()
        return True

    def wait_of(self, peer: Peer, head: bytes) -> float:
        """Seconds for which wrong tokens of this peer are refused, if this head has one.

        Counted here already: of many that come at once only the first few may be served.
        """
        if self.access.authenticator.is_open:
            return 0.0
        field = _authorization(head)
        if field is None or self.access.authenticator.principal(field) is not None:
            return 0.0
        return self.access.count_wrong(peer.limit_key, str(peer), time.monotonic())

    def enter(self, gate: Gate | _Held, *, is_local_user: bool) -> bool:
        """Count a new connection; where there are too many the one that waits longest goes.

        Returns:
            Whether there is room for this one.
        """
        if self._is_closed:
            return False
        most = MAX_CONNECTIONS + (RESERVE if is_local_user else 0)
        if len(self._gates) + self._served() >= most:
            if not self._gates:
                return False
            oldest, _ = self._gates.popitem(last=False)
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._gates[gate] = loop.time() + HEAD_TIMEOUT
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP, self._sweep)
        return True

    def leave(self, gate: Gate | _Held) -> None:
        """Count a connection no more: it is served, or gone."""
        self._gates.pop(gate, None)

    def _sweep(self) -> None:
        """Close what has waited for too long; the oldest stand first."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._gates and next(iter(self._gates.values())) <= now:
            gate, _ = self._gates.popitem(last=False)
            gate.abort()
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if self._gates else None

    def stop(self) -> None:
        """Close every connection that is not served yet, and take no more."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for gate in list(self._gates):
            gate.abort()
        self._gates.clear()


class Gate(asyncio.Protocol):
    """One connection until its first head is complete."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._received = bytearray()
        self._peer = Peer("0.0.0.0")
        self._answering: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in."""
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_of(transport)
        if not self._door.enter(self, is_local_user=self._peer.is_local_user):
            self._answer(_FULL)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the head, then look at its token, or let it be served."""
        self._received += data
        end = self._received.find(_END, max(0, len(self._received) - len(data) - len(_END)))
        if end < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                self._answer(_LARGE)
            return
        if wait := self._door.wait_of(self._peer, bytes(self._received[: end + 2])):
            self._transport.pause_reading()
            refusal = too_many(self._peer.limit_key, wait)
            delay = self._door.access.limit.delay(self._peer.limit_key)
            loop = asyncio.get_running_loop()
            self._answering = loop.call_later(delay, self._answer, refusal)
            return
        self._hand_over()

    def _hand_over(self) -> None:
        """From now on the framework serves this connection, from its first byte."""
        self._door.leave(self)
        protocol = self._door.serve()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(self._received))

    def _answer(self, refusal: Refused) -> None:
        """Refuse and close."""
        self._transport.write(_raw(refusal))
        self._transport.close()

    def abort(self) -> None:
        """End at once, without a word."""
        self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """It is gone before it was served."""
        if self._answering is not None:
            self._answering.cancel()
        self._door.leave(self)


class _Held:
    """A connection that was turned away, until it is told so."""

    def __init__(self, door: Door, sock: socket.socket, refusal: Refused) -> None:
        self._door = door
        self._socket = sock
        self._refusal = refusal
        self._timer: asyncio.TimerHandle | None = None

    def answer_in(self, delay: float) -> None:
        """Answer later, which slows down whoever waits for it."""
        self._timer = asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        self._door.leave(self)
        with contextlib.suppress(OSError):
            self._socket.send(_raw(self._refusal), socket.MSG_DONTWAIT)
        self._socket.close()

    def abort(self) -> None:
        """End at once, without a word."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()


def _authorization(head: bytes) -> str | None:
    """The first Authorization field of a head, as it stands there."""
    lowered = head.lower()
    start = lowered.find(b"\r\nauthorization:")
    if start < 0:
        return None
    start += len(b"\r\nauthorization:")
    return head[start : head.find(b"\r\n", start)].strip().decode("latin-1")


def _raw(refusal: Refused) -> bytes:
    """A refusal as bytes of HTTP, after which the connection ends."""
    document = problem_document(refusal.status, refusal.kind, refusal.detail, refusal.facts)
    body = json.dumps(document).encode()
    fields = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Server": "bgproxy",
        "Connection": "close",
    } | extra_headers(refusal)
    phrase = HTTPStatus(refusal.status).phrase
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {refusal.status} {phrase}\r\n{lines}\r\n".encode() + body
