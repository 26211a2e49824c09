"""The admin listeners' sockets: opened, shown, and removed again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bgproxy.config.settings import MAX_UNIX_PATH_BYTES, Address
from bgproxy.local_socket import folder_of_server, is_private, socket_name


@dataclass(frozen=True, slots=True)
class SocketFile:
    """A unix socket of ours in the file system, which may have become another's meanwhile."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> SocketFile:
        """The one that was just bound there."""
        file = Path(path)
        found = file.lstat()
        return cls(file, found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove it if it is still ours."""
        with contextlib.suppress(OSError):
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()


def open_tcp(address: Address) -> socket.socket:
    """A bound socket, not yet listening.

    Raises:
        OSError: the address cannot be had; the text names it.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"admin.listen {address}: {error.strerror}") from error
    return sock


def open_unix(path: str, what: str) -> socket.socket:
    """The same in the file system; its owner's alone (mode 0600).

    A socket that nobody serves any more, as a killed proxy leaves it, is replaced.

    Args:
        what: the key that names it.

    Raises:
        OSError: somebody serves it, it is no socket, or it cannot be made; the text names it.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        with _locked(os.path.dirname(path) or "."):  # noqa: PTH120 - as given, and maybe bare
            _remove_stale(path)
            mask = os.umask(0o177)  # from the first moment, not by a chmod after it
            try:
                sock.bind(path)
            finally:
                os.umask(mask)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{what} unix:{path}: {error.strerror}") from error
    return sock


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """One process at a time: two that find the same stale socket must not both replace it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody serves.

    Raises:
        OSError: when somebody does, or when it is something else.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "this is no socket, and stays")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # its queue is full, so it has somebody
    raise OSError(errno.EADDRINUSE, "another process serves it")


def usual_socket_path(port: int) -> str:
    """Where commands on this machine look for the socket; the folder is made if need be.

    Raises:
        OSError: there is no place for it that is only ours; the text says why.
    """
    user = os.geteuid()
    folder = folder_of_server(os.environ, user)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not is_private(folder, user):
        raise OSError(errno.EPERM, f"{folder} can be written by other users")
    path = str(folder / socket_name(port))
    if len(path.encode()) > MAX_UNIX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"{path} is too long for a socket")
    return path


def shown(sock: socket.socket, *, is_tls: bool = False) -> str:
    """A listener as people write it: ``http://address:port``, ``https://…`` or ``unix:/path``."""
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if is_tls else 'http'}://{host}:{name[1]}"
