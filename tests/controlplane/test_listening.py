"""The sockets of the admin listeners in the file system."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from bgproxy.controlplane.listening import SocketFile, open_unix, usual_socket_path
from bgproxy.local_socket import find_socket
from tests.admin_double import Admin, tokens


def test_only_its_owner_may_open_it(tmp_path: Path) -> None:
    """From the first moment on, whatever the umask."""
    before = os.umask(0)
    try:
        with open_unix(str(tmp_path / "a.sock"), "admin.socket"):
            assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    """A file that somebody wrote is never removed for it."""
    path = tmp_path / "a.sock"
    path.write_text("mine")
    with pytest.raises(OSError, match=r"admin\.socket unix:.*no socket"):
        open_unix(str(path), "admin.socket")
    assert path.read_text() == "mine"


def test_a_link_to_another_place_is_not_followed(tmp_path: Path) -> None:
    """Nor removed."""
    (tmp_path / "a.sock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="no socket"):
        open_unix(str(tmp_path / "a.sock"), "admin.socket")
    assert (tmp_path / "a.sock").is_symlink()


def test_a_successors_socket_is_not_removed(tmp_path: Path) -> None:
    """Whoever took the place over keeps it when the one before goes."""
    path = tmp_path / "a.sock"
    with open_unix(str(path), "x"):
        file = SocketFile.of(str(path))
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            file.remove()
            assert path.is_socket()
        SocketFile.of(str(path)).remove()
        assert not path.exists()


def test_a_folder_that_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could put a socket of their own in its place."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert usual_socket_path(8081) == str(tmp_path / "admin-8081.sock")
    tmp_path.chmod(0o777)
    with pytest.raises(OSError, match="can be written by other users"):
        usual_socket_path(8081)


async def test_commands_find_the_usual_socket() -> None:
    """By the port of the listener; it goes with the proxy."""
    async with Admin(socket="auto", tokens=tokens()) as admin:
        port = int(admin.url.rpartition(":")[2])
        assert admin.urls[1] == f"unix:{find_socket(port)}"
    assert find_socket(port) == ""


async def test_two_proxies_do_not_fight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a socket of its own; one whose place is taken goes without, and says so."""
    async with Admin(socket="auto") as one, Admin(socket="auto") as two:
        assert one.urls[1] != two.urls[1]
        path = one.urls[1].removeprefix("unix:")
        monkeypatch.setattr("bgproxy.controlplane.server.usual_socket_path", lambda _: path)
        async with Admin(socket="auto") as third:
            assert len(third.urls) == 1
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_named_place_must_be_had(tmp_path: Path) -> None:
    """Unlike the usual one."""
    path = str(tmp_path / "a.sock")
    async with Admin(socket=path) as admin:
        assert admin.urls[1] == f"unix:{path}"
        with pytest.raises(OSError, match=r"admin\.socket .*another process"):
            async with Admin(socket=path):
                pass
