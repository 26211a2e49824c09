"""A recording backend behind a real worker: what goes in, what comes out, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from bgproxy.domain.model import ProxyLimits, ServiceLimits, Timeouts
from bgproxy.state import ledger
from bgproxy.state.table import RoutingTable
from tests.dataplane.harness import (
    PATIENCE,
    Backend,
    Handler,
    Proxy,
    _started,
    read_head,
    running,
    table_of,
)

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
DATE = b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"

_OURS = re.compile(
    rb"(?:X-Forwarded-For: 127\.0\.0\.1|X-Forwarded-Proto: http|X-Forwarded-Host: [^\r]*"
    rb"|X-Request-Id: [0-9a-f]{13,}|X-Request-Start: t=[0-9]+)\r\n"
)


def dated(answers: bytes) -> bytes:
    """Answers with a Date behind each status line but the interim ones', so that none is added."""
    return re.sub(rb"(HTTP/1\.[01] [2-5][0-9][0-9]\b[^\r\n]*\r\n)(?!Date)", rb"\1" + DATE, answers)


class Wire:
    """A proxy with one backend that keeps each request's exact bytes and answers by script.

    Attributes:
        requests: what arrived, head and body, in order.
        answer: bytes for every answer, or a handler that takes over behind the request's head.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer: bytes | Handler = OK
        self.backend = Backend(self._serve)
        self.proxy: Proxy
        self.client_has_head = asyncio.Event()

    def reset(self) -> None:
        """Forget what earlier tests did."""
        self.requests.clear()
        self.answer = OK
        self.client_has_head.clear()

    async def until_client_has_head(self) -> None:
        """For a handler: go on when the test says that the client has got so far."""
        async with asyncio.timeout(PATIENCE):
            await self.client_has_head.wait()

    def forwarded(self) -> list[bytes]:
        """The requests without what the proxy adds to each."""
        return [_OURS.sub(b"", request) for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            if callable(self.answer):
                self.requests.append(head)
                await self.answer(reader, writer)
                return
            body = await _read_body(reader, head)
            self.requests.append(head + body)
            answer = self.answer
            writer.write(answer)
            await writer.drain()
            if b"\r\nConnection: close\r\n" in answer or not has_length(answer):
                return

    async def send(self, data: bytes) -> bytes:
        """Send bytes, say that no more come, and read to the connection's end."""
        return await self.proxy.talk(data, half_close=True)

    async def send_open(self, data: bytes) -> bytes:
        """Send bytes and read until the proxy ends the connection by itself."""
        return await self.proxy.talk(data)

    async def settle(self) -> None:
        """Return when the worker has read what was sent before: it answers in order."""
        before = self.proxy.ledger.head(0, ledger.ACCEPTED)
        _, writer = await self.pair()
        await self.proxy.until(lambda: self.proxy.ledger.head(0, ledger.ACCEPTED) > before)
        writer.close()

    async def until_holds_only(self, held: set[str]) -> None:
        """Wait until the worker has let go of every socket but these; patient, as it lingers."""
        async with asyncio.timeout(3 * PATIENCE):
            while self.worker_sockets() - held:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.05)

    def worker_sockets(self) -> set[str]:
        """What the worker holds open."""
        return sockets_of(worker_of(self.proxy))

    async def pair(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client connection to do with as one likes."""
        return await self.proxy.connect()


def has_length(answer: bytes) -> bool:
    """Whether the end of an answer shows in its head."""
    head = answer.lower()
    return (
        b"\r\ncontent-length:" in head
        or b"\r\ntransfer-encoding:" in head
        or head[9:12] in (b"204", b"304")
    )


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body's exact bytes; the proxy's framing is one of two spellings."""
    if b"\r\nTransfer-Encoding: chunked\r\n" in head:
        return await read_chunks(reader)
    length = re.search(rb"\r\nContent-Length: ([0-9]+)\r\n", head, re.IGNORECASE)
    return await reader.readexactly(int(length[1])) if length and int(length[1]) else b""


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks with its framing, up to the end of its trailers."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        body += line
        size = int(line, 16)
        if not size:
            break
        body += await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        body += line
    return body + line


def unchunked(body: bytes) -> bytes:
    """The payload of a complete body in chunks."""
    payload, position = b"", 0
    while True:
        end = body.index(b"\r\n", position)
        size = int(body[position:end], 16)
        if not size:
            return payload
        payload += body[end + 2 : end + 2 + size]
        position = end + 2 + size + 2


@contextlib.asynccontextmanager
async def running_quietly(table: RoutingTable) -> AsyncIterator[Proxy]:
    """A proxy whose worker writes nothing to stderr: no exception has gone through a callback.

    Such an exception closes one connection, which is hard to tell from a refusal otherwise.
    """
    with tempfile.TemporaryFile() as file:
        async with contextlib.AsyncExitStack() as stack:
            kept = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                proxy = await stack.enter_async_context(running(table))
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            yield proxy
        file.seek(0)
        said = file.read().decode(errors="replace")
        assert "Traceback" not in said, said


@contextlib.asynccontextmanager
async def wired(
    *,
    timeouts: Timeouts | None = None,
    limits: ServiceLimits | None = None,
    proxy_limits: ProxyLimits | None = None,
    trusted_proxies: tuple[str, ...] = (),
    more: tuple[int, ...] = (),
) -> AsyncIterator[Wire]:
    """A `Wire` that runs; `more` are the ports of further backends."""
    wire = Wire()
    backend = await wire.backend.start()
    _started.remove(backend)  # it outlives proxies that tests of one file start beside its own
    service: dict[str, Any] = {"timeouts": timeouts or Timeouts()}
    table = table_of(
        [backend.port, *more],
        [],
        limits=limits or ServiceLimits(),
        proxy_limits=proxy_limits,
        trusted_proxies=trusted_proxies,
        **service,
    )
    try:
        async with running_quietly(table) as wire.proxy:
            yield wire
    finally:
        await backend.stop()


def reading_side(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """A client connection's transport, to stop reading with."""
    return cast("asyncio.Transport", writer.transport)


async def send_until_stuck(writer: asyncio.StreamWriter, piece: bytes) -> int:
    """Send a piece again and again until nothing is taken for a second; how many were sent."""
    writer.transport.set_write_buffer_limits(0)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            writer.write(piece)
            sent += 1
            async with asyncio.timeout(1.0):
                await writer.drain()
    return sent


def worker_of(proxy: Proxy) -> int:
    """The first worker's process id."""
    return proxy.ledger.head(0, ledger.PID)


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process holds open, as the kernel names them."""
    names = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(f"{entry.name} {entry.readlink()}")
    return {name for name in names if "socket:" in name}


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset, whatever it has not sent yet."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """All that still comes; a reset counts as an end."""
    data = b""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                data += piece
    return data
