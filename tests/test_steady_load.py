"""The load and the backend in C: what is sent, what is answered, what is written down."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import requests
from benchmarks.processes import Server
from benchmarks.steady import BROKEN, BROKEN_EARLY, Records, Spread, steady_load
from benchmarks.tools import COMPILER, Tools, build
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which(COMPILER) is None, reason="there is no C compiler")

CORES = "0-63"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return build(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def backend(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    log = tmp_path_factory.mktemp("backend") / "log"
    server = Server([tools.backend, "b", str(port)], None, log=log)
    try:
        server.wait_for(port)
        yield port
    finally:
        server.stop()


def _answer(port: int, *pieces: bytes, until: bytes) -> bytes:
    """What comes back for bytes that are sent in pieces."""
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            one.sendall(piece)
        got = b""
        while not got.endswith(until):
            more = one.recv(1 << 16)
            assert more, f"closed after {got!r}"
            got += more
    return got


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_backend_answers_whatever_the_pieces(backend: int, cut: int):
    """A get, two posts with bodies that look like requests, a get of chunks: four answers."""
    body = b"GET / HTTP/1.1\r\n\r\n"
    data = requests.curl("/small")[0]
    data += b"POST /upload HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    data += requests.post("/upload", 16 << 10, is_chunked=True)[0][: 300 if cut == 1 else None]
    data += b"" if cut > 1 else b"0\r\n\r\n"
    data += requests.curl("/chunked")[0]
    pieces = (data[begin : begin + cut] for begin in range(0, len(data), cut))
    got = _answer(backend, *pieces, until=b"0\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert got.count(b"\r\n\r\nbx") == 3
    assert got.count(b"c" * 2048) == 5


def test_a_constant_rate_is_kept_and_each_request_is_written_down(tools: Tools, backend: int):
    """As many as were due, in the order of their times, each with its answer's first byte."""
    with steady_load(
        tools.load,
        backend,
        requests.browser("/small"),
        connections=20,
        rate=1000,
        core=CORES,
        warm_up=0.1,
        seconds=0.5,
    ) as load:
        records = load.wait()
    assert 450 <= len(records) <= 501
    assert records.failed == 0
    assert set(records.mark) == {ord("b")}
    gaps = [after - before for before, after in zip(records.due, records.due[1:], strict=False)]
    assert sum(gaps) / len(gaps) == pytest.approx(0.001, rel=0.05)
    rows = zip(records.due, records.sendable, records.sent, records.answered, strict=True)
    assert all(due <= could <= sent < answered for due, could, sent, answered in rows)


@pytest.mark.parametrize(
    ("made", "greeting"),
    [
        (requests.curl("/10m"), b""),
        (requests.post("/upload", 8 << 20), b""),
        (requests.curl("/chunked"), b""),
        ([requests.FRAME], requests.UPGRADE),
    ],
    ids=["large answers", "large bodies", "chunks", "websocket"],
)
def test_one_follows_the_other_without_a_rate(
    tools: Tools, backend: int, made: list[bytes], greeting: bytes
):
    """Large answers, large bodies, chunks and frames: none fails, each connection goes on."""
    with steady_load(
        tools.load,
        backend,
        made,
        connections=2,
        rate=0,
        core=CORES,
        warm_up=0,
        seconds=0.3,
        greeting=greeting,
    ) as load:
        records = load.wait()
    assert len(records) > 2
    assert records.failed == 0


def test_a_connection_that_is_closed_under_a_request_is_told_apart(tools: Tools):
    """The first request of a connection is answered, the second one is met by its end."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        steady_load(
            tools.load,
            listener.getsockname()[1],
            requests.curl("/"),
            connections=1,
            rate=50,
            core=CORES,
            warm_up=0,
        ) as load,
    ):
        peer, _ = listener.accept()
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        peer.recv(4096)
        peer.close()
        again, _ = listener.accept()
        again.recv(4096)
        again.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny")
        again.recv(4096)
        again.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
        again.close()
        third, _ = listener.accept()
        third.recv(4096)
        third.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz")
        third.close()
        records = load.end()
    assert list(records.mark[:4]) == [-503, BROKEN_EARLY, ord("y"), BROKEN]


def test_latency_counts_from_when_a_request_was_due():
    """A request that had to wait for a connection waited, and failed ones have no latency."""
    records = Records([0.0, 1.0], [0.5, 1.0], [0.5, 1.25], [0.75, 2.0], [98.0, -1.0])
    assert records.latencies() == [0.75]
    assert records.delays() == [0.0, 0.25]
    assert records.failed == 1
    assert records.seconds == 1.5


def test_a_spread_is_of_the_ordered_values():
    """Quantiles in milliseconds, whatever the order."""
    spread = Spread.of([number / 1000 for number in reversed(range(1000))])
    assert (spread.p50_ms, spread.p99_ms, spread.max_ms) == (500, 990, 999)


def test_what_the_compiler_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A program that does not compile is no silent zero."""
    (tmp_path / "light_backend.c").write_text("int main(")
    monkeypatch.setattr("benchmarks.tools.SOURCES", tmp_path)
    with pytest.raises(RuntimeError, match=r"light_backend\.c does not compile"):
        build(tmp_path)
