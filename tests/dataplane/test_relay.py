"""Requests and answers over real sockets, through a real worker."""

from __future__ import annotations

import asyncio
import re

import pytest

from bgproxy.domain.model import Color, ProxyLimits, ServiceLimits, Timeouts
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import (
    Backend,
    answering,
    echoing,
    read_head,
    running,
    table_of,
)
from tests.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"


async def start(*handlers):
    """Backends that run."""
    return [await Backend(handler).start() for handler in handlers]


def seen_by_backend(answer: bytes) -> bytes:
    """What an echoing backend received, without what the proxy adds per request."""
    body = answer.partition(b"\r\n\r\n")[2]
    return re.sub(rb"X-Request-(Id|Start): [^\r]*\r\n", b"", body)


async def test_request_arrives_as_sent_with_the_proxys_own_fields_behind() -> None:
    """Target, order, spelling, repeated and empty fields stay; only what is ours is added."""
    (backend,) = await start(echoing())
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(
            b"GET /a%2Fb//c?q=%20&x HTTP/1.1\r\nhOST: example.com\r\nX-A: 1\r\nx-b:2\r\nX-A: 3\r\n"
            b"Empty:\r\nName: caf\xe9\r\nConnection: close\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nX-Backend: echo\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert seen_by_backend(answer) == (
        b"GET /a%2Fb//c?q=%20&x HTTP/1.1\r\nhOST: example.com\r\nX-A: 1\r\nx-b:2\r\nX-A: 3\r\n"
        b"Empty:\r\nName: caf\xe9\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: example.com\r\n\r\n"
    )


