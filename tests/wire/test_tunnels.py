"""Tunnels: upgrades asked for and not, bytes glued to handshakes, ends of one side or both."""
# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import asyncio
import hashlib

import pytest

from bgproxy.domain.model import Color, ServiceLimits, Timeouts
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import PATIENCE, read_head
from tests.wire.wire import OK, Wire, dated, read_to_end, reset, send_until_stuck, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ASK = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_YES = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def _echo(reader, writer) -> None:
    writer.write(_YES)
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def test_handshake_arrives_whole_both_ways(wire: Wire) -> None:
    """The fields of the handshake are end to end; only Connection is in our words (RFC 6455 4)."""
    wire.answer = _echo
    reader, writer = await wire.pair()
    writer.write(_ASK)
    head = await read_head(reader)
    assert sorted(head.split(b"\r\n")) == sorted(_YES.split(b"\r\n"))
    (seen,) = wire.forwarded()
    expected = _ASK.replace(b"Connection: keep-alive, Upgrade", b"Connection: Upgrade")
    assert sorted(seen.split(b"\r\n")) == sorted(expected.split(b"\r\n"))
    writer.transport.abort()


async def test_bytes_glued_to_either_handshake_get_through(wire: Wire) -> None:
    """An eager client's first frames, and those that come with the 101."""

    async def greet(reader, writer):
        writer.write(_YES + b"greeting")
        assert await reader.readexactly(7) == b"hello, "
        assert await reader.readexactly(5) == b"again"
        writer.write(b"heard")

    wire.answer = greet
    reader, writer = await wire.pair()
    writer.write(_ASK + b"hello, ")
    await read_head(reader)
    assert await reader.readexactly(8) == b"greeting"
    writer.write(b"again")
    assert await read_to_end(reader) == b"heard"
    writer.close()


async def test_every_byte_passes_both_ways_under_back_pressure(wire: Wire) -> None:
    """Eight megabytes of any bytes, faster than they are read, arrive as they were sent."""
    wire.answer = _echo
    reader, writer = await wire.pair()
    writer.write(_ASK)
    await read_head(reader)
    block = bytes(range(256)) * 256
    sent, seen = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        for _ in range(128):
            writer.write(block)
            sent.update(block)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    await asyncio.sleep(0.2)
    while data := await reader.read(1 << 16):
        seen.update(data)
    await sending
    writer.close()
    assert seen.digest() == sent.digest()


async def test_client_ends_first(wire: Wire) -> None:
    """Its half-close reaches the backend, whose last words still come."""

    async def last_word(reader, writer):
        writer.write(_YES)
        assert await reader.read(-1) == b"bye"
        writer.write(b"last word")

    wire.answer = last_word
    reader, writer = await wire.pair()
    writer.write(_ASK)
    await read_head(reader)
    writer.write(b"bye")
    writer.write_eof()
    assert await read_to_end(reader) == b"last word"
    writer.close()


async def test_backend_ends_first(wire: Wire) -> None:
    """Its half-close reaches the client, which may still send."""
    heard: list[bytes] = []

    async def listen(reader, writer):
        writer.write(_YES + b"over")
        writer.write_eof()
        heard.append(await reader.read(-1))
        wire.backend.note()

    wire.answer = listen
    reader, writer = await wire.pair()
    writer.write(_ASK)
    await read_head(reader)
    assert await reader.read(-1) == b"over"
    writer.write(b"still here")
    writer.close()
    await wire.backend.until(lambda: heard == [b"still here"])


