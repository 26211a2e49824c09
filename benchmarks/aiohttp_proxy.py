"""The usual Python proxy: an aiohttp server that asks an aiohttp client, bodies streamed both ways.

Written as well as the libraries allow without leaving them: one session with a pool, no limit on
connections, no decompression, no body collected.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
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


def main() -> None:
    """Proxy from a port of 127.0.0.1 to another until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aiohttp_proxy")
    parser.add_argument("port", type=int)
    parser.add_argument("backend_port", type=int)
    options = parser.parse_args()
    web.run_app(
        build(f"http://127.0.0.1:{options.backend_port}"),
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
