"""Both kinds of sockets do the same: streams of our own, and the event loop's transports."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bgproxy import compiled
from bgproxy.dataplane.pieces import LARGE_BYTES
from bgproxy.dataplane.shared import SCRATCH_BYTES, Shared
from bgproxy.dataplane.sockets import Address, LoopSockets, OwnSockets
from tests.dataplane.harness import PATIENCE

KINDS = ["loop", "own"] if compiled.IS_USED else ["loop"]


class Recorder(asyncio.BufferedProtocol):
    """Writes down what it is told.

    Attributes:
        keeps_open: what it answers to the end of the other side.
    """

    def __init__(self, shared: Shared, *, keeps_open: bool = False) -> None:
        self.shared = shared
        self.keeps_open = keeps_open
        self.events: list[str] = []
        self.data = b""
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(0)
        self._note("made")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.shared.scratch

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self.shared.scratch[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._note("data")

    def eof_received(self) -> bool:
        self._note("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self._note("lost")

    def _note(self, event: str) -> None:
        if event != "data" or self.events[-1:] != ["data"]:
            self.events.append(event)
        self._changed.set()

    def end(self) -> None:
        """Close what is open still."""
        self.transport.abort()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of what it was told."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_lost(self) -> None:
        """Wait for the end."""
        await self.until(lambda: "lost" in self.events)


class Stage:
    """Sockets of one kind, and what they accepted."""

    def __init__(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        self.shared = Shared(memoryview(bytearray(8)).cast("Q"), b"test")
        self.sockets = OwnSockets(loop, self.shared) if kind == "own" else LoopSockets(loop)
        self.accepted: asyncio.Queue[Recorder] = asyncio.Queue()
        self.make: Callable[[], Recorder] = lambda: Recorder(self.shared)
        self._stack = contextlib.AsyncExitStack()

    def _accept(self) -> Recorder:
        recorder = self.make()
        self._stack.callback(recorder.end)
        self.accepted.put_nowait(recorder)
        return recorder

    async def listen(self, address: Any = ("127.0.0.1", 0)) -> Any:
        """Listen on an address; returns the one that it became."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple) and ":" in address[0]:
            family = socket.AF_INET6
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen()
        where = listener.getsockname()
        self.listener = await self.sockets.listen(listener, self._accept, 100)
        return where

    async def pair(self) -> tuple[Recorder, socket.socket]:
        """A connection that was accepted, and the raw socket at its other end."""
        where = await self.listen()
        raw = self.raw(where)
        return await self.next(), raw

    def raw(self, where: Any) -> socket.socket:
        """A raw socket that is connected."""
        family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
        raw = socket.socket(family)
        raw.connect(where)
        raw.setblocking(False)
        self._stack.callback(raw.close)
        return raw

    async def next(self) -> Recorder:
        """The connection that was accepted next, once it is made."""
        async with asyncio.timeout(PATIENCE):
            recorder = await self.accepted.get()
        await recorder.until(lambda: "made" in recorder.events)
        return recorder

    async def close(self) -> None:
        """Close everything."""
        if hasattr(self, "listener"):
            self.listener.close()
        await self._stack.aclose()
        self.sockets.close()


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Sockets of each kind."""
    found = Stage(request.param)
    yield found
    await found.close()


async def read(raw: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if the other side ends."""
    data = b""
    async with asyncio.timeout(PATIENCE):
        while len(data) < size:
            piece = await asyncio.get_running_loop().sock_recv(raw, 1 << 18)
            if not piece:
                break
            data += piece
    return data


async def send(raw: socket.socket, data: bytes) -> None:
    """All of these bytes."""
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().sock_sendall(raw, data)


def descriptors() -> list[int]:
    """All that this process has open."""
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def fill(recorder: Recorder) -> bytes:
    """Write until the kernel takes no more; returns what was written."""
    written = bytearray()
    for number in range(10_000):
        piece = b"%08d" % number * 1024
        recorder.transport.write(piece)
        written += piece
        if recorder.transport.get_write_buffer_size():
            return bytes(written)
    raise AssertionError("the kernel took it all")


async def test_bytes_pass_both_ways(stage: Stage) -> None:
    """Small reads and large ones, in their order."""
    recorder, raw = await stage.pair()
    sent = b"small" + os.urandom(3 * SCRATCH_BYTES) + b"end"
    await send(raw, b"small")
    await recorder.until(lambda: recorder.data == b"small")
    await send(raw, sent[5:])
    await recorder.until(lambda: len(recorder.data) == len(sent))
    assert recorder.data == sent
    recorder.transport.write(b"one")
    recorder.transport.write(bytearray(b"two"))
    recorder.transport.write(memoryview(b"three"))
    recorder.transport.write(b"")
    assert await read(raw, 11) == b"onetwothree"
    assert recorder.events == ["made", "data"]


