"""The relay's own cost: fixed bytes through real protocol objects, no sockets, no kernel.

A request's head and its answer pass through `Downstream` and `Upstream` as in a worker, with
transports that swallow what is written. What is left is the interpreter's work, which is what a
change of the code can change. `python -m benchmarks.replay` prints the best of several runs; under
``valgrind --tool=callgrind`` (see `benchmarks.instructions`) the same replay is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvloop

from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.upstream import Upstream
from bgproxy.dataplane.worker import Worker
from bgproxy.domain.model import Color
from bgproxy.protocol.head import SCANNER
from bgproxy.state.ledger import Ledger
from bgproxy.state.posting import WorkerArguments
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute

REQUEST = (
    b"GET /products/4711?color=green&size=m HTTP/1.1\r\n"
    b"Host: shop.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="142", "Not=A?Brand";v="24"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/142.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-User: ?1\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Referer: https://shop.example.com/products\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
    b"Cookie: session=2f1c8c1e0d7b4a5f; theme=dark\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: sample\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 60\r\n\r\n" + b"x" * 60
)


class _Sink:
    """A transport that swallows everything."""

    def write(self, data: Any) -> None:
        """Nothing is kept."""

    def writelines(self, pieces: Any) -> None:
        """Nothing is kept."""

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is ever full."""

    def get_extra_info(self, name: str) -> Any:
        """A peer on loopback."""
        return ("127.0.0.1", 40000) if name == "peername" else None

    def is_closing(self) -> bool:
        """It never closes by itself."""
        return False

    def abort(self) -> None:
        """Nothing is open."""


@contextmanager
def replay(kind: type[Downstream] = Downstream) -> Iterator[Any]:
    """A function that carries so many requests through the relay.

    Args:
        kind: of the client's connection.
    """
    ledger = Ledger.create(1)
    ledger.store_pointer(0, 1, Color.BLUE)
    loop = uvloop.new_event_loop()
    arguments = WorkerArguments(0, 1, os.dup(ledger.fd), -1, (), 1)
    worker = Worker(arguments, loop)
    url = "http://127.0.0.1:9001"
    backend = BackendRoute(0, url, "http", "127.0.0.1", 9001, "127.0.0.1:9001", True, True)
    service = ServiceRoute("default", 0, 0, ("*",), ("/",), ((backend,), ()))
    worker.routes.apply(RoutingTable(1, (service,)))
    client = kind(worker)
    client.connection_made(cast("asyncio.Transport", _Sink()))
    state = worker.routes.services[0].environments[0].backends[0]
    upstream = Upstream(worker, state)
    upstream.connection_made(cast("asyncio.Transport", _Sink()))
    upstream.rest()

    def carry(count: int) -> None:
        for _ in range(count):
            client.data_received(REQUEST)
            upstream.data_received(ANSWER)

    try:
        yield carry
    finally:
        loop.close()
        ledger.close()


def main() -> None:
    """Print microseconds per request: the best of several runs, which noise can only raise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with replay() as carry:
        carry(1000)
        best = min(_timed(carry, options.requests) for _ in range(options.runs))
    print(f"{best * 1e6:.2f} µs per request, scanner {SCANNER}")


def _timed(carry: Any, requests: int) -> float:
    began = time.process_time()
    carry(requests)
    return (time.process_time() - began) / requests


if __name__ == "__main__":
    main()
