"""What is sent again, and what never is (RFC 9110 section 9.2.2): the backend's view of it."""

from __future__ import annotations

import asyncio
import functools
from time import monotonic

import pytest

from bgproxy.domain.model import ServiceLimits
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import Backend, answering, read_head, running, table_of
from tests.ports import free_port
from tests.wire.wire import OK, reset, wired

pytestmark = pytest.mark.asyncio(loop_scope="function")

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_EMPTY = b"Content-Length: 0\r\n\r\n"
_BODY = b"Content-Length: 5\r\n\r\nhello"


def _request(method: bytes, rest: bytes = b"\r\n") -> bytes:
    return b"%b / HTTP/1.1\r\nHost: x\r\n%b" % (method, rest)


async def _one_then_close(reader, writer, last: bytes = b"") -> None:
    """Answer one request, take the next one, say `last`, and close."""
    await read_head(reader)
    writer.write(OK)
    await read_head(reader)
    writer.write(last)


@pytest.mark.parametrize(
    ("request_", "is_repeated"),
    [
        pytest.param(_request(b"GET"), True, id="GET"),
        pytest.param(_request(b"HEAD"), True, id="HEAD"),
        pytest.param(_request(b"OPTIONS"), True, id="OPTIONS"),
        pytest.param(_request(b"DELETE"), True, id="DELETE"),
        pytest.param(_request(b"PUT", _EMPTY), True, id="PUT of nothing"),
        pytest.param(_request(b"POST", _EMPTY), False, id="POST"),
        pytest.param(_request(b"PATCH", _EMPTY), False, id="PATCH"),
        pytest.param(_request(b"FOO"), False, id="unknown method"),
        pytest.param(_request(b"get"), False, id="another method than GET"),
        pytest.param(_request(b"GET", _BODY), False, id="GET with a body"),
        pytest.param(_request(b"PUT", _BODY), False, id="PUT with a body"),
    ],
)
async def test_stale_connection(request_: bytes, is_repeated: bool) -> None:
    """A kept connection that closes under a request: again, once, only what may run twice."""
    backend = await Backend(_one_then_close).start()
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        writer.write(_GET)
        await reader.readexactly(len(OK))
        writer.write(request_)
        head = await read_head(reader)
        writer.close()
        assert head.startswith(b"HTTP/1.1 200 " if is_repeated else b"HTTP/1.1 502 ")
        heads = [r for r in backend.received if r.startswith(request_.split(b" ")[0] + b" ")]
        first = request_.startswith(b"GET ")
        assert len(heads) == 1 + is_repeated + first
        assert proxy.totals().retries == is_repeated
        expected = {} if is_repeated else {Reason.RESET: 1}
        assert proxy.totals().reasons == expected


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(b"H", id="one byte of an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="a part of the head"),
        pytest.param(b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n", id="an interim answer"),
    ],
)
async def test_no_retry_once_an_answer_began(last: bytes) -> None:
    """The request was executed, or may have been."""

    async def handle(reader, writer):
        await _one_then_close(reader, writer, last)

    backend = await Backend(handle).start()
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(_GET + _GET)
        assert b"HTTP/1.1 502 " in answer
        assert len(backend.received) == 2
        assert proxy.totals().retries == 0
        assert proxy.totals().reasons == {Reason.RESET: 1}


async def test_retry_happens_once() -> None:
    """The second attempt goes out on a fresh connection, and is the last."""
    connections = 0

    async def handle(reader, writer):
        nonlocal connections
        connections += 1
        await read_head(reader)
        if connections == 1:
            writer.write(OK)
            await read_head(reader)

    backend = await Backend(handle).start()
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(_GET + _GET)
        assert b"HTTP/1.1 502 " in answer
        assert len(backend.received) == 3
        assert connections == 2


async def test_fresh_connection_that_closes_is_no_stale_one() -> None:
    """A backend that accepts, reads and closes may have done the work."""

    async def handle(reader, writer):
        await read_head(reader)

    backend = await Backend(handle).start()
    async with running(table_of([backend.port], [])) as proxy:
        assert (await proxy.talk(_GET)).startswith(b"HTTP/1.1 502 ")
        assert len(backend.received) == 1


