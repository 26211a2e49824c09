"""Two connections that speak another protocol now: bytes both ways, half-closes included.

A WebSocket that must end because its environment is drained is told so by a close frame 1001
(RFC 6455 section 7.4.1), which may stand only between two frames of the backend's; so that
direction is followed frame by frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgproxy.domain.outcome import Reason
from bgproxy.protocol.websocket import FrameTracker, close_frame

if TYPE_CHECKING:
    from bgproxy.dataplane.downstream import Downstream
    from bgproxy.dataplane.upstream import Upstream

_GOODBYE_SECONDS = 1.0
"""How long a client may take to answer a close frame, or a backend to end a frame under way."""


class Tunnel:
    """What a `Downstream` and an `Upstream` are joined by after a 101."""

    __slots__ = (
        "_client",
        "_frames",
        "_idle_timeout",
        "_is_backend_done",
        "_is_client_done",
        "_is_said",
        "_upstream",
        "is_going_away",
    )

    def __init__(self, client: Downstream, upstream: Upstream, protocol: bytes) -> None:
        self._client = client
        self._upstream = upstream
        is_websocket = protocol.lower() == b"websocket"
        self._frames = FrameTracker() if is_websocket else None
        self._idle_timeout = client.route.timeouts.tunnel_idle
        self._is_client_done = client.is_client_done
        self._is_backend_done = False
        self.is_going_away = False
        self._is_said = False

    def begin(self, from_client: bytes, from_backend: bytes) -> None:
        """Pass on what came glued to the handshake's two heads."""
        self._touch()
        if from_client:
            self.from_client(from_client)
        if from_backend:
            self.from_backend(from_backend)

    def from_client(self, data: bytes) -> None:
        """Bytes towards the backend."""
        self._touch()
        self._upstream.transport.write(data)

    def from_backend(self, data: bytes) -> None:
        """Bytes towards the client."""
        if self._is_said:
            return
        self._touch()
        if self._frames is not None:
            self._frames.feed(data)
        self._client.transport.write(data)
        if self.is_going_away:
            self._say_goodbye()

    def client_ended(self) -> bool:
        """The client sends no more; True keeps its connection for the other direction."""
        return self._ended("_is_client_done", self._upstream, self._is_backend_done)

    def backend_ended(self) -> bool:
        """The backend sends no more; True keeps its connection for the other direction."""
        return self._ended("_is_backend_done", self._client, self._is_client_done)

    def _ended(self, mark: str, other: Downstream | Upstream, is_other_done: bool) -> bool:
        setattr(self, mark, True)
        if is_other_done or self.is_going_away or not other.transport.can_write_eof():
            self._close(None)
            return False
        other.transport.write_eof()
        return True

    def client_lost(self) -> None:
        """The client's connection is gone."""
        self._close(None)

    def backend_lost(self) -> None:
        """The backend's connection is gone."""
        self._close(None)

    def expire(self, now: float) -> None:
        """Nothing moved for too long, or the goodbye takes too long."""
        self._close(Reason.DRAINED if self.is_going_away else None)

    def go_away(self) -> None:
        """End the tunnel because its environment is drained."""
        if self.is_going_away:
            return
        self.is_going_away = True
        self._client.deadline = self._client.worker.now + _GOODBYE_SECONDS
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self._frames is None:
            self._close(Reason.DRAINED)
        elif self._frames.at_boundary and not self._is_said:
            self._is_said = True
            self._client.transport.write(close_frame(1001, b"going away"))

    def _touch(self) -> None:
        if not self.is_going_away:
            self._client.deadline = self._client.worker.now + self._idle_timeout

    def _close(self, reason: Reason | None) -> None:
        """Close both sides, once, and record."""
        upstream, client = self._upstream, self._client
        if client.tunnel is None:
            return
        client.tunnel = None
        if self.is_going_away:
            reason = Reason.DRAINED
        upstream.exchange = None
        upstream.transport.close()
        client.transport.close()
        client.end_tunnel(reason)