@pytest.mark.parametrize("size", [3, LARGE_BYTES])
@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 100])
async def test_pieces_go_out_together(stage: Stage, count: int, size: int) -> None:
    """Few and many, small and large, of either type."""
    recorder, raw = await stage.pair()
    pieces = [os.urandom(size) for _ in range(count)]
    given = [memoryview(each) if number % 2 else each for number, each in enumerate(pieces)]
    recorder.transport.writelines(given)
    assert await read(raw, count * size) == b"".join(pieces)


async def test_unsent_bytes_wait_for_a_slow_reader(stage: Stage) -> None:
    """The protocol is paused meanwhile, and all comes in its order."""
    recorder, raw = await stage.pair()
    written = fill(recorder)
    assert recorder.events == ["made", "pause"]
    recorder.transport.write(b"more")
    recorder.transport.writelines([b"p" * 3000, memoryview(b"q" * 3000)])
    written += b"more" + b"p" * 3000 + b"q" * 3000
    assert await read(raw, len(written)) == written
    await recorder.until(lambda: "resume" in recorder.events)
    assert recorder.transport.get_write_buffer_size() == 0


async def test_pieces_taken_in_part_are_not_sent_twice(stage: Stage) -> None:
    """The kernel stops within one of several pieces."""
    recorder, raw = await stage.pair()
    pieces = [bytes([65 + number]) * (1 << 20) for number in range(8)]
    recorder.transport.writelines(pieces)
    assert recorder.transport.get_write_buffer_size() > 0
    assert await read(raw, 8 << 20) == b"".join(pieces)


async def test_close_sends_what_is_written(stage: Stage) -> None:
    """And then tells the protocol, once."""
    recorder, raw = await stage.pair()
    written = fill(recorder)
    recorder.transport.close()
    recorder.transport.close()
    assert recorder.transport.is_closing()
    assert await read(raw, len(written)) == written
    await recorder.until_lost()
    assert recorder.error is None
    assert recorder.events == ["made", "pause", "resume", "lost"]


async def test_close_tells_the_protocol_later(stage: Stage) -> None:
    """Never from within the call."""
    recorder, raw = await stage.pair()
    recorder.transport.close()
    assert recorder.events == ["made"]
    await recorder.until_lost()
    assert await read(raw, 1) == b""


async def test_abort_drops_what_is_written(stage: Stage) -> None:
    """The other side gets what the kernel had, and the end."""
    recorder, raw = await stage.pair()
    written = fill(recorder)
    recorder.transport.abort()
    await recorder.until_lost()
    assert recorder.error is None
    recorder.transport.abort()
    received = b""
    with contextlib.suppress(ConnectionResetError):
        received = await read(raw, len(written))
    assert len(received) < len(written)


async def test_end_comes_after_the_bytes(stage: Stage) -> None:
    """A half-close follows what still waits; the other direction goes on."""
    recorder, raw = await stage.pair()
    written = fill(recorder)
    recorder.transport.write_eof()
    recorder.transport.write_eof()
    assert recorder.transport.can_write_eof()
    assert await read(raw, len(written) + 1) == written
    await send(raw, b"still heard")
    await recorder.until(lambda: recorder.data == b"still heard")
    assert "lost" not in recorder.events


async def test_end_of_the_other_side_closes(stage: Stage) -> None:
    """Unless the protocol says that it goes on."""
    recorder, raw = await stage.pair()
    raw.shutdown(socket.SHUT_WR)
    await recorder.until_lost()
    assert recorder.events == ["made", "eof", "lost"]
    assert recorder.error is None


async def test_protocol_may_write_behind_the_other_sides_end(stage: Stage) -> None:
    """A client that sends no more still takes its answer."""
    stage.make = lambda: Recorder(stage.shared, keeps_open=True)
    recorder, raw = await stage.pair()
    raw.shutdown(socket.SHUT_WR)
    await recorder.until(lambda: "eof" in recorder.events)
    written = fill(recorder)
    recorder.transport.close()
    assert await read(raw, len(written) + 1) == written
    await recorder.until_lost()
    assert recorder.events.count("eof") == 1


async def test_reset_is_told(stage: Stage) -> None:
    """An error of the network's, and no end in order."""
    recorder, raw = await stage.pair()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    await recorder.until_lost()
    assert isinstance(recorder.error, ConnectionResetError)
    assert recorder.error.errno == errno.ECONNRESET
    assert recorder.events == ["made", "lost"]
    recorder.transport.close()


