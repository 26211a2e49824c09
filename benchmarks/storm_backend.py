"""A backend that writes down every request it executes, with the time, for `storm_verdict`.

A request's path is `/KIND/ID`. KIND says how it is answered: `get` and `post` at once (a post only
if its body is the one that belongs to its id), `slow` after 300 ms, `stream` in five chunks over
100 ms. Each answer names the backend's color and the id. A request counts as executed when its head
is there: a proxy that sends one twice is found out even if it cuts the second one short.

`GET /ledger` is the book: a whole number of entries, then all ids, then all times (64 bits each).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from array import array
from typing import cast

import httptools
import uvloop

POST_BYTES = 10 << 10
SLOW_SECONDS = 0.3
STREAM_PIECES = 5
STREAM_GAP = 0.02


def post_body(request_id: int) -> bytes:
    """The body that belongs to the id of a post."""
    return (b"%019d," % request_id) * (POST_BYTES // 20)


class Book:
    """What one backend has executed."""

    __slots__ = ("color", "ids", "times")

    def __init__(self, color: str) -> None:
        self.color = color
        self.ids = array("Q")
        self.times = array("d")

    def record(self, request_id: int) -> None:
        """A request's head is there; the clock is the one that all processes of a machine share."""
        self.ids.append(request_id)
        self.times.append(time.monotonic())

    def to_bytes(self) -> bytes:
        """All entries, for `read_book`."""
        return array("Q", [len(self.ids)]).tobytes() + self.ids.tobytes() + self.times.tobytes()


def read_book(data: bytes) -> list[tuple[int, float]]:
    """The entries, pairs of id and time, in the order of execution."""
    count = array("Q", data[:8])[0]
    middle = 8 + 8 * count
    return list(zip(array("Q", data[8:middle]), array("d", data[middle:]), strict=True))


class RecordingBackend(asyncio.Protocol):
    """One connection of the proxy to this backend; httptools calls the `on_` methods."""

    __slots__ = ("_body", "_book", "_kind", "_loop", "_parser", "_request_id", "_transport", "_url")

    def __init__(self, book: Book, loop: asyncio.AbstractEventLoop) -> None:
        self._book = book
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._body = b""
        self._kind, self._request_id = "", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """A piece of the path."""
        self._url += url

    def on_headers_complete(self) -> None:
        """From here on the request counts as executed."""
        _, self._kind, *rest = self._url.decode().split("/")
        self._url = self._body = b""
        if rest:
            self._request_id = int(rest[0])
            self._book.record(self._request_id)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer as the kind says."""
        match self._kind:
            case "ledger":
                self._answer(self._book.to_bytes())
            case "slow":
                self._loop.call_later(SLOW_SECONDS, self._answer, self._receipt())
            case "stream":
                self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                self._stream(STREAM_PIECES)
            case "post" if self._body != post_body(self._request_id):
                self._answer(b"not the body of this id", b"400 Bad Request")
            case _:
                self._answer(self._receipt())

    def _receipt(self) -> bytes:
        return b"%b %d\n" % (self._book.color.encode(), self._request_id)

    def _stream(self, pieces_left: int) -> None:
        if pieces_left:
            receipt = self._receipt()
            self._write(b"%x\r\n%b\r\n" % (len(receipt), receipt))
            self._loop.call_later(STREAM_GAP, self._stream, pieces_left - 1)
        else:
            self._write(b"0\r\n\r\n")

    def _answer(self, body: bytes, status: bytes = b"200 OK") -> None:
        self._write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def _serve(port: int, color: str) -> None:
    loop = asyncio.get_running_loop()
    book = Book(color)
    server = await loop.create_server(
        lambda: RecordingBackend(book, loop), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Serve on a port of 127.0.0.1 until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm_backend")
    parser.add_argument("port", type=int)
    parser.add_argument("color")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.color))


if __name__ == "__main__":
    main()
