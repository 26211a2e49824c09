"""Sockets that a service manager has opened for us (sd_listen_fds(3), "socket activation").

They outlive the proxy: what comes while it is restarted waits in their queues, and nobody is
refused. They may also be bound to ports that the proxy itself has no right to.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from bgproxy.config.settings import Address
from bgproxy.errors import StateError

FIRST_FD = 3

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class PassedSocket(socket.socket):
    """A listening socket that belongs to the service manager.

    Nothing may be done to it that its next user would still feel: no filter, no removed path.
    """

    __slots__ = ()


class Activation:
    """The sockets that were passed, each waiting for the address of the configuration it is for.

    Args:
        sockets: by their names, in the order in which they came.
    """

    def __init__(self, sockets: list[tuple[str, PassedSocket]]) -> None:
        self._waiting = [(name, _address(sock), sock) for name, sock in sockets]

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Activation:
        """Take over what was passed to this process, if anything.

        The variables are removed, so that no child takes the sockets for its own.

        Raises:
            StateError: something other than a listening stream socket was passed.
        """
        pid, count, names = (environ.get(name, "") for name in _VARIABLES)
        if pid != str(os.getpid()) or not count.isdecimal():
            return cls([])
        for name in _VARIABLES:
            environ.pop(name, None)
        labels = names.split(":") if names else []
        labels += ["unknown"] * (int(count) - len(labels))
        return cls([(labels[i], _adopt(FIRST_FD + i, labels[i])) for i in range(int(count))])

    def claim(self, address: Address, workers: int) -> list[socket.socket] | None:
        """One socket for each worker, if any was passed for an address.

        Where fewer were passed than there are workers, some share one: a socket of our own beside
        them would need the rights of whoever opened the first (SO_REUSEPORT is for one user's).

        Raises:
            StateError: more were passed than there are workers; connections that the kernel gives
                to the rest would wait for ever.
        """
        found = [sock for _, bound, sock in self._waiting if bound == address]
        if not found:
            return None
        if len(found) > workers:
            raise StateError(
                f"{len(found)} sockets were passed for {address} and there are {workers} workers; "
                "pass fewer, or raise proxy.workers"
            )
        self._waiting = [each for each in self._waiting if each[1] != address]
        return [*found, *(found[i % len(found)].dup() for i in range(len(found), workers))]

    def expect_none_left(self) -> None:
        """Find out whether a socket was passed that nobody would serve.

        Raises:
            StateError: naming them.
        """
        if self._waiting:
            left = ", ".join(f"{address} ({name})" for name, address, _ in self._waiting)
            for _, _, sock in self._waiting:
                sock.close()
            raise StateError(f"sockets were passed that no listener is configured for: {left}")


def _adopt(fd: int, name: str) -> PassedSocket:
    os.set_inheritable(fd, False)
    try:
        sock = PassedSocket(fileno=fd)
    except OSError as error:
        raise StateError(f"descriptor {fd} ({name}) was passed and is no socket") from error
    is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family not in _FAMILIES or sock.type != socket.SOCK_STREAM or not is_listening:
        sock.close()
        raise StateError(f"descriptor {fd} ({name}) was passed and is no listening stream socket")
    sock.setblocking(False)
    return sock


def _address(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return Address("", 0, name) if isinstance(name, str) else Address(name[0], name[1])
