"""The comparison's own instruments: what they count, and what they make of it."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from benchmarks.compare import Plan, main
from benchmarks.comparison import Comparison, Sample
from benchmarks.peers import PEERS
from benchmarks.processes import CpuTime, Server
from benchmarks.workloads import WORKLOADS
from tests.ports import free_port

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


def _found(costs: tuple[float, ...], workload: str = "small") -> Comparison:
    """A comparison of two proxies, the other one twice as dear."""
    chosen = next(each for each in WORKLOADS if each.name == workload)
    ours = next(peer for peer in PEERS if peer.name == "bgproxy")
    found = Comparison.begin([ours], [chosen], len(costs), 1.0)
    found.versions["nginx"] = "1"
    for cost in costs:
        mine = dataclasses.replace(SAMPLE, cpu_us=cost, workload=workload)
        found.samples += [mine, dataclasses.replace(mine, peer="nginx", cpu_us=cost * 2)]
    return found


def test_comparison_takes_medians_and_says_the_ratio(tmp_path: Path):
    """One wild round does not count; the ratio is ours by theirs; nothing is lost in the file."""
    found = _found((10.0, 500.0, 12.0))
    text = found.markdown()
    assert "| bgproxy | 12.0 |" in text
    assert "| nginx | 0.50 |" in text
    found.write(tmp_path / "compare.json")
    assert Comparison.read(tmp_path / "compare.json") == found


def test_a_later_run_replaces_whole_workloads_and_leaves_the_others():
    """What two runs measured of one workload never stands in one column."""
    order = [workload.name for workload in WORKLOADS]
    old = _found((10.0,), "browser").updated_by(_found((20.0,)), order)
    newer = _found((30.0,))
    newer.samples = [each for each in newer.samples if each.peer == "bgproxy"]
    both = old.updated_by(newer, order)
    assert list(both.columns) == ["small", "browser"]
    assert both.cpu_us("bgproxy", "browser") == 10
    assert both.cpu_us("bgproxy", "small") == 30
    assert both.cpu_us("nginx", "small") is None
    assert both.ratio("nginx", "small") == "-"


def test_what_is_not_for_a_proxy_is_not_measured():
    """The blind relay speaks no TLS, and variants are measured only where they differ."""
    peers = {peer.name: peer for peer in PEERS}
    kinds = {workload.name: workload for workload in WORKLOADS}
    plan = Plan(PEERS, WORKLOADS, 1, 1)
    assert not plan.measures(peers["relay"], kinds["tls"])
    assert plan.measures(peers["relay"], kinds["small"])
    assert not plan.measures(peers["nginx-logging"], kinds["upload"])
    assert plan.measures(peers["nginx-logging"], kinds["browser"])


def test_missing_programs_are_named_before_anything_starts(monkeypatch, capsys):
    """Status 2, and the packages to install."""
    monkeypatch.setattr("benchmarks.programs.find_program", lambda name: None)
    assert main(["--peers", "nginx", "HAProxy"]) == 2
    said = capsys.readouterr().err
    assert all(package in said for package in ("nginx-light", "haproxy", "wrk"))
