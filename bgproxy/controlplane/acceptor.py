"""One listening socket of the admin API: accepts in batches, and looks before it spends.

The event loop's own servers accept one connection for each of its rounds. A crowd that connects
and hangs up then fills the queue, and whoever is behind it waits for as many rounds: seconds.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

import structlog

from bgproxy.controlplane.admin_tls import HANDSHAKE_TIMEOUT
from bgproxy.controlplane.door import Door

_BACKLOG = 1024
"""Connections that wait to be accepted. Whoever comes to a full queue tries again after a second;
in a longer one a crowd makes everybody wait, too.
"""

_BATCH = 64
_BREATHER = 0.1
"""Seconds without accepting when there are no descriptors left."""

_log = structlog.get_logger("bgproxy.admin")


class Acceptor:
    """Accepts from now on, until `close`.

    Args:
        sock: bound, not yet listening.
        tls: what is spoken on it.
    """

    def __init__(self, sock: socket.socket, door: Door, tls: ssl.SSLContext | None = None) -> None:
        self._socket = sock
        self._door = door
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._connecting: dict[asyncio.Task[None], socket.socket] = {}
        self._pause: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._listen()

    @property
    def port(self) -> int:
        """The TCP port; 0 for a unix socket."""
        name = self._socket.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("cannot_accept", error=str(error))
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(_BREATHER, self._listen)
                return
            if not self._door.turns_away(accepted):
                task = self._loop.create_task(self._connect(accepted))
                self._connecting[task] = accepted
                task.add_done_callback(self._connecting.pop)

    async def _connect(self, accepted: socket.socket) -> None:
        """Make a connection of it; one that ends meanwhile is nobody's business."""
        try:
            await self._loop.connect_accepted_socket(
                self._door.protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if self._tls else None,
            )
        except (OSError, ssl.SSLError):
            accepted.close()

    def close(self) -> None:
        """Accept no more; a second time does nothing."""
        if self._socket.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        for task, accepted in self._connecting.items():
            task.cancel()
            accepted.close()
        self._socket.close()
