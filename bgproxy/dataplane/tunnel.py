"""Two connections that speak another protocol now: bytes both ways, half-closes included.

A WebSocket that must end because its environment is drained is told so by a close frame 1001
(RFC 6455 section 7.4.1), which may stand only between two frames of the backend's; so that
direction is followed frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgproxy.dataplane import waiting
from bgproxy.dataplane.connection import CLOSED, LINGER_SECONDS, STOP_PENDING, TUNNEL
from bgproxy.domain.outcome import Reason
from bgproxy.protocol.websocket import FrameTracker, close_frame
from bgproxy.state import ledger

if TYPE_CHECKING:
    from bgproxy.dataplane.downstream import Downstream
    from bgproxy.dataplane.upstream import Upstream
    from bgproxy.protocol.head import ResponseHead

_GOODBYE_SECONDS = 1.0
"""How long a client may take to answer a close frame, or a backend to end a frame under way."""


class Tunnel:
    """What a `Downstream` and an `Upstream` are joined by after a 101."""

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_client",
        "_frames",
        "_idle_timeout",
        "_is_backend_done",
        "_is_client_done",
        "_is_over",
        "_is_said",
        "_upstream",
        "is_going_away",
    )

    def __init__(self, client: Downstream, upstream: Upstream, protocol: bytes) -> None:
        self._client = client
        self._upstream = upstream
        self._frames = FrameTracker() if protocol.lower() == b"websocket" else None
        self._idle_timeout = client.route.timeouts.tunnel_idle
        self._is_client_done = client.is_client_done
        self._is_backend_done = False
        self._is_said = False
        self._bytes_in = 0
        self._bytes_out = 0
        self._is_over = False
        self.is_going_away = False

    @classmethod
    def begin(cls, client: Downstream, upstream: Upstream, head: ResponseHead, rest: bytes) -> None:
        """Both sides agreed to another protocol (RFC 9110 section 7.8).

        Args:
            head: the backend's 101.
            rest: the new protocol's first bytes, glued to it.
        """
        protocol = (head.extras or {})[b"upgrade"]
        cells = client.worker.cells
        gauge = client.backend.gauge
        cells[gauge + ledger.TUNNELS_IN_FLIGHT] += 1
        cells[gauge + ledger.REQUESTS_IN_FLIGHT] -= 1
        if client.route.queue:
            waiting.admit(client.route, client.worker)
        client.status = 101
        client.phase = TUNNEL
        client.tunnel = tunnel = cls(client, upstream, protocol)
        client.transport.write(
            head.lines
            + client.environment.answer_fields
            + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
        )
        pending, client.pending = bytes(client.pending), b""
        client.go_on_reading(STOP_PENDING)
        tunnel._touch()
        if pending:
            tunnel.from_client(pending)
        if rest:
            tunnel.from_backend(rest)

    def from_client(self, data: bytes) -> None:
        """Bytes towards the backend."""
        self._touch()
        self._bytes_in += len(data)
        self._upstream.transport.write(data)

    def from_backend(self, data: bytes) -> None:
        """Bytes towards the client; none after a goodbye."""
        if self._is_said:
            return
        self._touch()
        self._bytes_out += len(data)
        if self._frames is not None:
            self._frames.feed(data)
        self._client.transport.write(data)
        if self.is_going_away:
            self._say_goodbye()

    def client_ended(self) -> bool:
        """The client sends no more; True keeps its connection for the other direction."""
        self._is_client_done = True
        return self._pass_end(self._upstream, is_last=self._is_backend_done)

    def backend_ended(self) -> bool:
        """The backend sends no more; True keeps its connection for the other direction."""
        self._is_backend_done = True
        return self._pass_end(self._client, is_last=self._is_client_done)

    def _pass_end(self, other: Downstream | Upstream, *, is_last: bool) -> bool:
        if is_last or self.is_going_away or not other.transport.can_write_eof():
            self._close()
            return False
        other.transport.write_eof()
        return True

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._close()

    def backend_lost(self) -> None:
        """The backend's connection is gone."""
        self._close()

    def expire(self) -> None:
        """Nothing moved for too long, or the goodbye takes too long."""
        self._close()

    def go_away(self) -> None:
        """End the tunnel because its environment is drained, or the proxy stops."""
        if not self.is_going_away:
            self.is_going_away = True
            self._client.deadline = self._client.worker.now + _GOODBYE_SECONDS
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self._frames is None:
            self._close()
        elif self._frames.at_boundary and not self._is_said:
            self._is_said = True
            self._client.transport.write(close_frame(1001, b"going away"))

    def _touch(self) -> None:
        if not self.is_going_away:
            self._client.deadline = self._client.worker.now + self._idle_timeout

    def _close(self) -> None:
        """Close both sides, once, and record."""
        if self._is_over:
            return
        self._is_over = True
        upstream, client = self._upstream, self._client
        client.phase = CLOSED
        client.deadline = client.worker.now + LINGER_SECONDS
        client.upstream = None
        upstream.leave_tunnel()
        client.transport.close()
        cells = client.worker.cells
        cells[client.backend.gauge + ledger.TUNNELS_IN_FLIGHT] -= 1
        cells[client.environment.codes + 101] += 1
        reason = Reason.DRAINED if self.is_going_away else None
        client.record_apart(101, reason)
        if client.worker.log is not None:
            client.worker.log.ended(client, 101, reason, self._bytes_in, self._bytes_out)
