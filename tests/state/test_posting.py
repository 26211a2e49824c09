"""What a worker is told first arrives whole, with descriptors that work."""

from __future__ import annotations

import os
import socket

import pytest

from bgproxy.state import posting
from bgproxy.state.posting import WorkerArguments


@pytest.mark.parametrize("listeners", [0, 1, 450])
def test_arguments_arrive_with_duplicates_of_the_descriptors(listeners: int):
    """However many listeners there are; the kernel takes 253 descriptors at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull, "rb") as file:  # noqa: PTH123 - as short as it can be
        fd = file.fileno()
        posting.post(ours, WorkerArguments(2, 3, fd, -1, (fd,) * listeners, 99))
        told = posting.receive(theirs)
        assert told is not None
        received = (told.ledger, *told.listeners)
        try:
            assert (told.index, told.workers, told.backlog) == (2, 3, 99)
            assert told.channel == theirs.fileno()
            assert len(set(received)) == 1 + listeners
            assert all(os.path.sameopenfile(fd, each) for each in received)
        finally:
            for each in received:
                os.close(each)


@pytest.mark.parametrize("said", [b"", b"\0\0", b"\0\0\0\x09{"])
def test_a_supervisor_that_is_gone_has_nothing_to_say(said: bytes):
    """Before it said anything, or in the middle of it."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(said)
        ours.close()
        assert posting.receive(theirs) is None
