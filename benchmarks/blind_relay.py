"""The floor: a relay on uvloop that copies bytes between two connections and reads none of them.

No proxy in Python can cost less per request than this one, and no HTTP proxy does as little.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import uvloop


class RelayEnd(asyncio.Protocol):
    """One of two connections; whatever one receives, the other writes."""

    __slots__ = ("_connecting", "_early", "_other", "_target", "transport")

    def __init__(
        self, target: tuple[str, int] | None = None, other: RelayEnd | None = None
    ) -> None:
        self._target = target
        self._other = other
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client's end opens the backend's; the backend's end sends what came meanwhile."""
        # uvloop's transports are no subclass of asyncio's, whatever the types say.
        self.transport = cast("asyncio.Transport", transport)
        if self._other is not None:
            self._other.join(self)
        elif self._target is not None:
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(
                loop.create_connection(lambda: RelayEnd(other=self), *self._target)
            )

    def join(self, other: RelayEnd) -> None:
        """The backend's end is there."""
        self._other = other
        other.transport.writelines(self._early)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Copy."""
        if self._other is None:
            self._early.append(data)
        else:
            self._other.transport.write(data)

    def pause_writing(self) -> None:
        """Back-pressure: stop reading where the bytes come from."""
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self._other is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other end, too."""
        if self._other is not None:
            self._other.transport.close()


async def _serve(port: int, backend_port: int) -> None:
    loop = asyncio.get_running_loop()
    target = ("127.0.0.1", backend_port)
    server = await loop.create_server(lambda: RelayEnd(target), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Relay from a port of 127.0.0.1 to another until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blind_relay")
    parser.add_argument("port", type=int)
    parser.add_argument("backend_port", type=int)
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.backend_port))


if __name__ == "__main__":
    main()
