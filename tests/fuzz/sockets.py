"""Mutated requests through a real worker: it never dies, never hangs, and forwards one reading.

Run as ``python -m tests.fuzz.sockets 100000 [SEED]``. For every stream of bytes, made up or
mutated, cut into packets anywhere:

- the worker answers or closes within `PATIENCE` seconds, and is the same process at the end;
- what it answers is a sequence of answers, each of them whole, the last one perhaps cut;
- what the backend receives is read by h11 and by a reader that knows nothing but CRLF, one length
  and chunks; both see the same requests, or the connection ends inside one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import time
from collections import Counter

import h11
import uvloop

from tests.dataplane.harness import PATIENCE, Backend, Proxy, table_of
from tests.fuzz.heads import Maker
from tests.wire.test_requests import CHANGED, UNCHANGED
from tests.wire.test_strictness import REFUSED
from tests.wire.wire import running_quietly

_CLIENTS = 8
"""Streams at once."""
_CHUNKS = (
    *(b"5\r\nhello\r\n", b"1\r\nx\r\n", b"A;ext=1\r\n0123456789\r\n", b"0005\r\nhello\r\n"),
    *(b"3\r\nGET\r\n", b"2\r\n\r\n\r\n", b"5 ;a\r\nhello\r\n", b"4\r\nhello\r\n", b"g\r\n\r\n"),
)
_ENDS = (b"0\r\n\r\n",) * 4 + (b"0\r\nX-A: 1\r\n\r\n", b"0;e\r\nHost: evil\r\n\r\n", b"00\r\n\r\n")
_CUTS = (b"\r\n", b"\n", b"\r", b"\0", b"0\r\n\r\n", b" ", b"\t", b",", b";", b"GET / HTTP/1.1\r\n")

Request = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""Method, target, fields with lower-case names, and body."""


class Streams:
    """Makes up what a client sends on one connection."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._heads = Maker(seed)
        seeds = [case[2] for case in REFUSED]
        seeds += [case[2] for case in UNCHANGED]
        seeds += [case[2] for case in CHANGED]
        self._seeds = [seed for seed in seeds if len(seed) < 4096]

    def stream(self) -> bytes:
        """One to four requests, or what looks like them."""
        parts = [self._request() for _ in range(self.random.choice((1, 1, 2, 4)))]
        data = b"".join(parts)
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 3))):
            data = self._mutated(data)
        return data

    def packets(self, data: bytes) -> list[bytes]:
        """The stream in one to four pieces."""
        count = self.random.choice((0, 0, 1, 3))
        cuts = sorted(self.random.randint(0, len(data)) for _ in range(count))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def _request(self) -> bytes:
        draw = self.random.random()
        if draw < 0.5:
            return self.random.choice(self._seeds)
        head = self._heads.head(is_request=True)
        if b"chunked" in head.lower():
            chunks = self.random.choices(_CHUNKS[:5] if draw < 0.9 else _CHUNKS, k=3)
            return head + b"".join(chunks) + self.random.choice(_ENDS)
        return head + bytes(
            self.random.choices(b"GET / hello\r\n", k=self.random.choice((0, 5, 17)))
        )

    def _mutated(self, data: bytes) -> bytes:
        place = self.random.randint(0, len(data))
        end = place + self.random.choice((0, 1, 1, 2, 8))
        draw = self.random.random()
        if draw < 0.4:
            return data[:place] + self.random.choice(_CUTS) + data[end:]
        if draw < 0.6:
            return data[:place] + bytes([self.random.randrange(256)]) + data[end:]
        if draw < 0.8:
            return data[:place] + data[end:]
        return data[:end] + data[place:]


class StrictReader:
    """h11 as a server, one whole request at a time."""

    def __init__(self) -> None:
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._head: h11.Request | None = None
        self._body = b""

    def next_request(self) -> Request | None:
        """The next whole request, or None until more has come."""
        while True:
            event = self.connection.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                head = self._head
                assert head is not None
                fields = tuple((bytes(name), bytes(value)) for name, value in head.headers)
                return bytes(head.method), bytes(head.target), fields, self._body
            else:
                return None


class StrictBackend:
    """Reads with h11 and with a reader of its own, and answers each whole request alike."""

    def __init__(self) -> None:
        self.requests = 0
        self.faults: list[str] = []
        self.backend = Backend(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        strict = StrictReader()
        raw = b""
        while data := await reader.read(1 << 16):
            raw += data
            try:
                strict.connection.receive_data(data)
                while (request := strict.next_request()) is not None:
                    mine, raw = _read_plainly(raw)
                    self.requests += 1
                    if request != mine:
                        self.faults.append(f"h11 reads {request}, a plain reader {mine}")
                    writer.write(b"".join(_answered(strict.connection, request[0])))
            except h11.RemoteProtocolError as error:
                self.faults.append(f"h11 refuses: {error}: {raw!r}")
                return
            await writer.drain()


def _answered(strict: h11.Connection, method: bytes) -> list[bytes]:
    """Answer the request that was read, and make ready for the next."""
    head = h11.Response(status_code=200, headers=[("Content-Length", "2")], reason="OK")
    out = [strict.send(head) or b""]
    if method != b"HEAD":
        out.append(strict.send(h11.Data(data=b"ok")) or b"")
    out.append(strict.send(h11.EndOfMessage()) or b"")
    if strict.our_state is h11.DONE:
        strict.start_next_cycle()
    return out


def _read_plainly(raw: bytes) -> tuple[Request, bytes]:
    """The first request of some bytes that hold it whole, and what follows it."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    pairs = (line.split(b":", 1) for line in lines)
    fields = tuple((name.lower(), value.strip(b" \t")) for name, value in pairs)
    lengths = [int(value) for name, value in fields if name == b"content-length"]
    if (b"transfer-encoding", b"chunked") in fields:
        assert not lengths, raw
        body, rest = _read_chunks(rest)
    else:
        assert len(lengths) <= 1, raw
        size = lengths[0] if lengths else 0
        body, rest = rest[:size], rest[size:]
    return (method, target, fields, body), rest


