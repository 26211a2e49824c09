"""The usual Python proxy: an aiohttp server that asks an aiohttp client, bodies streamed both ways.

Written as well as the libraries allow without leaving them: one session with a pool, no limit on
connections, no decompression, no body collected.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import AsyncIterator

import uvloop
from aiohttp import (
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
from multidict import CIMultiDict, CIMultiDictProxy

_HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)
_PIECE = 64 << 10

_SESSION = web.AppKey("session", ClientSession)


def build(backend: str) -> web.Application:
    """The proxy to one backend, a base URL."""

    async def relay(request: web.Request) -> web.StreamResponse:
        headers = _forwarded(request.headers)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = request.scheme
        headers["X-Forwarded-Host"] = request.host
        async with request.app[_SESSION].request(
            request.method,
            backend + request.raw_path,
            headers=headers,
            data=request.content.iter_chunked(_PIECE) if request.can_read_body else None,
            allow_redirects=False,
        ) as upstream:
            response = web.StreamResponse(
                status=upstream.status, headers=_forwarded(upstream.headers)
            )
            await response.prepare(request)
            async for piece in upstream.content.iter_chunked(_PIECE):
                await response.write(piece)
            await response.write_eof()
            return response

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
        ) as app[_SESSION]:
            yield

    application = web.Application(client_max_size=0)
    application.cleanup_ctx.append(session)
    application.router.add_route("*", "/{path:.*}", relay)
    return application


def _forwarded(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    kept = headers.copy()
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept


async def _serve(
    application: web.Application, port: int, tls_port: int, tls: ssl.SSLContext
) -> None:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await web.TCPSite(runner, "127.0.0.1", tls_port, ssl_context=tls, backlog=4096).start()
    await asyncio.Event().wait()


def main() -> None:
    """Proxy from two ports, one with TLS, to a third until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aiohttp_proxy")
    parser.add_argument("port", type=int)
    parser.add_argument("backend_port", type=int)
    parser.add_argument("tls_port", type=int)
    parser.add_argument("certificate")
    parser.add_argument("key")
    options = parser.parse_args()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(options.certificate, options.key)
    application = build(f"http://127.0.0.1:{options.backend_port}")
    uvloop.run(_serve(application, options.port, options.tls_port, tls))


if __name__ == "__main__":
    main()
