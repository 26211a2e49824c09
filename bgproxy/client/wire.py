"""Between the client's calls and the socket: addresses, errors, and the event stream's format."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bgproxy.errors import BgproxyError


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """One server-sent event; `data` holds ``at``, ``service`` and what the type brings."""

    id: int
    type: str
    data: dict[str, Any]


class ProblemError(BgproxyError):
    """The admin API said no.

    Args:
        status: the HTTP status.
        document: the problem document (RFC 9457), with at least a ``detail``.
    """

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or f"HTTP {status}"))
        self.status = status
        self.document = document

    @property
    def kind(self) -> str:
        """The stable last part of the problem's type, such as ``generation-mismatch``."""
        return str(self.document.get("type", "")).rpartition(":")[2]


class UnreachableError(BgproxyError):
    """Nobody answers at the address, or not as an admin API does."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the admin API listens, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, admin: str) -> Address:
        """Read ``http://host:port``, ``https://host:port`` or ``unix:/path``.

        Raises:
            ValueError: for anything else.
        """
        if admin.startswith("unix:"):
            return cls("unix", "localhost", 0, admin.removeprefix("unix:").removeprefix("//"))
        parts = urlsplit(admin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{admin!r}: write http://host:port, https://host:port or unix:/path")
        default = 80 if parts.scheme == "http" else 443
        return cls(parts.scheme, parts.hostname, parts.port or default, "")

    def connect(self, timeout: float | None, ca: str = "") -> http.client.HTTPConnection:
        """A connection to it, which opens with the first request.

        Args:
            timeout: seconds; None waits for ever.
            ca: PEM file of the authorities that may have signed its certificate; the system's
                without one.

        Raises:
            OSError: the file cannot be read, or is none.
        """
        if self.scheme == "unix":
            return _UnixConnection(self.path, timeout)
        if self.scheme == "http":
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        context = ssl.create_default_context(cafile=ca or None)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def problem_of(status: int, raw: bytes) -> ProblemError:
    """The error for an answer that is not 200, whatever its body is."""
    try:
        document = json.loads(raw)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": f"HTTP {status}: {raw[:200].decode('utf-8', 'replace')}".rstrip(": ")}
    return ProblemError(status, document)


def read_events(response: http.client.HTTPResponse) -> Iterator[AdminEvent]:
    """Parse a stream as our server writes it: one line for each field."""
    fields: dict[str, str] = {}
    while line := response.readline():
        text = line.decode().rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield AdminEvent(
                int(fields.get("id", 0)), fields.get("event", "message"), json.loads(fields["data"])
            )
            fields = {}
        else:
            fields = {}
