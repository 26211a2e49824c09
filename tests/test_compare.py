"""The comparison's own instruments: what they count, and what they make of it."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks.compare import main
from benchmarks.light_backend import ANSWERS, SMALL, LightBackend
from benchmarks.peers import PEERS
from benchmarks.processes import CpuTime, Server, free_port
from benchmarks.report import Report, Sample
from benchmarks.workloads import WORKLOADS

FAMILY = """
import os, signal, socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
child = os.fork()
if not child:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    began = time.process_time()
    while time.process_time() - began < 0.3:
        pass
    open(sys.argv[2], "w").write(str(os.getpid()))
time.sleep(60)
"""

SAMPLE = Sample("bgproxy", "small", 10.0, 0.5, 0.9, 1000.0, 1.0, 2.0, 3.0, 50.0)


def test_cpu_time_counts_every_process_and_stop_ends_them_all(tmp_path: Path):
    """A child's work counts, and a child that ignores TERM does not outlive its server."""
    port, done = free_port(), tmp_path / "done"
    command = [sys.executable, "-c", FAMILY, str(port), str(done)]
    server = Server(command, None, log=tmp_path / "log")
    try:
        server.wait_for(port)
        while not (done.exists() and done.read_text()):
            time.sleep(0.01)
        used = server.cpu_time()
        assert 0.3 <= used.total < 5
        assert 0 <= used.system <= used.total + 0.02
        assert server.peak_memory_bytes() > 1 << 20
    finally:
        server.stop()
    assert _is_dead(int(done.read_text()))


def _is_dead(pid: int) -> bool:
    """Gone, or only waiting for its parent to notice."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_cpu_time_refuses_a_difference_when_a_process_is_gone():
    """What a dead worker used is lost; a figure without it would flatter."""
    before = CpuTime(5.0, 1.0, frozenset({1, 2}))
    assert CpuTime(7.5, 2.0, frozenset({1, 2})).since(before).total == 2.5
    with pytest.raises(RuntimeError, match="2"):
        CpuTime(6.0, 1.0, frozenset({1})).since(before)


def test_a_server_that_ends_at_once_is_reported_with_what_it_said(tmp_path: Path):
    """Not a time-out, but its own last words."""
    server = Server([sys.executable, "-c", "raise SystemExit('no')"], None, log=tmp_path / "log")
    try:
        with pytest.raises(RuntimeError, match=r"does not listen on .*no"):
            server.wait_for(free_port())
    finally:
        server.stop()


class _Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_backend_answers_whatever_the_pieces(cut: int):
    """A get, a post with a body and another get: three answers, wherever the bytes are cut."""
    body = b"GET / HTTP/1.1\r\n\r\n"  # a body is not a request, whatever it looks like
    data = b"GET /10k HTTP/1.1\r\nHost: a\r\n\r\n"
    data += b"POST /upload HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    data += b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
    backend, written = LightBackend(), _Written()
    backend.connection_made(written)  # type: ignore[arg-type]
    for begin in range(0, len(data), cut):
        backend.data_received(data[begin : begin + cut])
    assert written.data == ANSWERS[b"/10k"] + SMALL + SMALL
    assert not written.is_closed


def test_report_takes_medians_and_says_the_ratio(tmp_path: Path):
    """One wild round does not count; the ratio is ours by theirs."""
    workload = next(each for each in WORKLOADS if each.name == "small")
    ours = next(peer for peer in PEERS if peer.name == "bgproxy")
    report = Report.begin([ours], [workload], 3, 1.0, 64)
    report.versions["nginx"] = "1"
    for cost in (10.0, 500.0, 12.0):
        report.samples.append(dataclasses.replace(SAMPLE, cpu_us=cost))
        report.samples.append(dataclasses.replace(SAMPLE, peer="nginx", cpu_us=cost * 2))
    report.write(tmp_path)
    text = (tmp_path / "compare.md").read_text()
    assert "| bgproxy | 12.0 |" in text
    assert "| nginx | 0.50 |" in text
    assert len(json.loads((tmp_path / "compare.json").read_text())["samples"]) == 6


def test_missing_programs_are_named_before_anything_starts(monkeypatch, capsys):
    """Status 2, and the packages to install."""
    monkeypatch.setattr("benchmarks.peers.find_program", lambda name: None)
    monkeypatch.setattr("benchmarks.compare.find_program", lambda name: None)
    assert main(["--peers", "nginx", "HAProxy"]) == 2
    said = capsys.readouterr().err
    assert all(package in said for package in ("nginx-light", "haproxy", "wrk"))
