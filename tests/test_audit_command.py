"""`bgproxy audit`, and what commands keep to themselves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgproxy.cli import main
from bgproxy.local_socket import socket_name
from tests.admin_double import admin_in_thread


def test_who_changed_what_from_where() -> None:
    """A line for each change, of all services or of one."""
    with admin_in_thread() as admin:
        for options in ([], ["--service", "default"]):
            result = CliRunner().invoke(main, ["--admin", admin.url, "audit", *options])
            assert result.exit_code == 0, result.output
            header, line = result.output.splitlines()
            assert header.split() == ["when", "service", "what", "who", "from", "change"]
            assert line.split(maxsplit=1)[1].endswith(
                "default  pause  local  uid 0, pid 1  timeout 30"
            )
        as_json = CliRunner().invoke(main, ["--admin", admin.url, "audit", "--json"])
        assert json.loads(as_json.output)["audit"][0]["origin"] == "uid 0, pid 1"
        unknown = CliRunner().invoke(main, ["--admin", admin.url, "audit", "--service", "x"])
        assert unknown.exit_code == 1


def test_a_typed_token_is_not_in_the_list_of_processes() -> None:
    """From the moment that it is understood; a variable is never there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "bgproxy", "status", "--token", "s3cr3t-0123456789"]
        port = silent.getsockname()[1]
        with subprocess.Popen([*command, "--admin", f"http://127.0.0.1:{port}"]) as process:
            connection, _ = silent.accept()
            title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.kill()
            connection.close()
    assert b"status" in title
    assert b"s3cr3t" not in title


def test_commands_use_the_socket_of_this_machines_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is served; an option or a variable wins, and one left behind is passed over."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    path = tmp_path / socket_name(8081)
    runner = CliRunner()
    with admin_in_thread(socket=str(path)) as admin:
        assert runner.invoke(main, ["status"]).exit_code == 0
        assert runner.invoke(main, ["pause"]).exit_code == 0
        assert admin.operations.calls[-1][1]["actor"].startswith("unix:")
        elsewhere = runner.invoke(main, ["status"], env={"BGPROXY_ADMIN": "http://127.0.0.1:1"})
        assert elsewhere.exit_code == 3
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    from bgproxy.commands.session import _usual_admin

    assert _usual_admin() == "http://127.0.0.1:8081"
