"""The demo: what a newcomer runs first."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bgproxy.config.load import load_config
from bgproxy.demo import DEFAULT_BLUE, DemoAddresses, run_demo


def _session(leader: int) -> list[int]:
    """Processes of a session: who leads it, and all that they started and who live still."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(folder.name))
    return members


def _wait_for_end(pids: list[int], seconds: float) -> bool:
    """Whether all of these processes end in time."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    return False
            finally:
                os.close(handle)
    return True


@pytest.fixture
def demo(tmp_path: Path):
    """A running demo on free ports, with what it printed up to the end of its welcome."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bgproxy",
            "demo",
            "--listen",
            addresses[0],
            "--admin-listen",
            addresses[1],
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        yield process, said
    finally:
        for pid in _session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _url(said: str, name: str) -> str:
    found = re.search(rf"^  {name} +(http://\S+)", said, re.MULTILINE)
    assert found is not None, said
    return found[1]


def _is_listening(url: str) -> bool:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.slow
def test_demo_serves_blue_and_ends_cleanly(demo):
    """Traffic reaches blue; on INT everything that was started is gone, and the status is 0."""
    process, said = demo
    urls = [_url(said, name) for name in ("traffic", "dashboard", "blue", "green")]
    with urllib.request.urlopen(urls[0], timeout=5) as answer:
        assert answer.read().startswith(b"blue v1")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert [url for url in urls if _is_listening(url)] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_demo(demo, number: signal.Signals):
    """Neither the proxy and its workers nor the applications, even if it cannot end them itself."""
    process, _ = demo
    members = _session(process.pid)
    assert len(members) >= 6  # itself, two applications, the supervisor and two workers
    process.send_signal(number)
    assert _wait_for_end(members, 20), _session(process.pid)
    assert process.wait() == (0 if number == signal.SIGTERM else -number)


def test_demo_takes_another_port_when_the_usual_one_is_taken():
    """Whoever has 9001 keeps it, and the welcome says so."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", DEFAULT_BLUE))
            holder.listen()
        except OSError:
            pass  # somebody else holds it, which does as well
        addresses = DemoAddresses.choose()
    assert not addresses.blue.endswith(f":{DEFAULT_BLUE}")
    port = addresses.blue.rpartition(":")[2]
    assert f"Port {DEFAULT_BLUE} is taken, so blue has port {port}." in addresses.welcome()


def test_demo_leaves_a_given_port_to_whom_it_was_given():
    """The proxy may have the usual port of an application."""
    addresses = DemoAddresses.choose(listen=f"127.0.0.1:{DEFAULT_BLUE}")
    assert addresses.listen == f"127.0.0.1:{DEFAULT_BLUE}"
    assert not addresses.blue.endswith(f":{DEFAULT_BLUE}")


def test_demo_configuration_is_valid(tmp_path: Path):
    """The file that the demo writes loads, and means two named releases."""
    file = tmp_path / "demo.yaml"
    file.write_text(DemoAddresses.choose().configuration(tmp_path / "state.db"))
    service = load_config(file, {}).services[0]
    assert [environment.release for environment in service.environments] == ["v1", "v2"]


def test_demo_says_which_part_failed(capfd: pytest.CaptureFixture[str]):
    """A proxy that cannot listen ends the demo with status 1, and the applications with it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert run_demo(listen=f"127.0.0.1:{holder.getsockname()[1]}") == 1
    assert "the proxy ended by itself" in capfd.readouterr().err


def test_welcome_names_the_admin_address_only_when_it_is_unusual():
    """Commands are as short as they can be."""
    usual = DemoAddresses("127.0.0.1:8080", "127.0.0.1:8081", "http://b", "http://g").welcome()
    other = DemoAddresses("127.0.0.1:8080", "127.0.0.1:9999", "http://b", "http://g").welcome()
    assert "--admin" not in usual
    assert "bgproxy switch --admin http://127.0.0.1:9999" in other