async def test_request_id_of_the_client_is_kept_and_otherwise_made() -> None:
    """Every request that reaches a backend carries just one id; ours never repeats."""
    (backend,) = await start(echoing())
    async with running(table_of([backend.port], [])) as proxy:
        own = await proxy.talk(
            b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc\r\nConnection: close\r\n\r\n"
        )
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        made = [await proxy.talk(request) for _ in range(3)]
    assert re.findall(rb"(?i)X-Request-Id: ([^\r]*)", own) == [b"abc"]
    ids = [re.findall(rb"X-Request-Id: ([^\r]*)", answer) for answer in made]
    assert all(len(found) == 1 and found[0] for found in ids)
    assert len({found[0] for found in ids}) == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent at once are carried one after the other on one client connection."""
    (backend,) = await start(echoing())
    async with running(table_of([backend.port], [])) as proxy:
        one = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
        requests = b"".join(one % n for n in range(50))
        answer = await proxy.talk(requests + b"GET /last HTTP/1.0\r\n\r\n")
    targets = re.findall(rb"GET (/\S+) HTTP/1.1", answer)
    assert targets == [b"/%d" % n for n in range(50)] + [b"/last"]
    assert backend.connections == 1, "the backend connection is kept"


@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 3_000_000])
async def test_body_with_length_passes_both_ways(size: int) -> None:
    """An upload comes back as a download, byte for byte."""
    (backend,) = await start(echoing())
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (size, body)
        )
    assert seen_by_backend(answer).partition(b"\r\n\r\n")[2] == body


async def test_chunked_body_passes_both_ways_with_trailers() -> None:
    """Chunks are checked and passed on; trailers reach the other side."""

    async def handle(reader, writer):
        await read_head(reader)
        body = await reader.readuntil(b"0\r\nX-Sum: 1\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%b\r\n0\r\nX-T: 2\r\n\r\n" % (len(body), body)
        )

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
    assert b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n" in answer
    assert answer.endswith(b"0\r\nX-T: 2\r\n\r\n")


async def test_answer_until_close_reaches_new_clients_in_chunks_and_old_ones_plain() -> None:
    """The end that a close marks is told in the way that the client can keep its connection."""

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nDate: x\r\nX-A: 1\r\n\r\nhello")

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        new = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        old = await proxy.talk(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in new
    assert new.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert b"Transfer-Encoding" not in old
    assert old.endswith(b"\r\n\r\nhello")


async def test_chunked_answer_reaches_an_old_client_plain() -> None:
    """HTTP/1.0 knows no chunks: they are taken off, and the close marks the end."""
    (backend,) = await start(
        answering(
            b"HTTP/1.1 200 OK\r\nDate: x\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n0\r\n\r\n"
        )
    )
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\nDate: x\r\nX-A: 1\r\n\r\nhello"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1000\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 99\r\n\r\n"),
    ],
)
async def test_answers_without_body_keep_both_connections(method: bytes, answer: bytes) -> None:
    """HEAD, 204 and 304 end with their head, whatever length it speaks of."""
    (backend,) = await start(answering(answer))
    async with running(table_of([backend.port], [])) as proxy:
        request = method + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
        reader, writer = await proxy.connect()
        for _ in range(3):
            writer.write(request)
            assert await reader.readexactly(len(answer)) == answer
        writer.close()
    assert backend.connections == 1


async def test_interim_answers_pass_in_order() -> None:
    """100 and 103 reach a 1.1 client before the final answer, a 1.0 client not at all."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    (backend,) = await start(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + OK))
    async with running(table_of([backend.port], [])) as proxy:
        new = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        old = await proxy.talk(b"GET / HTTP/1.0\r\n\r\n")
    assert new.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + b"HTTP/1.1 200 OK\r\n")
    assert old.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_expect_continue_is_end_to_end() -> None:
    """The backend is asked, and its 100 lets the client send."""

    async def handle(reader, writer):
        head = await read_head(reader)
        assert b"Expect: 100-continue\r\n" in head
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        writer.write(
            b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert await read_head(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert await reader.readexactly(len(OK)) == OK
        writer.close()


async def test_events_arrive_without_delay() -> None:
    """Each event of a stream reaches the client before the next one is sent."""
    go_on = asyncio.Event()

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await go_on.wait()
        writer.write(b"data: 2\n\n")

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"data: 1\n\n")
        go_on.set()
        await reader.readuntil(b"data: 2\n\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def test_upgrade_becomes_a_tunnel_with_glued_bytes_and_half_close() -> None:
    """Bytes behind either handshake get through, and one side may end before the other."""

    async def handle(reader, writer):
        head = await read_head(reader)
        assert b"Connection: Upgrade\r\n" in head
        assert b"Upgrade: echo\r\n" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhi:"
        )
        while data := await reader.read(1000):
            writer.write(data)
        writer.write(b":bye")

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        writer.write(
            b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly"
        )
        head = await read_head(reader)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await reader.readexactly(8) == b"hi:early"
        await proxy.until(lambda: proxy.in_flight() == (0, 1))
        writer.write(b"more")
        assert await reader.readexactly(4) == b"more"
        writer.write_eof()
        assert await reader.read(-1) == b":bye"
        writer.close()
        await proxy.until(lambda: proxy.in_flight() == (0, 0))
        await proxy.until(lambda: proxy.totals().codes == {101: 1})


async def test_rejected_upgrade_keeps_the_connection() -> None:
    """An ordinary answer to an upgrade is just that."""
    (backend,) = await start(answering(OK))
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        for _ in range(2):
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            )
            assert await reader.readexactly(len(OK)) == OK
        writer.close()


