"""What systemd is told of the service's state (sd_notify(3)); nothing where it does not listen."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def ready(status: str) -> None:
    """The proxy serves.

    Args:
        status: a line for people, as `systemctl status` shows it.
    """
    _send(f"READY=1\nSTATUS={status}")


def reloading() -> None:
    """The configuration is being read again; `ready` follows."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The proxy ends."""
    _send("STOPPING=1\nSTATUS=finishing what is under way")


def status(text: str) -> None:
    """What the proxy does now, in a line for people."""
    _send(f"STATUS={text}")


def alive() -> None:
    """All is well; where a watchdog is set, this must come again and again."""
    _send("WATCHDOG=1")


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
