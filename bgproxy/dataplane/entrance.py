"""What a client meets behind a listening socket: a PROXY header, TLS, then HTTP; each if asked for.

A connection on its way through the first two is an *arrival*. It is no client yet, so it has its
own bounds: it counts among the worker's connections, and has as long as a request's head has.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from math import inf
from typing import TYPE_CHECKING, cast

from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.redirect import RedirectingDownstream
from bgproxy.dataplane.routes import RoutesApart
from bgproxy.dataplane.tls import TlsConnection
from bgproxy.dataplane.tracing import Traced, TracedRedirecting
from bgproxy.domain.arrival import HandshakeFault, ProxyHeaderFault, fault_of_tls
from bgproxy.domain.tls import Certificate
from bgproxy.errors import BadRequest
from bgproxy.protocol.proxy_header import read_proxy_header
from bgproxy.state.entrance import EntranceRoute, TlsRoute
from bgproxy.state.ledger import handshake_cell, proxy_header_cell

if TYPE_CHECKING:
    from bgproxy.dataplane.worker import Worker

# Forward secret and authenticated encryption only; those of TLS 1.3 are all that.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Entrance:
    """One listener of one worker.

    Args:
        route: what holds for the connections that come from now on; `use` gives another.
    """

    __slots__ = ("_context", "_https_port", "_proxy_from", "_routes", "worker")

    def __init__(self, worker: Worker, route: EntranceRoute) -> None:
        self.worker = worker
        self.use(route)

    def use(self, route: EntranceRoute) -> None:
        """Take over what the supervisor says; connections that are there stay as they are."""
        self._context = None if route.tls is None else server_context(route.tls)
        self._proxy_from = tuple(ip_network(network) for network in route.proxy_from)
        self._https_port = route.https_port
        routes = self.worker.routes
        self._routes = RoutesApart(routes, route.preview) if route.preview else routes

    def accept(self) -> asyncio.BufferedProtocol:
        """The protocol of a connection that was just accepted."""
        return ProxyArrival(self) if self._proxy_from else self.enter("")

    def enter(self, client: str) -> asyncio.BufferedProtocol:
        """The protocol of a connection, from where no PROXY header is awaited any more.

        Args:
            client: the address that a PROXY header named; empty for the peer's own.
        """
        worker = self.worker
        is_traced = worker.observers.tracer is not None
        if self._context is None and self._https_port:
            redirecting = TracedRedirecting if is_traced else RedirectingDownstream
            return redirecting(worker, client, self._https_port).as_protocol
        kind = Traced if is_traced else Downstream
        downstream = kind(worker, b"http" if self._context is None else b"https", client)
        downstream.routes = self._routes
        if self._context is None:
            return downstream.as_protocol
        return TlsArrival(worker, downstream, self._context)

    def is_proxy(self, address: str) -> bool:
        """Whether a peer may say for whom it speaks."""
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._proxy_from)


class ProxyArrival(asyncio.BufferedProtocol):
    """A connection whose PROXY header is awaited; then the next protocol takes its place.

    Attributes:
        client: nobody yet; the load balancer that speaks for many is bound by no number of its own.
    """

    __slots__ = ("_data", "_entrance", "_fault", "_is_over", "_transport", "deadline")

    client = ""
    _transport: asyncio.Transport

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._data = b""
        self._fault: ProxyHeaderFault | None = ProxyHeaderFault.CLOSED
        self._is_over = False
        self.deadline = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Only a listed load balancer may come this way."""
        self._transport = cast("asyncio.Transport", transport)
        self._entrance.worker.arrive(self)
        if not self._entrance.is_proxy(_address_of(transport)) and self._fault is not None:
            self._refuse(ProxyHeaderFault.NOT_LISTED)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The worker's one buffer; copied out at once."""
        return self._entrance.worker.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes in the shared buffer."""
        self.data_received(self._entrance.worker.scratch[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        """Bytes of the header, and maybe the first ones behind it."""
        self._data += data
        try:
            header = read_proxy_header(self._data)
        except BadRequest:
            self._refuse(ProxyHeaderFault.MALFORMED)
            return
        if header is None:
            return
        self._fault = None
        self._leave()
        following = self._entrance.enter(header.source)
        self._transport.set_protocol(following)
        following.connection_made(self._transport)
        rest = self._data[header.end :]
        if rest and not self._transport.is_closing():
            scratch = self._entrance.worker.scratch
            scratch[: len(rest)] = rest
            following.buffer_updated(len(rest))

    def connection_lost(self, exc: Exception | None) -> None:
        """It went away, or was sent away, before it said who it is."""
        self._leave()

    def _leave(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        worker = self._entrance.worker
        worker.depart(self)
        if self._fault is not None:
            worker.count_head(proxy_header_cell(self._fault), 1)

    def _refuse(self, fault: ProxyHeaderFault) -> None:
        """Nothing says who is there, or what it understands: close at once."""
        self._fault = fault
        self._transport.abort()

    def expire(self) -> None:
        """The header did not come in time."""
        self._refuse(ProxyHeaderFault.TIMEOUT)

    def abort(self) -> None:
        """Close at once, for no fault of its own."""
        self._fault = None
        self._transport.abort()


class TlsArrival(TlsConnection):
    """A client's TLS; an arrival until its handshake is done.

    Attributes:
        client: the address that counts, the peer's or the one which a PROXY header named.
    """

    __slots__ = ("_is_timely", "_is_wanted", "_worker", "client", "deadline")

    def __init__(self, worker: Worker, client: Downstream, context: ssl.SSLContext) -> None:
        super().__init__(client.as_protocol, context, worker.loop, worker)
        self._worker = worker
        self._is_wanted = True
        self._is_timely = True
        self.client = client.client
        self.deadline = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there and will begin a handshake."""
        super().connection_made(transport)
        self.client = self.client or _address_of(transport)
        self._worker.arrive(self)

    def settle(self, error: Exception | None) -> None:
        """It is a client now, or gone."""
        worker = self._worker
        worker.depart(self)
        if error is not None and self._is_wanted:
            worker.count_head(handshake_cell(self._fault_of(error)), 1)

    def _fault_of(self, error: Exception) -> HandshakeFault:
        if not self._is_timely:
            return HandshakeFault.TIMEOUT
        if isinstance(error, ssl.SSLError):
            return fault_of_tls(error.reason)
        return HandshakeFault.CLOSED

    def expire(self) -> None:
        """The handshake was not done in time."""
        self._is_timely = False
        super().abort()

    def abort(self) -> None:
        """Close at once, for no fault of its own."""
        self._is_wanted = False
        super().abort()


