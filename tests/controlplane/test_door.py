"""What a connection meets before anything serves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from bgproxy.config.settings import Role
from bgproxy.controlplane import auth, door
from tests.admin_double import TOKENS, Admin, tokens

WRONG = b"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n"
SWITCH = (
    b"POST /v1/services/default/switch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: 0\r\n\r\n" % TOKENS[Role.SWITCH].encode()
)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin(tokens=tokens()) as running:
        yield running


async def _connect(admin: Admin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(admin.url.rpartition(":")[2]))


async def _ask(admin: Admin, request: bytes) -> bytes:
    """The whole answer, up to the end of the connection."""
    reader, writer = await _connect(admin)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def _exhaust(admin: Admin) -> None:
    """Use up what the address has."""
    for _ in range(20):
        await _ask(admin, WRONG)


async def test_heads_may_come_in_pieces(admin: Admin) -> None:
    """What was held back until the head was complete is served from its first byte."""
    reader, writer = await _connect(admin)
    for number in range(len(SWITCH)):
        writer.write(SWITCH[number : number + 1])
        await writer.drain()
        await asyncio.sleep(0)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_wrong_token_ends_its_connection(admin: Admin) -> None:
    """The next guess has to come to the door again."""
    answer = await _ask(admin, WRONG + WRONG)
    assert answer.count(b"HTTP/1.1 401 ") == 1


@pytest.mark.parametrize("split", [None, 20])
async def test_after_too_many_a_wrong_token_is_refused_unserved(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, split: int | None
) -> None:
    """Late, as a problem that says how long; the right one is not delayed."""
    monkeypatch.setattr(auth, "_FIRST_DELAY", 0.2)
    await _exhaust(admin)
    began = asyncio.get_running_loop().time()
    reader, writer = await _connect(admin)
    writer.write(WRONG[:split])
    if split:
        await asyncio.sleep(0.02)
        writer.write(WRONG[split:])
    right = await _ask(admin, SWITCH)
    assert asyncio.get_running_loop().time() - began < 0.2
    assert right.startswith(b"HTTP/1.1 200 ")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert asyncio.get_running_loop().time() - began >= 0.2
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: " in head
    assert json.loads(body)["type"] == "urn:bgproxy:problem:too-many-failures"


async def test_of_many_at_once_only_the_first_few_are_served(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd that arrives together is as many failures as it has tokens."""
    monkeypatch.setattr(auth, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(auth, "_LONGEST_DELAY", 0.01)
    answers = await asyncio.gather(*(_ask(admin, WRONG) for _ in range(60)))
    assert sum(answer.startswith(b"HTTP/1.1 401 ") for answer in answers) < 20
    assert sum(answer.startswith(b"HTTP/1.1 429 ") for answer in answers) > 40


async def test_guesses_behind_an_open_request_count_as_well(admin: Admin) -> None:
    """A kept connection whose first request needs no token is no way past the count."""
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers = [await _ask(admin, health + WRONG) for _ in range(21)]
    assert b"HTTP/1.1 401 " in answers[0]
    assert b"HTTP/1.1 429 " in answers[20]


async def test_delays_double_up_to_a_bound() -> None:
    """A guesser that goes on waits longer each time."""
    limit = auth.FailureLimit(most=2)
    delays = []
    for _ in range(40):
        limit.count("a", 0.0)
        delays.append(limit.delay("a"))
    assert delays[1:10:2] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 4.0


async def test_who_says_nothing_gives_way(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full house of silent connections does not keep the operator out."""
    monkeypatch.setattr(door, "MAX_CONNECTIONS", 3)
    silent = [await _connect(admin) for _ in range(3)]
    assert (await _ask(admin, SWITCH)).startswith(b"HTTP/1.1 200 ")
    assert await silent[0][0].read() == b""
    for _, writer in silent:
        writer.close()


async def test_who_takes_too_long_is_closed(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trickle of bytes is no complete head, either."""
    monkeypatch.setattr(door, "HEAD_TIMEOUT", 0.05)
    monkeypatch.setattr(door, "_SWEEP", 0.05)
    reader, writer = await _connect(admin)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while not reader.at_eof():
                writer.write(b"GET ")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.02)
    writer.close()


async def test_a_head_has_a_bound(admin: Admin) -> None:
    """More of it is not collected."""
    answer = await _ask(admin, b"GET / HTTP/1.1\r\nX: " + b"x" * (door.MAX_HEAD_BYTES + 1))
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"].endswith(":head-too-large")


async def test_all_of_it_at_once_is_survived(admin: Admin) -> None:
    """A hundred streams nobody reads, two hundred silent ones, a flood, and who hangs up."""
    port = int(admin.url.rpartition(":")[2])
    events = (
        b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
        % TOKENS[Role.READ].encode()
    )
    await _exhaust(admin)
    with contextlib.ExitStack() as stack:
        for number in range(500):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            if number < 100:
                await asyncio.get_running_loop().sock_sendall(one, events)
            elif number >= 300:
                await asyncio.get_running_loop().sock_sendall(one, WRONG)
                if number >= 400:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.close()
        for _ in range(100):
            admin.events.publish("health", "default", answered="x" * 2000)
        assert (await _ask(admin, SWITCH)).startswith(b"HTTP/1.1 200 ")
        assert admin.operations.calls[0][0] == "switch"