async def test_post_never_meets_a_connection_known_to_be_closed() -> None:
    """The kernel is asked before a request that could not be repeated is sent."""

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(OK)

    backend = await Backend(handle).start()
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        for number in range(1, 21):
            writer.write(_request(b"POST", _EMPTY))
            assert await reader.readexactly(len(OK)) == OK
            await backend.until(functools.partial(lambda n: backend.closed == n, number))
        writer.close()
        # An answer is counted just after it is written: the client can be quicker.
        await proxy.until(lambda: proxy.totals().codes == {200: 20})


async def test_budget_ends_retries() -> None:
    """A backend that closes on everybody is not asked twice as often for long."""
    backend = await Backend(_one_then_close).start()
    limits = ServiceLimits(retry_share=0.0)
    async with running(table_of([backend.port], [], limits=limits)) as proxy:
        failures = 0
        for _ in range(30):
            reader, writer = await proxy.connect()
            writer.write(_GET)
            head = await read_head(reader)
            failures += head.startswith(b"HTTP/1.1 502 ")
            writer.close()
        assert proxy.totals().retries == 10
        assert failures > 0
        assert proxy.totals().reasons == {Reason.RESET: failures}


async def test_refused_backend_is_never_the_answer_while_another_accepts() -> None:
    """Nothing was sent to it, so any request may go on to the next: bodies, POST and upgrades."""
    refusing = free_port()
    async with wired(more=(refusing, free_port())) as wire:
        chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        for rest in (_BODY, chunked, _EMPTY) * 4:
            answer = await wire.send(_request(b"POST", rest))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert wire.forwarded()[-1] == _request(b"POST", rest)
        assert len(wire.requests) == 12


async def test_outlier_is_ejected_while_its_peer_serves() -> None:
    """Five failures in a row take a backend out; its peer gets everything then."""

    async def die(reader, writer):
        await read_head(reader)
        reset(writer)

    bad = await Backend(die).start()
    good = await Backend(answering(OK)).start()
    async with running(table_of([bad.port, good.port], [])) as proxy:
        while proxy.totals().failures < 5:
            await proxy.talk(_request(b"POST", b"Connection: close\r\n" + _EMPTY))
        served, end = 0, monotonic() + 1.0  # it stays out for two seconds
        while served < 50 and monotonic() < end:
            answer = await proxy.talk(_request(b"POST", b"Connection: close\r\n" + _EMPTY))
            assert answer.startswith(b"HTTP/1.1 200 ")
            served += 1
        assert served
        assert bad.connections == 5


async def test_half_of_the_backends_stay_however_bad_they_are() -> None:
    """When most fail, ejecting them would only move the load to the rest."""

    async def die(reader, writer):
        await read_head(reader)
        reset(writer)

    bad = [await Backend(die).start() for _ in range(3)]
    good = await Backend(answering(OK)).start()
    async with running(table_of([*(b.port for b in bad), good.port], [])) as proxy:
        for _ in range(150):
            await proxy.talk(_request(b"POST", b"Connection: close\r\n" + _EMPTY))
        counts = sorted(b.connections for b in bad)
        assert counts[-1] > 10, "not all of them were ejected"


async def test_concurrent_gets_on_stale_connections_are_all_answered() -> None:
    """A backend that restarts closes what it kept; those who meet that notice nothing."""
    closing = asyncio.Event()
    writers = []

    async def handle(reader, writer):
        writers.append(writer)
        while not closing.is_set():
            await read_head(reader)
            writer.write(OK)

    backend = await Backend(handle).start()
    async with running(table_of([backend.port], [])) as proxy:
        pairs = [await proxy.connect() for _ in range(8)]
        for _, writer in pairs:
            writer.write(_GET)
        for reader, _ in pairs:
            await reader.readexactly(len(OK))
        for writer in writers:
            writer.close()
        for _, writer in pairs:
            writer.write(_GET)
        for reader, writer in pairs:
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
        assert proxy.totals().failures == 0