REFUSED: list[tuple[str, str, bytes, bytes]] = [
    ("9110 7.8", "not asked", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", _YES),
    ("9110 7.8", "asked without Connection", b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", _YES),
    ("9110 7.8", "asked by HTTP/1.0", _ASK.replace(b"HTTP/1.1", b"HTTP/1.0"), _YES),
    ("9110 7.8", "another protocol than asked", _ASK, _YES.replace(b"websocket", b"other")),
    ("9110 7.8", "no protocol named", _ASK, b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\n\r\n"),
    ("9110 7.8", "body under way", _ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\nhalf"), _YES),
    ("9110 7.8", "chunks under way", _ASK.replace(
        b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), _YES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "answer"), [pytest.param(d, a, id=f"{s} {n}") for s, n, d, a in REFUSED]
)
async def test_no_tunnel_that_was_not_agreed(wire: Wire, data: bytes, answer: bytes) -> None:
    """Whoever gets a tunnel past the rules of HTTP could say anything in it."""

    async def switch(reader, writer):
        writer.write(answer)
        await reader.read(-1)

    wire.answer = switch
    seen = await wire.send_open(data)
    assert seen.startswith(b"HTTP/1.1 502 "), seen
    assert b"bad_response" in seen


@pytest.mark.parametrize(
    ("asked", "passed_on"),
    [
        (b"h2c", b""),
        (b"H2C", b""),
        (b"h2c, websocket", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        (b"websocket, h2c-14", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        (b"foo/1, websocket", b"Connection: Upgrade\r\nUpgrade: foo/1, websocket\r\n"),
    ],
)
async def test_protocols_that_are_asked_for(wire: Wire, asked: bytes, passed_on: bytes) -> None:
    """Any but HTTP/2 in the clear, in which requests would pass unseen (RFC 9113 section 3.1)."""
    await wire.send(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" % asked
    )
    assert wire.forwarded() == [b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % passed_on]


async def test_upgrade_with_a_complete_body(wire: Wire) -> None:
    """A body belongs to the request, what follows it to the protocol asked for."""

    async def switch(reader, writer):
        assert await reader.readexactly(5) == b"hello"
        writer.write(_YES)
        writer.write(await reader.readexactly(6))

    wire.answer = switch
    ask = _ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello")
    reader, writer = await wire.pair()
    writer.write(ask + b"tunnel")
    await read_head(reader)
    assert await reader.readexactly(6) == b"tunnel"
    writer.close()


@pytest.mark.parametrize(
    "answer",
    [OK, dated(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), dated(
        b"HTTP/1.1 426 x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")],
)  # fmt: skip
async def test_upgrade_that_is_declined(wire: Wire, answer: bytes) -> None:
    """Any other answer is an answer, and both connections go on as HTTP."""
    wire.answer = answer
    connections = wire.backend.connections
    reader, writer = await wire.pair()
    for _ in range(3):
        writer.write(_ASK)
        assert await reader.readexactly(len(answer)) == answer
    writer.close()
    assert wire.backend.connections <= connections + 1


async def test_interim_answer_before_the_upgrade(wire: Wire) -> None:
    """A 103 may come before the 101 (RFC 9110 section 15.2)."""

    async def switch(reader, writer):
        writer.write(b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + _YES + b"hi")
        await reader.read(-1)

    wire.answer = switch
    reader, writer = await wire.pair()
    writer.write(_ASK)
    assert (await read_head(reader)).startswith(b"HTTP/1.1 103 ")
    assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(2) == b"hi"
    writer.close()


async def test_idle_tunnel_is_ended_and_counted() -> None:
    """Silence both ways ends it; a tunnel that talks stays."""
    async with wired(timeouts=Timeouts(tunnel_idle=0.4)) as wire:
        wire.answer = _echo
        reader, writer = await wire.pair()
        writer.write(_ASK)
        await read_head(reader)
        for _ in range(4):
            await asyncio.sleep(0.2)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        assert await reader.read(-1) == b""
        writer.close()
        await wire.proxy.until(lambda: wire.proxy.in_flight() == (0, 0))
        assert wire.proxy.totals().codes == {101: 1}


async def test_tunnel_makes_room_for_requests_that_wait() -> None:
    """It is no request in flight any more, so the queue moves on when it begins."""
    async with wired(limits=ServiceLimits(max_in_flight=1, queue_timeout=5.0)) as wire:
        may_switch = asyncio.Event()

        async def switch(reader, writer):
            await may_switch.wait()
            wire.answer = OK
            await _echo(reader, writer)

        wire.answer = switch
        reader, writer = await wire.pair()
        writer.write(_ASK)
        await wire.proxy.until(lambda: wire.proxy.in_flight() == (1, 0))
        waiting_reader, waiting_writer = await wire.pair()
        waiting_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.settle()
        may_switch.set()
        await read_head(reader)
        async with asyncio.timeout(PATIENCE):
            assert await waiting_reader.readexactly(len(OK)) == OK
        writer.close()
        waiting_writer.close()


async def test_tunnel_to_a_stuck_backend_ends_with_its_client() -> None:
    """What a backend does not take in is given up a while after the client is gone."""
    stuck = asyncio.Event()
    gone = asyncio.Event()

    async def ignore(reader, writer):
        writer.write(_YES)
        await stuck.wait()
        await read_to_end(reader)
        gone.set()

    async with wired() as wire:  # of its own: no kept connection of another test's takes part
        held = wire.worker_sockets()
        wire.answer = ignore
        reader, writer = await wire.pair()
        writer.write(_ASK)
        await read_head(reader)
        assert await send_until_stuck(writer, bytes(1 << 18)) < 200
        assert len(wire.worker_sockets() - held) == 2
        reset(writer)
        await wire.until_holds_only(held)
        stuck.set()
        async with asyncio.timeout(3 * PATIENCE):
            await gone.wait()


async def test_drain_says_goodbye_between_two_frames_only() -> None:
    """A close frame 1001 behind the frame under way, never inside it (RFC 6455 section 5.4)."""
    async with wired() as wire:
        frame = b"\x81\x7e\x01\x00" + b"a" * 256
        go_on = asyncio.Event()

        async def talk(reader, writer):
            writer.write(_YES + frame[:100])
            await go_on.wait()
            writer.write(frame[100:])
            await reader.read(-1)

        wire.answer = talk
        reader, writer = await wire.pair()
        writer.write(_ASK)
        await read_head(reader)
        assert await reader.readexactly(100) == frame[:100]
        await wire.proxy.switch(Color.GREEN)
        wire.proxy.fleet.close_leftovers(0, Color.BLUE, 1, "tunnels", 0.0)
        await wire.proxy.fleet.quiesce()
        go_on.set()
        rest = await reader.readexactly(len(frame) - 100)
        assert rest == frame[100:]
        goodbye = await read_to_end(reader)
        assert goodbye.startswith(b"\x88")
        assert goodbye[2:4] == (1001).to_bytes(2, "big")
        assert len(goodbye) == 2 + goodbye[1]
        writer.close()
        await wire.proxy.until(lambda: Reason.DRAINED in wire.proxy.totals().reasons)
