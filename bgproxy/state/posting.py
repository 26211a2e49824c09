"""What a worker is told first: its place, and the descriptors it works with.

They come over the worker's end of the channel, before any message, so that a process can be
started, and load its code, before anybody knows what it will have to do.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, dataclass, replace

_HEAD = struct.Struct("!I")
_BATCH = 200
"""Descriptors in one message; the kernel takes 253 (unix(7), SCM_RIGHTS)."""


@dataclass(frozen=True, slots=True)
class WorkerArguments:
    """A worker's place, and its descriptors."""

    index: int
    workers: int
    ledger: int
    channel: int
    listeners: tuple[int, ...]
    backlog: int


def post(channel: socket.socket, arguments: WorkerArguments) -> None:
    """Tell a worker its arguments; its descriptors are duplicates of those named here.

    Args:
        channel: blocking; `arguments.channel` says nothing to the worker, which has the other end.

    Raises:
        OSError: the worker is gone.
    """
    text = json.dumps(asdict(arguments)).encode()
    channel.sendall(_HEAD.pack(len(text)) + text)
    descriptors = [arguments.ledger, *arguments.listeners]
    for start in range(0, len(descriptors), _BATCH):
        socket.send_fds(channel, [b"\0"], descriptors[start : start + _BATCH])


def receive(channel: socket.socket) -> WorkerArguments | None:
    """Wait for what `post` sends; messages come next.

    Returns:
        The arguments, or None when the supervisor is gone or has no use for this worker.
    """
    head = _read(channel, _HEAD.size)
    text = _read(channel, *_HEAD.unpack(head)) if head else b""
    if not text:
        return None
    values = json.loads(text)
    told = WorkerArguments(**{**values, "listeners": tuple(values["listeners"])})
    descriptors: list[int] = []
    while len(descriptors) < 1 + len(told.listeners):
        byte, received, _, _ = socket.recv_fds(channel, 1, _BATCH, socket.MSG_CMSG_CLOEXEC)
        if not byte:
            return None
        descriptors += received
    ledger, *listeners = descriptors
    return replace(told, channel=channel.fileno(), ledger=ledger, listeners=tuple(listeners))


def _read(channel: socket.socket, count: int) -> bytes:
    """So many bytes, or none when the other end was closed before."""
    data = b""
    while len(data) < count:
        try:
            more = channel.recv(count - len(data))
        except ConnectionResetError:
            return b""
        if not more:
            return b""
        data += more
    return data
