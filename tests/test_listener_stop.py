"""Listeners that are about to close, where the kernel does not let us do it the best way."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from bgproxy.listeners import refuse_new_attempts

_SO_ATTACH_FILTER = 26


class Unprivileged(socket.socket):
    """A socket of a process without capabilities, on a kernel that asks for one."""

    def setsockopt(self, *arguments: Any) -> None:
        if arguments[1] == _SO_ATTACH_FILTER:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        super().setsockopt(*arguments)


def _most_queued(listener: socket.socket) -> int:
    """How many connections the kernel lets wait (tcpi_sacked of a listener)."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    most: int = struct.unpack_from("I", info, 28)[0]
    return most


def test_without_the_right_to_filter_the_queue_is_made_short() -> None:
    """The end of the proxy goes on, and waits for next to nothing in the queue."""
    with Unprivileged() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        assert _most_queued(listener) == 64
        refuse_new_attempts(listener)
        assert _most_queued(listener) == 0
