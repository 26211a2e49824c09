"""Ports of this test process alone: nobody else's request ever comes to one of them.

The kernel hands out ports of one range, for port 0 and for every connection that goes out; one that
was let go of is soon somebody else's. A proxy under test goes on knocking at a backend that its
test has stopped, or that never was: were that one of the kernel's ports, probes and requests would
reach whatever the next test listens on. And between choosing such a port and listening on it,
anybody's connection may take it. So ports come from below that range: each test process holds a
block of them as long as it lives, and goes through all before it uses one again.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

_FIRST = 10_000
_BLOCK = 1_000

_KERNELS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that nobody but this test will be given."""
    for port in _ports():
        with suppress(OSError), socket.socket() as probe:
            # As servers do: a port whose old connections merely linger counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def free_ports(count: int) -> list[int]:
    """Several of them."""
    return [free_port() for _ in range(count)]


@cache
def _ports() -> Iterator[int]:
    """The ports of this process's block, round and round."""
    return itertools.cycle(range(_block() + 1, _block() + _BLOCK))


@cache
def _block() -> int:
    """The first port of a block that no other process has; bound, which is what keeps it."""
    end = int(_KERNELS_RANGE.read_text().split()[0])
    blocks = range(_FIRST, end - _BLOCK + 1, _BLOCK)
    for number in range(len(blocks)):
        # From a place of its own each: what was left behind by an earlier run is mostly elsewhere.
        first = blocks[(number + os.getpid()) % len(blocks)]
        holder = socket.socket()
        with suppress(OSError):
            holder.bind(("127.0.0.1", first))
            _held.append(holder)
            return first
        holder.close()
    raise AssertionError(f"no block of {_BLOCK} ports is free below {end}")


_held: list[socket.socket] = []
"""The socket that holds the block, for the process's life."""
