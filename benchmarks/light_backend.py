"""The backend behind every measured proxy: as little work per request as Python can do.

It reads just enough of HTTP/1.1 to find where a request ends, and answers with bytes made
beforehand; the first letters of the path choose which: `/small` (and anything else), `/10k`,
`/100k`, `/10m`, `/chunked` and `/upload`. It is no server for anything but these measurements.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from typing import cast

import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\nServer: light\r\nContent-Type: text/plain\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNK = b"%x\r\n%b\r\n" % (2048, b"c" * 2048)


def _fixed(size: int) -> bytes:
    return _HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size


SMALL = _fixed(60)
ANSWERS = {
    b"/10k": _fixed(10 << 10),
    b"/100": _fixed(100 << 10),
    b"/10m": _fixed(10 << 20),
    b"/chu": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNK * 5 + b"0\r\n\r\n",
}
"""By the first four bytes of the path."""


class LightBackend(asyncio.Protocol):
    """One connection; requests may come one after another and in pieces."""

    __slots__ = ("_body_left", "_held", "_transport")

    def __init__(self) -> None:
        self._held = b""
        self._body_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclass of asyncio's, whatever the types say.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        while data:
            if self._body_left:
                taken = min(self._body_left, len(data))
                self._body_left -= taken
                data = data[taken:]
                if not self._body_left:
                    self._transport.write(SMALL)
                continue
            if self._held:
                data = self._held + data
                self._held = b""
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._held = data
                return
            self._begin(data[: end + 2])
            data = data[end + 4 :]

    def _begin(self, head: bytes) -> None:
        """Answer at once, or, if there is a body, once it has been read."""
        if head.startswith(b"GET "):
            if b"\r\nConnection: close\r\n" in head:  # as the load sends it, through a blind relay
                self._transport.write(SMALL.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                self._transport.close()
            else:
                self._transport.write(ANSWERS.get(head[4:8], SMALL))
            return
        length = _LENGTH.search(head)
        self._body_left = int(length[1]) if length else 0
        if not self._body_left:
            self._transport.write(SMALL)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(LightBackend, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Serve on a port of 127.0.0.1 until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.light_backend")
    parser.add_argument("port", type=int)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