def _read_chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            break
        body += rest[:size]
        assert rest[size : size + 2] == b"\r\n"
        rest = rest[size + 2 :]
    while not rest.startswith(b"\r\n"):
        rest = rest.partition(b"\r\n")[2]
    return body, rest[2:]


_HEAD = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


def check_answers(answers: bytes) -> list[int]:
    """The statuses of a sequence of answers.

    Raises:
        AssertionError: something stands there that is no answer.
    """
    statuses = []
    position = 0
    while position < len(answers):
        match = _HEAD.match(answers, position)
        assert match is not None, answers[position:]
        statuses.append(int(match[1]))
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", match[0])
        body = int(length[1]) if length else 0
        position = match.end()
        # An answer to HEAD has a length and no body.
        if body and not answers.startswith(b"HTTP/1.1 ", position):
            position += body
    return statuses


async def _one(proxy: Proxy, packets: list[bytes]) -> bytes:
    """What the proxy says to one client."""
    reader, writer = await proxy.connect()
    answers = b""
    try:
        with contextlib.suppress(ConnectionError):
            for packet in packets:
                writer.write(packet)
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                while data := await reader.read(1 << 16):
                    answers += data
    finally:
        writer.transport.abort()
    return answers


async def fuzz(count: int, seed: int) -> Counter[str]:
    """Send `count` streams; the statuses that came back, by the number of their times.

    Raises:
        AssertionError: something of what the module promises does not hold.
        TimeoutError: the worker hung.
    """
    streams = Streams(seed)
    strict = StrictBackend()
    backend = await strict.backend.start()
    outcomes: Counter[str] = Counter()
    async with running_quietly(table_of([backend.port], [])) as proxy:

        async def client() -> None:
            nonlocal count
            while count > 0 and not strict.faults:
                count -= 1
                data = streams.stream()
                packets = streams.packets(data)
                try:
                    answers = await _one(proxy, packets)
                    statuses = check_answers(answers)
                except (AssertionError, TimeoutError) as error:
                    error.add_note(f"sent in packets: {packets!r}")
                    raise
                outcomes.update([str(status) for status in statuses] or ["closed"])

        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(client())
        assert not strict.faults, strict.faults
        assert proxy.fleet.deaths == 0
        await proxy.until(lambda: proxy.in_flight() == (0, 0))
    outcomes["requests at the backend"] = strict.requests
    return outcomes


def main(count: int, seed: int) -> None:
    """Fuzz, and print what became of it."""
    began = time.monotonic()
    outcomes = uvloop.run(fuzz(count, seed))
    lines = [f"{count} streams, seed {seed}, {time.monotonic() - began:.0f} s"]
    lines += [f"{times:9}  {outcome}" for outcome, times in sorted(outcomes.items())]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
