"""Backends that do everything wrong: the client's outcome, the neighbours, the counter, the rest.

Every kind is met by one client while a neighbour is served by a sound backend of the same proxy;
afterwards the worker holds no socket and no claim more than before.
"""
# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator
from time import monotonic

import pytest
import pytest_asyncio

from bgproxy.domain.model import Timeouts
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import (
    Backend,
    Handler,
    Proxy,
    _started,
    answering,
    backend_route,
    read_head,
    table_of,
)
from tests.ports import free_port
from tests.wire.wire import OK, dated, read_to_end, reset, running_quietly, sockets_of, worker_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LIMIT = 4.0
"""Seconds within which every outcome must be there; the time-outs below are 0.5 s."""

_GET = b"GET /faulty HTTP/1.1\r\nHost: x\r\n\r\n"
_NEIGHBOUR = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_UPLOAD = b"POST /faulty HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + bytes(200_000)
_UPGRADE = b"GET /faulty HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
_HEAD = dated(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
_CHUNKED = dated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
_502 = b"HTTP/1.1 502 Bad Gateway\r\n"
_504 = b"HTTP/1.1 504 Gateway Timeout\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy() -> AsyncIterator[Proxy]:
    """Two services on one pointer: /faulty, whose backend a test names, and a sound one."""
    sound = await Backend(answering(OK)).start()
    _started.remove(sound)
    timeouts = Timeouts(connect=0.5, response=0.5, request_body=0.5)
    table = table_of([free_port()], [], paths=("/faulty",), timeouts=timeouts)
    faulty = table.services[0]
    neighbour = dataclasses.replace(
        faulty,
        name="sound",
        slot=1,
        paths=("/",),
        environments=((backend_route(1, sound.port),), ()),
        timeouts=Timeouts(),
    )
    table = dataclasses.replace(table, services=(faulty, neighbour))
    try:
        async with running_quietly(table) as proxy:
            yield proxy
    finally:
        await sound.stop()


async def _outcome(proxy: Proxy, port: int, request: bytes) -> bytes:
    """What the client of a faulty backend gets; checks all that must hold of the rest."""
    services = proxy.table.services
    faulty = dataclasses.replace(services[0], environments=((backend_route(0, port),), ()))
    proxy.table = dataclasses.replace(
        proxy.table, number=proxy.table.number + 1, services=(faulty, services[1])
    )
    await proxy.fleet.publish(proxy.table)
    neighbour_reader, neighbour = await proxy.connect()
    neighbour.write(_NEIGHBOUR)
    assert await neighbour_reader.readexactly(len(OK)) == OK
    began = monotonic()
    reader, writer = await proxy.connect()
    writer.write(request)
    answer = asyncio.ensure_future(_until_over(reader))
    for _ in range(20):
        neighbour.write(_NEIGHBOUR)
        assert await neighbour_reader.readexactly(len(OK)) == OK
        await asyncio.sleep(0.005)
    seen = await asyncio.wait_for(answer, _LIMIT)
    assert monotonic() - began < _LIMIT
    writer.close()
    neighbour.close()
    return seen


async def _until_over(reader: asyncio.StreamReader) -> bytes:
    """An answer up to the connection's end, or to a body's in order."""
    seen = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            seen += data
            head, end, body = seen.rpartition(b"\r\n\r\n")
            if end and b"Content-Length: %d\r\n" % len(body) in head + b"\r\n":
                break
            if seen.endswith(b"\r\n0\r\n\r\n"):
                break
    return seen


async def _check(
    proxy: Proxy, port: int, request: bytes, beginning: bytes, end: bytes, reason: Reason | None
) -> None:
    before = proxy.totals().reasons
    seen = await _outcome(proxy, port, request)
    assert seen.startswith(beginning), seen
    assert seen.endswith(end), seen
    await proxy.until(lambda: proxy.in_flight() == (0, 0))
    after = proxy.totals().reasons
    new = {r: n - before.get(r, 0) for r, n in after.items() if n != before.get(r, 0)}
    assert new == ({} if reason is None else {reason: 1})


async def _silent(reader, writer) -> None:
    await read_head(reader)
    await reader.read(-1)


async def _reset_soon(reader, writer) -> None:
    await reader.read(1)  # before that the proxy may find the reset while it connects still
    reset(writer)


async def _end_at_once(reader, writer) -> None:
    return


def _saying(*pieces: bytes, then: str = "close") -> Handler:
    """A backend that reads a head, says its pieces, and closes, resets or waits."""

    async def handle(reader, writer):
        await read_head(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.05)
        if then == "reset":
            await asyncio.sleep(0.1)
            reset(writer)
        elif then == "wait":
            await reader.read(-1)

    return handle


async def _stale(reader, writer) -> None:
    await read_head(reader)
    writer.write(OK)
    await read_head(reader)


FAULTS: list[tuple[str, Handler, bytes, bytes, bytes, Reason | None]] = [
    ("reset on the first byte", _reset_soon, _GET, _502, b"(reset)\n", Reason.RESET),
    ("end on accept", _end_at_once, _GET, _502, b"(reset)\n", Reason.RESET),
    ("silence", _silent, _GET, _504, b"(response_timeout)\n", Reason.RESPONSE_TIMEOUT),
    ("garbage", _saying(bytes(range(256)) * 9), _GET, _502, b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("partial status line", _saying(b"HTTP/1.1 20"), _GET, _502, b"(reset)\n", Reason.RESET),
    ("stalled head", _saying(b"HTTP/1.1 200 OK\r\nA: ", then="wait"), _GET, _504, b"(response_timeout)\n",
     Reason.RESPONSE_TIMEOUT),
    ("reset behind the head", _saying(_HEAD, then="reset"), _GET, _HEAD, b"\r\n\r\n", Reason.TRUNCATED),
    ("short body", _saying(_HEAD + b"short"), _GET, _HEAD, b"short", Reason.TRUNCATED),
    ("stalled body", _saying(_HEAD + b"short", then="wait"), _GET, _HEAD, b"short", Reason.RESPONSE_TIMEOUT),
    ("long body", _saying(OK + b"more than that", then="wait"), _GET, OK, b"ok", None),
    ("cut chunk", _saying(_CHUNKED + b"9\r\ncut"), _GET, _CHUNKED, b"9\r\ncut", Reason.TRUNCATED),
    ("bad chunk size", _saying(_CHUNKED, b"xyz\r\n"), _GET, _CHUNKED, b"\r\n\r\n", Reason.BAD_RESPONSE),
    ("no last chunk", _saying(_CHUNKED + b"2\r\nok\r\n"), _GET, _CHUNKED, b"2\r\nok\r\n", Reason.TRUNCATED),
    ("two lengths", _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nok"), _GET,
     _502, b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("both framings", _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"0\r\n\r\n"), _GET, _502, b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("flood of interim answers", _saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), _GET,
     b"HTTP/1.1 100 Continue\r\n\r\n", b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("unasked upgrade", _saying(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), _GET,
     _502, b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("200 to an upgrade", _saying(OK, then="wait"), _UPGRADE, OK, b"ok", None),
    ("head of 1 MiB", _saying(b"HTTP/1.1 200 OK\r\nA: " + b"a" * (1 << 20) + b"\r\n\r\n"), _GET, _502,
     b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("million fields", _saying(b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 100_000 + b"\r\n"), _GET, _502,
     b"(bad_response)\n", Reason.BAD_RESPONSE),
    ("a byte now and then", _saying(_HEAD, *[b"%d" % n for n in range(10)]), _GET, _HEAD, b"0123456789", None),
    ("a byte of the head now and then", _saying(*[b"%c" % c for c in _HEAD]), _GET, _504,
     b"(response_timeout)\n", Reason.RESPONSE_TIMEOUT),
    ("stale connection", _stale, _GET, OK, b"ok", None),
    ("answer before the upload ended", _saying(dated(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")),
     _UPLOAD, dated(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"), b"no", None),
    ("slow close", _saying(dated(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
     then="wait"), _GET, OK, b"ok", None),
    ("close that ends nothing", _saying(dated(b"HTTP/1.1 200 OK\r\n\r\nhello"), then="wait"), _GET, _CHUNKED, b"hello\r\n", Reason.RESPONSE_TIMEOUT),
    ("answers before it is asked", _saying(OK + OK + OK, then="wait"), _GET, OK, b"ok", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("handler", "request_", "beginning", "end", "reason"),
    [pytest.param(*rest, id=name) for name, *rest in FAULTS],
)
async def test_fault(
    proxy: Proxy,
    handler: Handler,
    request_: bytes,
    beginning: bytes,
    end: bytes,
    reason: Reason | None,
) -> None:
    """The client is told the truth in time, and nothing is left of it."""
    backend = await Backend(handler).start()
    _started.remove(backend)
    held = await _quiet_sockets(proxy)
    try:
        await _check(proxy, backend.port, request_, beginning, end, reason)
        if handler is _stale:
            await _check(proxy, backend.port, request_, beginning, end, reason)
            assert proxy.totals().retries >= 1
    finally:
        await backend.stop()
    await proxy.until(lambda: len(sockets_of(worker_of(proxy))) <= held)


async def _quiet_sockets(proxy: Proxy) -> int:
    """How many descriptors the worker holds with nothing under way but one pooled connection."""
    reader, writer = await proxy.connect()
    writer.write(_NEIGHBOUR)
    await reader.readexactly(len(OK))
    writer.close()
    return len(sockets_of(worker_of(proxy)))


async def test_refused(proxy: Proxy) -> None:
    """Nobody listens: told at once."""
    held = await _quiet_sockets(proxy)
    await _check(proxy, free_port(), _GET, _502, b"(connect_refused)\n", Reason.CONNECT_REFUSED)
    await proxy.until(lambda: len(sockets_of(worker_of(proxy))) <= held)


async def test_ignored(proxy: Proxy, syn_hole: int) -> None:
    """The connection attempt is not answered: told after the time for connecting."""
    held = await _quiet_sockets(proxy)
    await _check(proxy, syn_hole, _GET, _504, b"(connect_timeout)\n", Reason.CONNECT_TIMEOUT)
    await proxy.until(lambda: len(sockets_of(worker_of(proxy))) <= held)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_GET, id="GET"),
        pytest.param(_UPLOAD.replace(b"5000000", b"40000000") + bytes(39_800_000), id="upload"),
    ],
)
async def test_stopped_process(proxy: Proxy, request_: bytes) -> None:
    """The kernel accepts for a process that does nothing: told after the time for answers."""
    program = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); s.accept()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    os.kill(process.pid, signal.SIGSTOP)
    held = await _quiet_sockets(proxy)
    try:
        end = b"(response_timeout)\n"
        await _check(proxy, port, request_, _504, end, Reason.RESPONSE_TIMEOUT)
        await proxy.until(lambda: len(sockets_of(worker_of(proxy))) <= held)
    finally:
        process.kill()
        await process.wait()


async def test_worker_is_the_same_after_all_of_that(proxy: Proxy) -> None:
    """No fault has cost a worker its life."""
    reader, writer = await proxy.connect()
    writer.write(_NEIGHBOUR)
    assert await reader.readexactly(len(OK)) == OK
    writer.close()
    assert await read_to_end(reader) == b""
    assert proxy.fleet.deaths == 0
