"""How a worker's sockets reach its connections: streams of our own, or the event loop's transports.

Where the package is compiled, `bgproxy.dataplane._streams` reads and writes them, at half of what
the loop takes for that; else the loop does. A protocol must do for both: it has `data_received`,
and `get_buffer` with `buffer_updated`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from bgproxy import compiled

if TYPE_CHECKING:
    from bgproxy.dataplane.shared import Shared

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Closable(Protocol):
    """What `listen` returns."""

    def close(self) -> None:
        """Accept no more, and close the listening socket."""


class LoopSockets:
    """Sockets by the event loop's transports."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def listen(
        self, sock: socket.socket, accept: Callable[[], asyncio.BufferedProtocol], backlog: int
    ) -> Closable:
        """Accept from a socket that listens; `accept` makes each connection's protocol."""
        # It calls listen() again, with a backlog of 100 unless told.
        return await self._loop.create_server(accept, sock=sock, backlog=backlog)

    async def connect(self, address: Address, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Connect, and tell the protocol of it.

        Raises:
            OSError: nobody accepts there.
        """
        if isinstance(address, str):
            transport, _ = await self._loop.create_unix_connection(lambda: protocol, address)
        else:
            transport, _ = await self._loop.create_connection(lambda: protocol, *address)
        return transport

    def close(self) -> None:
        """Nothing is left that does not end with its connection."""


class OwnSockets(LoopSockets):
    """Sockets by streams of our own.

    Args:
        shared: whose scratch buffer is read into.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared) -> None:
        from bgproxy.dataplane import _streams

        super().__init__(loop)
        self._streams = _streams
        self._poller = _streams.Poller(loop, shared)

    async def listen(
        self, sock: socket.socket, accept: Callable[[], asyncio.BufferedProtocol], backlog: int
    ) -> Closable:
        """As without streams; it listens with the backlog that it has."""
        return self._streams.Listener(self._poller, sock, accept)

    async def connect(self, address: Address, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """The loop resolves and connects, then the socket is taken over."""
        handover = _Handover()
        try:
            await super().connect(address, handover)
            if handover.error is not None:
                raise handover.error
            fd, handover.fd = handover.fd, -1
        finally:
            handover.close()
        return self._streams.connect(self._poller, fd, protocol)

    def close(self) -> None:
        """Close every socket that is left."""
        self._poller.close()


class _Handover(asyncio.Protocol):
    """Takes a connected socket away from the loop's transport before a byte of it is read.

    Attributes:
        fd: of the socket; -1 while there is none.
        error: why there is none, though it was connected.
    """

    def __init__(self) -> None:
        self.fd = -1
        self.error: OSError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep another descriptor of the socket; the transport may close its own."""
        try:
            self.fd = os.dup(transport.get_extra_info("socket").fileno())
        except OSError as error:  # the loop would take what is raised here for a connection made
            self.error = error
        cast("asyncio.Transport", transport).abort()

    def close(self) -> None:
        """Close the descriptor if nobody took it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def sockets_of(loop: asyncio.AbstractEventLoop, shared: Shared) -> LoopSockets:
    """What this installation has."""
    return OwnSockets(loop, shared) if compiled.IS_USED else LoopSockets(loop)
