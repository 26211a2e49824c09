"""Where the admin API's unix socket is, so that the proxy and commands beside it agree.

It is named by the port of the first admin listener: two proxies on one machine cannot share that,
and so do not fight for the socket either.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

DEFAULT_ADMIN = "http://127.0.0.1:8081"
"""Where the admin API is when nobody says otherwise."""


def folder_of_server(env: Mapping[str, str], user: int) -> Path:
    """The folder in which a proxy puts its socket.

    systemd's ``RuntimeDirectory=`` wins, then the user's own runtime directory, then the usual
    places of root and of users without one.
    """
    if service := env.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(service)
    if own := env.get("XDG_RUNTIME_DIR"):
        return Path(own, "bgproxy")
    return Path("/run/bgproxy") if user == 0 else _shared_folder(user)


def _shared_folder(user: int) -> Path:
    """Below a directory of all users, so whoever uses it has to look at its owner first."""
    return Path(f"/tmp/bgproxy-{user}")  # noqa: S108 - the name is the same for both sides


def folders_of_client(env: Mapping[str, str], user: int) -> Iterator[Path]:
    """Where a command looks, the likeliest first; each once."""
    seen = set()
    for folder in (
        folder_of_server(env, user),
        Path(f"/run/user/{user}/bgproxy"),
        Path("/run/bgproxy"),
        _shared_folder(user),
    ):
        if folder not in seen:
            seen.add(folder)
            yield folder


def socket_name(port: int) -> str:
    """The socket's name in its folder."""
    return f"admin-{port}.sock"


def is_private(folder: Path, user: int) -> bool:
    """Whether a folder is one, and only `user` or root can put anything in it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, user) and is_closed


def find_socket(port: int, env: Mapping[str, str] | None = None) -> str:
    """The socket of the proxy whose first admin listener has this port.

    Returns:
        Its path; empty where there is none that this user may open. Whether somebody serves it
        shows when it is opened.
    """
    user = os.geteuid()
    for folder in folders_of_client(os.environ if env is None else env, user):
        path = folder / socket_name(port)
        if is_private(folder, user) and path.is_socket() and os.access(path, os.W_OK):
            return str(path)
    return ""
