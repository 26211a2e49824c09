"""Listening sockets: opened once by the supervisor, one per worker and address, inherited.

The supervisor keeps every socket open as well, so a worker that dies leaves its queue of
connections to its successor and nobody is refused. One socket per worker (SO_REUSEPORT) lets the
kernel spread connections evenly.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import socket
import struct
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from bgproxy.activation import Activation, PassedSocket
from bgproxy.errors import StateError
from bgproxy.state.entrance import EntranceRoute, TlsRoute

if TYPE_CHECKING:
    from bgproxy.config.settings import Address, Listener

_PATIENCE_SECONDS = 2.0
_SO_ATTACH_FILTER = 26
# Classic BPF over the TCP header: A = flags; a SYN without ACK (a new attempt) is dropped.
_DROP_NEW_ATTEMPTS = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x54, 0, 0, 0x12),  # and SYN | ACK
    (0x15, 0, 1, 0x02),  # jeq SYN, next, over
    (0x06, 0, 0, 0),  # ret 0: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # ret all: keep
)


def open_listeners(
    addresses: tuple[Address, ...],
    workers: int,
    backlog: int = 4096,
    passed: Activation | None = None,
) -> list[list[socket.socket]]:
    """Open every address for every worker, but those for which sockets were passed.

    Returns:
        For each worker, its sockets in the addresses' order. Of a unix socket all share one.

    Raises:
        StateError: naming the address that cannot be had, and why; or a passed socket that nobody
            would serve.
    """
    passed = passed or Activation([])
    rows: list[list[socket.socket]] = [[] for _ in range(workers)]
    try:
        for address in addresses:
            sockets = passed.claim(address, workers) or _opened(address, workers, backlog)
            for row, sock in zip(rows, sockets, strict=True):
                row.append(sock)
        passed.expect_none_left()
    except StateError:
        close_listeners(rows)
        raise
    return rows


def _opened(address: Address, workers: int, backlog: int) -> list[socket.socket]:
    try:
        return _open_patiently(address, workers, backlog)
    except OSError as error:
        raise StateError(f"cannot listen on {address}: {error.strerror or error}") from error


def resolved(address: Address) -> tuple[Address, ...]:
    """The addresses behind one whose host may be a name; itself where it is none.

    Those that this machine does not have, such as ::1 where there is no IPv6, are left out as long
    as there is another.

    Raises:
        StateError: the name does not resolve.
    """
    if not address.is_name:
        return (address,)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        reason = error.strerror or error
        raise StateError(
            f"cannot listen on {address}: its name does not resolve: {reason}"
        ) from error
    hosts = dict.fromkeys(str(where[0]) for _, _, _, _, where in found)
    usable = [host for host in hosts if _is_here(host)] or list(hosts)
    return tuple(dataclasses.replace(address, host=host) for host in usable)


def _is_here(host: str) -> bool:
    """Whether this machine has an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def entrance_of(listener: Listener) -> EntranceRoute:
    """What a worker must know of a listener beside its socket."""
    tls = None
    if listener.tls is not None:
        contents = (each.content for each in listener.tls.certificates)
        tls = TlsRoute(tuple(filter(None, contents)), listener.tls.min_version)
    preview = str(listener.address) if listener.preview_of else ""
    return EntranceRoute(tls, tuple(map(str, listener.proxy_from)), listener.https_port, preview)


def _open_patiently(address: Address, workers: int, backlog: int) -> list[socket.socket]:
    """Open an address, giving the workers of a proxy that was just killed time to let it go."""
    deadline = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _open(address, workers, backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > deadline:
                raise
        sleep(0.05)


def _open(address: Address, workers: int, backlog: int) -> list[socket.socket]:
    if address.path:
        return _open_unix(address.path, workers, backlog)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Without SO_REUSEPORT first: two proxies must not share a port without knowing it.
    with _bind(family, address.host, address.port, is_shared=False) as probe:
        port = probe.getsockname()[1]
    sockets = [_bind(family, address.host, port, is_shared=True) for _ in range(workers)]
    for sock in sockets:
        sock.listen(backlog)
    return sockets


def _bind(family: int, host: str, port: int, *, is_shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if not is_shared:
            sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(path: str, workers: int, backlog: int) -> list[socket.socket]:
    if Path(path).is_socket():
        _refuse_if_served(path)
        Path(path).unlink(missing_ok=True)
    first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    first.setblocking(False)
    first.bind(path)
    first.listen(backlog)
    return [first, *(first.dup() for _ in range(workers - 1))]


def _refuse_if_served(path: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        contextlib.suppress(ConnectionRefusedError),
    ):
        probe.connect(path)
        raise OSError(0, "another process serves this socket")


def refuse_new_attempts(sock: socket.socket) -> None:
    """Let a listener finish what is under way, and see no new connection attempt.

    The kernel drops further SYNs, so the queue of a listener that is about to close only shrinks;
    closing it while connections are queued would reset their clients. An attempt that was dropped
    is repeated by the client's kernel after a second, when the port has a new owner or refuses.
    A socket that was passed stays open for whoever gets it next; so does its queue.
    """
    if sock.family == socket.AF_UNIX or isinstance(sock, PassedSocket):
        return
    program = b"".join(struct.pack("HBBI", *line) for line in _DROP_NEW_ATTEMPTS)
    buffer = ctypes.create_string_buffer(program)
    option = struct.pack("HL", len(_DROP_NEW_ATTEMPTS), ctypes.addressof(buffer))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    except PermissionError:
        # Some kernels want a capability for it, which a container or a service may well not have.
        # A queue of the least length there is comes closest: what is dropped is repeated as well.
        sock.listen(0)


def close_listeners(rows: list[list[socket.socket]]) -> None:
    """Close the supervisor's copies, and remove unix sockets from the file system."""
    for row in rows:
        for sock in row:
            is_ours = not isinstance(sock, PassedSocket)
            if is_ours and sock.family == socket.AF_UNIX and sock.fileno() >= 0:
                Path(sock.getsockname()).unlink(missing_ok=True)
            sock.close()
