"""Answers that are carried, and those that are refused: what the client sees, to the byte."""
# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import asyncio
import re
import time
from email.utils import parsedate_to_datetime

import pytest

from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import PATIENCE, read_head
from tests.wire.wire import OK, Wire, dated, read_to_end, reading_side, reset

pytestmark = pytest.mark.asyncio(loop_scope="module")

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
_OLD = b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
_CHUNKED = dated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


async def _kept(wire: Wire, request: bytes, expected: bytes) -> None:
    """One exchange on a client connection that goes on to carry another."""
    reader, writer = await wire.pair()
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        seen = await reader.readexactly(len(expected))
        assert seen == expected
        wire.answer = OK
        writer.write(_GET)
        assert await reader.readexactly(len(OK)) == OK
    writer.close()


UNCHANGED: list[tuple[str, str, bytes, bytes]] = [
    ("9112 6.3", "length", _GET, OK),
    ("9112 6.3", "no body", _GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 7.1", "chunks", _GET, _CHUNKED + _CHUNKS),
    ("9112 7.1", "no payload", _GET, _CHUNKED + b"0\r\n\r\n"),
    ("9112 7.1.2", "trailers", _GET, _CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nServer-Timing: a\r\n\r\n"),
    ("9110 9.3.2", "HEAD with a length", _HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n"),
    ("9110 9.3.2", "HEAD without one", _HEAD, b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"),
    ("9110 9.3.2", "HEAD of an error", _HEAD, b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"),
    ("9110 15.3.5", "204", _GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("9110 15.3.6", "205", _GET, b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    ("9110 15.4.5", "304", _GET, b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),
    ("9110 15.4.5", "304 with a length", _GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ("9110 15", "unknown status", _GET, b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 15", "599", _GET, b"HTTP/1.1 599 x\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 15.5.22", "426", _GET, b"HTTP/1.1 426 x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n"),
    ("9112 4", "no phrase", _GET, b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "phrase of latin-1", _GET, b"HTTP/1.1 200 caf\xe9 (ok)\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 5.3", "repeated fields", _GET, (b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nset-cookie: b\r\n"
     b"Content-Length: 2\r\n\r\nok")),
    ("9110 5.5", "odd values", _GET, b"HTTP/1.1 200 OK\r\nA:\r\nB:  1 \t\r\nC: \xe9\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 7.6.3", "Via and Server of others", _GET, (b"HTTP/1.1 200 OK\r\nVia: 1.1 a\r\nServer: b\r\n"
     b"Content-Length: 2\r\n\r\nok")),
    ("9110 14", "206", _GET, b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 15.2", "100 and 103 before", _GET, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </a>\r\n\r\n"
     b"HTTP/1.1 103 x\r\nLink: </b>\r\n\r\n" + OK),
    ("9110 15.2", "102 before a HEAD's", _HEAD, b"HTTP/1.1 102 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "answer"),
    [pytest.param(r, dated(a), id=f"{section} {name}") for section, name, r, a in UNCHANGED],
)
async def test_reaches_the_client_as_sent(wire: Wire, request_: bytes, answer: bytes) -> None:
    """Every byte of the answer is the backend's, and the connection goes on."""
    wire.answer = answer
    await _kept(wire, request_, answer)


CHANGED: list[tuple[str, str, bytes, bytes, bytes]] = [
    ("9112 7.1.1", "extensions and zeros", _GET, _CHUNKED + b"05;a=b\r\nhello\r\n00;c\r\n\r\n", _CHUNKED + _CHUNKS),
    ("9110 7.6.1", "hop-by-hop fields", _GET,
     (b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nContent-Length: 2\r\n"
     b"Proxy-Connection: a\r\nUpgrade: h2,h2c\r\n\r\nok"), OK),
    ("9112 9.6", "the backend's close is not the client's", _GET,
     b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK),
    ("9110 2.5", "HTTP/1.2 becomes 1.1", _GET, b"HTTP/1.2 200 OK\r\n" + OK.partition(b"\r\n")[2], OK),
    ("9112 7.1", "size with more zeros than a number has digits", _GET,
     _CHUNKED + b"0" * 30 + b"5\r\nhello\r\n" + b"0" * 30 + b"\r\n\r\n", _CHUNKED + _CHUNKS),
    ("9112 2.3", "HTTP/1.0 becomes 1.1", _GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK),
    ("9110 8.6", "204 has no length", _GET, b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 x\r\n\r\n"),
    ("9112 6.1", "304 has no coding", _GET, b"HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n",
     b"HTTP/1.1 304 x\r\n\r\n"),
    ("9112 6.1", "HEAD has no coding", _HEAD, _CHUNKED, b"HTTP/1.1 200 OK\r\n\r\n"),
    ("9112 4", "no space for a missing phrase", _GET, b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
     b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
    ("9110 8.6", "length with zeros", _GET, b"HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok", OK),
    ("9110 6.5.1", "trailers that could be merged", _GET, _CHUNKED + b"5\r\nhello\r\n0\r\nSet-Cookie: a\r\n"
     b"Content-Length: 9\r\nX-Sum: 1\r\nLocation: /\r\n\r\n", _CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ("9110 15.2", "no 1xx for HTTP/1.0", _OLD, b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + OK,
     b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"),
    ("9110 8.6", "1xx has no length", _GET, b"HTTP/1.1 103 x\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n" + OK,
     b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + OK),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "answer", "expected"),
    [
        pytest.param(r, dated(a), dated(e), id=f"{section} {name}")
        for section, name, r, a, e in CHANGED
    ],
)
async def test_reaches_the_client_as_the_rfc_has_it(
    wire: Wire, request_: bytes, answer: bytes, expected: bytes
) -> None:
    """What a proxy must take out, or put in its own words."""
    wire.answer = answer
    await _kept(wire, request_, expected)


def _with(fields: bytes, body: bytes = b"ok") -> bytes:
    return dated(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (fields, body))


REFUSED: list[tuple[str, str, bytes]] = [
    ("9112 6.3", "two lengths", _with(b"Content-Length: 2\r\nContent-Length: 3\r\n")),
    ("9112 6.3", "two equal lengths", _with(b"Content-Length: 2\r\nContent-Length: 2\r\n")),
    ("9112 6.3", "list of lengths", _with(b"Content-Length: 2, 2\r\n")),
    ("9112 6.3", "signed length", _with(b"Content-Length: +2\r\n")),
    ("9112 6.3", "negative length", _with(b"Content-Length: -2\r\n")),
    ("9112 6.3", "hexadecimal length", _with(b"Content-Length: 0x2\r\n")),
    ("9112 6.3", "empty length", _with(b"Content-Length: \r\n")),
    ("9112 6.3", "length beyond 64 bits", _with(b"Content-Length: 18446744073709551618\r\n")),
    ("9112 6.3", "both framings", _with(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    ("9112 6.1", "unknown coding", _with(b"Transfer-Encoding: xchunked\r\n")),
    ("9112 6.1", "gzip, chunked", _with(b"Transfer-Encoding: gzip, chunked\r\n")),
    ("9112 6.1", "identity", _with(b"Transfer-Encoding: identity\r\n")),
    ("9112 6.1", "chunked twice", _with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    ("9112 6.1", "coding under HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112 4", "HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "another protocol", b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "status 099", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "status 600", b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 4", "two spaces", b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 2.2", "empty line before", b"\r\n" + OK),
    ("9112 2.2", "bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("9112 2.2", "bare LF in the fields", _with(b"A: 1\nContent-Length: 2\r\n")),
    ("9112 2.2", "bare CR in a value", _with(b"A: 1\rB: 2\r\nContent-Length: 2\r\n")),
    ("9112 5.1", "space before the colon", _with(b"Content-Length : 2\r\n")),
    ("9112 5.1", "no colon", _with(b"A\r\nContent-Length: 2\r\n")),
    ("9112 5.2", "folded field", _with(b"A: 1\r\n 2\r\nContent-Length: 2\r\n")),
    ("9110 5.5", "NUL", _with(b"A: \x00\r\nContent-Length: 2\r\n")),
    ("9110 15.2.2", "101 unasked", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"),
    ("9112 4", "garbage", bytes(range(256)) * 4),
    ("9112 4", "HTML at once", b"<html><body>hello</body></html>\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    "answer", [pytest.param(a, id=f"{section} {name}") for section, name, a in REFUSED]
)
async def test_is_refused_and_its_connection_given_up(wire: Wire, answer: bytes) -> None:
    """The client gets 502 and nothing of the answer; the counter says why."""

    async def misbehave(reader, writer):
        writer.write(answer)
        await writer.drain()
        assert await reader.read(1) == b"", "never used again"

    wire.answer = misbehave
    before = wire.proxy.totals().reasons.get(Reason.BAD_RESPONSE, 0)
    seen = await wire.send_open(_GET)
    assert seen.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), seen
    assert b"bad_response" in seen
    assert b"Date: " in seen
    assert wire.proxy.totals().reasons[Reason.BAD_RESPONSE] == before + 1


CUT: list[tuple[str, str, bytes, bytes]] = [
    ("9112 8", "body shorter than its length", _with(b"Content-Length: 9\r\n", b"short"),
     _with(b"Content-Length: 9\r\n", b"short")),
    ("9112 8", "end inside a chunk", _CHUNKED + b"9\r\nshort", _CHUNKED + b"9\r\nshort"),
    ("9112 8", "end between chunks", _CHUNKED + b"5\r\nhello\r\n", _CHUNKED + b"5\r\nhello\r\n"),
    ("9112 8", "end inside the trailers", _CHUNKED + b"0\r\nA: 1\r\n", _CHUNKED),
]  # fmt: skip

BROKEN: list[tuple[str, str, bytes]] = [
    ("9112 7.1", "size is no number", b"xyz\r\n"),
    ("9112 7.1", "size beyond 64 bits", b"ffffffffffffffffff\r\n"),
    ("9112 7.1", "bare LF behind a size", b"5\nhello\r\n0\r\n\r\n"),
    ("9112 7.1", "chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    ("9112 7.1.2", "broken trailer", b"0\r\nA : 1\r\n\r\n"),
]


@pytest.mark.parametrize(
    ("answer", "beginning"),
    [pytest.param(a, b, id=f"{section} {name}") for section, name, a, b in CUT],
)
async def test_never_ends_cleanly(wire: Wire, answer: bytes, beginning: bytes) -> None:
    """A body that is not whole is cut, so that nobody takes it for the whole one."""

    async def cut(reader, writer):
        writer.write(answer)
        await writer.drain()

    wire.answer = cut
    seen = await wire.send_open(_GET)
    assert seen.startswith(beginning[: len(_CHUNKED) - 2])
    assert not seen.endswith(b"0\r\n\r\n")
    assert seen.count(b"HTTP/1.1 ") == 1
    # An HTTP/1.0 client can tell an answer's end from the close alone: it gets a reset.
    reader, writer = await wire.pair()
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    if b"Transfer-Encoding" in answer:
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
    else:
        await read_to_end(reader)
    writer.close()


@pytest.mark.parametrize(
    "chunks", [pytest.param(c, id=f"{section} {name}") for section, name, c in BROKEN]
)
async def test_broken_chunks_end_the_answer(wire: Wire, chunks: bytes) -> None:
    """With 502 where nothing has gone on yet, else by a cut."""
    goes_on = asyncio.Event()

    async def break_it(reader, writer):
        if goes_on.is_set():
            writer.write(_CHUNKED + b"5\r\nhello\r\n" + chunks)
        else:
            writer.write(_CHUNKED + b"5\r\nhello\r\n")
            await goes_on.wait()
            writer.write(chunks)
        await writer.drain()

    wire.answer = break_it
    reader, writer = await wire.pair()
    writer.write(_GET)
    assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(10) == b"5\r\nhello\r\n"
    goes_on.set()
    assert await read_to_end(reader) == b""
    writer.close()
    before = wire.proxy.totals().reasons.get(Reason.BAD_RESPONSE, 0)
    seen = await wire.send_open(_GET)
    assert seen.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), seen
    assert wire.proxy.totals().reasons[Reason.BAD_RESPONSE] == before + 1


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        pytest.param(_GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="length"),
        pytest.param(_GET, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", id="error"),
        pytest.param(_GET, b"HTTP/1.1 204 No\r\n\r\n", id="204"),
        pytest.param(_GET, b"HTTP/1.1 304 No\r\n\r\n", id="304"),
        pytest.param(_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", id="HEAD"),
        pytest.param(
            _GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="chunks",
        ),
        pytest.param(
            _GET, b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="103"
        ),
    ],
)
async def test_answer_without_a_date_gets_one(wire: Wire, request_: bytes, answer: bytes) -> None:
    """A recipient with a clock appends what is missing to what it forwards (RFC 9110 6.6.1)."""
    wire.answer = answer
    seen = await wire.send(request_)
    (date,) = re.findall(rb"\r\nDate: ([^\r]*)", seen)
    age = time.time() - parsedate_to_datetime(date.decode()).timestamp()
    assert -1 < age < PATIENCE
    assert seen.replace(b"Connection: close\r\nDate: %b\r\n" % date, b"") == answer


async def test_date_of_the_backend_stays(wire: Wire) -> None:
    """However it is spelled, and whatever it says (RFC 9110 section 6.6.1)."""
    wire.answer = b"HTTP/1.1 200 OK\r\ndAtE: long ago\r\nConnection: a\r\nContent-Length: 0\r\n\r\n"
    seen = await wire.send(_GET)
    assert re.findall(rb"(?i)\r\nDate: ([^\r]*)", seen) == [b"long ago"]


async def test_answer_that_the_close_ends_is_reframed(wire: Wire) -> None:
    """Chunks for HTTP/1.1, a plain close for HTTP/1.0 (RFC 9112 section 6.3, rule 8)."""
    wire.answer = dated(b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nhello")
    seen = await wire.send_open(_GET + b"GET / HTTP/1.0\r\n\r\n")
    assert seen == dated(
        b"HTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nhello"
    )


async def test_reset_does_not_end_an_answer_that_the_close_would(wire: Wire) -> None:
    """A backend that dies inside such an answer leaves an incomplete message."""

    async def die(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        await wire.until_client_has_head()
        reset(writer)

    wire.answer = die
    reader, writer = await wire.pair()
    writer.write(_GET)
    head = await read_head(reader)
    assert b"Transfer-Encoding: chunked" in head
    wire.client_has_head.set()
    assert not (await read_to_end(reader)).endswith(b"0\r\n\r\n")
    writer.close()


async def test_chunks_for_an_old_client_are_taken_off(wire: Wire) -> None:
    """HTTP/1.0 knows no chunks and no trailers (RFC 9112 section 7.1.3)."""
    wire.answer = _CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert await wire.send_open(_OLD) == dated(b"HTTP/1.1 200 OK\r\n\r\nhello world")


async def test_many_interim_answers_on_one_backend_connection(wire: Wire) -> None:
    """They are counted per exchange: a connection may carry any number over time."""
    wire.answer = b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + OK
    connections = wire.backend.connections
    seen = await wire.send(_GET * 100)
    assert len(re.findall(rb"HTTP/1.1 200", seen)) == 100
    assert wire.backend.connections <= connections + 1


async def test_answer_before_the_upload_ended_is_delivered(wire: Wire) -> None:
    """A backend that resets behind its early answer does not take the answer along."""

    async def refuse(reader, writer):
        writer.write(dated(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"))
        await writer.drain()
        writer.close()

    wire.answer = refuse
    for _ in range(20):
        seen = await wire.send_open(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + bytes(1000000)
        )
        assert seen.startswith(b"HTTP/1.1 413 No\r\n"), seen
        assert seen.endswith(b"Connection: close\r\n\r\nno")


async def test_slow_client_gets_the_end_of_an_answer_after_the_close(wire: Wire) -> None:
    """The last bytes of an answer, and nobody reading for longer than closing may take."""
    size = 8_000_000
    wire.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    reader, writer = await wire.pair()
    reading_side(writer).pause_reading()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(6.0)
    reading_side(writer).resume_reading()
    assert len((await read_to_end(reader)).partition(b"\r\n\r\n")[2]) == size
    writer.close()
