"""What a configuration says that is not about the domain: listeners, tokens, processes, state."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.allow_list import AllowList
from bgproxy.domain.model import ProxyLimits, Service
from bgproxy.domain.notifications import Notification
from bgproxy.domain.tls import Certificate
from bgproxy.domain.tracing import Tracing
from bgproxy.errors import Fault

MAX_WORKERS = 64
"""As many as the shared memory has room for."""

MAX_SERVICES = 1024
"""Likewise."""

MAX_BACKENDS = 8192
"""Likewise, of all services together; a name may stand for several."""

MAX_UNIX_PATH_BYTES = 107

AUTO_SOCKET = "auto"
"""The admin API's unix socket is where commands on the same machine look for it."""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: an IP address or a name and a port, or the path of a unix socket.

    Args:
        host: an IP address without brackets, or a name in lower case; empty for a unix socket.
        port: 0 lets the kernel choose.
        path: of a unix socket, as given; empty for TCP.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``127.0.0.1:8080``, ``[::1]:8080``, ``localhost:8080`` or ``unix:PATH``.

        Raises:
            ValueError: with one sentence, problem and remedy parted by a semicolon.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path or "\0" in path or len(path.encode()) > MAX_UNIX_PATH_BYTES:
                raise ValueError(
                    f"{text!r} is not the path of a socket; "
                    f"write unix:PATH, at most {MAX_UNIX_PATH_BYTES} bytes long"
                )
            return cls("", 0, path)
        host, separator, port = text.rpartition(":")
        if not separator:
            raise ValueError(f"{text!r} has no port; {_listen_remedy(text)}")
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f"{port!r} is not a port; write a number from 0 to 65535")
        return cls(_listen_host(host, int(port), text), int(port))

    @property
    def is_name(self) -> bool:
        """Whether its host has to be looked up."""
        return bool(self.host) and ":" not in self.host and _is_name(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; of names that is known of localhost alone."""
        if self.is_name:
            return self.host == "localhost"
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of its family."""
        if self.is_name or self.path:
            return False
        return ipaddress.ip_address(self.host).is_unspecified

    def clashes_with(self, other: Address) -> bool:
        """Whether the two cannot be listened on at once."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or not self.port:
            return False
        if (":" in self.host) != (":" in other.host):
            return False
        return self.host == other.host or self.is_wildcard or other.is_wildcard

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _listen_host(host: str, port: int, text: str) -> str:
    """The canonical form of the address to listen on, without brackets."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(
                f"{host[1:-1]!r} is not an IPv6 address; write [::1]:{port} or 0.0.0.0:{port}"
            ) from None
    if ":" in host:
        raise ValueError(f"{text!r} could be read in two ways; write [{host}]:{port}")
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        name = host.lower().removesuffix(".")
        if _is_name(name):
            return name
        raise ValueError(
            f"{host!r} is neither an IP address nor a host name; "
            f"write 127.0.0.1:{port}, or 0.0.0.0:{port} for every address of this machine"
        ) from None


def _is_name(host: str) -> bool:
    """Whether this is a host name; one whose last label is a number is a wrong address."""
    last = host.rpartition(".")[2]
    return len(host) <= 253 and bool(_HOST_NAME.fullmatch(host)) and not last.isdecimal()


def _listen_remedy(text: str) -> str:
    """What to write where the port is missing; a lone number is taken for the port."""
    if text.isascii() and text.isdecimal() and len(text) <= 5:
        return f"write 127.0.0.1:{text}, or 0.0.0.0:{text} for every address of this machine"
    return "write address:port, such as 127.0.0.1:8080, [::1]:8080, or unix:PATH"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate and its key are read.

    Args:
        content: what was read; None where neither the files nor their copy could be.
    """

    certificate: Path
    key: Path
    content: Certificate | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """How a listener speaks TLS.

    Args:
        min_version: ``1.2`` or ``1.3``.
    """

    certificates: tuple[CertificateFiles, ...]
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class Listener:
    """Where clients connect, and what they meet there.

    Args:
        tls: None for plain HTTP.
        proxy_from: networks that begin every connection with a PROXY header; empty for none.
        https_port: where requests are redirected to; 0 to serve them.
        preview_of: the service whose idle environment is shown there; empty for everybody's.
    """

    address: Address
    tls: ListenerTls | None = None
    proxy_from: tuple[Network, ...] = ()
    https_port: int = 0
    preview_of: str = ""

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class DegradedFile:
    """A file that could not be used at a start.

    Args:
        problem: to be read behind the file's name.
        service: the service whose backends it is about; empty for a listener's.
        has_copy: whether its last good content serves.
    """

    file: str
    problem: str
    service: str
    has_copy: bool


class Role(enum.StrEnum):
    """What a token may do; each role includes those before it."""

    READ = "read"
    ROLLBACK = "rollback"
    SWITCH = "switch"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A key to the admin API.

    Args:
        name: who uses it; shown in the history, never secret.
        role: see `Role`.
        secret: what is presented; or ``sha256:`` and the hexadecimal digest of it.
    """

    name: str
    role: Role
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The traffic side.

    Args:
        listen: where clients connect.
        workers: processes that carry traffic, 1 to `MAX_WORKERS`.
        limits: bounds of every worker.
        trusted_proxies: peers whose forwarding fields are believed.
        shutdown_timeout: seconds that requests under way have when told to stop.
        backlog: connections that wait in each listening socket.
        access_log: where requests are written down.
        tracing: where spans of requests go.
        request_ring: how many requests that went well each worker remembers.
    """

    listen: tuple[Listener, ...] = (Listener(Address("127.0.0.1", 8080)),)
    workers: int = 1
    limits: ProxyLimits = field(default_factory=ProxyLimits)
    trusted_proxies: tuple[Network, ...] = ()
    shutdown_timeout: float = 30.0
    backlog: int = 4096
    access_log: AccessLog = field(default_factory=AccessLog)
    tracing: Tracing = field(default_factory=Tracing)
    request_ring: int = 0


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The admin side.

    Args:
        listen: where the admin API, metrics and dashboard are served.
        tokens: keys; none is possible on loopback addresses and unix sockets only.
        allowed_hosts: names by which browsers and clients may address it, besides loopback names
            and the listener's own address.
        tokens_file: where more of them are; what is in it is in `tokens` once it was read.
        socket: the path of a unix socket besides; `AUTO_SOCKET` for the usual one, empty for none.
        tls: of the listeners that are no unix sockets; one certificate.
        is_insecure: other machines may reach a listener without TLS.
        backend_allow: what backends set over the API may be.
    """

    listen: tuple[Address, ...] = (Address("127.0.0.1", 8081),)
    tokens: tuple[Token, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    tokens_file: str = ""
    socket: str = AUTO_SOCKET
    tls: ListenerTls | None = None
    is_insecure: bool = False
    backend_allow: AllowList = field(default_factory=AllowList)


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration.

    Args:
        state: the state database's file; relative to the working directory, as given.
        previews: listeners of previews.
        notifications: who is told what happened.
        warnings: what can be used as it is, but is hardly meant.
        degraded: files of certificates that copies stand in for, or nothing does.
    """

    proxy: ProxySettings
    admin: AdminSettings
    state: Path
    services: tuple[Service, ...]
    previews: tuple[Listener, ...] = ()
    notifications: tuple[Notification, ...] = ()
    warnings: tuple[Fault, ...] = field(default=(), compare=False)
    degraded: tuple[DegradedFile, ...] = field(default=(), compare=False)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Everywhere that clients connect: the public's first, then those of previews."""
        return self.proxy.listen + self.previews
