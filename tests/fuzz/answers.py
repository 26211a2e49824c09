"""Mutated answers through a real worker: what the client gets, h11 can read, or it is cut.

Run as ``python -m tests.fuzz.answers 100000 [SEED]``. A backend says anything that looks like an
answer, and closes or goes on; for every one of them:

- the client has its answer or its end within `PATIENCE` seconds, and the worker lives;
- h11, as the client, reads what came as 1xx answers and at most one final one, which is whole, or
  the connection ends inside it;
- the next request on the same connection gets its own answer, never what was left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter

import h11
import uvloop

from bgproxy.domain.model import Timeouts
from tests.dataplane.harness import PATIENCE, Backend, Proxy, read_head, table_of
from tests.fuzz.heads import Maker
from tests.wire.test_responses import CHANGED, CUT, REFUSED, UNCHANGED
from tests.wire.wire import running_quietly

_CLIENTS = 8
_SOUND = b"HTTP/1.1 200 OK\r\nX-Sound: yes\r\nContent-Length: 2\r\n\r\nok"
_CUTS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"0\r\n\r\n",
    b" ",
    b"\t",
    b",",
    b";",
    b"HTTP/1.1 200 OK\r\n",
)


class Answers:
    """Makes up what a backend says to one request."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._heads = Maker(seed)
        self._seeds = [case[3] for case in UNCHANGED]
        self._seeds += [case[3] for case in CHANGED]
        self._seeds += [case[2] for case in REFUSED]
        self._seeds += [case[2] for case in CUT]

    def answer(self) -> bytes:
        """Something like an answer."""
        draw = self.random.random()
        if draw < 0.6:
            data = self.random.choice(self._seeds)
        else:
            data = self._heads.head(is_request=False)
            if b"chunked" in data.lower():
                data += b"5\r\nhello\r\n" * self.random.randint(0, 2) + b"0\r\n\r\n"
            else:
                data += bytes(
                    self.random.choices(b"HTTP/1.1 200\r\n", k=self.random.choice((0, 5)))
                )
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 3))):
            data = self._mutated(data)
        return data

    def _mutated(self, data: bytes) -> bytes:
        place = self.random.randint(0, len(data))
        end = place + self.random.choice((0, 1, 1, 2, 8))
        draw = self.random.random()
        if draw < 0.4:
            return data[:place] + self.random.choice(_CUTS) + data[end:]
        if draw < 0.6:
            return data[:place] + bytes([self.random.randrange(256)]) + data[end:]
        return data[:place] + data[end:] if draw < 0.8 else data[:end] + data[place:]


def _backend(answers: Answers) -> Backend:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            if head.startswith(b"GET /sound "):
                writer.write(_SOUND)
                continue
            data = answers.answer()
            cut = answers.random.randint(0, len(data))
            writer.write(data[:cut])
            await asyncio.sleep(0)
            writer.write(data[cut:])
            if answers.random.random() < 0.5:
                return

    return Backend(handle)


async def _read(strict: h11.Connection, reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """What h11 makes of an answer: its status or how it ended, and the body.

    Raises:
        AssertionError: the proxy has passed on what no strict client can read.
    """
    status, body = "closed", b""
    while True:
        try:
            event = strict.next_event()
        except h11.RemoteProtocolError as error:
            if "closed connection" in str(error):
                return "cut", body
            raise AssertionError(f"h11 cannot read it: {error}") from error
        if event is h11.NEED_DATA:
            async with asyncio.timeout(PATIENCE):
                try:
                    strict.receive_data(await reader.read(1 << 16))
                except ConnectionError:
                    return "cut", body
        elif isinstance(event, h11.Response):
            status = str(event.status_code)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
            return status, body


async def _one(proxy: Proxy, method: str) -> str:
    """Ask twice on one connection: something of the fuzz, and something sound."""
    reader, writer = await proxy.connect()
    strict = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    outcome = "closed"
    try:
        for turn, target in enumerate(("/fuzz", "/sound")):
            request = h11.Request(method=method, target=target, headers=[("Host", "x")])
            writer.write((strict.send(request) or b"") + (strict.send(h11.EndOfMessage()) or b""))
            status, body = await _read(strict, reader)
            if not turn:
                outcome = status
            elif status == "200":
                assert body == (b"" if method == "HEAD" else b"ok")
            if strict.our_state is not h11.DONE or strict.their_state is not h11.DONE:
                break
            strict.start_next_cycle()
    finally:
        writer.transport.abort()
    return outcome


async def fuzz(count: int, seed: int) -> Counter[str]:
    """Have `count` answers passed on; what became of them, by the number of their times.

    Raises:
        AssertionError: something of what the module promises does not hold.
        TimeoutError: the worker hung.
    """
    answers = Answers(seed)
    backend = await _backend(answers).start()
    outcomes: Counter[str] = Counter()
    timeouts = Timeouts(response=0.2)
    async with running_quietly(table_of([backend.port], [], timeouts=timeouts)) as proxy:

        async def client() -> None:
            nonlocal count
            while count > 0:
                count -= 1
                method = answers.random.choice(("GET", "GET", "GET", "HEAD"))
                with contextlib.suppress(ConnectionError):
                    outcomes[await _one(proxy, method)] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(client())
        assert proxy.fleet.deaths == 0
        await proxy.until(lambda: proxy.in_flight() == (0, 0))
    return outcomes


def main(count: int, seed: int) -> None:
    """Fuzz, and print what became of it."""
    began = time.monotonic()
    outcomes = uvloop.run(fuzz(count, seed))
    lines = [f"{count} answers, seed {seed}, {time.monotonic() - began:.0f} s"]
    lines += [f"{times:9}  {outcome}" for outcome, times in sorted(outcomes.items())]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
