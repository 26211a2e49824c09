"""One HTTP request to one address, for probes and checks: a new connection each, bounded, plain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bgproxy.controlplane.late import LateModule
from bgproxy.domain.tls import UpstreamTls
from bgproxy.errors import BgproxyError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL
else:
    aiohttp = LateModule("aiohttp")

MAX_BODY_BYTES = 64 * 1024
"""More of an answer's body is not read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect.

    Args:
        scheme: ``http``, ``https`` or ``unix``.
        host: an IP address; the socket's path for ``unix``.
        server_name: the name that the certificate must have (``https``).
        tls: what else it must show.
    """

    scheme: str
    host: str
    port: int = 0
    server_name: str = field(default="", compare=False)
    tls: UpstreamTls = field(default_factory=UpstreamTls, compare=False)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe showed.

    Args:
        detail: what was answered, for people.
        at: Unix time.
    """

    has_passed: bool
    detail: str
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `seconds` until all of it that is read was there."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class NoAnswerError(BgproxyError):
    """No complete answer came; the text says why, for people."""


class Exchanger:
    """Sends requests; `close` when nothing is sent any more."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        place: Place,
        path: str,
        *,
        host: str,
        timeout: float,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        reads_body: bool = True,
    ) -> Answer:
        """Send one request and read its answer, `MAX_BODY_BYTES` of body at most.

        Redirects are answers like others. The path is sent as it is written.

        Args:
            host: the Host field.
            timeout: seconds for all of it.

        Raises:
            NoAnswerError: no connection, no answer in time, or none that is HTTP.
        """
        fields = [("Host", host), ("User-Agent", "bgproxy"), *headers]
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(timeout),
                self._session_of(place) as session,
                session.request(
                    method,
                    _url(place, path),
                    headers=fields,
                    data=body or None,
                    allow_redirects=False,
                    server_hostname=place.server_name or None,
                    ssl=place.tls.context() if place.scheme == "https" else True,
                    timeout=aiohttp.ClientTimeout(),
                ) as answer,
            ):
                content = await _read(answer) if reads_body else b""
                return Answer(
                    answer.status,
                    answer.reason or "",
                    answer.headers,
                    content,
                    time.monotonic() - began,
                )
        except TimeoutError:
            raise NoAnswerError(f"no answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(_plain(error)) from error

    def _session_of(self, place: Place) -> _Session:
        if place.scheme == "unix":
            return _Session(_new_session(aiohttp.UnixConnector(place.host, force_close=True)), True)
        if self._session is None:
            self._session = _new_session(
                aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False)
            )
        return _Session(self._session, False)

    async def close(self) -> None:
        """Give up what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Session:
    """A session for one request: closed afterwards where it is that request's alone."""

    __slots__ = ("_is_own", "_session")

    def __init__(self, session: aiohttp.ClientSession, is_own: bool) -> None:
        self._session = session
        self._is_own = is_own

    async def __aenter__(self) -> aiohttp.ClientSession:
        return self._session

    async def __aexit__(self, *_error: object) -> None:
        if self._is_own:
            await self._session.close()


def _new_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _url(place: Place, path: str) -> URL:
    from yarl import URL  # with the rest of aiohttp

    target, _, query = path.partition("?")
    scheme = "http" if place.scheme == "unix" else place.scheme
    host = "localhost" if place.scheme == "unix" else place.host
    return URL.build(
        scheme=scheme,
        host=host,
        port=place.port or None,
        path=target,
        query_string=query,
        encoded=True,
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body's beginning."""
    content = bytearray()
    while len(content) < MAX_BODY_BYTES:
        piece = await answer.content.read(MAX_BODY_BYTES - len(content))
        if not piece:
            break
        content += piece
    return bytes(content)


def _plain(error: Exception) -> str:
    """What went wrong, in words that do not need this library to be understood."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"TLS failed: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        refused = isinstance(cause, ConnectionRefusedError)
        return "connection refused" if refused else f"cannot connect: {cause.strerror or cause}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, ConnectionResetError):
        return "reset the connection"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"its answer is not HTTP: {error.message}"
    return str(error) or type(error).__name__
