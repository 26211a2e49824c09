"""The demo: what a newcomer runs first."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from bgproxy.config.load import load_config
from bgproxy.demo import DEFAULT_BLUE, DemoAddresses, run_demo


@pytest.fixture
def demo():
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
        process.kill()
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


def test_demo_takes_another_port_when_the_usual_one_is_taken():
    """Whoever has 9001 keeps it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", DEFAULT_BLUE))
            holder.listen()
        except OSError:
            pass  # somebody else holds it, which does as well
        assert not DemoAddresses.choose().blue.endswith(f":{DEFAULT_BLUE}")


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
