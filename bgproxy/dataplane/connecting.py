"""Opening a backend connection for a claimed request: off the common path, so a task may do it.

Where one address does not accept, the next is tried: nothing was sent, so nothing can run twice.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from bgproxy.dataplane import failing
from bgproxy.dataplane.tls import TlsDeparture
from bgproxy.dataplane.upstream import Upstream
from bgproxy.domain.outcome import Reason

if TYPE_CHECKING:
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import BackendState, Route
    from bgproxy.dataplane.worker import Worker


def connect(client: Exchange) -> None:
    """Open a connection to the claimed backend and send the request there."""
    client.worker.start(_connect(client))


async def _connect(client: Exchange) -> None:
    while True:
        backend = client.backend
        try:
            upstream = await _open(client.worker, client.route, backend)
        except OSError as error:
            reason = _reason_of(error, backend)
            detail = _words_of(error)
            client.worker.report_trouble(backend, reason, detail)
            if not client.is_connecting_to(backend):
                return
            client.note_trouble(detail)
            if not client.claim_another():
                # Who the backend is, is nobody's business outside; the logs and the probes say it.
                failing.fail(client, reason, "the backend does not take a connection")
                return
            if client.send_on_idle():
                return
        else:
            if client.is_connecting_to(backend):
                client.send(upstream)
            else:
                upstream.rest()
            return


async def _open(worker: Worker, route: Route, backend: BackendState) -> Upstream:
    """Open one connection, TLS included.

    Raises:
        OSError: `TimeoutError` and `ssl.SSLError` among them.
    """
    upstream = Upstream(worker, backend)
    async with asyncio.timeout(route.timeouts.connect):
        if backend.scheme == "https":
            await _open_tls(worker, route, upstream)
        else:
            address = backend.address[0] if backend.scheme == "unix" else backend.address
            await worker.sockets.connect(address, upstream.as_protocol)
    return upstream


async def _open_tls(worker: Worker, route: Route, upstream: Upstream) -> None:
    """Open a connection and see who is there.

    Raises:
        OSError: `ssl.SSLError` and `ConnectionResetError` where the handshake fails.
    """
    backend = upstream.backend
    name = route.upstream_tls.server_name or backend.name
    context = route.upstream_tls.context()
    tls = TlsDeparture(upstream.as_protocol, context, worker.loop, worker, name)
    transport = await worker.sockets.connect(backend.address, tls)
    try:
        await tls.done
    except BaseException:
        transport.abort()
        raise


def _words_of(error: OSError) -> str:
    """What went wrong, for the operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was refused: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return error.strerror or str(error) or type(error).__name__


def _reason_of(error: OSError, backend: BackendState) -> Reason:
    if isinstance(error, TimeoutError):
        return Reason.CONNECT_TIMEOUT
    if isinstance(error, ssl.SSLError):
        return Reason.TLS_FAILED
    if isinstance(error, ConnectionResetError) and backend.scheme == "https":
        return Reason.TLS_FAILED
    if isinstance(error, ConnectionRefusedError):
        return Reason.CONNECT_REFUSED
    return Reason.CONNECT_FAILED
