"""The storm's two senders over raw sockets: one keeps traffic up, the other makes the switches.

Raw, because a transport may hold back what is written: here a request has left when `send` returns.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass

from benchmarks.storm_backend import STREAM_PIECES, post_body
from benchmarks.storm_verdict import SentRequest, SwitchCall

ANSWER_TIMEOUT = 20.0
"""Seconds after which a request without its whole answer has failed."""


class AnswerError(Exception):
    """An answer that is not what HTTP or the backend promises."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the body without its framing."""

    status: int
    body: bytes
    is_last: bool


class Connection:
    """A client connection that is kept alive; one request at a time, opened when first needed."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._data = b""

    async def open(self) -> None:
        """Connect, if there is no connection."""
        if self._socket is None:
            self._socket = socket.socket()
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(self._socket, self._address)

    @property
    def authority(self) -> str:
        """For the Host field."""
        return f"{self._address[0]}:{self._address[1]}"

    def send(self, request: bytes) -> None:
        """Send at once; requests are small and the connection quiet, so the kernel takes it all."""
        assert self._socket is not None
        if self._socket.send(request) != len(request):
            raise AnswerError("the kernel did not take the whole request")

    async def receive(self) -> Answer:
        """Read the answer of the request just sent.

        Raises:
            AnswerError: when it breaks off or is malformed.
            OSError: when the connection breaks.
        """
        head = await self._until(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        status = int(fields[0].split()[1])
        length = next((line for line in fields if line.startswith(b"content-length:")), None)
        if length is not None:
            body = await self._exactly(int(length.split(b":")[1]))
        elif b"transfer-encoding: chunked" in fields:
            body = await self._chunks()
        else:
            raise AnswerError(f"an answer {status} without a length")
        answer = Answer(status, body, b"connection: close" in fields)
        if answer.is_last:
            self.close()
        return answer

    def close(self) -> None:
        """Close; the next `open` makes a new connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._data = None, b""

    async def _more(self) -> None:
        assert self._socket is not None
        data = await self._loop.sock_recv(self._socket, 65536)
        if not data:
            raise AnswerError(f"closed after {len(self._data)} bytes of an answer")
        self._data += data

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._data:
            await self._more()
        found, _, self._data = self._data.partition(mark)
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        found, self._data = self._data[:size], self._data[size:]
        return found

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._until(b"\r\n"), 16):
            body += await self._exactly(size)
            await self._until(b"\r\n")
        await self._until(b"\r\n")
        return body


class Traffic:
    """Requests that are due at a constant rate, whatever becomes of the ones before.

    Every id is used once. Of 200 requests two are slow, two are streamed, and half of the rest are
    posts of 10 KiB.
    """

    def __init__(self, port: int, *, connections: int, rate: float) -> None:
        self.requests: dict[int, SentRequest] = {}
        self._port = port
        self._connections = connections
        self._rate = rate
        self._is_ending = False

    async def run(self) -> None:
        """Send until `end` is called, then until every answer is there."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._use_connection(began))

    def end(self) -> None:
        """Send nothing new."""
        self._is_ending = True

    async def _use_connection(self, began: float) -> None:
        connection = Connection(self._port)
        while not self._is_ending:
            request_id = len(self.requests) + 1
            self.requests[request_id] = request = SentRequest(sent_at=0.0)
            early = began + request_id / self._rate - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._exchange(connection, request_id, request)
            except (AnswerError, OSError, TimeoutError, ValueError) as error:
                request.failure = f"{type(error).__name__}: {error}"
                connection.close()
        connection.close()

    async def _exchange(
        self, connection: Connection, request_id: int, request: SentRequest
    ) -> None:
        kind = _kind(request_id)
        await connection.open()
        data = _request(kind, request_id)
        request.sent_at = time.monotonic()
        connection.send(data)
        answer = await connection.receive()
        color, _, rest = answer.body.decode().partition(" ")
        receipt = f"{color} {request_id}\n" * (STREAM_PIECES if kind == "stream" else 1)
        if answer.status != 200 or f"{color} {rest}" != receipt:
            raise AnswerError(f"{answer.status} with {answer.body[:100]!r}")
        request.answered_at = time.monotonic()
        request.answered_color = color


def _kind(request_id: int) -> str:
    match request_id % 200:
        case 50 | 150:
            return "slow"
        case 0 | 100:
            return "stream"
        case number:
            return "post" if number % 2 else "get"


def _request(kind: str, request_id: int) -> bytes:
    method = "POST" if kind == "post" else "GET"
    head = f"{method} /{kind}/{request_id} HTTP/1.1\r\nHost: storm\r\nAccept: */*\r\n"
    if kind != "post":
        return head.encode() + b"\r\n"
    body = post_body(request_id)
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def switch(connection: Connection, service: str, color: str) -> SwitchCall:
    """Switch by the admin API over a connection that is kept alive.

    Raises:
        AnswerError: when the switch is refused.
    """
    body = json.dumps({"to": color})
    request = (
        f"POST /v1/services/{service}/switch HTTP/1.1\r\nHost: {connection.authority}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    await connection.open()
    called_at = time.monotonic()
    connection.send(request.encode())
    answer = await connection.receive()
    answered_at = time.monotonic()
    if answer.status != 200:
        raise AnswerError(f"switch to {color}: {answer.status} {answer.body!r}")
    return SwitchCall(color, called_at, answered_at)


async def get(port: int, path: str) -> bytes:
    """The body at a path of a server of ours."""
    connection = Connection(port)
    await connection.open()
    connection.send(f"GET {path} HTTP/1.1\r\nHost: {connection.authority}\r\n\r\n".encode())
    answer = await connection.receive()
    connection.close()
    if answer.status != 200:
        raise AnswerError(f"GET {path}: {answer.status} {answer.body[:200]!r}")
    return answer.body
