"""Where proxy and commands meet."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bgproxy.local_socket import find_socket, folder_of_server, folders_of_client, is_private


@pytest.mark.parametrize(
    ("env", "user", "folder"),
    [
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/x"}, 5, "/run/a"),
        ({"XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/user/5/bgproxy"),
        ({}, 0, "/run/bgproxy"),
        ({}, 5, "/tmp/bgproxy-5"),
    ],
)
def test_commands_look_first_where_a_proxy_beside_them_would_be(
    env: dict[str, str], user: int, folder: str
) -> None:
    """And then in the other usual places."""
    assert folder_of_server(env, user) == Path(folder)
    looked = list(folders_of_client(env, user))
    assert looked[0] == Path(folder)
    assert Path("/run/bgproxy") in looked
    assert len(set(looked)) == len(looked)


def test_a_socket_is_found_by_its_port(tmp_path: Path) -> None:
    """Only a socket, only that port's, only where nobody else could have put it."""
    env = {"RUNTIME_DIRECTORY": str(tmp_path)}
    path = tmp_path / "admin-18081.sock"
    assert find_socket(18081, env) == ""
    path.write_text("")
    assert find_socket(18081, env) == ""
    path.unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        assert find_socket(18081, env) == str(path)
        assert find_socket(18082, env) == ""
        tmp_path.chmod(0o770)
        assert find_socket(18081, env) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_another_users_folder_is_not_trusted(tmp_path: Path) -> None:
    """A folder below /tmp can be anybody's."""
    assert is_private(tmp_path, 0)
    os.chown(tmp_path, 12345, 0)
    assert not is_private(tmp_path, 0)
    assert is_private(tmp_path, 12345)