async def test_unasked_101_is_refused() -> None:
    """A backend cannot turn a plain request into a tunnel."""
    (backend,) = await start(
        answering(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    )
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await proxy.until(lambda: Reason.BAD_RESPONSE in proxy.totals().reasons)
    assert answer.startswith(b"HTTP/1.1 502 ")


async def test_refused_backend_is_followed_by_another_even_for_a_post() -> None:
    """Nothing was sent to the first one, so nothing can run twice."""
    (backend,) = await start(echoing())
    async with running(table_of([free_port(), backend.port], [])) as proxy:
        for _ in range(6):
            answer = await proxy.talk(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
            )
            assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert proxy.totals().codes == {200: 6}
        assert proxy.totals().failures == 0


async def test_no_backend_that_accepts_is_502_with_the_reason() -> None:
    """The client is told quickly, and the counter names the reason."""
    async with running(table_of([free_port()], [])) as proxy:
        answer = await proxy.talk(
            b"GET / HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        )
        assert proxy.totals().reasons == {Reason.CONNECT_REFUSED: 1}
        assert proxy.totals().codes == {502: 1}
        assert proxy.in_flight() == (0, 0)
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"connect_refused" in answer
    assert b"127.0.0.1" not in answer, "where the backends are is nobody's business outside"


async def test_environment_without_backends_is_503() -> None:
    """An empty environment is answered for, with Retry-After."""
    async with running(table_of([], [])) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert proxy.totals().reasons == {Reason.NO_BACKEND: 1}
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in answer


async def test_silent_backend_is_504_and_its_connection_is_given_up() -> None:
    """The time-out for answers ends the exchange on both sides."""

    async def handle(reader, writer):
        await read_head(reader)
        await reader.read(1)

    (backend,) = await start(handle)
    table = table_of([backend.port], [], timeouts=Timeouts(response=0.1))
    async with running(table) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await backend.until(lambda: backend.closed == 1)
        assert proxy.totals().reasons == {Reason.RESPONSE_TIMEOUT: 1}
    assert answer.startswith(b"HTTP/1.1 504 ")


async def test_short_body_never_ends_cleanly() -> None:
    """A body shorter than promised reaches the client as an incomplete message."""

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 10\r\n\r\nshort")

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await proxy.until(lambda: proxy.totals().reasons == {Reason.TRUNCATED: 1})
    assert answer.endswith(b"Content-Length: 10\r\n\r\nshort")


async def test_bytes_beyond_the_promised_end_reach_nobody() -> None:
    """What follows a complete answer is dropped with its connection."""
    (backend,) = await start(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readexactly(len(OK)) == OK
        writer.close()
    assert backend.connections == 3


async def test_stale_connection_is_replaced_for_a_get_and_never_for_a_post() -> None:
    """A kept connection that closes under a request: GET goes out once more, POST is 502."""

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(OK)
        await read_head(reader)

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        for _ in range(4):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readexactly(len(OK)) == OK
        assert proxy.totals().retries >= 1
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        head = await read_head(reader)
        writer.close()
    assert head.startswith(b"HTTP/1.1 502 ")
    posts = [data for data in backend.received if data.startswith(b"POST")]
    assert len(posts) == 1


async def test_early_answer_is_delivered_and_the_upload_is_not_finished() -> None:
    """A backend that answers without reading the body: its answer arrives, then it is over."""

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nstart")
        head = await read_head(reader)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close\r\n" in head
        assert await reader.read(-1) == b""
        writer.close()


async def test_half_closed_client_gets_its_answer() -> None:
    """A client that has sent all it will still reads."""
    (backend,) = await start(answering(OK))
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"ok")


async def test_clients_abort_is_the_clients_and_frees_the_backend() -> None:
    """A client that resets costs its exchange; the backend is not to blame."""

    async def handle(reader, writer):
        await read_head(reader)
        await reader.read(1)

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        _, writer = await proxy.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await proxy.until(lambda: proxy.in_flight() == (1, 0))
        writer.transport.abort()
        await backend.until(lambda: backend.closed == 1)
        await proxy.until(lambda: proxy.totals().reasons == {Reason.CLIENT_ABORT: 1})
        assert proxy.totals().failures == 0
        assert proxy.totals().codes == {499: 1}
        assert proxy.in_flight() == (0, 0)


async def test_client_that_is_gone_is_found_out_though_the_backend_is_silent() -> None:
    """A close looks like a half-close: it is believed for a second, in whatever phase it came."""

    async def handle(reader, writer):
        await read_head(reader)
        await reader.read(1)

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        assert await proxy.talk(request, half_close=True) == b""
        assert proxy.totals().reasons == {Reason.CLIENT_ABORT: 1}
        await backend.until(lambda: backend.closed == 1)


async def test_crawling_upload_is_ended() -> None:
    """A body that comes in dribs, each in time, is still held to the least rate."""
    (backend,) = await start(echoing())
    limits = ProxyLimits(min_body_rate=100)
    async with running(table_of([backend.port], [], proxy_limits=limits)) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.2)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_body_over_the_limit_is_413() -> None:
    """By length before anything is sent; in chunks as soon as it is seen."""
    (backend,) = await start(echoing())
    table = table_of([backend.port], [], limits=ServiceLimits(max_body_bytes=10))
    async with running(table) as proxy:
        by_length = await proxy.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
        by_chunks = await proxy.talk(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n"
        )
    assert by_length.startswith(b"HTTP/1.1 413 ")
    assert by_chunks.startswith(b"HTTP/1.1 413 ")


async def test_slow_head_is_408() -> None:
    """The time for a head is absolute: a byte now and then does not stretch it."""
    async with running(table_of([], [], timeouts=Timeouts(request_head=0.2))) as proxy:
        reader, writer = await proxy.connect()
        answer = asyncio.ensure_future(reader.read(-1))
        for byte in b"GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":
            if answer.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_full_backend_queues_and_then_answers_503() -> None:
    """One request at a time, one in the queue, and a third is told to come back."""
    release = asyncio.Event()

    async def handle(reader, writer):
        while True:
            await read_head(reader)
            await release.wait()
            writer.write(OK)

    (backend,) = await start(handle)
    limits = ServiceLimits(max_in_flight=1, max_queued=1)
    async with running(table_of([backend.port], [], limits=limits)) as proxy:
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        first = asyncio.ensure_future(proxy.talk(request))
        await proxy.until(lambda: proxy.in_flight() == (1, 0))
        others = [asyncio.ensure_future(proxy.talk(request)) for _ in range(2)]
        done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert (await done.pop()).startswith(b"HTTP/1.1 503 ")
        release.set()
        assert (await waiting.pop()).startswith(b"HTTP/1.1 200 ")
        assert (await first).startswith(b"HTTP/1.1 200 ")
        assert proxy.totals().reasons == {Reason.OVERLOADED: 1}


async def test_slow_client_stops_the_backend_not_the_worker() -> None:
    """Back-pressure: a client that does not read leaves the bytes with the backend."""
    size = 64 * 1024 * 1024

    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()
            backend.received.append(block)
            backend.note()

    (backend,) = await start(handle)
    async with running(table_of([backend.port], [])) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await backend.until(lambda: len(backend.received) > 10)
        stalled = -1
        while stalled != len(backend.received):
            stalled = len(backend.received)
            await asyncio.sleep(0.2)
        assert stalled * 65536 < size / 2, "the backend was held back"
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.read(1 << 20))
        writer.close()


