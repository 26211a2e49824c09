"""What systemd is told of the service's state (sd_notify(3)); nothing where it does not listen."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def ready() -> None:
    """The proxy serves."""
    _send("READY=1")


def reloading() -> None:
    """The configuration is being read again; `ready` follows."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The proxy ends."""
    _send("STOPPING=1")


def _send(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.sendto(state.encode(), address)