def _address_of(transport: asyncio.BaseTransport) -> str:
    """Who is connected; empty where it has no address."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


def server_context(route: TlsRoute) -> ssl.SSLContext:
    """What handshakes of a listener are answered with: the certificate that fits the name."""
    contexts = [_context_of(certificate, route) for certificate in route.certificates]
    if not contexts:
        return _bare_context(route)
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, context in zip(route.certificates, contexts, strict=True):
        for name in certificate.names:
            by_name.setdefault(name, context)
    if len(contexts) > 1:
        contexts[0].sni_callback = _chooser(by_name)
    return contexts[0]


def _chooser(
    by_name: dict[str, ssl.SSLContext],
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """Chooses by the name asked for (RFC 6066 section 3); a wildcard is one label."""

    def choose(tls: ssl.SSLObject, name: str | None, default: ssl.SSLContext) -> None:
        name = (name or "").lower()
        _, _, parent = name.partition(".")
        tls.context = by_name.get(name) or by_name.get(f"*.{parent}") or default

    return choose


def _context_of(certificate: Certificate, route: TlsRoute) -> ssl.SSLContext:
    context = _bare_context(route)
    certificate.load_into(context)
    return context


def _bare_context(route: TlsRoute) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    is_new = route.min_version == "1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if is_new else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    return context