async def test_request_held_by_a_pause_goes_to_the_new_environment() -> None:
    """What a pause holds is claimed at its end, in order, by whichever side is active then."""
    blue, green = await start(echoing(b"blue"), echoing(b"green"))
    table = table_of([blue.port], [green.port])
    async with running(table) as proxy:
        await proxy.change(held_until=asyncio.get_running_loop().time() + 60)
        held = asyncio.ensure_future(
            proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        )
        await proxy.until(lambda: proxy.fleet.workers_view()[0]["held"] == 1)
        assert proxy.in_flight() == (0, 0)
        await proxy.switch(Color.GREEN)
        await proxy.change(held_until=0.0)
        assert b"X-Backend: green\r\n" in await held


async def test_pause_ends_by_itself() -> None:
    """A pause that nobody ends lets its requests go when its time is over."""
    (blue,) = await start(echoing(b"blue"))
    async with running(table_of([blue.port], [])) as proxy:
        await proxy.change(held_until=asyncio.get_running_loop().time() + 0.2)
        answer = await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"X-Backend: blue\r\n" in answer


async def test_unknown_host_is_404() -> None:
    """A Host that no service claims is not sent anywhere."""
    (backend,) = await start(answering(OK))
    async with running(table_of([backend.port], [], hosts=("a.example",))) as proxy:
        other = await proxy.talk(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n")
        known = await proxy.talk(
            b"GET / HTTP/1.1\r\nHost: a.example:80\r\nConnection: close\r\n\r\n"
        )
    assert other.startswith(b"HTTP/1.1 404 ")
    assert known.startswith(b"HTTP/1.1 200 ")
