"""Who is at the other end of an admin connection, as the audit trail and limits name it."""

from __future__ import annotations

import asyncio
import ipaddress
import pwd
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")
_NAMES: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    Args:
        address: of TCP; empty for a unix socket.
        port: of TCP.
        process, user: of a unix socket's client when it connected; -1 for TCP.
    """

    address: str = ""
    port: int = 0
    process: int = -1
    user: int = -1

    @property
    def is_local_user(self) -> bool:
        """Whether it came over a unix socket."""
        return self.user >= 0

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where one address stands for all users."""
        return self.is_local_user or ipaddress.ip_address(self.address).is_loopback

    @property
    def limit_key(self) -> str:
        """What wrong tokens are counted by: an address, or the network that one IPv6 host has."""
        if self.is_local_user:
            return f"user {self.user}"
        found = ipaddress.ip_address(self.address)
        if found.version == 6 and not found.is_loopback:
            return str(ipaddress.ip_network((found, 64), strict=False))
        return str(found)

    def __str__(self) -> str:
        if self.is_local_user:
            return f"uid {self.user}, pid {self.process}"
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The other end of an open connection."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return _user_of(sock)
    return _address_of(transport.get_extra_info("peername"))


def peer_of_socket(sock: socket.socket) -> Peer:
    """The same of a socket."""
    if sock.family == socket.AF_UNIX:
        return _user_of(sock)
    try:
        return _address_of(sock.getpeername())
    except OSError:
        return _address_of(None)


def _user_of(sock: socket.socket) -> Peer:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _group = _CREDENTIALS.unpack(raw)
    return Peer(process=process, user=user)


def _address_of(name: object) -> Peer:
    if isinstance(name, tuple):
        return Peer(str(name[0]).partition("%")[0], int(name[1]))
    return Peer("0.0.0.0")  # it is gone already


async def user_name(user: int) -> str:
    """A user's name as an actor, ``unix:ann``; the number where there is no name.

    No token can have such a name. Looked up once, beside the event loop: directories of users may
    be far away.
    """
    if user not in _NAMES:
        _NAMES[user] = await asyncio.to_thread(_look_up, user)
    return f"unix:{_NAMES[user]}"


def _look_up(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