async def test_write_into_a_reset_ends_it(stage: Stage) -> None:
    """Found by writing where nothing is read."""
    recorder, raw = await stage.pair()
    recorder.transport.pause_reading()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    recorder.transport.write(b"into nothing")
    recorder.transport.write(b"and again")
    await recorder.until_lost()
    assert isinstance(recorder.error, ConnectionError)


async def test_paused_bytes_stay_in_the_kernel(stage: Stage) -> None:
    """And come when they are wanted again."""
    recorder, raw = await stage.pair()
    recorder.transport.pause_reading()
    recorder.transport.pause_reading()
    assert not recorder.transport.is_reading()
    await send(raw, b"early")
    raw.shutdown(socket.SHUT_WR)
    for _ in range(20):
        await asyncio.sleep(0)
    assert recorder.events == ["made"]
    recorder.transport.resume_reading()
    assert recorder.transport.is_reading()
    await recorder.until_lost()
    assert recorder.data == b"early"
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_end_within_a_paused_flood(stage: Stage) -> None:
    """A protocol that pauses while it is told gets no more until it resumes."""
    recorder, raw = await stage.pair()

    def pause_at_once(data: bytes) -> None:
        Recorder.data_received(recorder, data)
        recorder.transport.pause_reading()

    recorder.data_received = pause_at_once  # type: ignore[method-assign]
    recorder.transport.set_protocol(recorder)
    sent = os.urandom(4 * SCRATCH_BYTES)
    sending = asyncio.ensure_future(send(raw, sent))
    while len(recorder.data) < len(sent):
        before = len(recorder.data)
        recorder.transport.resume_reading()
        await send_until(lambda: not recorder.transport.is_reading())
        assert before < len(recorder.data) <= before + SCRATCH_BYTES
    await sending
    assert recorder.data == sent


async def test_next_protocol_takes_over(stage: Stage) -> None:
    """What comes from now on is told to it, and so is the end."""
    first, raw = await stage.pair()
    await send(raw, b"a")
    await first.until(lambda: first.data == b"a")
    second = Recorder(stage.shared)
    first.transport.set_protocol(second)
    assert first.transport.get_protocol() is second
    await send(raw, b"b")
    await second.until(lambda: second.data == b"b")
    raw.close()
    await second.until_lost()
    assert "lost" not in first.events


async def test_failing_protocol_ends_its_connection_alone(stage: Stage) -> None:
    """The others go on, and the loop's handler is told."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    failing, raw = await stage.pair()

    def fail(data: bytes) -> None:
        raise ValueError("a fault")

    failing.data_received = fail  # type: ignore[method-assign]
    failing.transport.set_protocol(failing)
    other_raw = stage.raw(raw.getpeername())
    other = await stage.next()
    await send(raw, b"x")
    await send(other_raw, b"y")
    await failing.until_lost()
    await other.until(lambda: other.data == b"y")
    assert [str(each["exception"]) for each in told] == ["a fault"]


async def test_addresses_are_known(stage: Stage) -> None:
    """Who is there, and on which socket."""
    recorder, raw = await stage.pair()
    transport = recorder.transport
    assert transport.get_extra_info("peername") == raw.getsockname()
    assert transport.get_extra_info("sockname") == raw.getpeername()
    assert transport.get_extra_info("nothing", 7) == 7
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.fileno() >= 0


async def test_addresses_of_other_families(stage: Stage, tmp_path: Path) -> None:
    """IPv6 and the file system."""
    where = await stage.listen(("::1", 0))
    raw = socket.create_connection(where[:2])
    recorder = await stage.next()
    assert recorder.transport.get_extra_info("peername")[:2] == raw.getsockname()[:2]
    raw.close()
    stage.listener.close()
    path = await stage.listen(str(tmp_path / "socket"))
    local = stage.raw(path)
    recorder = await stage.next()
    assert not isinstance(recorder.transport.get_extra_info("peername"), tuple)
    await send(local, b"here")
    await recorder.until(lambda: recorder.data == b"here")


@pytest.mark.parametrize("family", ["inet", "unix"])
async def test_connect_reaches_who_listens(stage: Stage, family: str, tmp_path: Path) -> None:
    """And both ends hear of each other."""
    address = ("127.0.0.1", 0) if family == "inet" else str(tmp_path / "socket")
    where: Address = await stage.listen(address)
    near = Recorder(stage.shared)
    transport = await stage.sockets.connect(where, near)
    assert near.events == ["made"]
    assert transport is near.transport
    far = await stage.next()
    transport.write(b"hello")
    await far.until(lambda: far.data == b"hello")
    far.transport.write(b"back")
    far.transport.close()
    await near.until_lost()
    assert near.data == b"back"


async def test_connect_to_nobody_is_an_error(stage: Stage, tmp_path: Path) -> None:
    """Of the network's, and nothing is left open."""
    left = []
    for _ in range(3):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await stage.sockets.connect(unused.getsockname(), Recorder(stage.shared))
        with pytest.raises(FileNotFoundError):
            await stage.sockets.connect(str(tmp_path / "none"), Recorder(stage.shared))
        left.append(len(descriptors()))
    # The first time the loop opens some of its own.
    assert left[1] == left[2]


async def test_connect_that_is_given_up_leaves_nothing(stage: Stage) -> None:
    """At whatever moment."""
    where = await stage.listen()
    loop = asyncio.get_running_loop()
    before = len(descriptors())
    for turns in range(8):
        task = loop.create_task(stage.sockets.connect(where, Recorder(stage.shared)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).abort()
    while not stage.accepted.empty():
        await (await stage.next()).until_lost()
    assert len(descriptors()) <= before + 1


async def test_second_descriptor_of_a_socket_wakes_nobody(stage: Stage) -> None:
    """A copy of the descriptor outlives the connection; what it is told is nobody's."""
    recorder, raw = await stage.pair()
    copy = os.dup(recorder.transport.get_extra_info("socket").fileno())
    recorder.transport.abort()
    await recorder.until_lost()
    await send(raw, b"for nobody")
    other_raw = stage.raw(raw.getpeername())
    other = await stage.next()
    await send(other_raw, b"for the other")
    await other.until(lambda: other.data == b"for the other")
    assert recorder.data == b""
    assert os.read(copy, 99) == b"for nobody"
    os.close(copy)


@contextlib.contextmanager
def few_descriptors(free: int = 0) -> Iterator[None]:
    """No more than there are, and so many that are free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(descriptors())
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
    for _ in range(free):
        os.close(spare.pop())
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in spare:
            os.close(fd)


async def test_accepting_goes_on_when_descriptors_come_free() -> None:
    """Out of descriptors nothing is accepted, nothing spins, and nothing is lost."""
    if "own" not in KINDS:
        pytest.skip("the loop's way of it is the loop's")
    stage = Stage("own")
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    where = await stage.listen()
    raw = socket.socket()
    with few_descriptors():
        raw.connect(where)
        await send_until(lambda: bool(told))
        await asyncio.sleep(0.25)  # in which it tries again twice, and says nothing more
        assert stage.accepted.empty()
        assert [each["exception"].errno for each in told] == [errno.EMFILE]
    await stage.next()
    raw.close()
    await stage.close()


async def test_connect_without_a_descriptor_is_an_error_of_its_own() -> None:
    """Nobody else's connection suffers from it."""
    if "own" not in KINDS:
        pytest.skip("the loop's way of it is the loop's")
    stage = Stage("own")
    other = socket.create_server(("127.0.0.1", 0))
    recorder, raw = await stage.pair()
    near = Recorder(stage.shared)
    with few_descriptors(free=2), pytest.raises(OSError, match="Too many open files"):
        await stage.sockets.connect(other.getsockname(), near)
    assert near.events == []
    await send(raw, b"still mine")
    await recorder.until(lambda: recorder.data == b"still mine")
    other.close()
    await stage.close()


async def send_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


async def test_closing_sockets_closes_every_stream() -> None:
    """Where a worker ends, no descriptor is left; closing twice is no fault."""
    if "own" not in KINDS:
        pytest.skip("connections of the loop end with themselves")
    before = len(descriptors())
    stage = Stage("own")
    recorder, raw = await stage.pair()
    written = fill(recorder)
    stage.listener.close()
    stage.sockets.close()
    stage.sockets.close()
    recorder.transport.write(b"nowhere")
    recorder.transport.close()
    assert recorder.transport.get_extra_info("socket") is None
    with contextlib.suppress(ConnectionResetError):
        assert len(await read(raw, len(written))) < len(written)
    raw.close()
    assert len(descriptors()) == before


async def test_listener_that_is_closed_accepts_no_more(stage: Stage) -> None:
    """The next one to come is refused; those that are there stay."""
    recorder, raw = await stage.pair()
    where = raw.getpeername()
    stage.listener.close()
    await send_until(lambda: _is_refused(where))
    await send(raw, b"still here")
    await recorder.until(lambda: recorder.data == b"still here")


def _is_refused(where: Any) -> bool:
    with socket.socket() as late:
        return late.connect_ex(where) == errno.ECONNREFUSED
